//! A stream in memory that connects several nodes of one chat. It delays entries, stores some of
//! them twice, and loses the connections to nodes. All nodes still get the same order.
#![allow(dead_code, reason = "each test file uses only a part of it")]

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use echoline_chat::{
    Chat, ChatSettings, ClusterOptions, Link, LogLimits, Proposal, ReplicatedState, StateSnapshot,
    StreamEntry,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::random::Random;

/// The interval between two heartbeats of a node, in seconds.
const HEARTBEAT_SECONDS: u64 = 3;

/// A failure between a node and the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// The node has no connection, and is told so.
    Cut,
    /// The node has a connection, but no entry is accepted or delivered. This is like a stream
    /// without a majority of its servers.
    Frozen,
    /// The node itself is stopped, and so are its users' connections.
    Stopped,
}

/// The stream that all nodes share.
#[derive(Debug)]
pub(crate) struct Bus {
    settings: ChatSettings,
    /// The interval, in entries, at which the states of all nodes are compared; 0 for never.
    compared_every: u64,
    state: Mutex<State>,
    /// The number of entries.
    length: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<StreamEntry>,
    ids: HashSet<String>,
    /// The running nodes.
    nodes: Vec<TestNode>,
    /// The number of nodes that were started.
    started: u32,
    /// States of nodes, by the sequence of the last entry applied.
    known: BTreeMap<u64, StateSnapshot>,
    differences: Vec<String>,
}

/// One node on the bus.
#[derive(Clone, Debug)]
pub(crate) struct TestNode {
    pub(crate) chat: Arc<Chat>,
    trouble: watch::Sender<Trouble>,
    /// A snapshot to load instead of the entries before it.
    gap: Arc<Mutex<Option<StateSnapshot>>>,
    tasks: Arc<[JoinHandle<()>; 2]>,
}

impl Bus {
    /// Creates a bus without nodes. It runs until the runtime ends.
    pub(crate) fn open(settings: &ChatSettings, compared_every: u64) -> Arc<Self> {
        let (settings, length) = (settings.clone(), watch::Sender::new(0));
        let state = Mutex::default();
        let bus = Arc::new(Self { settings, compared_every, state, length });
        tokio::spawn(beat(Arc::clone(&bus)));
        bus
    }

    /// Creates a bus, and starts this number of nodes.
    pub(crate) fn nodes(
        count: usize,
        settings: &ChatSettings,
        random: &mut Random,
    ) -> (Arc<Self>, Vec<TestNode>) {
        let bus = Self::open(settings, 0);
        let log = settings.log;
        let nodes = (0..count).map(|number| bus.start(&format!("m{number}"), log, None, random));
        let nodes = nodes.collect();
        (bus, nodes)
    }

    /// Creates an empty chat that is not connected to the bus.
    pub(crate) fn chat(
        &self,
        name: &str,
        log: LogLimits,
    ) -> (Arc<Chat>, UnboundedReceiver<Proposal>) {
        let started = {
            let mut state = self.state.lock().unwrap();
            state.started += 1;
            state.started
        };
        let options = ClusterOptions {
            cluster: "test".into(),
            node_name: name.to_owned(),
            node: 1000 * started,
        };
        Chat::clustered(ChatSettings { log, ..self.settings.clone() }, options)
    }

    /// Starts a node from this snapshot, or from the first entry if there is none.
    pub(crate) fn start(
        self: &Arc<Self>,
        name: &str,
        log: LogLimits,
        snapshot: Option<StateSnapshot>,
        random: &mut Random,
    ) -> TestNode {
        let (chat, proposals) = self.chat(name, log);
        if let Some(snapshot) = snapshot {
            chat.restore(&snapshot).expect("the snapshot is valid");
        }
        let trouble = watch::Sender::new(Trouble::None);
        let gap = Arc::<Mutex<Option<StateSnapshot>>>::default();
        let well = Well(trouble.clone());
        let sending =
            send(Arc::clone(self), Arc::clone(&chat), well.clone(), proposals, random.fork());
        let following =
            follow(Arc::clone(self), Arc::clone(&chat), well, Arc::clone(&gap), random.fork());
        let tasks = Arc::new([tokio::spawn(sending), tokio::spawn(following)]);
        let node = TestNode { chat, trouble, gap, tasks };
        self.state.lock().unwrap().nodes.push(node.clone());
        node
    }

