//! The interface between the replicated state of a chat and the driver of its stream.
//!
//! Every node sends [`Proposal`]s. The stream orders them and delivers the same [`StreamEntry`]
//! values to all nodes. A [`ReplicatedState`] changes only by the entries that it applies, so the
//! states of all nodes are the same after the same entry.

use bytes::Bytes;

/// A change that a node wants to append to the stream, exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// A globally unique id of letters, digits, `.` and `-`. The stream may drop a second proposal
    /// with the same id.
    pub id: String,
    /// The payload of the entry.
    pub payload: Bytes,
}

/// An entry of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    /// One more than the sequence of the entry before it.
    pub sequence: u64,
    /// The time at which the server stored the entry, in milliseconds since 1970, UTC.
    pub time_ms: u64,
    /// The payload of the proposal.
    pub payload: Bytes,
}

/// Whether a node can read and append to the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Entries arrive and proposals are accepted.
    Up,
    /// The servers cannot be reached, or do not accept proposals.
    #[default]
    Down,
}

/// The complete state after one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSnapshot {
    /// The sequence of the last entry that was applied to the state.
    pub sequence: u64,
    /// The encoded state, opaque to the driver. All nodes encode the same state to the same bytes.
    pub state: Bytes,
}

/// A state machine that the driver of a stream calls. The driver calls all methods from one thread,
/// and none of them blocks.
pub trait ReplicatedState: Send + Sync {
    /// Applies entries in their order. The first one is the entry after [`applied`](Self::applied).
    /// An empty payload means that the driver refused the entry, because no node of the cluster
    /// sent it.
    fn apply(&self, entries: &[StreamEntry]);

    /// Returns the sequence of the last applied entry, or 0.
    fn applied(&self) -> u64;

    /// Returns whether the proposal need not be published (again): the stream already delivered it,
    /// or it is obsolete.
    fn is_settled(&self, proposal: &str) -> bool;

    /// Returns the state after the last applied entry.
    fn snapshot(&self) -> StateSnapshot;

    /// Replaces the state by a snapshot of a later entry. The entries in between are skipped, and
    /// the users are told how many lines they missed.
    ///
    /// # Errors
    /// The defect of the snapshot, in one sentence. After an error, the state is unchanged.
    fn restore(&self, snapshot: &StateSnapshot) -> Result<(), String>;

    /// Discards the state, because the stream was replaced. The next entry has sequence 1.
    fn reset(&self);

    /// Tells the state that the link changed. The link is down at first.
    fn link_changed(&self, link: Link);

    /// Returns the heartbeat that the driver publishes every few seconds, outside of the stream.
    fn heartbeat(&self) -> Bytes;

    /// Receives a heartbeat of any node, including this one.
    fn receive_heartbeat(&self, heartbeat: &[u8]);

    /// Tells the state that about one second has passed. The driver calls it regularly.
    fn tick(&self);
}
