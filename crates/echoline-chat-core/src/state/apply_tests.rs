//! Tests of each operation: its preconditions, its errors and its effects.

use std::cell::RefCell;
use std::rc::Rc;

use crate::Credential;
use crate::room::{LogLimits, ReplayFrom, Room};
use crate::state::{
    Ban, ChatState, RestoredState, RoomLimits, SavedSession, Scope, SessionState, StateOptions,
    Subject,
};
use crate::{
    ClaimNameError, Effect, JoinError, LineKind, Name, Operation, OperationContext, OperationError,
    Outcome, RestoredSession, ResumeToken, RoomChange, SaidLine,
};

type State = ChatState<Rc<RefCell<Room>>>;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn room(text: &str) -> Name {
    Name::parse_room(text).unwrap()
}

/// A chat in one thread that records its effects.
struct Simulation {
    state: State,
    now_ms: u64,
    effects: Vec<String>,
}

impl Simulation {
    fn new(is_replicated: bool) -> Self {
        let options = StateOptions {
            lobby: room("lobby"),
            log: LogLimits::default(),
            holds_lines: false,
            keeps_rooms: is_replicated,
            is_replicated,
            lineages_from: 0,
            moment: |ms| ms.to_string(),
        };
        let state = ChatState::new(options, RestoredState::default());
        Self { state, now_ms: 5, effects: Vec::new() }
    }

    /// Returns a chat with ann, ben and eve, all in the lobby. Ann is an operator of the chat, and
    /// ben has created the room `den`.
    fn with_users() -> Self {
        let mut chat = Self::new(false);
        for (session, text) in [(1, "ann"), (2, "ben"), (3, "eve")] {
            chat.enters(session, text).unwrap();
            chat.joins(session, "lobby").unwrap();
        }
        chat.does(1, Operation::BecomeOperator);
        chat.joins(2, "den").unwrap();
        chat.effects.clear();
        chat
    }

    fn does(&mut self, session: u64, operation: Operation) -> Outcome {
        let context = OperationContext { session, node: 1, is_here: true, now_ms: self.now_ms };
        self.does_in(context, operation)
    }

    fn does_in(&mut self, context: OperationContext, operation: Operation) -> Outcome {
        let Self { state, effects, .. } = self;
        state.apply(context, operation, &mut |effect: Effect<'_>| effects.push(words(&effect)))
    }

    fn is_done(&mut self, session: u64, operation: Operation) -> bool {
        matches!(self.does(session, operation), Outcome::Done)
    }

    fn refusal(&mut self, session: u64, operation: Operation) -> Option<OperationError> {
        self.does(session, operation).refusal().cloned()
    }

    fn enters(&mut self, session: u64, text: &str) -> Result<(), ClaimNameError> {
        let enter = Operation::Enter { name: name(text), address: None, back: None };
        match self.does(session, enter) {
            Outcome::Entered(entered) => entered.map(drop),
            other => panic!("{other:?}"),
        }
    }

    fn joins(&mut self, session: u64, to: &str) -> Result<(), JoinError> {
        self.joins_with(session, to, Credential::Nothing)
    }

    fn joins_with(
        &mut self,
        session: u64,
        to: &str,
        credential: Credential,
    ) -> Result<(), JoinError> {
        let replay_from = ReplayFrom::Last(0);
        match self.does(session, Operation::Join { room: room(to), replay_from, credential }) {
            Outcome::Joined(joined) => joined.map(drop),
            other => panic!("{other:?}"),
        }
    }

    fn alters(&mut self, session: u64, what: &str, change: RoomChange) -> Outcome {
        self.does(session, Operation::Alter { room: room(what), change })
    }

    fn takes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.effects)
    }

    fn members(&self, of: &str) -> Vec<u64> {
        let cell = &self.state.rooms[room(of).key()];
        cell.borrow().members().iter().map(|member| member.session).collect()
    }
}

