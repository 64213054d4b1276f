//! Simulates users, rooms and nodes of the core alone. Everything is derived from a seed.
//!
//! The same seed gives the same trace, byte for byte, on every node and in every process. Hash
//! seeds and memory addresses do not affect it.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::rc::Rc;

use echoline_base::random::Random;
use echoline_chat_core::replication::Envelope;
use echoline_chat_core::room::{LogLimits, ReplayFrom, Room};
use echoline_chat_core::state::{
    Ban, ChatState, RestoredState, SavedSession, Scope, SessionState, StateOptions, Subject,
    digest, token,
};
use echoline_chat_core::{
    Credential, Effect, LineKind, Name, Notification, Operation, OperationContext, Outcome,
    ResumeToken, RoomChange, SaidLine,
};

const SEEDS: u64 = 100;
const OPERATIONS: u64 = 200;
const SESSIONS: u64 = 6;
const NAMES: [&str; 7] = ["ann", "ben", "eve", "zoë", "Ann", "b3n", "walter"];
const ROOMS: [&str; 4] = ["lobby", "den", "attic", "tea"];
/// The environment variable with the path to which a child process writes its traces.
const OUTPUT: &str = "ECHOLINE_TRACES";

/// A node: its state, and a trace of the outcome of every operation.
struct Node {
    number: u32,
    state: ChatState<Rc<RefCell<Room>>>,
    trace: String,
}

impl Node {
    fn new(number: u32) -> Self {
        let options = StateOptions {
            lobby: Name::parse_room("lobby").unwrap(),
            log: LogLimits { lines: 40, bytes: 4096 },
            holds_lines: false,
            keeps_rooms: true,
            is_replicated: true,
            lineages_from: 0,
            moment: |ms| format!("at {ms}"),
        };
        let state = ChatState::new(options, RestoredState::default());
        Self { number, state, trace: String::new() }
    }

    /// Releases a membership. A server does this in the session of a user who was expelled from a
    /// room.
    fn release(&mut self, session: u64, room: &Name) {
        let user = self.state.served_user(session);
        let memberships = user.map(|user| user.memberships()).unwrap_or_default();
        let is_out =
            |cell: &Room, member_id| cell.name.key() == room.key() && !cell.is_in(member_id);
        let mut memberships = memberships.into_iter();
        let cell = memberships.find(|&(ref cell, id)| is_out(&cell.borrow(), id));
        cell.into_iter().for_each(|(cell, _)| self.state.release_membership(session, &cell));
    }

    /// Applies an entry of the stream.
    fn apply(&mut self, time_ms: u64, payload: &[u8]) -> Outcome {
        let entry = Envelope::decode(payload).unwrap();
        let Envelope { node, session, operation, .. } = entry;
        let is_here = node == self.number;
        let context = OperationContext { session, node, is_here, now_ms: time_ms };
        let Self { state, trace, .. } = self;
        let mut expelled = Vec::new();
        if let Operation::Part { room } = &operation {
            // The session releases the membership when it receives the outcome.
            expelled.push((session, room.clone()));
        }
        let outcome = state.apply(context, operation, &mut |effect: Effect<'_>| {
            note(trace, &effect);
            if let Effect::Notify { session, notification } = effect
                && let Notification::Expelled { room, .. } = notification
            {
                expelled.push((session, room));
            }
        });
        expelled.iter().for_each(|(session, room)| self.release(*session, room));
        let trace = &mut self.trace;
        // The trace leaves out the values that differ between nodes: member ids, and whether a node
        // serves a user. Member ids differ because a node keeps the memberships of its own users
        // until their sessions release them.
        let text = match &outcome {
            Outcome::Joined(Ok(joined)) => {
                format!("Joined(Ok {:?} {})", joined.room, joined.number)
            }
            outcome => format!("{outcome:?}"),
        };
        writeln!(trace, "{time_ms} {session} {text}").unwrap();
        outcome
    }
}

fn note(trace: &mut String, effect: &Effect<'_>) {
    match effect {
        Effect::KeepLine { room, appended, kind, name, text } => {
            let position = (room.name.as_str(), appended.number, appended.time_ms);
            writeln!(trace, "  line {position:?} {kind:?} {name} {text}").unwrap();
        }
        Effect::KeepRoom(room) => {
            writeln!(trace, "  room {} {:?} {}", room.name.as_str(), room.topic, room.count())
                .unwrap();
        }
        Effect::DeleteLine { room, number } => {
            writeln!(trace, "  deleted {} {number}", room.name.as_str()).unwrap();
        }
        other => writeln!(trace, "  {other:?}").unwrap(),
    }
}

/// A simulated user whose actions are derived from the seed.
struct Author {
    random: Random,
    /// Tokens of saved sessions.
    tokens: Vec<String>,
}

impl Author {
    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    fn name(&mut self) -> Name {
        Name::parse(self.pick(&NAMES)).unwrap()
    }

    fn room(&mut self) -> Name {
        Name::parse_room(self.pick(&ROOMS)).unwrap()
    }

    fn address(&mut self) -> Option<IpAddr> {
        let last = u8::try_from(self.below(3)).unwrap();
        (last > 0).then(|| Ipv4Addr::new(192, 0, 2, last).into())
    }

    fn words(&mut self) -> String {
        format!("{} {}", self.pick(&["tea", "über", "a\u{301}"]), self.below(1000))
    }

    fn token(&mut self) -> String {
        let bytes = [0; 20].map(|_: u8| self.random.next_u64() as u8);
        let token = digest(token(bytes).reveal());
        self.tokens.push(token.clone());
        token
    }

