//! A simulated guest that connects, talks, and leaves or stays. Its input and output are recorded.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use echoline::Closed;
use echoline_chat::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep};

use super::evening::{ROOMS, Terms, World};
use super::random::Random;

/// The guests' names. Names that look alike stand side by side; only one of them can be in the chat
/// at a time.
const NAMES: [&str; 9] = ["ann", "Ann", "\u{430}nn", "bob", "BOB", "b0b", "Ian", "ian", "lan"];

/// The time limit for a guest to log in.
const PATIENCE: Duration = Duration::from_secs(100);

/// The output format of a guest's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A terminal with its default settings.
    Plain,
    /// A terminal after `/numbers on`.
    Numbered,
    /// A program.
    Bot,
}

/// The record of one connection that has ended.
#[derive(Debug)]
pub(crate) struct Visit {
    /// The name at login.
    pub(crate) name: String,
    pub(crate) sight: Sight,
    /// The lines that the guest said, in order.
    pub(crate) said: Vec<String>,
    pub(crate) heard: String,
    /// Whether a token restored the session.
    pub(crate) is_back: bool,
    /// Whether the connection stayed until the end of the evening.
    pub(crate) has_stayed: bool,
}

/// A current or former connection.
#[derive(Debug)]
pub(crate) struct Present {
    name: String,
    sight: Sight,
    said: Vec<String>,
    heard: Arc<Mutex<Vec<u8>>>,
    is_back: bool,
    has_entered: bool,
    writer: Option<WriteHalf<DuplexStream>>,
    reader: JoinHandle<()>,
    session: JoinHandle<Result<(), Closed>>,
    /// A task that also writes to this connection. It returns the writer when it ends.
    also: Option<JoinHandle<WriteHalf<DuplexStream>>>,
}

impl Present {
    fn begin(world: &World, site: usize, name: String, sight: Sight) -> Self {
        let role = if sight == Sight::Bot { Role::Bot } else { Role::User };
        let (near, session) = world.connect(site, role);
        let (read, writer) = split(near);
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let reader = tokio::spawn(listen(read, Arc::clone(&heard)));
        let (said, writer) = (Vec::new(), Some(writer));
        let (is_back, has_entered) = (false, false);
        let also = None;
        Self { name, sight, said, heard, is_back, has_entered, writer, reader, session, also }
    }

    /// Sends a line. Returns `false` if the connection no longer accepts input.
    async fn send(&mut self, line: &str) -> bool {
        let Some(writer) = &mut self.writer else { return false };
        writer.write_all(format!("{line}\n").as_bytes()).await.is_ok()
    }

    /// Sends a command in the format of the client.
    async fn run(&mut self, line: &str) -> bool {
        match self.sight {
            Sight::Bot => self.send(&serde_json::json!({ "do": line }).to_string()).await,
            _ => self.send(line).await,
        }
    }

    async fn say(&mut self) -> bool {
        let text = format!("<{}.{}>", self.name, self.said.len());
        self.said.push(text.clone());
        match self.sight {
            Sight::Bot => self.send(&serde_json::json!({ "say": text }).to_string()).await,
            _ => self.send(&text).await,
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }

    fn is_there(&self) -> bool {
        self.has_entered && self.writer.is_some() && !self.session.is_finished()
    }

    /// Breaks the connection: the pipe breaks once both halves are dropped.
    async fn break_off(&mut self) {
        self.writer = None;
        self.reader.abort();
        while !self.reader.is_finished() {
            yield_now().await;
        }
    }

    /// Asks for the list of users.
    pub(crate) async fn look_around(&mut self) {
        if let Some(also) = self.also.take() {
            self.writer = also.await.ok();
        }
        if self.is_there() {
            self.run("/users").await;
        }
    }

    /// Drops the connection. Returns its record.
    pub(crate) fn go(self) -> Visit {
        let has_stayed = self.is_there();
        self.reader.abort();
        let heard = self.text();
        let Self { name, sight, said, is_back, .. } = self;
        Visit { name, sight, said, heard, is_back, has_stayed }
    }

    /// Sends names or a token until one is accepted.
    async fn enter(&mut self, token: Option<&str>) -> bool {
        let hello = match (self.sight, token) {
            (Sight::Bot, _) => {
                serde_json::json!({ "name": self.name, "rooms": &ROOMS[..2] }).to_string()
            }
            (_, Some(token)) => format!("/resume {token}"),
            (_, None) => self.name.clone(),
        };
        let (end, mut asked) = (Instant::now() + PATIENCE, 0);
        while Instant::now() < end && !self.session.is_finished() {
            let text = self.text();
            // Counts the prompts and errors, because the server asks again after wrong input.
            let asks = match self.sight {
                Sight::Bot => 1 + text.matches("\"kind\":\"error\"").count(),
                _ => text.matches("Enter your name: ").count(),
            };
            let words = ["\"kind\":\"welcome\"", "joined the chat ***", "*** Back in "];
            if words.iter().any(|words| text.contains(words)) {
                self.has_entered = true;
                self.is_back = text.contains("*** Back in ");
                return self.sight != Sight::Numbered || self.send("/numbers on").await;
            }
            if asks > asked {
                asked = asks;
                let hello = if asks > 1 && token.is_some() { &self.name } else { &hello };
                let hello = hello.clone();
                self.send(&hello).await;
            }
            sleep(Duration::from_millis(300)).await;
        }
        false
    }
}

async fn listen(mut from: ReadHalf<DuplexStream>, heard: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        heard.lock().unwrap().extend(&buffer[..count]);
    }
}

