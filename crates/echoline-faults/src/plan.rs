//! What is to go wrong, when, and how often: rules that people write, printed as they are read.
//! Pure.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use super::kind::{Direction, FaultKind, Per};
use echoline_base::amount::{ExactBytes, ExactTime};

/// Rules of one plan; more would be no plan.
pub(super) const RULES_MAX: usize = 64;

/// What is to go wrong: rules, of which each is asked for each connection or message.
///
/// Written as text, one rule a line: a fault and its value, then when it happens. Empty lines and
/// what follows a `#` are left out. `docs/faults.md` explains all of it.
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
    /// What goes wrong.
    pub fault: Fault,
    /// To whom, and how often.
    pub when: Conditions,
    /// Which way the bytes go that it happens to.
    pub direction: Direction,
    /// The unit that is counted and chosen.
    pub per: Per,
    /// Bytes of a message that pass before the fault, if it changes the message or ends its
    /// connection there.
    pub offset: u64,
    /// Above or below TLS and WebSocket.
    pub layer: FaultLayer,
}

/// Where a fault lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FaultLayer {
    /// Above TLS and WebSocket: the bytes that the handler reads and writes are hit.
    #[default]
    Text,
    /// On the socket: handshakes and encrypted bytes are hit.
    Socket,
}

/// What goes wrong. A message is a line, or 64 KiB without a line end; or a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A message comes later, by a time between these two.
    Delay {
        /// At least.
        shortest: Duration,
        /// At most.
        longest: Duration,
    },
    /// A message is lost, with its line end.
    Drop,
    /// A message comes twice.
    Duplicate,
    /// A datagram waits until another one has passed, or for this long.
    Reorder(Duration),
    /// One bit of each of so many bytes is flipped; a line end stays one.
    Corrupt(u64),
    /// A message keeps so many bytes, and its line end.
    Truncate(u64),
    /// A message comes in pieces.
    Split {
        /// Of so many bytes.
        bytes: u64,
        /// With so much time between two.
        gap: Duration,
    },
    /// The connection is broken off (RST).
    Reset,
    /// The direction ends: out, the peer sees the end of the stream; in, this end does.
    HalfClose,
    /// Nothing passes for so long; `None`: ever again.
    Stall(Option<Duration>),
    /// What passes does so slowly: so many bytes a second. In, `slow-read`; out, `slow-write`.
    Slow(u64),
    /// The connection is reset as soon as it was accepted, before any handshake.
    Refuse,
}

/// To which connections or messages something happens: to those for which all of this holds.
/// They are counted from 1, messages on each connection and in each direction by themselves.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Conditions {
    /// From 0 to 1.
    pub probability: f64,
    /// So many are left alone first; the others are counted from there.
    pub skip: u64,
    /// Only the first so many.
    pub first: Option<NonZeroU64>,
    /// Only every so manieth.
    pub every: Option<NonZeroU64>,
    /// Only this one.
    pub at: Option<NonZeroU64>,
    /// At most so often: connections of a server, messages of a connection.
    pub count: Option<NonZeroU64>,
    /// Bytes of the connection, in the rule's direction, that pass unharmed first.
    pub after: u64,
    /// So old the connection (a datagram's: the socket) is at least.
    pub after_time: Duration,
}

impl FaultPlan {
    /// Its rules, in the order in which they were written.
    #[must_use]
    pub fn rules(&self) -> &[FaultRule] {
        &self.rules
    }

    /// Whether nothing goes wrong by plan.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl FaultRule {
    /// The word that it begins with.
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
    /// Whether the connection or message with this number is one of those, where chance and
    /// earlier ones do not say otherwise.
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

/// What stands behind the word.
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
