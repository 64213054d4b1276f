//! Applies operations that concern one room: joining, leaving and saying lines.

use crate::Credential;
use crate::room::{Appended, MemberId, Newcomer, ReplayFrom, Room};
use crate::state::{RoomCell, StateChange};
use crate::{
    Effect, Effects, JoinError, Joined, LineKind, Name, Notification, OperationError, SaidLine,
};

impl<R: RoomCell> StateChange<'_, R> {
    /// Adds the author to a room. Creates the room if it does not exist.
    pub(crate) fn join(
        &mut self,
        room: &Name,
        replay_from: ReplayFrom,
        credential: &Credential,
    ) -> Result<Joined, JoinError> {
        let user = self.author().map_err(|_| JoinError::Gone)?;
        let (identity, name, is_operator) = (user.identity(), user.name(), user.is_operator());
        let address = user.address;
        let ban = self.state.bans.find(self.context.now_ms, user.suspect(), Some(room.key()));
        if let Some(ban) = ban.filter(|_| !is_operator) {
            return Err(JoinError::Banned(self.state.ban_words(ban)));
        }
        let (cell, is_new) = match self.state.rooms.get(room.key()) {
            Some(cell) => (cell.clone(), false),
            None => {
                self.remove_abandoned();
                (self.make_room(room, Some(address)), true)
            }
        };
        let joined = cell.change(|room| {
            let (session, lineage) = (identity.session, identity.lineage);
            let credential = room.valid(credential);
            room.admit(Newcomer { session, lineage, is_operator }, credential)?;
            let (member_id, appended) =
                room.join(self.context.now_ms, identity, name.clone(), replay_from);
            let is_restored = credential.is_operators();
            let returns = room.operators.forget(lineage);
            room.set_operator(member_id, is_new || is_restored || returns);
            self.effects.keep_line(room, appended, LineKind::Joined, name.as_str(), "");
            room.review_operators(self.context.now_ms, self.effects);
            let (room, number, is_here) = (room.name.clone(), appended.number, identity.is_here);
            Ok(Joined { session, room, member_id, number, is_here })
        })?;
        if let Some(user) = self.state.users.get_mut(self.context.session) {
            user.add_membership(cell, joined.member_id);
        }
        Ok(joined)
    }

    /// Removes the author from a room. An operator who leaves this way becomes an operator again on
    /// return.
    pub(crate) fn part(&mut self, room: &Name) -> Result<(), OperationError> {
        let (user, cell) = self.author_and_room(room)?;
        let (member_id, lineage, cell) = (user.member_id_in(cell), user.lineage, cell.clone());
        cell.with(|room| match member_id {
            Some(member_id) if room.standing(member_id).1 => room.operators.remember(lineage),
            _ => {}
        });
        self.take_out(self.context.session, &cell, "");
        Ok(())
    }

    /// Expels a member from a room. Returns the room's name, or `None` if they are not in it. If
    /// this node serves the member, their session releases the membership later.
    fn take_out(&mut self, session: u64, cell: &R, reason: &str) -> Option<Name> {
        let user = self.state.user(session)?;
        let member_id = user.member_id_in(cell)?;
        let (name, is_here) = (user.name(), user.is_here);
        let room = cell.change(|room| {
            let left = room.expel(self.context.now_ms, member_id, reason)?;
            self.effects.keep_line(room, left, LineKind::Left, name.as_str(), reason);
            room.review_operators(self.context.now_ms, self.effects);
            Some(room.name.clone())
        })?;
        if !is_here && let Some(user) = self.state.users.get_mut(session) {
            user.release(cell);
        }
        self.cancel_suspension(session, cell);
        self.remove_if_empty(cell);
        Some(room)
    }

    /// Cancels a suspended membership of a user of this node, so that a rejoin skips this room.
    fn cancel_suspension(&self, session: u64, cell: &R) {
        let suspended = self.state.suspended.get(&session);
        if let Some(member_id) = suspended.and_then(|user| user.member_id_in(cell)) {
            cell.with(|room| room.cancel_suspension(member_id));
        }
    }

    /// Expels a member from a room. `words` is the message for the member, and `reason` the text
    /// for the other members. Returns `false` if the user is not in the room.
    pub(crate) fn expel(&mut self, session: u64, cell: &R, words: &str, reason: &str) -> bool {
        let Some(room) = self.take_out(session, cell, reason) else { return false };
        self.effects.notify(session, Notification::Expelled { room, words: words.to_owned() });
        true
    }

    /// Says lines in a room.
    pub(crate) fn say(&mut self, room: &Name, lines: &[SaidLine]) -> Result<(), OperationError> {
        let (member_id, cell) = self.member(room)?;
        // This node has already displayed the author's own lines, even if the author is suspended
        // here.
        let is_suspended = self.state.suspended.contains_key(&self.context.session);
        cell.change(|room| {
            for SaidLine { kind, text } in lines {
                let appended =
                    room.say_line(self.context.now_ms, member_id, *kind, text, self.effects)?;
                if is_suspended {
                    room.hide(self.context.session, appended.number);
                }
            }
            Ok(())
        })
    }

    pub(crate) fn set_topic(&mut self, room: &Name, words: &str) -> Result<(), OperationError> {
        let (member_id, cell) = self.member(room)?;
        cell.change(|room| {
            if let Some(until) = room.member_muted_until(self.context.now_ms, member_id) {
                return Err(OperationError::Muted(until));
            }
            let appended = room.set_topic(self.context.now_ms, member_id, words);
            let appended = appended.ok_or(OperationError::NotInRoom)?;
            let name = room.member_name(member_id);
            self.effects.keep_line(room, appended, LineKind::Topic, name.as_str(), words);
            self.effects.emit(Effect::KeepRoom(room));
            Ok(())
        })
    }

    /// Returns the author's membership of the room with this name.
    fn member(&self, room: &Name) -> Result<(MemberId, R), OperationError> {
        let (user, cell) = self.author_and_room(room)?;
        let member_id = user.member_id_in(cell).ok_or(OperationError::NotInRoom)?;
        Ok((member_id, cell.clone()))
    }
}