/// The program that is in every room during the whole simulation. It also kicks users.
pub(crate) async fn keeper(world: &World, storm: Duration, mut random: Random) -> Present {
    let mut keeper = Present::begin(world, 0, "keeper".into(), Sight::Bot);
    keeper.send(&serde_json::json!({ "name": "keeper", "rooms": ROOMS }).to_string()).await;
    while !keeper.text().contains("\"kind\":\"welcome\"") {
        sleep(Duration::from_millis(50)).await;
    }
    keeper.has_entered = true;
    let mut writer = keeper.writer.take().expect("a new connection has a writer");
    keeper.also = Some(tokio::spawn(async move {
        let end = Instant::now() + storm;
        while Instant::now() < end {
            sleep(random.millis(8000)).await;
            let guest = format!("p{}-{}", 1 + random.below(12), 1 + random.below(2));
            let name = if random.chance(70) { &*guest } else { random.pick(&NAMES) };
            let what = random.pick(&["kick", "op", "deop", "mute", "unmute", "invite"]);
            let more = if what == "mute" { " 5s" } else { "" };
            let line = format!("/{what} {name}{more}");
            let line = serde_json::json!({ "do": line, "room": random.pick(&ROOMS[1..]) });
            let _ = writer.write_all(format!("{line}\n").as_bytes()).await;
        }
        let line = serde_json::json!({ "do": "/topic good night", "room": ROOMS[0] });
        let _ = writer.write_all(format!("{line}\n").as_bytes()).await;
        writer
    }));
    keeper
}

/// Runs a guest's whole evening, with one connection after another.
pub(crate) async fn live(
    world: World,
    guest: usize,
    terms: Terms,
    mut random: Random,
) -> Vec<Present> {
    let sight = random.pick(&[Sight::Plain, Sight::Plain, Sight::Numbered, Sight::Bot]);
    let mut visits: Vec<Present> = Vec::new();
    let mut token: Option<String> = None;
    for visit in 1..=1 + random.below(3) {
        sleep(random.millis(15_000)).await;
        let site = random.below(world.count());
        let mut present = Present::begin(&world, site, format!("p{guest}-{visit}"), sight);
        if !present.enter(token.take().as_deref()).await {
            present.break_off().await;
            visits.push(present);
            continue;
        }
        for _ in 0..1 + random.below(terms.actions) {
            sleep(random.millis(6000)).await;
            do_something(&mut present, &mut random).await;
        }
        let plan = random.below(10);
        match plan {
            0..5 => {}
            5 => {
                present.run("/quit good night").await;
                sleep(random.millis(3000)).await;
                present.break_off().await;
            }
            6 | 7 => {
                present.break_off().await;
            }
            _ if sight != Sight::Bot => {
                // Continues on another connection, while the current one is still open or after it
                // has left.
                present.run("/token").await;
                sleep(random.millis(4000)).await;
                token = token_in(&present.text());
                if random.chance(50) {
                    present.break_off().await;
                }
            }
            _ => {}
        }
        visits.push(present);
        if plan < 5 {
            break;
        }
    }
    visits
}

fn token_in(text: &str) -> Option<String> {
    let (_, after) = text.rsplit_once("/resume ")?;
    Some(after.split_once(' ')?.0.to_owned())
}

async fn do_something(present: &mut Present, random: &mut Random) {
    let room = random.pick(&ROOMS[1..]);
    match random.below(24) {
        0..10 => drop(present.say().await),
        10..13 => {
            for _ in 0..2 + random.below(4) {
                present.say().await;
            }
        }
        13 => {
            // 60 lines are more than a node holds back while the link is lost.
            for _ in 0..random.pick(&[5, 60]) {
                present.say().await;
            }
        }
        14..17 if present.sight != Sight::Bot => drop(present.run(&format!("/join {room}")).await),
        17 if present.sight != Sight::Bot => drop(present.run(&format!("/leave {room}")).await),
        18 => drop(present.run(&format!("/nick {}", random.pick(&NAMES))).await),
        19 => drop(present.run(&format!("/topic {}", random.pick(&["-", "bees", "tea"]))).await),
        20 => drop(present.run(&format!("/msg {} psst", random.pick(&NAMES))).await),
        21 => drop(present.run(random.pick(&["/away tea", "/away"])).await),
        22 => drop(present.run("/users").await),
        _ => drop(present.run("/me waves").await),
    }
}
