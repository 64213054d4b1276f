//! Rules for rooms without members: when a room is kept, removed or reset. Pure; time is an
//! argument.

use crate::name::Name;
use crate::room::Room;
use crate::room::log::{Log, LogLimits};
use crate::room::room_origin::RoomOrigin;

/// The time after which a room is removed if its last members went down with their node, in
/// milliseconds. Until then they may come back.
const AWAITED_MS: u64 = 60 * 60 * 1000;

impl Room {
    /// Returns whether a room is kept when all members have left it, if rooms outlive their
    /// members. It is kept if a user said something in it, or if its operators have set it up.
    pub(crate) fn is_worth_keeping(&self) -> bool {
        let is_set_up = !self.topic.is_empty() || self.private || self.password.is_some();
        is_set_up || self.log.has_said()
    }

    /// Returns whether the room is not worth keeping, and has been empty for so long that no member
    /// can return.
    pub(crate) fn is_abandoned(&self, now_ms: u64) -> bool {
        let since = self.operators.vacant_since_ms();
        self.count() == 0
            && !self.is_worth_keeping()
            && since.is_some_and(|since| now_ms >= since.saturating_add(AWAITED_MS))
    }

    /// Resets the room to a new, empty one. Its suspended members continue in the new room, and
    /// miss the lines in between.
    pub fn renew(&mut self, name: Name, limits: LogLimits, origin: RoomOrigin) {
        self.reset(limits);
        (self.name, self.origin) = (name, origin);
        self.log = Log::new(limits, origin.born, 0);
    }
}