impl Room {
    /// Appends a line of a member, and stores it. Said lines are added to a room only here.
    pub fn say_line(
        &mut self,
        now_ms: u64,
        member_id: MemberId,
        kind: LineKind,
        text: &str,
        effects: &mut dyn Effects,
    ) -> Result<Appended, OperationError> {
        if let Some(until) = self.member_muted_until(now_ms, member_id) {
            return Err(OperationError::Muted(until));
        }
        if self.operators.is_due(now_ms) {
            self.review_operators(now_ms, effects);
        }
        let appended = self.say(now_ms, member_id, kind, text).ok_or(OperationError::NotInRoom)?;
        let name = self.member_name(member_id);
        effects.keep_line(self, appended, kind, name.as_str(), text);
        Ok(appended)
    }
}

/// Returns the notice that tells a room about a deleted line.
fn announcement(number: u64, by: &Name) -> String {
    format!("Line {number} was deleted by {by}")
}

/// Parses a notice that a line was deleted, and returns the line's number. Users cannot write
/// notices, so the number can be trusted.
pub fn deleted_by(notice: &str) -> Option<u64> {
    let (number, by) = notice.strip_prefix("Line ")?.split_once(" was deleted by ")?;
    (!by.is_empty()).then(|| number.parse().ok())?
}

impl<R: RoomCell> StateChange<'_, R> {
    /// Deletes the text of a line. Whether the line is the author's own was checked by the author's
    /// node. Whether the author is an operator is checked here.
    pub(crate) fn delete_line(
        &mut self,
        room: &Name,
        number: u64,
        is_own: bool,
    ) -> Result<(), OperationError> {
        let (user, cell) = if is_own { self.author_and_room(room)? } else { self.authority(room)? };
        let (words, cell) = (announcement(number, &user.name()), cell.clone());
        cell.change(|room| {
            if !(1..room.log.next()).contains(&number) {
                return Err(OperationError::NotFound);
            }
            room.log.delete(number);
            self.effects.emit(Effect::DeleteLine { room, number });
            let appended = room.announce(self.context.now_ms, &words);
            self.effects.keep_line(room, appended, LineKind::Notice, "", &words);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_contains_the_number_of_the_deleted_line() {
        let name = Name::parse("ann").unwrap();
        assert_eq!(deleted_by(&announcement(12, &name)), Some(12));
        for other in ["Line 12 was deleted by ", "Line x was deleted by ann", "Line 12", "tea"] {
            assert_eq!(deleted_by(other), None, "{other}");
        }
    }
}