/// Returns a short description of an effect.
fn words(effect: &Effect<'_>) -> String {
    match effect {
        Effect::Notify { session, notification } => format!("notify {session} {notification:?}"),
        Effect::Disconnect { session, disconnect } => {
            format!("disconnect {session} {}", disconnect.words)
        }
        Effect::KeepLine { room, kind, name, text, .. } => {
            format!("{} {} {name}: {text}", room.name, kind.label())
        }
        Effect::DeleteLine { room, number } => format!("{} delete {number}", room.name),
        Effect::KeepRoom(room) => format!("keep room {}", room.name),
        Effect::DeleteRoom(name) => format!("delete room {name}"),
        Effect::KeepBan(ban) => format!("ban {}", ban.subject),
        Effect::DeleteBan(ban) => format!("unban {}", ban.subject),
        Effect::KeepToken { token, .. } => format!("keep token {token}"),
        Effect::DeleteToken(token) => format!("delete token {token}"),
        Effect::Audit { by, what, .. } => format!("audit {by} {what}"),
    }
}

fn say(to: &str, text: &str) -> Operation {
    let lines = vec![SaidLine { kind: LineKind::Said, text: text.into() }];
    Operation::Say { room: room(to), lines }
}

fn ban(subject: &str, scope: Scope) -> Operation {
    let (subject, by, reason) = (Subject::Name(name(subject)), "ann".into(), "spam".into());
    Operation::Ban(Ban { subject, scope, by, reason, until_ms: None, lineage: None })
}

fn saved(text: &str, session: u64) -> SavedSession {
    let more = SessionState { lineage: session, ..SessionState::default() };
    let (name, rooms) = (name(text), Vec::new());
    SavedSession { name, rooms, until_ms: 100, session: Some(session), more }
}

#[test]
fn a_name_belongs_to_one_user() {
    let mut chat = Simulation::with_users();
    assert_eq!(chat.enters(4, "ANN"), Err(ClaimNameError::Taken(name("ann"))));
    assert!(chat.is_done(3, Operation::Exit { reason: Some("tea".into()), keep: None }));
    assert_eq!(chat.takes(), ["lobby left eve: tea"]);
    assert_eq!(chat.enters(4, "eve"), Ok(()));
    let rename = |text: &str| Operation::Rename { name: name(text) };
    let renamed = chat.does(4, rename("ben"));
    assert!(matches!(renamed, Outcome::Renamed(Err(ClaimNameError::Taken(_)))), "{renamed:?}");
    assert!(matches!(chat.does(2, rename("bob")), Outcome::Renamed(Ok(()))));
    assert_eq!(chat.takes(), ["lobby renamed ben: bob", "den renamed ben: bob"]);
    assert!(
        matches!(chat.does(4, rename("ben")), Outcome::Renamed(Ok(()))),
        "the old name is free again"
    );
    assert_eq!(chat.refusal(9, rename("zoe")), Some(OperationError::NotInRoom));
}

#[test]
fn a_line_is_said_by_members_who_may_speak() {
    let mut chat = Simulation::with_users();
    assert!(chat.is_done(2, say("den", "hi")));
    assert_eq!(chat.takes(), ["den said ben: hi"], "the line is stored");
    assert_eq!(chat.refusal(3, say("den", "hi")), Some(OperationError::NotInRoom));
    assert_eq!(chat.refusal(9, say("lobby", "hi")), Some(OperationError::NotInRoom));
    chat.joins(3, "den").unwrap();
    chat.alters(2, "den", RoomChange::Mute(3, Some(50)));
    chat.takes();
    assert_eq!(chat.refusal(3, say("den", "hi")), Some(OperationError::Muted(50)));
    let topic = || Operation::Topic { room: room("den"), words: "tea".into() };
    assert_eq!(chat.refusal(3, topic()), Some(OperationError::Muted(50)));
    assert_eq!(chat.takes(), [""; 0]);
    chat.now_ms = 50;
    assert!(chat.is_done(3, say("den", "hi")) && chat.is_done(3, topic()));
    assert_eq!(chat.takes(), ["den said eve: hi", "den topic eve: tea", "keep room den"]);
}

