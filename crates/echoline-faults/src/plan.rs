//! The types of a fault plan. A plan prints in a form that parses again. Pure.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use super::kind::{Direction, FaultKind, Per};
use echoline_base::amount::{ExactBytes, ExactTime};

/// The maximum number of rules in a plan.
pub(super) const RULES_MAX: usize = 64;

/// A fault plan: a list of rules, each of which is evaluated for every connection or message.
///
/// The text has one rule per line: a fault and its value, then its conditions. Empty lines and
/// comments, which begin with `#`, are ignored. `docs/faults.md` describes the syntax.
///
/// ```
/// use echoline_faults::FaultPlan;
///
/// let plan: FaultPlan = "delay=50ms±10ms p=0.1\nreset after=1KiB first=2 # then ok".parse()?;
/// assert_eq!(plan.to_string(), "delay=40ms..60ms p=0.1\nreset first=2 after=1KiB\n");
/// # Ok::<(), echoline_faults::FaultError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan {
    pub(super) rules: Vec<FaultRule>,
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FaultRule {
    /// The fault.
    pub fault: Fault,
    /// The connections or messages that the rule affects.
    pub when: Conditions,
    /// The direction of the bytes that the rule affects.
    pub direction: Direction,
    /// The unit that the rule counts and chooses.
    pub per: Per,
    /// The number of bytes of a message that pass before the fault. It applies to faults that
    /// change a message or end its connection.
    pub offset: u64,
    /// Whether the fault is above or below TLS and WebSocket.
    pub layer: FaultLayer,
}

/// The layer at which a fault is injected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FaultLayer {
    /// Above TLS and WebSocket: the fault affects the bytes that the handler reads and writes.
    #[default]
    Text,
    /// On the socket: the fault affects handshakes and encrypted bytes.
    Socket,
}

/// A fault. A message is a line (at most 64 KiB of it) or a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A message is delayed by a random time between these two bounds.
    Delay {
        /// The minimum.
        shortest: Duration,
        /// The maximum.
        longest: Duration,
    },
    /// A message is lost, with its line end.
    Drop,
    /// A message is duplicated.
    Duplicate,
    /// A datagram waits until another one has passed, at most for this time.
    Reorder(Duration),
    /// One bit is flipped in each of this number of bytes. A line end stays unchanged.
    Corrupt(u64),
    /// A message is cut to this number of bytes. Its line end stays.
    Truncate(u64),
    /// A message arrives in pieces.
    Split {
        /// The size of a piece in bytes.
        bytes: u64,
        /// The pause between two pieces.
        gap: Duration,
    },
    /// The connection is reset (RST).
    Reset,
    /// The direction ends: for `Out` the peer sees the end of the stream, for `In` this end does.
    HalfClose,
    /// Nothing passes for this time, or forever if it is `None`.
    Stall(Option<Duration>),
    /// Bytes pass at this rate, in bytes per second. `slow-read` has the direction `In`, and
    /// `slow-write` has `Out`.
    Slow(u64),
    /// The connection is reset as soon as it is accepted, before any handshake.
    Refuse,
}

/// The conditions of a rule. The rule affects a connection or a message if all of them hold.
/// Connections and messages are counted from 1, messages separately for each connection and
/// direction.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Conditions {
    /// The probability, from 0 to 1.
    pub probability: f64,
    /// The number of connections or messages to skip. The other conditions count from the next one.
    pub skip: u64,
    /// If set, only the first N connections or messages match.
    pub first: Option<NonZeroU64>,
    /// If set, only every Nth connection or message matches.
    pub every: Option<NonZeroU64>,
    /// If set, only the Nth connection or message matches.
    pub at: Option<NonZeroU64>,
    /// The maximum number of faults: per server for connections, per connection for messages.
    pub count: Option<NonZeroU64>,
    /// The number of bytes of the connection, in the direction of the rule, that pass unchanged
    /// first.
    pub after: u64,
    /// The minimum age of the connection (for datagrams: of the socket).
    pub after_time: Duration,
}

impl FaultPlan {
    /// Returns the rules of the plan, in the order in which they were written.
    #[must_use]
    pub fn rules(&self) -> &[FaultRule] {
        &self.rules
    }

