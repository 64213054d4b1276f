//! Applies operations that need the rights of an operator.

use std::collections::BTreeSet;

use crate::room::{Muted, Room};
use crate::state::{Ban, RoomCell, Scope, StateChange, Subject, TooManyBans, User};
use crate::{Disconnect, Effect, Name, Notification, OperationError, RoomChange};

impl<R: RoomCell> StateChange<'_, R> {
    /// Returns whether the author may ban in `scope`. An operator of the chat may ban anywhere, and
    /// an operator of a room only in that room.
    fn may_ban(&self, scope: &Scope) -> bool {
        let Ok(user) = self.author() else { return false };
        match scope {
            Scope::Chat => user.is_operator(),
            Scope::Room(room) => {
                let cell = self.state.rooms.get(room.key());
                user.is_operator() || cell.is_some_and(|cell| is_room_operator(user, cell))
            }
        }
    }

    /// Returns the author and the room with this name. Fails if the author is not an operator
    /// there.
    pub(crate) fn authority(&self, room: &Name) -> Result<(&User<R>, &R), OperationError> {
        let (user, cell) = self.author_and_room(room)?;
        if !user.is_operator() && !is_room_operator(user, cell) {
            return Err(OperationError::NotOperator);
        }
        Ok((user, cell))
    }

    pub(crate) fn kick(
        &mut self,
        room: &Name,
        session: u64,
        words: &str,
    ) -> Result<(), OperationError> {
        let (user, cell) = self.authority(room)?;
        let other = self.state.user(session).ok_or(OperationError::NotFound)?;
        if is_above(other, user) {
            return Err(OperationError::NotOperator);
        }
        let (by, lineage, cell) = (user.name(), other.lineage, cell.clone());
        let colon = if words.is_empty() { "" } else { ": " };
        let told = format!("You were kicked from {room} by {by}{colon}{words}");
        let reason = format!("kicked by {by}{colon}{words}");
        if !self.expel(session, &cell, &told, &reason) {
            return Err(OperationError::NotFound);
        }
        self.lose_room(&BTreeSet::from([lineage]), &cell);
        if cell.is_same(&self.state.lobby) {
            // In the lobby, the user has no other room to go to, so the session ends.
            let disconnect = Disconnect { words: "Goodbye".to_owned(), reason: Some(told) };
            self.effects.emit(Effect::Disconnect { session, disconnect });
        }
        Ok(())
    }

    /// Lifts a ban and returns it. Returns `None` if there is no such ban.
    pub(crate) fn unban(
        &mut self,
        subject: &Subject,
        scope: &Scope,
    ) -> Result<Option<Ban>, OperationError> {
        if !self.may_ban(scope) {
            return Err(OperationError::NotOperator);
        }
        let lifted = self.state.bans.remove(subject, scope);
        if let Some(lifted) = &lifted {
            self.effects.emit(Effect::DeleteBan(lifted));
        }
        Ok(lifted)
    }

    /// Adds a ban. Ends the session or the membership of each banned user.
    pub(crate) fn ban(&mut self, ban: &Ban) -> Result<(), OperationError> {
        let words = self.state.ban_words(ban);
        if !self.may_ban(&ban.scope) {
            return Err(OperationError::NotOperator);
        }
        let banned = self.banned_users(ban);
        let cell = match ban.scope.room() {
            Some(key) => Some(self.state.rooms.get(key).cloned().ok_or(OperationError::NotFound)?),
            None => None,
        };
        match self.state.bans.add(self.context.now_ms, ban.clone()) {
            Ok(removed) => removed.iter().for_each(|ban| self.effects.emit(Effect::DeleteBan(ban))),
            Err(TooManyBans(most)) => return Err(OperationError::TooManyBans(most)),
        }
        self.effects.emit(Effect::KeepBan(ban));
        if let Some(cell) = cell {
            for &(session, _) in &banned {
                self.expel(session, &cell, &words, "banned");
            }
            let lineages = banned.iter().map(|&(_, lineage)| lineage).collect();
            self.lose_room(&lineages, &cell);
            return Ok(());
        }
        for (session, _) in banned {
            let memberships = self.state.user(session).map(User::memberships).unwrap_or_default();
            for (cell, _) in memberships {
                self.expel(session, &cell, "", "banned");
            }
            self.effects.disconnect(session, words.as_str());
        }
        Ok(())
    }

    /// Returns the sessions and lineages of all users that a ban applies to, ordered by session.
    /// Operators of the chat cannot be banned. Only this ban is checked, because earlier bans took
    /// effect when they were added.
    fn banned_users(&self, ban: &Ban) -> Vec<(u64, u64)> {
        let users = self.state.users.values().filter(|user| !user.is_operator());
        let banned = users.filter(|user| ban.means(user.suspect()));
        banned.map(|user| (user.session, user.lineage)).collect()
    }

    /// Removes a room from the saved sessions of users who were expelled from it. Scans the tokens
    /// only once for all users.
    fn lose_room(&mut self, lineages: &BTreeSet<u64>, cell: &R) {
        let room = cell.with(|room| room.name.clone());
        for (token, saved) in self.state.tokens.lose_room(lineages, &room) {
            self.effects.emit(Effect::KeepToken { token: &token, saved: &saved });
        }
    }

    pub(crate) fn alter(&mut self, room: &Name, change: RoomChange) -> Result<(), OperationError> {
        let (user, cell) = self.authority(room)?;
        let (by, lineage, cell) = (user.name(), user.lineage, cell.clone());
        match change {
            RoomChange::Private(is_private) => {
                self.redefine(&cell, |room| room.private = is_private);
            }
            RoomChange::Password(hash) => {
                self.redefine(&cell, |room| room.password = hash.map(Into::into));
            }
            RoomChange::Operator(session, is_operator) => {
                self.appoint(session, &cell, is_operator)?;
            }
            RoomChange::Mute(session, until_ms) => self.mute(session, &cell, until_ms)?,
            RoomChange::Invite(session) => {
                let invited = self.state.user(session).ok_or(OperationError::NotFound)?.lineage;
                cell.with(|room| room.invite(invited));
                let room = room.clone();
                self.effects.notify(session, Notification::Invitation { by, lineage, room });
            }
        }
        Ok(())
    }

    fn redefine(&mut self, cell: &R, change: impl FnOnce(&mut Room)) {
        cell.with(|room| {
            change(room);
            self.effects.emit(Effect::KeepRoom(room));
        });
    }

    /// Mutes a user until `until_ms`, or unmutes them if it is `None`.
    fn mute(
        &mut self,
        session: u64,
        cell: &R,
        until_ms: Option<u64>,
    ) -> Result<(), OperationError> {
        let (user, other) = self.author_and_other(session)?;
        if until_ms.is_some() && is_above(other, user) {
            return Err(OperationError::NotOperator);
        }
        let muted = Muted { key: other.name().key().clone(), lineage: other.lineage };
        let room = cell.with(|room| {
            room.mute(self.context.now_ms, muted, until_ms);
            room.name.clone()
        });
        let what = if until_ms.is_some() { "muted" } else { "unmuted" };
        self.effects.notice(session, format!("You were {what} in {room}"));
        Ok(())
    }

    /// Makes a user an operator of the room, or revokes that right. If both users are operators of
    /// the whole chat, the right for the whole chat is revoked.
    fn appoint(&mut self, session: u64, cell: &R, is_operator: bool) -> Result<(), OperationError> {
        let (user, other) = self.author_and_other(session)?;
        if !is_operator && is_above(other, user) {
            return Err(OperationError::NotOperator);
        }
        let (lineage, member_id) = (other.lineage, other.member_id_in(cell));
        let was_above_all = !is_operator && other.is_operator();
        if was_above_all {
            if let Some(other) = self.state.users.get_mut(session) {
                other.make_operator(false);
            }
            self.effects.notice(session, "You are no longer an operator of the chat");
        }
        if !is_operator {
            for (token, saved) in self.state.tokens.depose(lineage) {
                self.effects.emit(Effect::KeepToken { token: &token, saved: &saved });
            }
        }
        let (room, is_done) = cell.with(|room| {
            let was_former = !is_operator && room.operators.forget(lineage);
            let member_id = member_id.filter(|&member_id| room.is_in(member_id));
            if let Some(member_id) = member_id {
                room.set_operator(member_id, is_operator);
                room.review_operators(self.context.now_ms, self.effects);
            }
            (room.name.clone(), member_id.is_some() || was_former)
        });
        if !is_done {
            return if was_above_all { Ok(()) } else { Err(OperationError::NotFound) };
        }
        let now = if is_operator { "an operator" } else { "no longer an operator" };
        self.effects.notice(session, format!("You are {now} of {room}"));
        Ok(())
    }
}

fn is_room_operator<R: RoomCell>(user: &User<R>, cell: &R) -> bool {
    let member_id = user.member_id_in(cell);
    member_id.is_some_and(|member_id| cell.with(|room| room.standing(member_id).1))
}

/// Returns whether `other` is an operator of the whole chat and `user` is not. If so, `user` cannot
/// moderate `other`.
fn is_above<R>(other: &User<R>, user: &User<R>) -> bool {
    other.is_operator() && !user.is_operator()
}