    /// Kills a node at once.
    pub(crate) fn kill(&self, node: &TestNode) {
        node.tasks.iter().for_each(JoinHandle::abort);
        // Entries that the node has sent, but that the bus has not taken, are lost.
        node.trouble.send_replace(Trouble::Stopped);
        let nodes = &mut self.state.lock().unwrap().nodes;
        nodes.retain(|other| !Arc::ptr_eq(&other.chat, &node.chat));
    }

    /// Returns all entries so far.
    pub(crate) fn entries(&self) -> Vec<StreamEntry> {
        self.state.lock().unwrap().entries.clone()
    }

    /// Returns the entries after the first `from`, up to the one with number `until`.
    fn part(&self, from: u64, until: u64) -> Vec<StreamEntry> {
        self.state.lock().unwrap().entries[from as usize..until as usize].to_vec()
    }

    /// Returns the states of nodes at some positions of the stream.
    pub(crate) fn known(&self) -> Vec<StateSnapshot> {
        self.state.lock().unwrap().known.values().cloned().collect()
    }

    /// Describes the differences between the states of nodes.
    pub(crate) fn differences(&self) -> Vec<String> {
        self.state.lock().unwrap().differences.clone()
    }

    /// Applies the next entries up to `until`, and compares states on the way.
    pub(crate) fn apply(&self, chat: &Chat, until: u64) {
        loop {
            let applied = chat.applied();
            if applied >= until {
                return;
            }
            let stop = match self.compared_every {
                0 => until,
                every => until.min((applied / every + 1) * every),
            };
            chat.apply(&self.part(applied, stop));
            if self.compared_every > 0 && stop.is_multiple_of(self.compared_every) {
                self.compare(chat.snapshot());
            }
        }
    }

    fn compare(&self, snapshot: StateSnapshot) {
        let state = &mut *self.state.lock().unwrap();
        let sequence = snapshot.sequence;
        let known = state.known.entry(sequence).or_insert_with(|| snapshot.clone());
        if *known != snapshot {
            let text =
                |snapshot: &StateSnapshot| String::from_utf8_lossy(&snapshot.state).into_owned();
            let (one, other) = (text(known), text(&snapshot));
            state.differences.push(format!("at {sequence}:\n{one}\n{other}"));
        }
    }

    /// Adds an entry that no node proposed.
    pub(crate) fn inject(&self, payload: &[u8]) {
        let payload = payload.to_vec().into();
        self.take(&Proposal { id: String::new(), payload }, true);
    }

    /// Replaces the stream by an empty one. All nodes are reset.
    pub(crate) fn begin_anew(&self) {
        let nodes = {
            let state = &mut *self.state.lock().unwrap();
            state.entries.clear();
            state.ids.clear();
            state.known.clear();
            state.nodes.clone()
        };
        self.length.send_replace(0);
        nodes.iter().for_each(|node| node.chat.reset());
    }

    /// Removes the last entry from the stream. All nodes restart from the remaining entries.
    pub(crate) fn read_anew(&self) {
        let nodes = {
            let state = &mut *self.state.lock().unwrap();
            state.entries.pop();
            state.known.clear();
            state.nodes.clone()
        };
        nodes.iter().for_each(|node| node.chat.reset());
        self.length.send_modify(|length| *length -= 1);
    }

    fn take(&self, proposal: &Proposal, is_again: bool) {
        let mut state = self.state.lock().unwrap();
        if !state.ids.insert(proposal.id.clone()) && !is_again {
            return;
        }
        let sequence = state.entries.len() as u64 + 1;
        let payload = proposal.payload.clone();
        state.entries.push(StreamEntry { sequence, time_ms: (self.settings.clock)(), payload });
        self.length.send_replace(sequence);
    }
}

