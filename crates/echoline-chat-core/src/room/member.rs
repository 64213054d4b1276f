//! A member of a room.

use super::echo_suppression::{HiddenLines, Own};
use crate::Name;

/// The number of a member in its room. It can be reused after the member leaves.
pub type MemberId = usize;

/// A user in a room.
#[derive(Debug)]
pub struct Member {
    /// The number of the session.
    pub session: u64,
    /// The user's number, the same in all their sessions.
    pub lineage: u64,
    /// The name of the user.
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
    /// The lines that a terminal does not show to this member.
    pub(super) own: HiddenLines,
}

/// The state of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The user is in the room.
    In,
    /// Other members see that the user has left. The membership resumes if the user's node rejoins.
    Suspended,
    /// Other members see that the user has left. The user's own session has not noticed it yet.
    Out,
}

/// The identity of the user behind a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberIdentity {
    /// The number of the session.
    pub session: u64,
    /// The user's number, the same in all their sessions.
    pub lineage: u64,
    /// Whether this node serves the user.
    pub is_here: bool,
}

impl Member {
    pub(super) fn is_out(&self) -> bool {
        self.standing != Standing::In
    }

    /// Advances the member to line `first`, unless the member has already reached it. Returns the
    /// number of skipped lines that the member would have been shown.
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
