//! The muted users of a room. Pure; time is an argument.

use crate::name::key::Key;

/// The maximum number of muted users of one room.
const MUTED_MAX: usize = 1000;

/// A muted user, by name and by lineage: the user cannot escape the mute by leaving, or with a new
/// name or a token.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Muted {
    /// The key of the name.
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

/// Mutes a user until `until_ms`, or unmutes them. Drops the oldest mute beyond the bound.
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

/// Returns the end of a user's mute, if they are muted.
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
    use crate::name::Name;
    use crate::room::Room;
    use crate::room::log::{Log, LogLimits};

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
