//! The state of the driver that survives a reconnect.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc::UnboundedReceiver, watch};
use tokio::time::Instant;

use super::cluster_key::{ClusterKey, TagPurpose, is_tagged};
use super::error::DriverError;
use super::in_flight::InFlightPublishes;
use super::options::NatsOptions;
use super::options::StreamNames;
use super::pending_checks::ResetBackoff;
use super::snapshot_schedule::{SnapshotSchedule, WrittenSnapshots};
use super::status::StatusCell;
use super::stream_cursor::StreamCursor;
use echoline_base::random::Random;
use echoline_chat_core::{Link, Proposal, ReplicatedState, StreamEntry};

/// The minimum interval between two warnings of [`DriverState::log_throttled`].
const WARNINGS_APART: Duration = Duration::from_secs(1);

/// The state of the driver. Only the driver's thread uses it. No `RefCell` stays borrowed across an
/// await.
pub(super) struct DriverState {
    pub(super) options: NatsOptions,
    pub(super) names: StreamNames,
    /// Authenticates the messages of nodes, if the cluster has a key.
    pub(super) key: Option<ClusterKey>,
    /// The replicated state that the driver feeds.
    pub(super) state: Arc<dyn ReplicatedState>,
    pub(super) status: Arc<StatusCell>,
    /// Becomes true when the driver must stop.
    pub(super) closing: watch::Receiver<bool>,
    /// The proposals to publish. The active connection keeps them locked.
    pub(super) proposals: Mutex<UnboundedReceiver<Proposal>>,
    pub(super) in_flight: RefCell<InFlightPublishes>,
    pub(super) cursor: RefCell<StreamCursor>,
    pub(super) schedule: RefCell<SnapshotSchedule>,
    pub(super) reset_backoff: RefCell<ResetBackoff>,
    pub(super) written: RefCell<WrittenSnapshots>,
    pub(super) random: RefCell<Random>,
    /// Sends the result of the start; `None` after it was sent.
    ready: RefCell<Option<mpsc::Sender<Result<(), DriverError>>>>,
    /// The state of the link as last reported. It is down at first.
    link: Cell<Link>,
    last_warning: Cell<Option<Instant>>,
    is_connected: Cell<bool>,
    is_reading: Cell<bool>,
    is_stuck: Cell<bool>,
}

/// The ends of the channels that the driver's thread uses to communicate with the program.
#[derive(Debug)]
pub(super) struct DriverChannels {
    pub(super) proposals: UnboundedReceiver<Proposal>,
    /// Becomes true when the driver must stop.
    pub(super) closing: watch::Receiver<bool>,
    /// Sends the result of the start.
    pub(super) ready: mpsc::Sender<Result<(), DriverError>>,
}

impl DriverState {
    pub(super) fn new(
        options: NatsOptions,
        names: StreamNames,
        key: Option<ClusterKey>,
        state: Arc<dyn ReplicatedState>,
        status: Arc<StatusCell>,
        channels: DriverChannels,
    ) -> Self {
        let DriverChannels { proposals, closing, ready } = channels;
        let schedule = SnapshotSchedule::new(options.snapshot_entries(), options.snapshot_bytes());
        // If the system has no random bytes, all nodes retry at the same moments, which is
        // acceptable.
        let seed = getrandom::u64().unwrap_or_default();
        Self {
            options,
            names,
            key,
            state,
            status,
            closing,
            proposals: Mutex::new(proposals),
            in_flight: RefCell::default(),
            cursor: RefCell::default(),
            schedule: RefCell::new(schedule),
            reset_backoff: RefCell::default(),
            written: RefCell::default(),
            random: RefCell::new(Random::of(&[seed])),
            ready: RefCell::new(Some(ready)),
            link: Cell::new(Link::Down),
            last_warning: Cell::new(None),
            is_connected: Cell::new(false),
            is_reading: Cell::new(false),
            is_stuck: Cell::new(false),
        }
    }

    /// Returns the message for a proposal. If the cluster has a key, the message has a tag of this
    /// stream.
    pub(super) fn sign_entry(&self, payload: &Bytes) -> Result<Bytes, String> {
        let Some(key) = &self.key else { return Ok(payload.clone()) };
        let created_ns = self.cursor.borrow().created_ns;
        let created_ns = created_ns.ok_or("the stream has not been looked up yet")?;
        Ok(key.sign(TagPurpose::Entry { stream: &self.names.stream, created_ns }, payload))
    }

