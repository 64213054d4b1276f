//! Applies operations that concern one room: joining, leaving and saying lines. Pure.

use crate::LineKind;
use crate::effect::{Effect, Effects};
use crate::name::Name;
use crate::notification::Notification;
use crate::operation::{OperationContext, SaidLine};
use crate::outcome::{JoinError, Joined, OperationError, Outcome};
use crate::room::credential::Credential;
use crate::room::entrance::Newcomer;
use crate::room::{Appended, MemberId, ReplayFrom, Room};
use crate::state::ChatState;
use crate::state::room_cell::RoomCell;

impl<R: RoomCell> ChatState<R> {
    /// Adds a user to a room. Creates the room if it does not exist.
    pub fn join(
        &mut self,
        context: OperationContext,
        room: &Name,
        replay_from: ReplayFrom,
        credential: &Credential,
        effects: &mut dyn Effects,
    ) -> Result<Joined, JoinError> {
        let user = self.user(context.session).ok_or(JoinError::Gone)?;
        let (identity, name, is_operator) = (user.identity(), user.name(), user.is_operator());
        let address = user.address;
        let ban = self.bans.find(context.now_ms, user.suspect(), Some(room.key()));
        if let Some(ban) = ban.filter(|_| !is_operator) {
            return Err(JoinError::Banned(self.ban_words(ban)));
        }
        let (cell, is_new) = match self.rooms.get(room.key()) {
            Some(cell) => (cell.clone(), false),
            None => {
                self.remove_abandoned(context.now_ms, effects);
                (self.make_room(room, Some(address), effects), true)
            }
        };
        let joined = cell.change(|room| {
            let (session, lineage) = (identity.session, identity.lineage);
            let credential = room.valid(credential);
            room.admit(Newcomer { session, lineage, is_operator }, credential)?;
            let (member_id, appended) =
                room.join(context.now_ms, identity, name.clone(), replay_from);
            let is_restored = credential.is_operators();
            let returns = room.operators.forget(lineage);
            room.set_operator(member_id, is_new || is_restored || returns);
            effects.keep_line(room, appended, LineKind::Joined, name.as_str(), "");
            room.review_operators(context.now_ms, effects);
            let (room, number, is_here) = (room.name.clone(), appended.number, identity.is_here);
            Ok(Joined { session, room, member_id, number, is_here })
        })?;
        if let Some(user) = self.users.get_mut(context.session) {
            user.add_membership(cell, joined.member_id);
        }
        Ok(joined)
    }

    /// Removes a user from a room that they leave. An operator who returns is an operator again.
    pub fn part(
        &mut self,
        context: OperationContext,
        room: &Name,
        effects: &mut dyn Effects,
    ) -> Outcome {
        let Some((user, cell)) = self.user(context.session).zip(self.rooms.get(room.key())) else {
            return Outcome::Refused(OperationError::NotInRoom);
        };
        let (member_id, lineage, cell) = (user.member_id_in(cell), user.lineage, cell.clone());
        cell.with(|room| match member_id {
            Some(member_id) if room.standing(member_id).1 => room.operators.remember(lineage),
            _ => {}
        });
        self.take_out(context.now_ms, context.session, &cell, "", effects);
        Outcome::Done
    }

    /// Expels a member from a room. Returns the room's name, or `None` if they are not in it. The
    /// session of a member on this node releases the membership later.
    fn take_out(
        &mut self,
        now_ms: u64,
        session: u64,
        cell: &R,
        reason: &str,
        effects: &mut dyn Effects,
    ) -> Option<Name> {
        let user = self.user(session)?;
        let member_id = user.member_id_in(cell)?;
        let (name, is_here) = (user.name(), user.is_here);
        let room = cell.change(|room| {
            let left = room.expel(now_ms, member_id, reason)?;
            effects.keep_line(room, left, LineKind::Left, name.as_str(), reason);
            room.review_operators(now_ms, effects);
            Some(room.name.clone())
        })?;
        if !is_here && let Some(user) = self.users.get_mut(session) {
            user.release(cell);
        }
        self.cancel_suspension(session, cell);
        self.remove_if_empty(cell, effects);
        Some(room)
    }

    /// Cancels the suspended membership of a user of this node, so that a rejoin skips this room.
    fn cancel_suspension(&self, session: u64, cell: &R) {
        let suspended = self.suspended.get(&session);
        if let Some(member_id) = suspended.and_then(|user| user.member_id_in(cell)) {
            cell.with(|room| room.cancel_suspension(member_id));
        }
    }

    /// Removes a member from a room. The member gets the text `words`, the others get `reason`.
    /// Returns `false` if the user is not in the room.
    pub(crate) fn expel(
        &mut self,
        now_ms: u64,
        session: u64,
        cell: &R,
        words: &str,
        reason: &str,
        effects: &mut dyn Effects,
    ) -> bool {
        let Some(room) = self.take_out(now_ms, session, cell, reason, effects) else {
            return false;
        };
        effects.notify(session, Notification::Expelled { room, words: words.to_owned() });
        true
    }

    /// Says lines in a room.
    pub fn say(
        &self,
        context: OperationContext,
        room: &Name,
        lines: &[SaidLine],
        effects: &mut dyn Effects,
    ) -> Outcome {
        let Some((member_id, cell)) = self.member(context, room) else {
            return Outcome::Refused(OperationError::NotInRoom);
        };
        // The author's session displays its own lines, also while its user is suspended here.
        let is_suspended = self.suspended.contains_key(&context.session);
        let said = cell.change(|room| {
            for SaidLine { kind, text } in lines {
                let appended = room.say_line(context.now_ms, member_id, *kind, text, effects)?;
                if is_suspended {
                    room.hide(context.session, appended.number);
                }
            }
            Ok(())
        });
        said.map_or_else(Outcome::Refused, |()| Outcome::Done)
    }

    pub(crate) fn set_topic(
        &self,
        context: OperationContext,
        room: &Name,
        words: &str,
        effects: &mut dyn Effects,
    ) -> Outcome {
        let Some((member_id, cell)) = self.member(context, room) else {
            return Outcome::Refused(OperationError::NotInRoom);
        };
        cell.change(|room| {
            if let Some(until) = room.member_muted_until(context.now_ms, member_id) {
                return Outcome::Refused(OperationError::Muted(until));
            }
            let Some(appended) = room.set_topic(context.now_ms, member_id, words) else {
                return Outcome::Refused(OperationError::NotInRoom);
            };
            let name = room.member_name(member_id);
            effects.keep_line(room, appended, LineKind::Topic, name.as_str(), words);
            effects.emit(Effect::KeepRoom(room));
            Outcome::Done
        })
    }

    /// Returns the author's member in the room of this name.
    fn member(&self, context: OperationContext, room: &Name) -> Option<(MemberId, &R)> {
        let cell = self.rooms.get(room.key())?;
        Some((self.user(context.session)?.member_id_in(cell)?, cell))
    }
}

impl Room {
    /// Applies a line of a member. No other code adds said lines to a room.
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