impl TestNode {
    /// Causes a failure for this length of time.
    pub(crate) async fn suffer(&self, trouble: Trouble, length: Duration) {
        self.begin(trouble);
        sleep(length).await;
        self.begin(Trouble::None);
    }

    /// Begins a failure, or ends it with `Trouble::None`.
    pub(crate) fn begin(&self, trouble: Trouble) {
        let before = self.trouble.send_replace(trouble);
        match (before, trouble) {
            (_, Trouble::Cut) => self.chat.link_changed(Link::Down),
            (Trouble::Cut, _) => self.chat.link_changed(Link::Up),
            _ => {}
        }
    }

    /// Lets the node load this snapshot instead of the entries before it.
    pub(crate) fn skip_to(&self, snapshot: StateSnapshot) {
        *self.gap.lock().unwrap() = Some(snapshot);
    }

    fn is_well(&self) -> bool {
        *self.trouble.borrow() == Trouble::None
    }
}

/// Waits until a node has no failure.
#[derive(Clone)]
struct Well(watch::Sender<Trouble>);

impl Well {
    async fn wait(&self) {
        let mut trouble = self.0.subscribe();
        trouble.wait_for(|trouble| *trouble == Trouble::None).await.expect("the sender lasts");
    }
}

/// Takes the proposals of a node, each after a random delay. Takes some of them twice.
async fn send(
    bus: Arc<Bus>,
    chat: Arc<Chat>,
    well: Well,
    mut proposals: UnboundedReceiver<Proposal>,
    mut random: Random,
) {
    while let Some(proposal) = proposals.recv().await {
        let (bus, chat, well) = (Arc::clone(&bus), Arc::clone(&chat), well.clone());
        let mut random = random.fork();
        tokio::spawn(async move {
            sleep(random.millis(8)).await;
            well.wait().await;
            if random.chance(50) && chat.is_settled(&proposal.id) {
                return;
            }
            bus.take(&proposal, false);
            if random.chance(10) {
                // The acknowledgement was lost, so the node sends the proposal again. The stream no
                // longer recognizes the id.
                sleep(random.millis(200)).await;
                bus.take(&proposal, true);
            }
        });
    }
}

/// Delivers the entries to a node, a few at a time.
async fn follow(
    bus: Arc<Bus>,
    chat: Arc<Chat>,
    well: Well,
    gap: Arc<Mutex<Option<StateSnapshot>>>,
    mut random: Random,
) {
    let mut length = bus.length.subscribe();
    loop {
        length
            .wait_for(|length| *length > chat.applied())
            .await
            .expect("the bus outlives its nodes");
        sleep(random.millis(8)).await;
        well.wait().await;
        let applied = chat.applied();
        let gap = gap.lock().unwrap().take();
        if let Some(snapshot) = gap.filter(|snapshot| snapshot.sequence > applied) {
            chat.restore(&snapshot).expect("the snapshot is valid");
            continue;
        }
        let length = *length.borrow();
        if length > applied {
            let count = 1 + random.below((length - applied) as usize);
            bus.apply(&chat, applied + count as u64);
        }
    }
}

/// Sends ticks and heartbeats to the nodes.
async fn beat(bus: Arc<Bus>) {
    let mut next = Instant::now();
    for second in 0_u64.. {
        next += Duration::from_secs(1);
        sleep_until(next).await;
        let nodes = bus.state.lock().unwrap().nodes.clone();
        for node in &nodes {
            let trouble = *node.trouble.borrow();
            if trouble != Trouble::Stopped {
                node.chat.tick();
            }
            if second.is_multiple_of(HEARTBEAT_SECONDS) && node.is_well() {
                let heartbeat = node.chat.heartbeat();
                let others = nodes.iter().filter(|other| other.is_well());
                others.for_each(|other| other.chat.receive_heartbeat(&heartbeat));
            }
        }
    }
}
