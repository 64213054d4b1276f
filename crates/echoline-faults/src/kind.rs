//! The kinds of faults, and the settings that each accepts. Pure.

use std::fmt;

/// The kind of a fault: the word that a rule begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FaultKind {
    /// A message is delayed.
    Delay,
    /// A message is lost.
    Drop,
    /// A message is duplicated.
    Duplicate,
    /// A datagram arrives after the next one.
    Reorder,
    /// Some bytes of a message are changed.
    Corrupt,
    /// A message is cut short.
    Truncate,
    /// A message arrives in small pieces.
    Split,
    /// The connection is reset (RST).
    Reset,
    /// One direction of the connection ends (FIN).
    HalfClose,
    /// Nothing passes for a given time, or forever.
    Stall,
    /// Input is read slowly.
    SlowRead,
    /// Output is written slowly.
    SlowWrite,
    /// The connection is reset as soon as it is accepted.
    Refuse,
}

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Bytes that this end receives.
    In,
    /// Bytes that this end sends.
    Out,
}

/// The unit that a rule counts and chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// The rule counts and chooses connections. A chosen connection has the fault once, or in all
    /// of its messages.
    Connection,
    /// The rule counts and chooses messages.
    Message,
}

impl FaultKind {
    /// All kinds, in the order of [`FaultKind`]'s variants.
    pub const ALL: [Self; 13] = [
        Self::Delay,
        Self::Drop,
        Self::Duplicate,
        Self::Reorder,
        Self::Corrupt,
        Self::Truncate,
        Self::Split,
        Self::Reset,
        Self::HalfClose,
        Self::Stall,
        Self::SlowRead,
        Self::SlowWrite,
        Self::Refuse,
    ];

    /// Returns the name of the kind in plans, in the log and in metrics, for example `half-close`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Drop => "drop",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Corrupt => "corrupt",
            Self::Truncate => "truncate",
            Self::Split => "split",
            Self::Reset => "reset",
            Self::HalfClose => "half-close",
            Self::Stall => "stall",
            Self::SlowRead => "slow-read",
            Self::SlowWrite => "slow-write",
            Self::Refuse => "refuse",
        }
    }

    /// Returns an example of a rule of this kind.
    pub(super) const fn example(self) -> &'static str {
        match self {
            Self::Delay => "delay=50ms±10ms",
            Self::Drop => "drop p=0.1",
            Self::Duplicate => "duplicate p=0.1",
            Self::Reorder => "reorder=50ms p=0.1",
            Self::Corrupt => "corrupt=1 p=0.1",
            Self::Truncate => "truncate=10 p=0.1",
            Self::Split => "split=3 gap=1ms",
            Self::Reset => "reset after=1KiB",
            Self::HalfClose => "half-close after=1KiB",
            Self::Stall => "stall=5s after=1KiB",
            Self::SlowRead => "slow-read rate=10KiB/s",
            Self::SlowWrite => "slow-write rate=10KiB/s",
            Self::Refuse => "refuse first=2",
        }
    }

    /// Returns whether the fault applies to streams.
    #[must_use]
    pub const fn is_for_streams(self) -> bool {
        !matches!(self, Self::Reorder)
    }

    /// Returns whether the fault applies to datagrams.
    #[must_use]
    pub const fn is_for_datagrams(self) -> bool {
        use FaultKind::{Corrupt, Delay, Drop, Duplicate, Reorder, Truncate};
        matches!(self, Delay | Drop | Duplicate | Reorder | Corrupt | Truncate)
    }

    /// Returns the default direction of a rule of this kind.
    pub(super) const fn direction(self) -> Direction {
        if matches!(self, Self::SlowRead) { Direction::In } else { Direction::Out }
    }

    /// Returns the default unit of a rule of this kind.
    pub(super) const fn per(self) -> Per {
        use FaultKind::{HalfClose, Refuse, Reset, SlowRead, SlowWrite, Stall};
        match self {
            HalfClose | Refuse | Reset | SlowRead | SlowWrite | Stall => Per::Connection,
            _ => Per::Message,
        }
    }

    /// Returns the index of the kind in [`ALL`](Self::ALL).
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_at_its_index() {
        for (index, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
            assert!(kind.example().starts_with(kind.name()));
            assert!(kind.is_for_streams() || kind.is_for_datagrams());
        }
    }
}
