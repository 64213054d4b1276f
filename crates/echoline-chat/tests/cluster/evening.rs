//! Simulates one evening of a chat on several nodes: runs one seed and returns the results.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use echoline::{Closed, Limits};
use echoline_chat::{
    self, ChatSettings, LogLimits, ReplicatedState, Role, StateSnapshot, StreamEntry,
};
use tokio::io::DuplexStream;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep};

use super::bus::{Bus, TestNode};
use super::guest::{self, Visit};
use super::random::Random;
use super::storm;
use crate::chat_harness::pipes;

/// The time after the last failure within which all nodes agree again.
const HEALING: Duration = Duration::from_secs(15);

/// The rooms. The first one is the lobby.
pub(crate) const ROOMS: [&str; 3] = ["lobby", "den", "garden"];

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn now_ms() -> u64 {
    1_000_000 + START.get().map_or(0, |start| start.elapsed().as_millis() as u64)
}

/// The parameters of a simulation, derived from the seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) nodes: usize,
    pub(crate) guests: usize,
    /// The maximum number of actions of each user in one visit.
    pub(crate) actions: usize,
    pub(crate) storm: Duration,
    compared_every: u64,
    /// For each node except the first: the number of lines that it keeps of a room.
    lines: [usize; 3],
}

impl Terms {
    fn of(random: &mut Random) -> Self {
        Self {
            nodes: random.pick(&[2, 3, 3, 3]),
            guests: 8 + random.below(5),
            actions: 3 + random.below(10),
            storm: Duration::from_secs(20 + random.below(80) as u64),
            compared_every: 10 + random.below(90) as u64,
            lines: std::array::from_fn(|_| random.pick(&[10, 150, 5000])),
        }
    }

    /// Returns the limits of a node's log. The keeper's node keeps all lines.
    fn log(&self, site: usize) -> LogLimits {
        let lines = site.checked_sub(1).map_or(5000, |index| self.lines[index]);
        LogLimits { lines, ..LogLimits::default() }
    }
}

fn settings() -> ChatSettings {
    ChatSettings {
        flood: None,
        clock: now_ms,
        time: |_| "09:30".into(),
        moment: |_| "later".into(),
        ..ChatSettings::default()
    }
}

/// The result of one simulation.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) terms: Terms,
    /// The connections. The first is the keeper's.
    pub(crate) visits: Vec<Visit>,
    /// The state of each node after all failures have ended.
    pub(crate) healed: Vec<StateSnapshot>,
    /// For each node, after all guests have left: its state, its number of users, and its number of
    /// outboxes that are left over.
    pub(crate) after: Vec<(StateSnapshot, usize, u64)>,
    /// Differences between the states of nodes, even if they agree again later.
    pub(crate) differences: Vec<String>,
    pub(crate) entries: Vec<StreamEntry>,
}

/// The chat, as the simulated clients see it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) bus: Arc<Bus>,
    terms: Terms,
    sites: Arc<Mutex<Vec<Site>>>,
}

/// A node and its sessions; `node` is `None` while the node is down.
#[derive(Debug)]
struct Site {
    node: Option<TestNode>,
    sessions: Vec<AbortHandle>,
}

impl World {
    /// Connects to a node, or to the first node if that one is down.
    pub(crate) fn connect(
        &self,
        site: usize,
        role: Role,
    ) -> (DuplexStream, JoinHandle<Result<(), Closed>>) {
        let (near, far) = pipes::connect(1 << 20, Limits::default());
        let mut sites = self.sites.lock().unwrap();
        let site = if sites[site].node.is_some() { site } else { 0 };
        let node = sites[site].node.as_ref().expect("the first node is never killed");
        let session = tokio::spawn(echoline_chat::serve(far, Arc::clone(&node.chat), role));
        sites[site].sessions.push(session.abort_handle());
        (near, session)
    }

    pub(crate) fn node(&self, site: usize) -> Option<TestNode> {
        self.sites.lock().unwrap()[site].node.clone()
    }

    /// Kills a node with all its connections.
    pub(crate) fn kill(&self, site: usize) {
        let site = &mut self.sites.lock().unwrap()[site];
        if let Some(node) = site.node.take() {
            self.bus.kill(&node);
        }
        site.sessions.drain(..).for_each(|session| session.abort());
    }

    /// Starts another node in place of one that was killed.
    pub(crate) fn start(&self, site: usize, snapshot: Option<StateSnapshot>, random: &mut Random) {
        let log = self.terms.log(site);
        let node = self.bus.start(&format!("m{site}"), log, snapshot, random);
        self.sites.lock().unwrap()[site].node = Some(node);
    }

    pub(crate) fn count(&self) -> usize {
        self.sites.lock().unwrap().len()
    }

    fn nodes(&self) -> Vec<TestNode> {
        (0..self.count()).filter_map(|site| self.node(site)).collect()
    }
}

/// Runs the evening of `seed`.
pub(crate) fn run(seed: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O can be built");
    runtime.block_on(live(Random::new(seed)))
}

async fn live(mut random: Random) -> Outcome {
    START.set(Some(Instant::now()));
    let terms = Terms::of(&mut random);
    let bus = Bus::open(&settings(), terms.compared_every);
    let site = |number: usize, random: &mut Random| {
        let log = terms.log(number);
        let node = Some(bus.start(&format!("m{number}"), log, None, random));
        Site { node, sessions: Vec::new() }
    };
    let sites = (0..terms.nodes).map(|number| site(number, &mut random)).collect();
    let world = World { bus: Arc::clone(&bus), terms, sites: Arc::new(Mutex::new(sites)) };
    let keeper = guest::keeper(&world, terms.storm, random.fork()).await;
    let guests: Vec<_> = (1..=terms.guests)
        .map(|guest| tokio::spawn(guest::live(world.clone(), guest, terms, random.fork())))
        .collect();
    storm::rage(&world, terms.storm, &mut random).await;
    let well = Instant::now();
    let mut present = vec![keeper];
    for guest in guests {
        present.extend(guest.await.expect("no guest panics"));
    }
    // Waits until every operation that is in progress has ended.
    tokio::time::sleep_until((well + HEALING).max(Instant::now() + Duration::from_secs(3))).await;
    let healed = world.nodes().iter().map(|node| node.chat.snapshot()).collect();
    for present in &mut present {
        present.look_around().await;
    }
    sleep(Duration::from_secs(3)).await;
    let visits: Vec<Visit> = present.into_iter().map(guest::Present::go).collect();
    sleep(HEALING).await;
    let after = |node: &TestNode| {
        let left = node.chat.cluster_status().expect("the chat is a node of a cluster").open;
        (node.chat.snapshot(), node.chat.people(), left)
    };
    let after = world.nodes().iter().map(after).collect();
    replay(&bus, &mut random);
    Outcome { terms, visits, healed, after, differences: bus.differences(), entries: bus.entries() }
}

/// Checks that a new node reaches the same state from the entries alone, and from a snapshot and
/// the later entries.
fn replay(bus: &Bus, random: &mut Random) {
    let (known, last) = (bus.known(), bus.entries().len() as u64);
    if known.is_empty() || random.chance(30) {
        let (fresh, _) = bus.chat("fresh", LogLimits::default());
        bus.apply(&fresh, last);
    } else {
        let (late, _) = bus.chat("late", LogLimits { lines: 20, bytes: 2000 });
        late.restore(&known[random.below(known.len())]).expect("the snapshot is valid");
        bus.apply(&late, last);
    }
}
