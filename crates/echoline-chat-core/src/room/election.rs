//! The rules for rooms without an operator and for rooms without members. Time is an argument.

use crate::room::{Appended, Log, LogLimits, Member, Room, RoomOrigin};
use crate::{Effects, LineKind, Name};

impl Room {
    /// Records whether an operator is in the room. If there was none for a day, the member who has
    /// been in the room for longest and may speak becomes an operator. A line announces it.
    pub(crate) fn elect(&mut self, now_ms: u64) -> Option<(Name, Appended)> {
        if self.has_operator() {
            self.operators.note_present();
            return None;
        }
        self.operators.note_absent(now_ms);
        if !self.operators.is_due(now_ms) {
            return None;
        }
        let may_speak = |member: &&&Member| {
            self.muted_until(now_ms, member.name.key(), member.lineage).is_none()
        };
        let members = self.members();
        let heir = members.iter().find(may_speak)?;
        let (session, name) = (heir.session, heir.name.clone());
        let member_id = self.member_id_of(session)?;
        self.set_operator(member_id, true);
        self.operators.note_present();
        let appended = self.announce(now_ms, &words(&name));
        Some((name, appended))
    }

    /// Records whether an operator is in the room, and elects one if it had none for a day. The
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

/// Returns the text of the line that announces the new operator.
fn words(name: &Name) -> String {
    format!("{name} is an operator of this room now: it had none for a day")
}

/// The time in milliseconds after which a room is removed if its last members went down with their
/// node. Within this time, those members can rejoin.
const AWAITED_MS: u64 = 60 * 60 * 1000;

impl Room {
    /// Returns whether the room is kept after all members have left, in a chat whose rooms can
    /// outlive their members. A room is kept if a user said something in it, or if its operators
    /// have set it up.
    pub(crate) fn is_worth_keeping(&self) -> bool {
        let is_set_up = !self.topic.is_empty() || self.private || self.password.is_some();
        is_set_up || self.log.has_said()
    }

    /// Returns whether the room can be removed: it is not worth keeping, and has been empty for so
    /// long that no member can return.
    pub(crate) fn is_abandoned(&self, now_ms: u64) -> bool {
        let since = self.operators.vacant_since_ms();
        self.count() == 0
            && !self.is_worth_keeping()
            && since.is_some_and(|since| now_ms >= since.saturating_add(AWAITED_MS))
    }

    /// Replaces the room by a new, empty one. Its suspended members continue in the new room, and
    /// miss the lines in between.
    pub fn renew(&mut self, name: Name, limits: LogLimits, origin: RoomOrigin) {
        self.reset(limits);
        (self.name, self.origin) = (name, origin);
        self.log = Log::new(limits, origin.born, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::room_operators::VACANT_MS;
    use crate::room::{Log, LogLimits, MemberIdentity, Muted, ReplayFrom};

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn room() -> Room {
        Room::new(Name::parse_room("den").unwrap(), Log::new(LogLimits::default(), 1, 0))
    }

    fn join(room: &mut Room, session: u64, name_text: &str) {
        room.join(
            0,
            MemberIdentity { session, lineage: session, is_here: true },
            name(name_text),
            ReplayFrom::Last(0),
        );
    }

    /// Issue 11, item 13: a room without an operator gets one after a day.
    #[test]
    fn regression_the_member_of_longest_presence_succeeds_after_a_day() {
        let mut room = room();
        for (session, name_text) in [(1, "ann"), (2, "ben"), (3, "eve")] {
            join(&mut room, session, name_text);
        }
        let muted = Muted { key: name("ann").key().clone(), lineage: 1 };
        room.mute(0, muted, Some(u64::MAX));
        assert_eq!(room.elect(1000), None, "the waiting time begins");
        assert_eq!(room.elect(999 + VACANT_MS), None);
        let (heir, appended) = room.elect(1000 + VACANT_MS).unwrap();
        assert_eq!(heir, name("ben"), "ann is muted, so ben is next");
        assert_eq!(room.log.line(appended.number).unwrap().text, words(&heir));
        let ben = room.member_id_of(2).unwrap();
        assert!(room.is_operator(ben) && room.elect(5 * VACANT_MS).is_none());
        room.set_operator(ben, false);
        assert_eq!(room.elect(6 * VACANT_MS), None, "the waiting time begins again");
        room.set_operator(ben, true);
        assert_eq!(room.elect(6 * VACANT_MS + 1), None);
        room.expel(0, ben, "kicked");
        assert_eq!(room.elect(7 * VACANT_MS + 1), None, "an operator was in the room meanwhile");
        assert!(room.elect(8 * VACANT_MS + 1).is_some());
    }

    /// A mute belongs to the user. Another name or another session does not end it. A session is
    /// not muted only because its number equals the lineage of a muted user.
    #[test]
    fn regression_a_muted_user_is_not_elected_under_another_name() {
        let mut room = room();
        for (session, lineage, name_text) in [(12, 7, "anna"), (7, 8, "ben")] {
            let identity = MemberIdentity { session, lineage, is_here: true };
            room.join(0, identity, name(name_text), ReplayFrom::Last(0));
        }
        room.mute(0, Muted { key: name("ann").key().clone(), lineage: 7 }, Some(u64::MAX));
        assert_eq!(room.elect(0), None);
        assert_eq!(room.elect(VACANT_MS).map(|(heir, _)| heir), Some(name("ben")));
    }
}