#[test]
fn a_room_is_created_by_its_first_member_and_removed_after_its_last() {
    let mut chat = Simulation::with_users();
    chat.joins(3, "pit").unwrap();
    assert_eq!(chat.takes(), ["keep room pit", "pit joined eve: "]);
    assert_eq!(chat.joins(3, "pit"), Err(JoinError::Already));
    let limits = |all, per_source| RoomLimits { all, per_source };
    let check_room_limits = |chat: &Simulation, session, to: &str, limits| {
        chat.state.check_room_limits(5, session, &room(to), limits)
    };
    assert_eq!(check_room_limits(&chat, 3, "new", limits(3, 9)), Err(JoinError::TooManyRooms));
    assert_eq!(
        check_room_limits(&chat, 3, "new", limits(9, 2)),
        Err(JoinError::TooManyOfSource(2))
    );
    assert_eq!(
        check_room_limits(&chat, 1, "new", limits(9, 2)),
        Ok(()),
        "an operator of the chat is exempt"
    );
    assert_eq!(check_room_limits(&chat, 3, "den", limits(0, 0)), Ok(()), "the room exists");
    assert!(chat.is_done(3, Operation::Part { room: room("pit") }));
    assert_eq!(chat.takes(), ["pit left eve: ", "delete room pit"]);
    assert_eq!(chat.refusal(3, Operation::Part { room: room("pit") }), {
        Some(OperationError::NotInRoom)
    });
}

#[test]
fn a_private_room_admits_only_invited_users() {
    let mut chat = Simulation::with_users();
    assert_eq!(
        chat.alters(3, "den", RoomChange::Private(true)).refusal(),
        Some(&OperationError::NotOperator)
    );
    chat.alters(2, "den", RoomChange::Private(true));
    assert_eq!(chat.joins(3, "den"), Err(JoinError::Invited));
    chat.takes();
    chat.alters(2, "den", RoomChange::Invite(3));
    assert!(chat.takes()[0].starts_with("notify 3 Invitation"));
    assert_eq!(chat.joins(3, "den"), Ok(()));
    chat.enters(4, "joe").unwrap();
    chat.alters(2, "den", RoomChange::Private(false));
    chat.alters(2, "den", RoomChange::Password(Some("hash".into())));
    assert_eq!(chat.joins(4, "den"), Err(JoinError::Password("hash".into())));
    assert_eq!(chat.joins_with(4, "den", Credential::Password("hash".into())), Ok(()));
    let absent = chat.alters(2, "den", RoomChange::Invite(9));
    assert_eq!(absent.refusal(), Some(&OperationError::NotFound));
}

#[test]
fn an_operator_kicks_members_of_their_room() {
    let mut chat = Simulation::with_users();
    let kick = |of: &str, whom| Operation::Kick { room: room(of), whom, words: "go".into() };
    assert_eq!(chat.refusal(2, kick("den", 3)), Some(OperationError::NotFound));
    chat.joins(3, "den").unwrap();
    assert_eq!(chat.refusal(3, kick("den", 2)), Some(OperationError::NotOperator));
    chat.joins(1, "den").unwrap();
    assert_eq!(chat.refusal(2, kick("den", 1)), Some(OperationError::NotOperator), "above");
    chat.takes();
    assert!(chat.is_done(2, kick("den", 3)));
    let effects = chat.takes();
    assert_eq!(effects[0], "den left eve: kicked by ben: go");
    assert!(effects[1].starts_with("notify 3 Expelled") && effects.len() == 2, "{effects:?}");
    assert_eq!(chat.members("den"), [2, 1]);
    assert!(chat.is_done(1, kick("lobby", 3)));
    assert_eq!(
        chat.takes().last().unwrap(),
        "disconnect 3 Goodbye",
        "a kick from the lobby ends the session"
    );
}

