//! A replicated state that records the calls of the driver, and a node with such a state.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use echoline_chat::{Link, Proposal, ReplicatedState, StateSnapshot, StreamEntry};
use echoline_chat_nats::{DriverError, NatsOptions, StreamDriver, start};

/// The calls that were recorded.
#[derive(Debug, Default)]
pub(crate) struct RecordedCalls {
    pub(crate) applied: u64,
    /// The payloads of entries without repetitions. They are the ids of the proposals.
    pub(crate) ids: Vec<String>,
    seen: HashSet<String>,
    /// The number of entries with an id that was already known. A chat ignores such entries.
    pub(crate) doubles: usize,
    pub(crate) batches: usize,
    pub(crate) restored: Vec<u64>,
    pub(crate) anew: usize,
    pub(crate) links: Vec<Link>,
    pub(crate) heard: HashSet<String>,
    pub(crate) ticks: usize,
    thread: Option<ThreadId>,
    times: Vec<u64>,
}

pub(crate) struct Recorder {
    name: String,
    record: Mutex<RecordedCalls>,
    pub(crate) panics: AtomicBool,
    /// Whether the state only counts entries and forgets their ids, as if they had been lost.
    pub(crate) forgets: AtomicBool,
}

impl Recorder {
    /// Locks the record. Asserts that all calls come from one thread.
    fn record(&self) -> MutexGuard<'_, RecordedCalls> {
        let mut record = self.look();
        let here = std::thread::current().id();
        assert_eq!(*record.thread.get_or_insert(here), here);
        record
    }

    pub(crate) fn look(&self) -> MutexGuard<'_, RecordedCalls> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplicatedState for Recorder {
    fn apply(&self, entries: &[StreamEntry]) {
        assert!(!self.panics.load(Ordering::Relaxed), "this test makes the state panic");
        let mut record = self.record();
        record.batches += 1;
        for entry in entries {
            assert_eq!(entry.sequence, record.applied + 1);
            record.applied = entry.sequence;
            record.times.push(entry.time_ms);
            if self.forgets.load(Ordering::Relaxed) {
                continue;
            }
            let id = String::from_utf8(entry.payload.to_vec()).unwrap();
            if record.seen.insert(id.clone()) {
                record.ids.push(id);
            } else {
                record.doubles += 1;
            }
        }
    }

    fn applied(&self) -> u64 {
        self.record().applied
    }

    fn is_settled(&self, proposal: &str) -> bool {
        self.record().seen.contains(proposal)
    }

    fn snapshot(&self) -> StateSnapshot {
        let record = self.record();
        let state = Bytes::from(record.ids.join("\n"));
        StateSnapshot { sequence: record.applied, state }
    }

    fn restore(&self, snapshot: &StateSnapshot) -> Result<(), String> {
        let mut record = self.record();
        assert!(snapshot.sequence > record.applied);
        let text = std::str::from_utf8(&snapshot.state).map_err(|error| error.to_string())?;
        record.ids = text.lines().map(str::to_owned).collect();
        record.seen = record.ids.iter().cloned().collect();
        record.applied = snapshot.sequence;
        record.restored.push(snapshot.sequence);
        Ok(())
    }

    fn reset(&self) {
        let mut record = self.record();
        record.anew += 1;
        record.applied = 0;
        record.ids.clear();
        record.seen.clear();
    }

    fn link_changed(&self, link: Link) {
        self.record().links.push(link);
    }

    fn heartbeat(&self) -> Bytes {
        Bytes::from(self.name.clone())
    }

    fn receive_heartbeat(&self, heartbeat: &[u8]) {
        self.record().heard.insert(String::from_utf8(heartbeat.to_vec()).unwrap());
    }

    fn tick(&self) {
        self.record().ticks += 1;
    }
}

/// The time-out of each wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A node of the cluster.
pub(crate) struct Node {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) driver: StreamDriver,
    proposals: UnboundedSender<Proposal>,
    name: String,
}

impl Node {
    pub(crate) fn start(name: &str, options: &NatsOptions) -> Self {
        Self::try_start(name, options).unwrap()
    }

    pub(crate) fn try_start(name: &str, options: &NatsOptions) -> Result<Self, DriverError> {
        let (proposals, receiver) = unbounded_channel();
        let recorder = Arc::new(Recorder {
            name: name.to_owned(),
            record: Mutex::default(),
            panics: AtomicBool::new(false),
            forgets: AtomicBool::new(false),
        });
        let state: Arc<dyn ReplicatedState> = recorder.clone();
        let driver = start(options.clone(), state, receiver)?;
        Ok(Self { recorder, driver, proposals, name: name.to_owned() })
    }

    /// Proposes `name-1`, `name-2` and so on. Their entries may arrive in any order.
    pub(crate) fn propose(&self, numbers: impl IntoIterator<Item = usize>) {
        for number in numbers {
            let id = format!("{}-{number}", self.name);
            let payload = Bytes::from(id.clone());
            self.proposals.send(Proposal { id, payload }).unwrap();
        }
    }

    pub(crate) fn wait_for_ids(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.recorder.look().ids.len() < count {
            let (name, status) = (&self.name, self.driver.status());
            assert!(
                Instant::now() < deadline,
                "{name} has not applied {count} ids in time: {status:?}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.recorder.look().ids.clone()
    }

    /// Returns whether the times of entries never go back. This is true as long as a single server
    /// writes them.
    pub(crate) fn times_are_in_order(&self) -> bool {
        self.recorder.look().times.is_sorted()
    }
}

pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "timed out while waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Asserts that there are `count` different ids, and no id twice.
pub(crate) fn assert_exactly_once(ids: &[String], count: usize) {
    assert_eq!(ids.len(), count);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), count);
}
