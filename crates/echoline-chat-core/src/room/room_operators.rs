//! The operators of a room over time: those who return to it, and the member who succeeds operators
//! who do not. Pure; time is an argument.

use std::collections::VecDeque;

use crate::LineKind;
use crate::effect::Effects;
use crate::name::Name;
use crate::room::{Appended, Room};

/// The time without an operator in the room after which a member becomes one, in milliseconds.
const VACANT_MS: u64 = 24 * 60 * 60 * 1000;

/// Users at most who left a room as its operators; the oldest is forgotten first.
const FORMER_MAX: usize = 100;

/// The operators that a room had, and the time for which it has had none.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct RoomOperators {
    /// Lineages of users who left the room as its operators.
    former: VecDeque<u64>,
    /// Since when no operator has been in the room (milliseconds since 1970).
    vacant_since_ms: Option<u64>,
}

impl RoomOperators {
    /// An operator leaves of their own accord, and is one again if they return.
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

    /// A user is no operator any more if they return; `false` if they were not to be one.
    pub fn forget(&mut self, lineage: u64) -> bool {
        let before = self.former.len();
        self.former.retain(|&former| former != lineage);
        self.former.len() < before
    }

    /// Whether the user left the room as its operator.
    pub fn remembers(&self, lineage: u64) -> bool {
        self.former.contains(&lineage)
    }

    /// Since when no operator has been in the room.
    pub(crate) fn vacant_since_ms(&self) -> Option<u64> {
        self.vacant_since_ms
    }

    /// Whether the room has had no operator for so long that a member is to become one.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.vacant_since_ms.is_some_and(|since| now_ms >= since.saturating_add(VACANT_MS))
    }
}

impl Room {
    /// Notes whether an operator is in the room. If none has been for a day, makes the member an
    /// operator who has been in it longest and may speak, and says so in the room.
    pub(crate) fn elect(&mut self, now_ms: u64) -> Option<(Name, Appended)> {
        if self.has_operator() {
            self.operators.vacant_since_ms = None;
            return None;
        }
        self.operators.vacant_since_ms.get_or_insert(now_ms);
        if !self.operators.is_due(now_ms) {
            return None;
        }
        let may_speak =
            |session, name: &Name| self.muted_until(now_ms, name.key(), session).is_none();
        let members = self.members();
        let heir = members.iter().find(|member| may_speak(member.session, &member.name))?;
        let (session, name) = (heir.session, heir.name.clone());
        let member_id = self.seat_of(session)?;
        self.set_operator(member_id, true);
        self.operators.vacant_since_ms = None;
        let appended = self.announce(now_ms, &words(&name));
        Some((name, appended))
    }

    /// Notes whether an operator is in the room, and elects one if it had none for too long. The
    /// lobby elects none: every user is in it.
    pub(crate) fn review_operators(&mut self, now_ms: u64, effects: &mut dyn Effects) {
        if self.is_lobby {
            return;
        }
        if let Some((name, appended)) = self.elect(now_ms) {
            effects.keep_line(self, appended, LineKind::Notice, "", &words(&name));
        }
    }
}

/// The line that names the new operator.
fn words(name: &Name) -> String {
    format!("{name} is an operator of this room now: it had none for a day")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::log::{Log, LogLimits};
    use crate::room::muted::Muted;
    use crate::room::{MemberIdentity, ReplayFrom};

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn room() -> Room {
        Room::new(Name::parse_room("den").unwrap(), Log::new(LogLimits::default(), 1, 0))
    }

    fn join(room: &mut Room, session: u64, who: &str) {
        room.join(
            0,
            MemberIdentity { session, lineage: session, is_here: true },
            name(who),
            ReplayFrom::Last(0),
        );
    }

    /// Issue 11, item 13: a room without an operator gets one, by a rule.
    #[test]
    fn regression_the_member_of_longest_presence_succeeds_after_a_day() {
        let mut room = room();
        for (session, who) in [(1, "ann"), (2, "ben"), (3, "eve")] {
            join(&mut room, session, who);
        }
        let muted = Muted { key: name("ann").key().clone(), lineage: 1 };
        room.mute(0, muted, Some(u64::MAX));
        assert_eq!(room.elect(1000), None, "the day begins");
        assert_eq!(room.elect(999 + VACANT_MS), None);
        let (heir, appended) = room.elect(1000 + VACANT_MS).unwrap();
        assert_eq!(heir, name("ben"), "ann may not speak");
        assert_eq!(room.log.line(appended.number).unwrap().text, words(&heir));
        let ben = room.seat_of(2).unwrap();
        assert!(room.is_operator(ben) && room.elect(5 * VACANT_MS).is_none());
        room.set_operator(ben, false);
        assert_eq!(room.elect(6 * VACANT_MS), None, "and another day begins");
        room.set_operator(ben, true);
        assert_eq!(room.elect(6 * VACANT_MS + 1), None);
        room.expel(0, ben, "kicked");
        assert_eq!(room.elect(7 * VACANT_MS + 1), None, "an operator was there meanwhile");
        assert!(room.elect(8 * VACANT_MS + 1).is_some());
    }

    #[test]
    fn former_operators_are_bounded() {
        let mut operators = RoomOperators::default();
        (0..=FORMER_MAX as u64).for_each(|lineage| operators.remember(lineage));
        assert!(!operators.remembers(0) && operators.remembers(1));
        assert!(operators.forget(1) && !operators.forget(1) && !operators.remembers(1));
    }
}
