//! A simulated client that connects, talks, and leaves or stays. Its input and output are recorded.

use std::time::Duration;

use echoline_chat::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{sleep, timeout};

use super::random::Random;
use super::record::{End, Record, Resumed, Shared, Sight};
use super::talk;
use super::world::{ROOMS, World, elapsed_ms};

/// The clients' names. Names that look alike are in one group; only one of a group can be in the
/// chat at a time.
const NAMES: [[&str; 3]; 7] = [
    ["ann", "Ann", "\u{430}nn"],
    ["bob", "BOB", "b0b"],
    ["eve", "EVE", "\u{435}ve"],
    ["mia", "Mia", "mi\u{430}"],
    ["joe", "JOE", "j\u{43e}e"],
    ["kim", "Kim", "KIM"],
    // The first name looks like the second and like the third, but those two do not look alike.
    ["Ian", "ian", "lan"],
];

/// The reading behaviour of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habit {
    pub(crate) pipe: usize,
    /// The maximum number of bytes per read.
    chunk: usize,
    is_slow: bool,
    /// The number of bytes after which the client stops reading, and the length of that pause.
    stuck: Option<(usize, Duration)>,
}

impl Habit {
    const PROMPT: Self = Self { pipe: 1 << 20, chunk: 4096, is_slow: false, stuck: None };

    fn of(world: &World, random: &mut Random) -> Self {
        let stuck = match random.below(10) {
            0 => Some(Duration::from_secs(24 * 3600)),
            1 | 2 => Some(random.millis(5000)),
            _ => None,
        };
        Self {
            pipe: random.pick(world.pipes),
            chunk: random.pick(&[world.pipes[0] + 2, 100, 4096]),
            is_slow: random.chance(20),
            stuck: stuck.map(|length| (random.below(3000), length)),
        }
    }
}

/// A current or former connection.
#[derive(Debug)]
pub(crate) struct Present {
    pub(crate) shared: Shared,
    habit: Habit,
    reader: JoinHandle<()>,
    /// `None` after the client has ended its input.
    pub(crate) writer: Option<WriteHalf<DuplexStream>>,
    session: JoinHandle<Result<(), echoline::Closed>>,
    /// A task that also writes to this connection.
    also: Option<JoinHandle<()>>,
}

impl Present {
    fn begin(world: &World, role: Role, habit: Habit, record: Record, random: Random) -> Self {
        let (near, session) = world.connect(role, habit.pipe);
        let (read, write) = split(near);
        let shared = Shared::new(record);
        let reader = tokio::spawn(listen(read, shared.clone(), habit, random));
        Self { shared, habit, reader, writer: Some(write), session, also: None }
    }

    /// Records the end of a connection, if the client did not end it itself.
    fn settle(&self) {
        self.shared.with(|record| {
            if record.end == End::Stayed && self.session.is_finished() {
                record.end = End::Ended;
            } else if record.end == End::Stayed && self.habit.stuck.is_some() {
                record.end = End::Stuck;
            }
        });
    }

    /// Drops the connection. Returns its record.
    pub(crate) fn go(self) -> Shared {
        self.settle();
        self.reader.abort();
        if let Some(also) = &self.also {
            also.abort();
        }
        self.shared
    }

    fn end(&self, end: End) {
        self.shared.with(|record| record.end = end);
    }

    /// Sends bytes in pieces. Returns `false` if the server takes no more input.
    pub(crate) async fn send(&mut self, bytes: &[u8], random: &mut Random) -> bool {
        let Some(writer) = &mut self.writer else { return false };
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = if random.chance(70) { rest.len() } else { 1 + random.below(rest.len()) };
            let (piece, after) = rest.split_at(most);
            // A server that waits for the client to read takes no input.
            match timeout(Duration::from_secs(60), writer.write_all(piece)).await {
                Ok(Ok(())) => rest = after,
                Ok(Err(_)) | Err(_) => return false,
            }
            match random.below(4) {
                0 => yield_now().await,
                1 if !rest.is_empty() => sleep(random.millis(100)).await,
                _ => {}
            }
        }
        true
    }
}

async fn listen(mut from: ReadHalf<DuplexStream>, shared: Shared, habit: Habit, mut r: Random) {
    let mut buffer = vec![0; habit.chunk];
    let mut stuck = habit.stuck;
    loop {
        if let Some((_, length)) =
            stuck.take_if(|(after, _)| shared.with(|record| record.heard.len() > *after))
        {
            sleep(length).await;
        }
        if habit.is_slow && r.chance(20) {
            sleep(r.millis(100)).await;
        }
        let Ok(count @ 1..) = from.read(&mut buffer).await else { break };
        shared.with(|record| {
            record.arrivals.push((record.heard.len(), elapsed_ms()));
            record.heard.extend(&buffer[..count]);
        });
        shared.news.notify_one();
    }
}

