//! Planned faults of one socket: datagrams that are lost, damaged, late, misplaced, or come twice.

use std::time::Duration;

use super::batch::Received;
use crate::net::fault::{DatagramFaults, Direction, Faults, Held};

/// Datagrams that are kept back at once, in each direction; what is too many is lost.
const HELD_MAX: usize = 4096;

/// A datagram on its way, by itself.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    /// What it came as, or what it answers.
    pub(super) received: Received,
    pub(super) bytes: Vec<u8>,
}

/// What is planned, and what is kept back because of it.
#[derive(Debug)]
pub(super) struct Planned {
    faults: DatagramFaults,
    incoming: Held<Parcel>,
    outgoing: Held<Parcel>,
}

impl Planned {
    pub(super) fn new(faults: &Faults) -> Self {
        let faults = DatagramFaults::new(faults);
        Self { faults, incoming: Held::default(), outgoing: Held::default() }
    }

    /// Whether datagrams go their way as if this were not here.
    pub(super) fn is_idle(&mut self) -> bool {
        self.incoming.is_empty() && self.outgoing.is_empty() && self.faults.is_idle()
    }

    /// What goes on now of `parcel`: none where it is lost or kept back, two where it is doubled.
    pub(super) fn pass(
        &mut self,
        direction: Direction,
        mut parcel: Parcel,
        now: Duration,
    ) -> Vec<Parcel> {
        let fate = self.faults.fate_at(now, direction, &mut parcel.bytes);
        parcel.bytes.truncate(fate.length);
        let parcels = vec![parcel; fate.copies.into()];
        let held = self.held(direction);
        if fate.delay.is_zero() && fate.hold.is_none() {
            if !parcels.is_empty() {
                held.passed(now);
            }
            return parcels;
        }
        for parcel in parcels {
            if held.len() < HELD_MAX {
                held.push(now, &fate, parcel);
            }
        }
        Vec::new()
    }

    /// The next one that was kept back until now.
    pub(super) fn due(&mut self, direction: Direction, now: Duration) -> Option<Parcel> {
        self.held(direction).pop(now)
    }

    /// When there will be one.
    pub(super) fn next_at(&self) -> Option<Duration> {
        [self.incoming.next_at(), self.outgoing.next_at()].into_iter().flatten().min()
    }

    fn held(&mut self, direction: Direction) -> &mut Held<Parcel> {
        match direction {
            Direction::In => &mut self.incoming,
            Direction::Out => &mut self.outgoing,
        }
    }
}
