//! What carries the order of a chat from machine to machine, seen from the chat.
//!
//! A bus takes [`Proposal`]s from every machine and gives all of them the same [`Entry`]s in the
//! same order. A chat that is one of several machines is a [`Follower`]: it changes by what it is
//! given and by nothing else, so all of them are always the same chat.

use bytes::Bytes;

/// Something that is to come into the order, exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Unique for ever, of letters, digits, `.` and `-`: a bus may drop what it has seen already.
    pub id: String,
    /// What the entry will carry.
    pub payload: Bytes,
}

/// One place of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number: one more than that of the entry before it.
    pub sequence: u64,
    /// When the bus took it, in milliseconds since 1970, UTC, by the bus's clock.
    pub time_ms: u64,
    /// What was proposed.
    pub payload: Bytes,
}

/// How it stands with the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// There is a connection.
    Up,
    /// There is none.
    Down,
}

/// Everything that a machine knows at one place of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry that it has in it.
    pub sequence: u64,
    /// The state, opaque here; the same bytes on every machine.
    pub state: Bytes,
}

/// A chat as the bus that drives it sees it. All calls come from one thread, and none of them
/// waits for anything.
pub trait Follower: Send + Sync {
    /// Applies entries in their order; an empty payload is one that the bus refused, because no
    /// node of the cluster has sent it. The first of them is the next after
    /// [`applied`](Self::applied).
    fn apply(&self, entries: &[Entry]);

    /// The sequence of the last entry that was applied; 0 before the first.
    fn applied(&self) -> u64;

    /// Whether the proposal has come back in the order, or is not wanted any more: then it is not
    /// to be sent again.
    fn is_settled(&self, proposal: &str) -> bool;

    /// Everything that is known after the last entry that was applied.
    fn snapshot(&self) -> Snapshot;

    /// Goes on from this snapshot, which is later than what was applied: entries between are lost
    /// to this machine, and its people are told how many of their lines are missing.
    ///
    /// # Errors
    /// What is wrong with the snapshot, in one sentence; then nothing has changed.
    fn restore(&self, snapshot: &Snapshot) -> Result<(), String>;

    /// The order itself is another one: everything begins anew at sequence 0.
    fn begin_anew(&self);

    /// How it stands with the bus, at every change.
    fn link(&self, link: Link);

    /// What this machine tells the others every few seconds, outside of the order.
    fn pulse(&self) -> Bytes;

    /// What another machine, or this one, told; `pulse` gave the bytes.
    fn heard(&self, pulse: &[u8]);

    /// A second, about, has passed.
    fn tick(&self);
}