/// The program that is in every room and reads everything at once. It also kicks users.
pub(crate) async fn keeper(world: &World, mut random: Random) -> Present {
    let record = Record::new("<keeper>".into(), Sight::Keeper);
    let fork = random.fork();
    let mut keeper = Present::begin(world, Role::Bot, Habit::PROMPT, record, fork);
    let rooms = serde_json::json!({ "name": "keeper", "rooms": ROOMS });
    keeper.send(format!("{rooms}\n").as_bytes(), &mut random).await;
    let welcome = keeper.shared.until(|heard| (lines(heard) > ROOMS.len()).then_some(()));
    timeout(Duration::from_secs(1), welcome).await.expect("the keeper is logged in");
    keeper.end(End::Stayed);
    let mut writer = keeper.writer.take().expect("a new connection has a writer");
    if world.kicks {
        keeper.also = Some(tokio::spawn(async move {
            for _ in 0..10 {
                sleep(random.millis(1500)).await;
                let name = random.pick(&random.clone().pick(&NAMES));
                let (room, line) = (random.pick(&ROOMS), format!("/kick {name} calm down"));
                let line = serde_json::json!({ "do": line, "room": room });
                let _ = writer.write_all(format!("{line}\n").as_bytes()).await;
            }
            // Keeps the writer, because dropping it would end the stream.
            std::future::pending::<()>().await;
            drop(writer);
        }));
    } else {
        keeper.writer = Some(writer);
    }
    keeper
}

fn lines(heard: &[u8]) -> usize {
    heard.iter().filter(|&&byte| byte == b'\n').count()
}

/// Runs a user's whole evening, with one connection after another.
pub(crate) async fn live(
    world: World,
    user: usize,
    actions: usize,
    mut random: Random,
) -> Vec<Present> {
    let sight = match random.below(10) {
        0..6 => Sight::Plain,
        6..8 => Sight::Numbered,
        _ => Sight::Bot,
    };
    sleep(random.millis(2000)).await;
    let mut visits: Vec<Present> = Vec::new();
    for visit in 1..=1 + random.below(3) {
        let record = Record::new(format!("<{user}.{visit}>"), sight);
        let habit = Habit::of(&world, &mut random);
        let role = if sight == Sight::Bot { Role::Bot } else { Role::User };
        let mut present = Present::begin(&world, role, habit, record, random.fork());
        let before = visits.last().map(|before| (visits.len() - 1, before));
        let patience = Duration::from_secs(60);
        let entered = if sight == Sight::Bot {
            timeout(patience, enter_as_bot(&mut present, user, before, &mut random)).await
        } else {
            timeout(patience, enter(&mut present, user, before, &mut random)).await
        };
        let plan = random.below(10);
        let talked = if entered == Ok(true) {
            talk::talk(&mut present, actions, &mut random).await
        } else {
            false
        };
        finish(&mut present, plan, talked, &mut random).await;
        visits.push(present);
        if plan < 3 {
            break;
        }
        sleep(random.millis(1000)).await;
    }
    visits
}

/// Ends a connection as planned, or records that the server ended it.
async fn finish(present: &mut Present, plan: usize, talked: bool, random: &mut Random) {
    let sure = |end| if talked { end } else { End::Ended };
    match plan {
        // The connection stays, even if another connection takes over the session.
        0..5 => present.end(sure(End::Stayed)),
        5 | 6 => {
            let quit = present.shared.with(|record| match record.sight {
                Sight::Bot => &b"{\"do\": \"/quit\"}\n"[..],
                _ => b"/quit good night\n",
            });
            let sent = present.send(quit, random).await;
            present.end(if sent { sure(End::Quit) } else { End::Ended });
            hear_all(present).await;
        }
        7 => {
            let sent = talk::break_off(present, random).await;
            if let Some(mut writer) = present.writer.take() {
                let _ = writer.shutdown().await;
            }
            present.end(if sent { sure(End::HalfClosed) } else { End::Ended });
            hear_all(present).await;
        }
        _ => {
            talk::break_off(present, random).await;
            present.writer = None;
            present.end(End::Reset);
            // The pipe breaks once both halves are dropped.
            present.reader.abort();
            while !present.reader.is_finished() {
                yield_now().await;
            }
        }
    }
}

async fn hear_all(present: &mut Present) {
    let reader = &mut present.reader;
    let ended = reader.is_finished() || timeout(Duration::from_secs(30), reader).await.is_ok();
    if !ended || present.habit.stuck.is_some() {
        present.end(End::Ended);
    }
}

