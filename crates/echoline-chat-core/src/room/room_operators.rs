//! The rights of users in a room: its operators, and its mutes. Time is an argument.

use std::collections::VecDeque;

use crate::Key;

/// The time in milliseconds without an operator in the room after which a member becomes one.
pub(super) const VACANT_MS: u64 = 24 * 60 * 60 * 1000;

/// The maximum number of remembered users who left as operators. The oldest is dropped first.
const FORMER_MAX: usize = 100;

/// The former operators of a room, and the beginning of the time without an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct RoomOperators {
    /// The lineages of users who left the room as its operators.
    former: VecDeque<u64>,
    /// The beginning of the time without an operator, in milliseconds since 1970. `None` while an
    /// operator is in the room.
    vacant_since_ms: Option<u64>,
}

impl RoomOperators {
    /// Remembers an operator who leaves voluntarily. The user becomes an operator again on return.
    pub fn remember(&mut self, lineage: u64) {
        self.forget(lineage);
        self.former.push_back(lineage);
        if self.former.len() > FORMER_MAX {
            self.former.pop_front();
        }
    }

    /// Drops the oldest users above the limit. A forged snapshot may exceed it.
    pub fn bound(&mut self) {
        self.former.drain(..self.former.len().saturating_sub(FORMER_MAX));
    }

    /// Forgets a former operator, who will not be an operator again on return. Returns `false` if
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

    /// Records that an operator is in the room.
    pub(super) fn note_present(&mut self) {
        self.vacant_since_ms = None;
    }

    /// Records that no operator is in the room.
    pub(super) fn note_absent(&mut self, now_ms: u64) {
        self.vacant_since_ms.get_or_insert(now_ms);
    }

    /// Returns the beginning of the time without an operator, in milliseconds since 1970.
    pub(crate) fn vacant_since_ms(&self) -> Option<u64> {
        self.vacant_since_ms
    }

    /// Returns whether the room has had no operator for so long that a member must become one.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.vacant_since_ms.is_some_and(|since| now_ms >= since.saturating_add(VACANT_MS))
    }
}

/// The maximum number of muted users of one room.
const MUTED_MAX: usize = 1000;

/// A muted user. The mute applies to the name and to the lineage, so leaving, a new name or a token
/// does not end it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Muted {
    /// The key of the user's name.
    pub key: Key,
    /// The user's number, the same in all their sessions.
    #[serde(rename = "session")]
    pub lineage: u64,
}

impl Muted {
    fn means(&self, key: &Key, lineage: u64) -> bool {
        self.lineage == lineage || self.key == *key
    }
}

/// Mutes a user until `until_ms`, or unmutes them if it is `None`. Drops the oldest mute if there
/// are too many.
pub(super) fn mute(
    mutes: &mut Vec<(Muted, u64)>,
    now_ms: u64,
    muted: Muted,
    until_ms: Option<u64>,
) {
    mutes.retain(|(old, until)| *until > now_ms && !old.means(&muted.key, muted.lineage));
    mutes.extend(until_ms.map(|until| (muted, until)));
    if mutes.len() > MUTED_MAX {
        mutes.remove(0);
    }
}

/// Returns the end of a user's mute in milliseconds since 1970, if they are muted.
pub(super) fn muted_until(
    mutes: &[(Muted, u64)],
    now_ms: u64,
    key: &Key,
    lineage: u64,
) -> Option<u64> {
    let muted = mutes.iter().find(|(muted, _)| muted.means(key, lineage));
    muted.map(|&(_, until)| until).filter(|&until| until > now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;
    use crate::room::{Log, LogLimits, Room};

    #[test]
    fn former_operators_are_bounded() {
        let mut operators = RoomOperators::default();
        (0..=FORMER_MAX as u64).for_each(|lineage| operators.remember(lineage));
        assert!(!operators.remembers(0) && operators.remembers(1));
        assert!(operators.forget(1) && !operators.forget(1) && !operators.remembers(1));
    }

    #[test]
    fn mutes_hold_for_a_name_or_a_lineage_and_are_bounded() {
        let mut room =
            Room::new(Name::parse_room("den").unwrap(), Log::new(LogLimits::default(), 1, 0));
        let muted = |number: u64| {
            let name = Name::parse(&format!("n{number}")).unwrap();
            Muted { key: name.key().clone(), lineage: number }
        };
        for number in 0..MUTED_MAX as u64 + 1 {
            room.mute(0, muted(number), Some(10));
        }
        let until =
            |room: &Room, now, key, lineage| room.muted_until(now, &muted(key).key, lineage);
        assert_eq!((room.muted.len(), until(&room, 0, 0, 0)), (MUTED_MAX, None));
        assert_eq!(until(&room, 9, 7, u64::MAX), Some(10), "the name");
        assert_eq!(until(&room, 9, u64::MAX, 7), Some(10), "the lineage");
        assert_eq!(until(&room, 10, 7, 7), None);
        room.mute(0, muted(7), None);
        assert_eq!(until(&room, 9, 7, 7), None);
    }
}