    /// Returns the entries without their tags. If an entry has no valid tag, its payload becomes
    /// empty. Returns `None` if the cluster has no key, because then entries have no tags.
    pub(super) fn verify_entries(
        &self,
        entries: &[StreamEntry],
    ) -> Result<Option<Vec<StreamEntry>>, DriverError> {
        let stream = &self.names.stream;
        let Some(key) = &self.key else {
            return match entries.iter().any(|entry| is_tagged(&entry.payload)) {
                true => Err(DriverError::NoKey { stream: stream.clone() }),
                false => Ok(None),
            };
        };
        let created_ns = self.cursor.borrow().created_ns.unwrap_or_default();
        let purpose = TagPurpose::Entry { stream, created_ns };
        let mut authentic = 0;
        let verify = |entry: &StreamEntry| {
            let payload = key.verify(purpose, &entry.payload);
            authentic += u64::from(payload.is_ok());
            StreamEntry { payload: payload.unwrap_or_default(), ..*entry }
        };
        let verified: Vec<StreamEntry> = entries.iter().map(verify).collect();
        self.status.update(|status| status.authentic += authentic);
        self.count_refused(entries.len() as u64 - authentic);
        Ok(Some(verified))
    }

    /// Returns a message outside of the stream. If the cluster has a key, it has a tag.
    pub(super) fn sign_message(&self, subject: &str, message: Bytes) -> Bytes {
        let key = self.key.as_ref();
        key.map_or(message.clone(), |key| key.sign(TagPurpose::Message { subject }, &message))
    }

    /// Returns a message outside of the stream without its tag. Returns `None` if the tag is
    /// invalid.
    pub(super) fn verify_message(&self, subject: &str, message: &Bytes) -> Option<Bytes> {
        let Some(key) = &self.key else { return Some(message.clone()) };
        let verified = key.verify(TagPurpose::Message { subject }, message).ok();
        self.count_refused(u64::from(verified.is_none()));
        verified
    }

    /// Counts messages without a valid tag. Logs the first one, and then each time their number has
    /// doubled.
    fn count_refused(&self, count: u64) {
        let mut now = 0;
        self.status.update(|status| {
            status.refused += count;
            now = status.refused;
        });
        let before = now - count;
        if count > 0 && before.checked_ilog2() != now.checked_ilog2() {
            tracing::error!(
                messages = now,
                "refused messages without a valid tag of the cluster's key: a stranger publishes \
                 to the stream, or a node has another key"
            );
        }
    }

    /// Returns whether all entries so far were refused.
    pub(super) fn has_nothing_authentic(&self) -> bool {
        let status = self.status.read();
        status.refused > 0 && status.authentic == 0 && status.restores == 0
    }

    /// Sets whether the client has a connection.
    pub(super) fn set_connected(&self, is_connected: bool) {
        self.is_connected.set(is_connected);
        self.update_link();
    }

    /// Sets whether entries are being read.
    pub(super) fn set_reading(&self, is_reading: bool) {
        self.is_reading.set(is_reading);
        self.update_link();
    }

    /// Sets whether publishing has failed for too long.
    pub(super) fn set_stuck(&self, is_stuck: bool) {
        self.is_stuck.set(is_stuck);
        self.update_link();
    }

    /// Records that there is no connection.
    pub(super) fn disconnected(&self) {
        self.is_reading.set(false);
        self.set_connected(false);
    }

    /// Updates the link. It is up while entries can be read and proposals are accepted; a
    /// connection alone is not enough.
    fn update_link(&self) {
        let is_up = self.is_connected.get() && self.is_reading.get() && !self.is_stuck.get();
        let link = if is_up { Link::Up } else { Link::Down };
        if self.link.replace(link) != link {
            self.status.update(|status| status.link = link);
            self.state.link_changed(link);
        }
    }

    /// Sends the result of the start, only once. Returns true if the caller was still waiting for
    /// it.
    pub(super) fn report_start(&self, outcome: Result<(), DriverError>) -> bool {
        let ready = self.ready.borrow_mut().take();
        ready.is_some_and(|ready| ready.send(outcome).is_ok())
    }

    /// Returns whether the result of the start has not been sent yet.
    pub(super) fn is_starting(&self) -> bool {
        self.ready.borrow().is_some()
    }

    /// Records an error that is retried. Logs it as a warning, unless it is the same as before or
    /// the last warning was too recent.
    pub(super) fn log_throttled(&self, error: &DriverError) {
        let (is_new, now) = (self.status.record_error(error), Instant::now());
        if is_new && self.last_warning.get().is_none_or(|then| then + WARNINGS_APART <= now) {
            self.last_warning.set(Some(now));
            tracing::warn!("{error}");
        } else {
            tracing::debug!("{error}");
        }
    }

    /// Returns an error of the stream with this reason.
    pub(super) fn stream_error(&self, reason: impl Into<String>) -> DriverError {
        DriverError::Stream { stream: self.names.stream.clone(), reason: reason.into() }
    }
}