    /// Returns whether the plan has no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl FaultRule {
    /// Returns the kind of the fault.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self.fault {
            Fault::Delay { .. } => FaultKind::Delay,
            Fault::Drop => FaultKind::Drop,
            Fault::Duplicate => FaultKind::Duplicate,
            Fault::Reorder(_) => FaultKind::Reorder,
            Fault::Corrupt(_) => FaultKind::Corrupt,
            Fault::Truncate(_) => FaultKind::Truncate,
            Fault::Split { .. } => FaultKind::Split,
            Fault::Reset => FaultKind::Reset,
            Fault::HalfClose => FaultKind::HalfClose,
            Fault::Stall(_) => FaultKind::Stall,
            Fault::Slow(_) if self.direction == Direction::In => FaultKind::SlowRead,
            Fault::Slow(_) => FaultKind::SlowWrite,
            Fault::Refuse => FaultKind::Refuse,
        }
    }
}

impl Conditions {
    /// Returns whether `skip`, `first`, `every` and `at` hold for the connection or message with
    /// this number. The probability and `count` are checked elsewhere.
    pub(super) fn is_turn(&self, number: u64) -> bool {
        let Some(number) = number.checked_sub(self.skip).filter(|&number| number > 0) else {
            return false;
        };
        self.first.is_none_or(|first| number <= first.get())
            && self.every.is_none_or(|every| number.is_multiple_of(every.get()))
            && self.at.is_none_or(|at| number == at.get())
    }
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            probability: 1.0,
            skip: 0,
            first: None,
            every: None,
            at: None,
            count: None,
            after: 0,
            after_time: Duration::ZERO,
        }
    }
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.iter().try_for_each(|rule| writeln!(f, "{rule}"))
    }
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        write!(f, "{kind}{}{}", self.fault, self.when)?;
        if self.offset > 0 {
            write!(f, " offset={}", ExactBytes(self.offset))?;
        }
        if self.direction != kind.direction() {
            let direction = if self.direction == Direction::In { "in" } else { "out" };
            write!(f, " direction={direction}")?;
        }
        if self.per != kind.per() {
            let per = if self.per == Per::Connection { "connection" } else { "message" };
            write!(f, " per={per}")?;
        }
        if self.layer == FaultLayer::Socket {
            f.write_str(" layer=socket")?;
        }
        Ok(())
    }
}

/// Prints the value that follows the kind in a rule.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay { shortest, longest } if shortest == longest => {
                write!(f, "={}", ExactTime(*longest))
            }
            Self::Delay { shortest, longest } => {
                write!(f, "={}..{}", ExactTime(*shortest), ExactTime(*longest))
            }
            Self::Reorder(time) | Self::Stall(Some(time)) => write!(f, "={}", ExactTime(*time)),
            Self::Corrupt(bytes) | Self::Truncate(bytes) => write!(f, "={}", ExactBytes(*bytes)),
            Self::Split { bytes, gap } => {
                write!(f, "={} gap={}", ExactBytes(*bytes), ExactTime(*gap))
            }
            Self::Slow(rate) => write!(f, " rate={}/s", ExactBytes(*rate)),
            Self::Drop
            | Self::Duplicate
            | Self::Reset
            | Self::HalfClose
            | Self::Stall(None)
            | Self::Refuse => Ok(()),
        }
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.probability < 1.0 {
            write!(f, " p={}", self.probability)?;
        }
        if self.skip > 0 {
            write!(f, " skip={}", self.skip)?;
        }
        let numbers =
            [("first", self.first), ("every", self.every), ("at", self.at), ("count", self.count)];
        for (key, number) in numbers {
            if let Some(number) = number {
                write!(f, " {key}={number}")?;
            }
        }
        if self.after > 0 {
            write!(f, " after={}", ExactBytes(self.after))?;
        }
        if !self.after_time.is_zero() {
            write!(f, " after={}", ExactTime(self.after_time))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_counted_from_one() {
        let turns = |when: &str| {
            let plan: FaultPlan = format!("drop {when}").parse().unwrap();
            (1..=10).filter(|&number| plan.rules[0].when.is_turn(number)).collect::<Vec<u64>>()
        };
        assert_eq!(turns("first=2"), [1, 2]);
        assert_eq!(turns("every=4"), [4, 8]);
        assert_eq!(turns("at=3"), [3]);
        assert_eq!(turns("skip=8"), [9, 10]);
        assert_eq!(turns("skip=1 every=3 first=7"), [4, 7]);
        assert_eq!(turns(""), (1..=10).collect::<Vec<_>>());
    }
}