#[test]
fn a_ban_ends_what_it_applies_to_and_keeps_its_users_out() {
    let mut chat = Simulation::with_users();
    let of_den = || Scope::Room(room("den"));
    assert_eq!(chat.refusal(2, ban("eve", Scope::Chat)), Some(OperationError::NotOperator));
    chat.joins(3, "den").unwrap();
    chat.takes();
    assert!(chat.is_done(2, ban("eve", of_den())));
    let effects = chat.takes();
    assert_eq!(effects[..2], ["ban eve", "den left eve: banned"]);
    assert!(matches!(chat.joins(3, "den"), Err(JoinError::Banned(_))));
    let lost = Operation::Unban { subject: Subject::Name(name("eve")), scope: of_den() };
    assert!(matches!(chat.does(2, lost), Outcome::Unbanned(Some(_))));
    assert_eq!(chat.takes(), ["unban eve"]);
    assert!(chat.is_done(1, ban("eve", Scope::Chat)));
    let words = "disconnect 3 You are banned from this chat: spam";
    assert_eq!(chat.takes().last().unwrap(), words);
    assert!(matches!(chat.enters(4, "eve"), Err(ClaimNameError::Banned(_))));
    let unknown = ban("joe", Scope::Room(room("pit")));
    assert_eq!(chat.refusal(1, unknown), Some(OperationError::NotFound));
}

