//! One chat with all its users on a simulated clock: runs one seed and returns the result.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use echoline::{Closed, Limits};
use echoline_chat::{self, Chat, ChatSettings, FloodLimits, LogLimits, Role};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::bus::Bus;
use super::random::Random;
use super::record::{Record, Shared};
use super::{client, pipes};

/// A time that is longer than any time-out of the chat and any pause of a client.
const CALM: Duration = Duration::from_secs(120);

/// The rooms. The first one is the lobby.
pub(crate) const ROOMS: [&str; 3] = ["lobby", "den", "garden"];

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The offset of the wall clock from the simulation's clock, in milliseconds.
    static AHEAD_MS: Cell<u64> = const { Cell::new(0) };
}

/// Returns the number of milliseconds since the simulation began.
pub(crate) fn elapsed_ms() -> u64 {
    START.get().map_or(0, |start| start.elapsed().as_millis() as u64)
}

fn wall_clock_ms() -> u64 {
    elapsed_ms() + AHEAD_MS.get()
}

/// The parameters of a simulation, derived from the seed.
#[derive(Debug)]
pub(crate) struct Terms {
    /// The number of actions of each user.
    pub(crate) actions: usize,
    pub(crate) log: LogLimits,
    pub(crate) replay: u64,
    pub(crate) flood: bool,
    pub(crate) limits: Limits,
    /// Whether the wall clock jumps forwards and backwards.
    pub(crate) jumps: bool,
    /// The number of nodes; 1 means a chat without a cluster.
    pub(crate) nodes: usize,
    pub(crate) kicks: bool,
}

impl Terms {
    fn of(random: &mut Random) -> Self {
        let limits = Limits {
            max_line: 200,
            write_high: random.pick(&[16, 256, 65_536]),
            stall_timeout: random.pick(&[None, Some(2), Some(10)]).map(Duration::from_secs),
            line_timeout: Some(Duration::from_secs(5)),
            ..Limits::default()
        };
        Self {
            actions: 1 + random.below(5),
            log: LogLimits { lines: random.pick(&[12, 60, 5000]), ..LogLimits::default() },
            replay: random.pick(&[0, 0, 3]),
            flood: random.chance(20),
            limits,
            jumps: random.chance(25),
            kicks: random.chance(25),
            nodes: random.pick(&[1, 1, 3]),
        }
    }

    fn settings(&self) -> ChatSettings {
        let flood = FloodLimits {
            rate_per_second: 2,
            burst: 2,
            warn_after: 2,
            mute_after: 4,
            mute_seconds: 1,
            mute_seconds_max: 2,
        };
        ChatSettings {
            log: self.log,
            replay: self.replay,
            flood: self.flood.then_some(flood),
            clock: wall_clock_ms,
            time: |_| "09:30".into(),
            moment: |_| "later".into(),
            ..ChatSettings::default()
        }
    }
}

/// The result of one simulation.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) terms: Terms,
    /// The records of all connections. The first is the keeper's.
    pub(crate) records: Vec<Record>,
    /// The number of users in the chat's state after all had left.
    pub(crate) people_left: usize,
}

/// The chat, as the simulated clients see it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    chats: Vec<Arc<Chat>>,
    /// The number of connections so far.
    arrivals: Arc<AtomicUsize>,
    pub(crate) limits: Limits,
    pub(crate) kicks: bool,
    /// The capacities of pipes that clients can have, in bytes.
    pub(crate) pipes: &'static [usize],
}

impl World {
    /// Opens a connection through a pipe of this capacity, and starts its session.
    pub(crate) fn connect(
        &self,
        role: Role,
        pipe: usize,
    ) -> (DuplexStream, JoinHandle<Result<(), Closed>>) {
        let (near, far) = pipes::connect(pipe, self.limits.clone());
        // Consecutive connections reach different nodes, so a user who reconnects changes the node.
        let arrival = self.arrivals.fetch_add(1, Ordering::Relaxed);
        let chat = Arc::clone(&self.chats[arrival % self.chats.len()]);
        (near, tokio::spawn(echoline_chat::serve(far, chat, role)))
    }
}

/// Runs the simulation of `seed` with this number of users.
pub(crate) fn run(seed: u64, users: usize) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O can be built");
    runtime.block_on(live(Random::new(seed), users))
}

async fn live(mut random: Random, users: usize) -> Outcome {
    START.set(Some(Instant::now()));
    AHEAD_MS.set(1_000_000);
    let terms = Terms::of(&mut random);
    let chats = match terms.nodes {
        1 => vec![Arc::new(Chat::new(terms.settings()))],
        count => {
            let settings = terms.settings();
            let (_, nodes) = Bus::nodes(count, &settings, &mut random);
            nodes.into_iter().map(|node| node.chat).collect()
        }
    };
    // With many users, sending single bytes would take too long.
    let pipes = if users > 20 { &[50, 300, 1000, 65_536][..] } else { &[1, 7, 64, 1000, 65_536] };
    let (limits, kicks, arrivals) = (terms.limits.clone(), terms.kicks, Arc::default());
    let world = World { chats, arrivals, limits, kicks, pipes };
    let keeper = client::keeper(&world, random.fork()).await;
    if terms.jumps {
        // This task ends with the runtime.
        tokio::spawn(jump(random.fork()));
    }
    let lives = (1..=users)
        .map(|user| tokio::spawn(client::live(world.clone(), user, terms.actions, random.fork())));
    let lives: Vec<JoinHandle<Vec<client::Present>>> = lives.collect();
    let mut present = vec![keeper];
    for life in lives {
        present.extend(life.await.expect("no client panics"));
    }
    sleep(CALM).await;
    // The records end here, so later messages are not checked.
    let records: Vec<Shared> = present.into_iter().map(client::Present::go).collect();
    sleep(CALM).await;
    let take = |shared: Shared| {
        let empty = Record::new(String::new(), super::record::Sight::Plain);
        shared.with(|record| std::mem::replace(record, empty))
    };
    let records = records.into_iter().map(take).collect();
    let people_left = world.chats.iter().map(|chat| chat.people()).sum();
    Outcome { terms, records, people_left }
}

/// Lets the wall clock jump forwards and backwards.
async fn jump(mut random: Random) {
    loop {
        sleep(random.millis(3000)).await;
        AHEAD_MS.set(random.number() % 2_000_000);
    }
}
