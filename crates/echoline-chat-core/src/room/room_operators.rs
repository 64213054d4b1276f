//! The operators of a room over time: the users who left as operators, and the time without one.
//! Pure; time is an argument.

use std::collections::VecDeque;

/// The time without an operator in the room after which a member becomes one, in milliseconds.
pub(super) const VACANT_MS: u64 = 24 * 60 * 60 * 1000;

/// The maximum number of users who left as operators. The oldest is dropped first.
const FORMER_MAX: usize = 100;

/// The former operators of a room, and the time since which it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct RoomOperators {
    /// Lineages of users who left the room as its operators.
    former: VecDeque<u64>,
    /// The time since which no operator has been in the room, in milliseconds since 1970.
    vacant_since_ms: Option<u64>,
}

impl RoomOperators {
    /// Remembers an operator who leaves voluntarily. The user is an operator again on return.
    pub fn remember(&mut self, lineage: u64) {
        self.forget(lineage);
        self.former.push_back(lineage);
        if self.former.len() > FORMER_MAX {
            self.former.pop_front();
        }
    }

    /// Drops the oldest users beyond the bound, which a forged snapshot may have.
    pub fn bound(&mut self) {
        self.former.drain(..self.former.len().saturating_sub(FORMER_MAX));
    }

    /// Removes a former operator, who stays an ordinary member on their return. Returns `false` if
    /// the user was not in the list.
    pub fn forget(&mut self, lineage: u64) -> bool {
        let before = self.former.len();
        self.former.retain(|&former| former != lineage);
        self.former.len() < before
    }

    /// Returns whether the user left the room as its operator.
    pub fn remembers(&self, lineage: u64) -> bool {
        self.former.contains(&lineage)
    }

    /// Notes that an operator is in the room.
    pub(super) fn note_present(&mut self) {
        self.vacant_since_ms = None;
    }

    /// Notes that no operator is in the room.
    pub(super) fn note_absent(&mut self, now_ms: u64) {
        self.vacant_since_ms.get_or_insert(now_ms);
    }

    /// Returns the time since which no operator has been in the room.
    pub(crate) fn vacant_since_ms(&self) -> Option<u64> {
        self.vacant_since_ms
    }

    /// Returns whether the room has had no operator for so long that a member becomes one.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.vacant_since_ms.is_some_and(|since| now_ms >= since.saturating_add(VACANT_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn former_operators_are_bounded() {
        let mut operators = RoomOperators::default();
        (0..=FORMER_MAX as u64).for_each(|lineage| operators.remember(lineage));
        assert!(!operators.remembers(0) && operators.remembers(1));
        assert!(operators.forget(1) && !operators.forget(1) && !operators.remembers(1));
    }
}