#[test]
fn operator_rights_are_granted_and_revoked() {
    let mut chat = Simulation::with_users();
    chat.joins(3, "den").unwrap();
    chat.takes();
    chat.alters(2, "den", RoomChange::Operator(3, true));
    assert_eq!(chat.takes(), [r#"notify 3 Notice("You are an operator of den")"#]);
    chat.alters(3, "den", RoomChange::Operator(2, false));
    let refused = chat.alters(2, "den", RoomChange::Private(true));
    assert_eq!(refused.refusal(), Some(&OperationError::NotOperator));
    let forget = || Operation::Forget { room: room("den") };
    assert_eq!(chat.refusal(3, forget()), Some(OperationError::NotOperator));
    chat.takes();
    assert!(chat.is_done(1, forget()));
    assert!(chat.takes().contains(&"delete room den".to_owned()));
    assert_eq!(chat.refusal(1, forget()), Some(OperationError::NotFound));
}

#[test]
fn a_deleted_line_keeps_its_number() {
    let mut chat = Simulation::with_users();
    chat.does(3, say("lobby", "secret"));
    let number = chat.state.lobby.borrow().log.next() - 1;
    let delete = |number, own| Operation::Delete { room: room("lobby"), number, own };
    chat.takes();
    assert_eq!(chat.refusal(2, delete(number, false)), Some(OperationError::NotOperator));
    assert_eq!(chat.refusal(1, delete(999, false)), Some(OperationError::NotFound));
    assert!(chat.is_done(3, delete(number, true)));
    let notice = format!("lobby notice : Line {number} was deleted by eve");
    assert_eq!(chat.takes(), [format!("lobby delete {number}"), notice]);
}

#[test]
fn a_private_line_goes_only_to_its_recipient() {
    let mut chat = Simulation::with_users();
    let write = |to| Operation::Write { to, words: "psst".into(), kind: LineKind::Said };
    assert!(chat.is_done(2, write(3)));
    let effects = chat.takes();
    assert!(effects[0].starts_with("notify 3 Private") && effects.len() == 1, "{effects:?}");
    assert_eq!(chat.refusal(2, write(9)), Some(OperationError::NotFound));
    assert_eq!(chat.refusal(9, write(2)), Some(OperationError::NotFound));
    chat.does(2, Operation::Away { words: Some("tea".into()) });
    assert_eq!(chat.state.user(2).unwrap().away().as_deref(), Some("tea"));
    chat.does(2, Operation::Audit { what: "did".into() });
    chat.does(2, Operation::Tell { to: 3, words: "hear".into() });
    assert_eq!(chat.takes(), ["audit ben did", r#"notify 3 Notice("hear")"#]);
    chat.does(2, Operation::FloodMuted { until_ms: 99, count: 1 });
    chat.does(2, Operation::Exit { reason: None, keep: None });
    let name = name("ben");
    let entered = chat.does(7, Operation::Enter { name, address: None, back: None });
    let Outcome::Entered(Ok(entered)) = entered else { panic!("{entered:?}") };
    assert_eq!(entered.flood_mute.map(|mute| mute.until_ms), Some(99));
}

#[test]
fn a_token_moves_its_user_to_another_session() {
    let mut chat = Simulation::with_users();
    let (token, place) = ("digest".to_owned(), saved("ben", 2));
    let keep = || ResumeToken { token: token.clone(), saved: place.clone() };
    assert!(chat.is_done(2, Operation::SaveSession(keep())));
    assert_eq!(chat.takes(), ["keep token digest"]);
    let redeemed = chat.does(4, Operation::Redeem { token: token.clone() });
    let Outcome::Redeemed(Some(redeemed)) = redeemed else { panic!("{redeemed:?}") };
    let rooms: Vec<&str> = redeemed.saved.rooms.iter().map(|at| at.room.as_str()).collect();
    assert_eq!((rooms, redeemed.saved.rooms[1].operator), (vec!["lobby", "den"], true));
    let effects = chat.takes();
    assert_eq!(effects[0], "delete token digest");
    assert!(effects.contains(&"lobby left ben: goes on elsewhere".to_owned()), "{effects:?}");
    assert!(effects.last().unwrap().starts_with("disconnect 2 You continue"), "{effects:?}");
    assert!(
        chat.is_done(2, Operation::SaveSession(keep())),
        "saving a retired session has no effect"
    );
    assert!(matches!(chat.does(4, Operation::Redeem { token }), Outcome::Redeemed(None)));
    let back = Some(RestoredSession { lineage: 2, operator: false, away: None });
    let entered = chat.does(4, Operation::Enter { name: name("ben"), address: None, back });
    assert!(matches!(entered, Outcome::Entered(Ok(_))), "{entered:?}");
    assert_eq!(chat.state.user_with_id("2").map(|user| user.session), Some(4));
}

#[test]
fn users_of_a_node_leave_in_one_line_and_rejoin() {
    let mut chat = Simulation::new(true);
    let there = |session| OperationContext { session, node: 2, is_here: false, now_ms: 5 };
    chat.enters(1, "ann").unwrap();
    chat.joins(1, "lobby").unwrap();
    let enter = Operation::Enter { name: name("ben"), address: None, back: None };
    chat.does_in(there(2), enter);
    let (replay_from, credential) = (ReplayFrom::Last(0), Credential::Nothing);
    let join = Operation::Join { room: room("lobby"), replay_from, credential };
    chat.does_in(there(2), join);
    let down = |node| Operation::NodeDown { node, name: "n".into(), reason: "is gone".into() };
    chat.does_in(there(0), down(2));
    assert_eq!(chat.members("lobby"), [1], "ben has left");
    assert!(chat.state.suspended.is_empty() && chat.state.user(2).is_none());
    chat.does_in(there(0), down(1));
    assert_eq!((chat.members("lobby"), chat.state.users.len()), (vec![], 0));
    let rejoining = chat.state.rejoining_user(1).unwrap();
    assert_eq!(rejoining.rooms, [(room("lobby"), false)]);
    chat.does(0, Operation::Rejoin { users: vec![rejoining] });
    assert_eq!(chat.members("lobby"), [1]);
    assert!(chat.state.suspended.is_empty() && chat.is_done(1, say("lobby", "back")));
}

/// Two states that apply the same operations are equal, even if their nodes serve different users.
#[test]
fn every_node_reaches_the_same_state() {
    let play = |is_here| {
        let mut chat = Simulation::new(true);
        let mut does = |session, operation| {
            let context = OperationContext { session, node: 1, is_here, now_ms: 5 };
            chat.does_in(context, operation);
        };
        for session in 1..=30 {
            let name = name(&format!("u{}", session % 20));
            does(session, Operation::Enter { name, address: None, back: None });
            let (replay_from, credential) = (ReplayFrom::Last(0), Credential::Nothing);
            let room = room(["lobby", "den", "pit"][session as usize % 3]);
            does(session, Operation::Join { room: room.clone(), replay_from, credential });
            does(session, say(room.as_str(), "hi"));
            does(session - 1, Operation::Exit { reason: None, keep: None });
        }
        let rooms = chat.state.rooms.values();
        let records: Vec<_> = rooms.map(|cell| cell.borrow().record()).collect();
        let users = chat.state.users.values();
        (records, users.map(|user| (user.session, user.name())).collect::<Vec<_>>())
    };
    assert_eq!(play(true), play(false));
}
