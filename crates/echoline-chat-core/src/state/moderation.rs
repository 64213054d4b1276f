//! Applies operations that need the rights of an operator. Pure.

use std::collections::BTreeSet;

use crate::effect::{Effect, Effects};
use crate::name::Name;
use crate::notification::{Disconnect, Notification};
use crate::operation::{Operation, OperationContext, RoomChange};
use crate::outcome::{OperationError, Outcome};
use crate::room::Room;
use crate::room::muted::Muted;
use crate::state::ChatState;
use crate::state::bans::{Ban, Scope, Subject, TooManyBans};
use crate::state::room_cell::RoomCell;
use crate::state::user::User;

impl<R: RoomCell> ChatState<R> {
    /// Applies an operation of an operator.
    pub(crate) fn moderate(
        &mut self,
        context: OperationContext,
        operation: Operation,
        effects: &mut dyn Effects,
    ) -> Outcome {
        let result = match operation {
            Operation::Kick { room, whom, words } => {
                self.kick(context, &room, whom, &words, effects)
            }
            Operation::Ban(ban) => self.ban(context, &ban, effects),
            Operation::Unban { subject, scope } => {
                return self.unban(context, &subject, &scope, effects);
            }
            Operation::Alter { room, change } => self.alter(context, &room, change, effects),
            Operation::Forget { room } => self.forget(context, &room, effects),
            _ => Ok(()),
        };
        result.map_or_else(Outcome::Refused, |()| Outcome::Done)
    }

    /// Returns whether the author may ban in `scope`. An operator of the chat may ban anywhere, an
    /// operator of a room only there.
    fn may_ban(&self, context: OperationContext, scope: &Scope) -> bool {
        let Some(user) = self.user(context.session) else { return false };
        match scope {
            Scope::Chat => user.is_operator(),
            Scope::Room(room) => {
                let cell = self.rooms.get(room.key());
                user.is_operator() || cell.is_some_and(|cell| is_room_operator(user, cell))
            }
        }
    }

    /// Returns the author and the room of this name, if the author is an operator there.
    pub fn authority(
        &self,
        context: OperationContext,
        room: &Name,
    ) -> Result<(&User<R>, &R), OperationError> {
        let user = self.user(context.session).ok_or(OperationError::NotInRoom)?;
        let cell = self.rooms.get(room.key()).ok_or(OperationError::NotInRoom)?;
        if !user.is_operator() && !is_room_operator(user, cell) {
            return Err(OperationError::NotOperator);
        }
        Ok((user, cell))
    }

    fn kick(
        &mut self,
        context: OperationContext,
        room: &Name,
        whom: u64,
        words: &str,
        effects: &mut dyn Effects,
    ) -> Result<(), OperationError> {
        let (user, cell) = self.authority(context, room)?;
        let other = self.user(whom).ok_or(OperationError::NotFound)?;
        if is_above(other, user) {
            return Err(OperationError::NotOperator);
        }
        let (by, lineage, cell) = (user.name(), other.lineage, cell.clone());
        let colon = if words.is_empty() { "" } else { ": " };
        let told = format!("You were kicked from {room} by {by}{colon}{words}");
        let reason = format!("kicked by {by}{colon}{words}");
        if !self.expel(context.now_ms, whom, &cell, &told, &reason, effects) {
            return Err(OperationError::NotFound);
        }
        self.lose_room(&BTreeSet::from([lineage]), &cell, effects);
        if cell.is_same(&self.lobby) {
            // The member has no other room, so the session ends.
            let disconnect = Disconnect { words: "Goodbye".to_owned(), reason: Some(told) };
            effects.emit(Effect::Disconnect { session: whom, disconnect });
        }
        Ok(())
    }

    /// Lifts a ban.
    fn unban(
        &mut self,
        context: OperationContext,
        subject: &Subject,
        scope: &Scope,
        effects: &mut dyn Effects,
    ) -> Outcome {
        if !self.may_ban(context, scope) {
            return Outcome::Refused(OperationError::NotOperator);
        }
        let lifted = self.bans.remove(subject, scope);
        if let Some(lifted) = &lifted {
            effects.emit(Effect::DeleteBan(lifted));
        }
        Outcome::Unbanned(lifted)
    }

    /// Adds a ban, and ends the membership or session of each user to whom it applies.
    fn ban(
        &mut self,
        context: OperationContext,
        ban: &Ban,
        effects: &mut dyn Effects,
    ) -> Result<(), OperationError> {
        let words = self.ban_words(ban);
        if !self.may_ban(context, &ban.scope) {
            return Err(OperationError::NotOperator);
        }
        let banned = self.banned_users(ban);
        let cell = match ban.scope.room() {
            Some(key) => Some(self.rooms.get(key).cloned().ok_or(OperationError::NotFound)?),
            None => None,
        };
        match self.bans.add(context.now_ms, ban.clone()) {
            Ok(removed) => removed.iter().for_each(|ban| effects.emit(Effect::DeleteBan(ban))),
            Err(TooManyBans(most)) => return Err(OperationError::TooManyBans(most)),
        }
        effects.emit(Effect::KeepBan(ban));
        if let Some(cell) = cell {
            for &(session, _) in &banned {
                self.expel(context.now_ms, session, &cell, &words, "banned", effects);
            }
            let lineages = banned.iter().map(|&(_, lineage)| lineage).collect();
            self.lose_room(&lineages, &cell, effects);
            return Ok(());
        }
        for (session, _) in banned {
            let memberships = self.user(session).map(User::memberships).unwrap_or_default();
            for (cell, _) in memberships {
                self.expel(context.now_ms, session, &cell, "", "banned", effects);
            }
            effects.disconnect(session, words.as_str());
        }
        Ok(())
    }