    fn saved(&mut self, session: u64) -> ResumeToken {
        let (name, more) = (self.name(), SessionState::default());
        let saved = SavedSession {
            name,
            rooms: Vec::new(),
            until_ms: 1 << 40,
            session: Some(session),
            more,
        };
        ResumeToken { token: self.token(), saved }
    }

    fn ban(&mut self) -> Ban {
        let subject = match self.below(2) {
            0 => Subject::Name(self.name()),
            _ => Subject::Network("192.0.2.2/32".parse().unwrap()),
        };
        let scope = match self.below(3) {
            0 => Scope::Chat,
            _ => Scope::Room(self.room()),
        };
        let until_ms = (self.below(2) == 0).then_some(1 << 30);
        Ban { subject, scope, by: "ann".into(), reason: self.words(), until_ms, lineage: None }
    }

    fn operation(&mut self, session: u64) -> Operation {
        let room = self.room();
        match self.below(20) {
            0..2 => Operation::Enter { name: self.name(), address: self.address(), back: None },
            2..5 => {
                let replay_from = ReplayFrom::Last(self.below(9));
                Operation::Join { room, replay_from, credential: Credential::Nothing }
            }
            5..10 => {
                let kinds = [LineKind::Said, LineKind::Action];
                let mut line = || SaidLine { kind: self.pick(&kinds), text: self.words() };
                let lines = (0..3).map(|_| line()).collect();
                Operation::Say { room, lines }
            }
            10 => Operation::Part { room },
            11 => Operation::Rename { name: self.name() },
            12 => Operation::Topic { room, words: self.words() },
            13 => Operation::Delete { room, number: 1 + self.below(60), own: self.below(2) == 0 },
            14 => {
                let other = 1 + self.below(SESSIONS);
                match self.below(4) {
                    0 => Operation::Kick { room, whom: other, words: self.words() },
                    1 => Operation::Alter { room, change: RoomChange::Operator(other, true) },
                    2 => Operation::Alter { room, change: RoomChange::Mute(other, Some(1 << 24)) },
                    _ => Operation::Alter { room, change: RoomChange::Invite(other) },
                }
            }
            15 => match self.ban() {
                ban if self.below(3) == 0 => {
                    Operation::Unban { subject: ban.subject, scope: ban.scope }
                }
                ban => Operation::Ban(ban),
            },
            16 => Operation::SaveSession(self.saved(session)),
            17 if self.tokens.is_empty() => Operation::BecomeOperator,
            17 => Operation::Redeem { token: self.tokens.pop().unwrap() },
            18 => {
                let (to, words) = (1 + self.below(SESSIONS), self.words());
                Operation::Write { to, words, kind: LineKind::Said }
            }
            _ => Operation::Exit { reason: Some(self.words()), keep: None },
        }
    }
}

/// Simulates an evening on two nodes. Returns the trace of each node.
fn evening(seed: u64) -> [String; 2] {
    let mut author = Author { random: Random::of(&[seed]), tokens: Vec::new() };
    let mut nodes = [Node::new(1), Node::new(2)];
    let mut time_ms = 1_000_000;
    for number in 1..=OPERATIONS {
        time_ms += author.below(2000);
        let session = 1 + author.below(SESSIONS);
        let serving = 1 + u32::from(session.is_multiple_of(2));
        let operation = author.operation(session);
        let payload = Envelope::new(serving, session, number, operation).encode();
        nodes.iter_mut().for_each(|node| drop(node.apply(time_ms, &payload)));
    }
    nodes.map(|node| node.trace)
}

/// Both nodes change in the same way, whichever of them serves the author.
#[test]
fn two_nodes_have_the_same_trace() {
    for seed in 0..SEEDS {
        let [one, two] = evening(seed);
        for (number, (one, two)) in one.lines().zip(two.lines()).enumerate() {
            assert_eq!(one, two, "seed {seed}, line {number} of the trace");
        }
        assert_eq!(one.len(), two.len(), "seed {seed}");
    }
}

/// The simulated evenings are not trivial: operations are applied and refused, and lines are
/// stored.
#[test]
fn an_evening_has_every_kind_of_outcome() {
    let all: String = (0..SEEDS).map(|seed| evening(seed)[0].clone()).collect();
    for part in [
        "Done",
        "Entered(Ok",
        "Entered(Err",
        "Joined(Ok",
        "Joined(Err",
        "Renamed(Ok",
        "Redeemed(Some",
        "Refused(NotInRoom)",
        "Refused(Muted",
        "Refused(NotOperator)",
        "  line ",
        "  deleted ",
        "KeepBan",
        "KeepToken",
        "Notify",
        "Action",
    ] {
        assert!(all.contains(part), "no evening has {part:?}");
    }
}

/// Two processes have different hash seeds and different memory addresses.
#[test]
fn the_same_seed_has_the_same_trace_in_two_processes() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, padding: usize| {
        let path = folder.path().join(name);
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "writes_the_traces_of_all_seeds", "--include-ignored"]);
        // The size of the environment shifts the addresses of the stack.
        let child = child.env(OUTPUT, &path).env("ECHOLINE_PADDING", "x".repeat(padding));
        let output = child.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        fs::read(path).unwrap()
    };
    let (one, two) = (run("one", 1), run("two", 40_000));
    assert!(one.len() > 100_000, "{} bytes", one.len());
    assert!(one == two, "the traces of two processes differ");
}

#[test]
#[ignore = "a child process of the test above"]
fn writes_the_traces_of_all_seeds() {
    let Some(path) = std::env::var_os(OUTPUT) else { return };
    let all: String = (0..SEEDS).map(|seed| format!("seed {seed}\n{}", evening(seed)[0])).collect();
    fs::write(path, all).unwrap();
}
