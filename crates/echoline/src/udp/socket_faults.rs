//! Planned faults of one socket: lost, damaged, delayed, reordered and duplicated datagrams.

use std::time::Duration;

use super::batch::ReceivedDatagram;
use crate::transport::fault::{DatagramFaults, Direction, Faults, HeldDatagrams};

/// The maximum number of held datagrams in each direction. Further ones are dropped.
const HELD_MAX: usize = 4096;

/// A datagram with its own copy of the bytes.
#[derive(Clone, Debug)]
pub(super) struct DelayedDatagram {
    /// The received datagram: this datagram itself, or the datagram that it answers.
    pub(super) received: ReceivedDatagram,
    pub(super) bytes: Vec<u8>,
}

/// The planned faults of one socket, and the datagrams that they hold back.
#[derive(Debug)]
pub(super) struct SocketFaults {
    faults: DatagramFaults,
    incoming: HeldDatagrams<DelayedDatagram>,
    outgoing: HeldDatagrams<DelayedDatagram>,
}

impl SocketFaults {
    pub(super) fn new(faults: &Faults) -> Self {
        let faults = DatagramFaults::new(faults);
        Self { faults, incoming: HeldDatagrams::default(), outgoing: HeldDatagrams::default() }
    }

    /// Returns whether datagrams pass unchanged.
    pub(super) fn is_idle(&mut self) -> bool {
        self.incoming.is_empty() && self.outgoing.is_empty() && self.faults.is_idle()
    }

    /// Applies the plan to `datagram` and returns the copies to pass on now: none if it is lost or
    /// held back, two if it is duplicated.
    pub(super) fn pass(
        &mut self,
        direction: Direction,
        mut datagram: DelayedDatagram,
        now: Duration,
    ) -> Vec<DelayedDatagram> {
        let fate = self.faults.fate_at(now, direction, &mut datagram.bytes);
        datagram.bytes.truncate(fate.length);
        let datagrams = vec![datagram; fate.copies.into()];
        let held = self.held(direction);
        if fate.delay.is_zero() && fate.hold.is_none() {
            if !datagrams.is_empty() {
                held.passed(now);
            }
            return datagrams;
        }
        for datagram in datagrams {
            if held.len() < HELD_MAX {
                held.push(now, &fate, datagram);
            }
        }
        Vec::new()
    }

    /// Returns the next held datagram that is due.
    pub(super) fn due(&mut self, direction: Direction, now: Duration) -> Option<DelayedDatagram> {
        self.held(direction).pop(now)
    }

    /// Returns the time at which the next held datagram is due.
    pub(super) fn next_at(&self) -> Option<Duration> {
        [self.incoming.next_at(), self.outgoing.next_at()].into_iter().flatten().min()
    }

    fn held(&mut self, direction: Direction) -> &mut HeldDatagrams<DelayedDatagram> {
        match direction {
            Direction::In => &mut self.incoming,
            Direction::Out => &mut self.outgoing,
        }
    }
}