    /// Returns the sessions and lineages of the users that a ban applies to, in the order of their
    /// sessions. Compares each user with this ban only, because earlier bans took effect when they
    /// were added.
    fn banned_users(&self, ban: &Ban) -> Vec<(u64, u64)> {
        let users = self.users.values().filter(|user| !user.is_operator());
        let banned = users.filter(|user| ban.means(user.suspect()));
        banned.map(|user| (user.session, user.lineage)).collect()
    }

    /// Removes a room from the saved sessions of users who were expelled from it. Scans the tokens
    /// once for all users.
    fn lose_room(&mut self, lineages: &BTreeSet<u64>, cell: &R, effects: &mut dyn Effects) {
        let room = cell.with(|room| room.name.clone());
        for (token, saved) in self.tokens.lose_room(lineages, &room) {
            effects.emit(Effect::KeepToken { token: &token, saved: &saved });
        }
    }

    fn alter(
        &mut self,
        context: OperationContext,
        room: &Name,
        change: RoomChange,
        effects: &mut dyn Effects,
    ) -> Result<(), OperationError> {
        let (user, cell) = self.authority(context, room)?;
        let cell = cell.clone();
        let other = |session: u64| self.user(session).ok_or(OperationError::NotFound);
        match change {
            RoomChange::Private(is_private) => {
                redefine(&cell, effects, |room| room.private = is_private);
                Ok(())
            }
            RoomChange::Password(hash) => {
                redefine(&cell, effects, |room| room.password = hash.map(Into::into));
                Ok(())
            }
            RoomChange::Operator(session, is_operator) => {
                self.appoint(context, session, &cell, is_operator, effects)
            }
            RoomChange::Mute(session, until_ms) => {
                mute(context, user, other(session)?, &cell, until_ms, effects)
            }
            RoomChange::Invite(session) => {
                let invited = other(session)?.lineage;
                cell.with(|room| room.invite(invited));
                let (by, lineage, room) = (user.name(), user.lineage, room.clone());
                effects.notify(session, Notification::Invitation { by, lineage, room });
                Ok(())
            }
        }
    }

    /// Makes a user an operator of the room, or revokes that. If both users are operators of the
    /// whole chat, the revocation applies to the whole chat.
    fn appoint(
        &mut self,
        context: OperationContext,
        session: u64,
        cell: &R,
        is_operator: bool,
        effects: &mut dyn Effects,
    ) -> Result<(), OperationError> {
        let by = self.user(context.session).ok_or(OperationError::NotInRoom)?;
        let other = self.user(session).ok_or(OperationError::NotFound)?;
        if !is_operator && is_above(other, by) {
            return Err(OperationError::NotOperator);
        }
        let (lineage, member_id) = (other.lineage, other.member_id_in(cell));
        let was_above_all = !is_operator && other.is_operator();
        if was_above_all {
            if let Some(other) = self.users.get_mut(session) {
                other.make_operator(false);
            }
            effects.notice(session, "You are no longer an operator of the chat");
        }
        if !is_operator {
            for (token, saved) in self.tokens.depose(lineage) {
                effects.emit(Effect::KeepToken { token: &token, saved: &saved });
            }
        }
        let (room, is_done) = cell.with(|room| {
            let was_former = !is_operator && room.operators.forget(lineage);
            let member_id = member_id.filter(|&member_id| room.is_in(member_id));
            if let Some(member_id) = member_id {
                room.set_operator(member_id, is_operator);
                room.review_operators(context.now_ms, effects);
            }
            (room.name.clone(), member_id.is_some() || was_former)
        });
        if !is_done {
            return if was_above_all { Ok(()) } else { Err(OperationError::NotFound) };
        }
        let now = if is_operator { "an operator" } else { "no longer an operator" };
        effects.notice(session, format!("You are {now} of {room}"));
        Ok(())
    }
}

fn redefine(cell: &impl RoomCell, effects: &mut dyn Effects, change: impl FnOnce(&mut Room)) {
    cell.with(|room| {
        change(room);
        effects.emit(Effect::KeepRoom(room));
    });
}

fn is_room_operator<R: RoomCell>(user: &User<R>, cell: &R) -> bool {
    let member_id = user.member_id_in(cell);
    member_id.is_some_and(|member_id| cell.with(|room| room.standing(member_id).1))
}

/// Returns whether the other user is an operator of the whole chat, and this one is not. If so,
/// this user cannot moderate the other one.
fn is_above<R>(other: &User<R>, user: &User<R>) -> bool {
    other.is_operator() && !user.is_operator()
}

/// Mutes a user until `until_ms`, or unmutes them.
fn mute<R: RoomCell>(
    context: OperationContext,
    user: &User<R>,
    other: &User<R>,
    cell: &R,
    until_ms: Option<u64>,
    effects: &mut dyn Effects,
) -> Result<(), OperationError> {
    if until_ms.is_some() && is_above(other, user) {
        return Err(OperationError::NotOperator);
    }
    let muted = Muted { key: other.name().key().clone(), lineage: other.lineage };
    let room = cell.with(|room| {
        room.mute(context.now_ms, muted, until_ms);
        room.name.clone()
    });
    let what = if until_ms.is_some() { "muted" } else { "unmuted" };
    effects.notice(other.session, format!("You were {what} in {room}"));
    Ok(())
}