/// Sends names or a token until one is accepted. Returns `false` if the server ends the connection.
async fn enter(
    present: &mut Present,
    user: usize,
    before: Option<(usize, &Present)>,
    random: &mut Random,
) -> bool {
    if random.chance(3) {
        // Sends nothing until the server disconnects.
        let _ = timeout(Duration::from_secs(100), &mut present.reader).await;
        return false;
    }
    let token = before.and_then(|(index, before)| before.shared.with(|r| Some((index, token(r)?))));
    let resuming = token.filter(|_| random.chance(80));
    for attempt in 0..5 {
        let (text, names) = match (&resuming, attempt) {
            (Some((_, (token, names))), 0) => (format!("/resume {token}"), names.clone()),
            (_, 4) => (format!("u{user}"), vec![format!("u{user}")]),
            _ => {
                let row = random.pick(&NAMES);
                let name = random.pick(&row).to_owned();
                (name.clone(), vec![name])
            }
        };
        present.shared.with(|record| record.names.extend(names));
        let prompts = present.shared.with(|record| prompts(&record.heard));
        let more =
            if present.shared.with(|r| r.sight) == Sight::Numbered { "/numbers on\n" } else { "" };
        if !present.send(format!("{text}\n").as_bytes(), random).await {
            return false;
        }
        let is_in = present.shared.until(|heard| answer(heard, prompts.max(1))).await;
        if is_in {
            if let (Some((index, _)), 0) = (&resuming, attempt) {
                let index = *index;
                present.shared.with(|record| record.resumes = Some(resumed(index, before)));
            }
            return present.send(more.as_bytes(), random).await;
        }
        sleep(random.millis(50)).await;
    }
    false
}

fn resumed(record: usize, before: Option<(usize, &Present)>) -> Resumed {
    let heard_all = before.is_some_and(|(_, before)| {
        let end = before.shared.with(|record| record.end);
        before.habit.stuck.is_none() && matches!(end, End::Quit | End::HalfClosed)
    });
    Resumed { record, heard_all }
}

fn prompts(heard: &[u8]) -> usize {
    String::from_utf8_lossy(heard).matches("Enter your name: ").count()
}

/// Returns whether the last name was accepted: `false` after another prompt, `true` after any other
/// line, and `None` while there is no answer.
fn answer(heard: &[u8], before: usize) -> Option<bool> {
    let text = String::from_utf8_lossy(heard);
    if text.matches("Enter your name: ").count() > before {
        return Some(false);
    }
    let mut parts = text.splitn(before + 1, "Enter your name: ");
    let after = parts.nth(before)?;
    let (line, rest) = after.split_once("\r\n")?;
    let is_in = line.ends_with(" joined the chat ***")
        || line.starts_with("*** Back in ")
        || (line.starts_with("--- ") && line.contains(" earlier line"))
        || (!rest.is_empty() && !"Enter your name: ".starts_with(rest));
    is_in.then_some(true)
}

/// Returns the last token that the server sent, and the names that it may restore.
fn token(record: &Record) -> Option<(String, Vec<String>)> {
    let text = String::from_utf8_lossy(&record.heard);
    let (_, after) = text.rsplit_once("*** /resume ")?;
    let (token, rest) = after.split_once(' ')?;
    (!rest.is_empty()).then(|| (token.to_owned(), record.names.clone()))
}

async fn enter_as_bot(
    present: &mut Present,
    user: usize,
    before: Option<(usize, &Present)>,
    random: &mut Random,
) -> bool {
    let rooms = if user.is_multiple_of(2) { &ROOMS[..1] } else { &ROOMS[1..] };
    let after = before.map(|(_, before)| before.shared.with(|record| positions(record)));
    let after = after.unwrap_or_default();
    present.shared.with(|record| record.after.clone_from(&after));
    let name = format!("bot{user}");
    present.shared.with(|record| record.names.push(name.clone()));
    if let Some((index, before)) = before {
        let resumed = resumed(index, Some((index, before)));
        present.shared.with(|record| record.resumes = Some(resumed));
    }
    // The server may not have noticed the end of the previous connection yet.
    for attempt in 1..=30 {
        let hello = serde_json::json!({
            "name": name, "rooms": rooms, "after": after,
        });
        if !present.send(format!("{hello}\n").as_bytes(), random).await {
            return false;
        }
        let is_in = |heard: &[u8]| match String::from_utf8_lossy(heard) {
            text if text.contains("\"kind\":\"welcome\"") => Some(true),
            text => (text.matches('\n').count() >= attempt).then_some(false),
        };
        if present.shared.until(is_in).await {
            return true;
        }
        sleep(Duration::from_secs(1)).await;
    }
    false
}

/// Returns the last line of each room that a program has received completely, on any of its
/// connections.
pub(crate) fn positions(record: &Record) -> std::collections::BTreeMap<String, u64> {
    let mut positions = record.after.clone();
    for line in record.text().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        if let (Some(room), Some(number)) = (value["room"].as_str(), value["number"].as_u64()) {
            positions.insert(room.to_owned(), number);
        }
    }
    positions
}
