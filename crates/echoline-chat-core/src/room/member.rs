//! A member of a room. Pure.

use super::echo_suppression::{HiddenLines, Own};
use crate::Name;

/// The number of a member in its room, which is free again when the member leaves.
pub type MemberId = usize;

/// A user in a room.
#[derive(Debug)]
pub struct Member {
    /// The number of the session.
    pub session: u64,
    /// The user's number, the same in all their sessions.
    pub lineage: u64,
    /// The name.
    pub name: Name,
    /// Whether the member is an operator of the room.
    pub operator: bool,
    /// Whether this node serves the user.
    pub(super) is_here: bool,
    pub(super) standing: Standing,
    /// The position of the member in the order of joins.
    pub arrival: u32,
    /// The number of the member's next line.
    pub(super) next: u64,
    /// The lines that this member wrote and has not passed, which a terminal does not show again.
    pub(super) own: HiddenLines,
}

/// The status of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// In the room.
    In,
    /// For the others, the member has left. The membership resumes if the member's node rejoins.
    Suspended,
    /// For the others, the member has left. The member's own session has not noticed yet.
    Out,
}

/// The user of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberIdentity {
    /// The number of the session.
    pub session: u64,
    /// The user's number, the same in all their sessions.
    pub lineage: u64,
    /// Whether this node serves them.
    pub is_here: bool,
}

impl Member {
    pub(super) fn is_out(&self) -> bool {
        self.standing != Standing::In
    }

    /// Advances the member to line `first`, unless they have already reached it. Returns the number
    /// of visible lines that the member misses.
    pub(super) fn skip_to(&mut self, first: u64, own: Own) -> u64 {
        if self.next >= first {
            return 0;
        }
        let own_lines = self.own.take_missed(self.next, first);
        let hidden = if own == Own::Hidden { own_lines } else { 0 };
        let missed = first - self.next - hidden;
        self.next = first;
        missed
    }
}
