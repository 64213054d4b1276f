//! Decides about the faults of datagrams. Pure.

use std::time::Duration;

use super::faults::{ConnectionFaults, Faults};
use super::kind::Direction;
use super::selector::{MessageCarrier, MessageFaults, RuleSelector};

/// The faults of one socket's datagrams. Datagrams are counted for each direction of the socket,
/// regardless of their source.
///
/// ```
/// use echoline_faults::{DatagramFaults, Direction, Faults};
///
/// let faults = Faults::new("duplicate at=2\ntruncate=3 at=3".parse()?, 1);
/// let mut faults = DatagramFaults::new(&faults);
/// let mut fate = || faults.fate(Direction::Out, &mut b"hello".to_vec());
/// assert_eq!((fate().copies, fate().copies), (1, 2));
/// assert_eq!(fate().length, 3);
/// # Ok::<(), echoline_faults::FaultError>(())
/// ```
#[derive(Debug)]
pub struct DatagramFaults {
    incoming: DirectionFaults,
    outgoing: DirectionFaults,
    /// The time at which the plan took effect. `None` until the first datagram after a change of
    /// plan.
    since: Option<Duration>,
}

/// The decision about one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatagramFate {
    /// The number of copies to pass on: 0 (lost), 1 or 2.
    pub copies: u8,
    /// The length in bytes to which the datagram is cut.
    pub length: usize,
    /// The delay before the datagram is passed on.
    pub delay: Duration,
    /// If another datagram must pass first: the maximum wait for it, after that delay.
    pub hold: Option<Duration>,
}

/// The state of one direction.
#[derive(Debug)]
struct DirectionFaults {
    selector: RuleSelector,
    /// The number of bytes that passed in this direction.
    passed: u64,
}

impl DatagramFaults {
    /// Creates the faults of the next socket. The plan counts each socket as a connection.
    #[must_use]
    pub fn new(faults: &Faults) -> Self {
        Self::with_faults(faults.next_connection())
    }

    fn with_faults(faults: ConnectionFaults) -> Self {
        let side = |direction| {
            let selector = RuleSelector::new(faults.clone(), direction, MessageCarrier::Datagrams);
            DirectionFaults { selector, passed: 0 }
        };
        let since = Some(Duration::ZERO);
        Self { incoming: side(Direction::In), outgoing: side(Direction::Out), since }
    }

    /// Returns whether no rule applies to datagrams now, so that the caller can skip
    /// [`fate`](Self::fate).
    #[must_use]
    pub fn is_idle(&mut self) -> bool {
        self.apply_plan();
        self.incoming.selector.is_empty() && self.outgoing.selector.is_empty()
    }

    /// Decides about `datagram`, and changes its bytes if the plan says so. A rule with a time,
    /// such as `after=5s`, applies as if that time were over.
    pub fn fate(&mut self, direction: Direction, datagram: &mut [u8]) -> DatagramFate {
        self.fate_at(Duration::MAX, direction, datagram)
    }

    /// Works like [`fate`](Self::fate), at the time `now`, which counts from the opening of the
    /// socket.
    pub fn fate_at(
        &mut self,
        now: Duration,
        direction: Direction,
        datagram: &mut [u8],
    ) -> DatagramFate {
        self.apply_plan();
        let age = now.saturating_sub(*self.since.get_or_insert(now));
        let side = match direction {
            Direction::In => &mut self.incoming,
            Direction::Out => &mut self.outgoing,
        };
        let mut message_faults = side.selector.next(side.passed, age);
        side.passed += datagram.len() as u64;
        message_faults.corrupt(datagram, 0);
        message_faults.fate(datagram.len())
    }

    /// Switches to the current plan.
    fn apply_plan(&mut self) {
        let faults = &self.incoming.selector.faults;
        if faults.is_outdated() {
            *self = Self { since: None, ..Self::with_faults(faults.renewed()) };
        }
    }
}

impl MessageFaults {
    fn fate(&self, length: usize) -> DatagramFate {
        let copies = match (self.is_dropped, self.is_duplicated) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        let kept = self.length.and_then(|kept| usize::try_from(kept).ok()).unwrap_or(length);
        DatagramFate { copies, length: length.min(kept), delay: self.delay, hold: self.hold }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::FaultPlan;
    use super::*;

    fn fates(plan: &str, seed: u64, count: usize) -> Vec<(DatagramFate, Vec<u8>)> {
        let faults = Faults::new(plan.parse().unwrap(), seed);
        let mut faults = DatagramFaults::new(&faults);
        let one = |_| {
            let mut datagram = b"hello\n".to_vec();
            let fate = faults.fate(Direction::Out, &mut datagram);
            (fate, datagram)
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn each_kind_has_its_effect() {
        let plain = DatagramFate { copies: 1, length: 6, delay: Duration::ZERO, hold: None };
        let alone = |plan: &str| fates(plan, 1, 1)[0].0;
        let time = Duration::from_millis(5);
        assert_eq!(alone(""), plain);
        assert_eq!(alone("drop"), DatagramFate { copies: 0, ..plain });
        assert_eq!(alone("drop\nduplicate"), DatagramFate { copies: 0, ..plain });
        assert_eq!(alone("duplicate"), DatagramFate { copies: 2, ..plain });
        assert_eq!(alone("truncate=2"), DatagramFate { length: 2, ..plain });
        assert_eq!(alone("truncate=9"), plain);
        assert_eq!(alone("delay=5ms"), DatagramFate { delay: time, ..plain });
        assert_eq!(alone("reorder=5ms"), DatagramFate { hold: Some(time), ..plain });
        for other in ["reset", "stall", "refuse", "half-close", "split", "drop direction=in"] {
            assert_eq!(alone(other), plain);
        }
        let (fate, changed) = fates("corrupt=9 offset=1", 1, 1).pop().unwrap();
        assert_eq!((fate, changed[0], changed[5]), (plain, b'h', b'\n'));
        let differing = changed.iter().zip(b"hello\n").filter(|(a, b)| a != b).count();
        assert_eq!(differing, 4, "{changed:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_fates() {
        let plan = "drop p=0.2\ndelay=1ms..9ms p=0.5\ncorrupt p=0.3\nduplicate every=7";
        assert_eq!(fates(plan, 1, 500), fates(plan, 1, 500));
        assert_ne!(fates(plan, 1, 500), fates(plan, 2, 500));
        let dropped = fates(plan, 1, 5000).iter().filter(|(fate, _)| fate.copies == 0).count();
        assert!((900..1100).contains(&dropped), "{dropped}");
        let delay = |(fate, _): &(DatagramFate, _)| fate.delay.as_millis();
        assert!(fates(plan, 1, 500).iter().all(|fate| delay(fate) <= 9));
    }

    #[test]
    fn a_new_plan_applies_from_the_next_datagram_on() {
        let faults = Faults::new(FaultPlan::default(), 1);
        let mut socket = DatagramFaults::new(&faults);
        assert!(socket.is_idle());
        faults.set_plan("drop at=2").unwrap();
        assert!(!socket.is_idle());
        let copies = [(); 3].map(|()| socket.fate(Direction::Out, &mut [0]).copies);
        assert_eq!(copies, [1, 0, 1]);
        assert_eq!(faults.counts()[0].1, 1);
    }
}
