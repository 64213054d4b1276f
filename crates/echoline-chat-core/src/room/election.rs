//! The election of an operator in a room whose operators have left. Pure; time is an argument.

use crate::LineKind;
use crate::effect::Effects;
use crate::name::Name;
use crate::room::{Appended, Room};

impl Room {
    /// Notes whether an operator is in the room. If there was none for a day, the member who has
    /// been in the room for longest and who may speak becomes an operator. A line announces it.
    pub(crate) fn elect(&mut self, now_ms: u64) -> Option<(Name, Appended)> {
        if self.has_operator() {
            self.operators.note_present();
            return None;
        }
        self.operators.note_absent(now_ms);
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
        self.operators.note_present();
        let appended = self.announce(now_ms, &words(&name));
        Some((name, appended))
    }

    /// Notes whether an operator is in the room, and elects one if it had none for too long. The
    /// lobby elects none, because every user is in it.
    pub(crate) fn review_operators(&mut self, now_ms: u64, effects: &mut dyn Effects) {
        if self.is_lobby {
            return;
        }
        if let Some((name, appended)) = self.elect(now_ms) {
            effects.keep_line(self, appended, LineKind::Notice, "", &words(&name));
        }
    }
}

/// Returns the line that names the new operator.
fn words(name: &Name) -> String {
    format!("{name} is an operator of this room now: it had none for a day")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::log::{Log, LogLimits};
    use crate::room::muted::Muted;
    use crate::room::room_operators::VACANT_MS;
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
}
