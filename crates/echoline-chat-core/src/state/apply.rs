//! Applies operations to the chat's state.
//!
//! The result depends only on the state, the operation and its time. No clock and no random numbers
//! are used, so every node of a cluster reaches the same state.

use core::net::IpAddr;
use std::sync::Arc;

use crate::state::{
    ChatState, FormerUser, Position, RoomCell, SavedSession, StateChange, Suspect, User,
};
use crate::{
    ClaimNameError, Effect, Effects, Entered, LineKind, Name, Notification, Operation,
    OperationContext, OperationError, Outcome, RestoredSession, ResumeToken,
};

/// The message for a session whose token was redeemed in another connection.
pub const GOES_ON: &str = "You continue in another connection";

impl<R: RoomCell> ChatState<R> {
    /// Applies an operation. `effects` carries out the actions outside of the state.
    pub fn apply(
        &mut self,
        context: OperationContext,
        operation: Operation,
        effects: &mut dyn Effects,
    ) -> Outcome {
        StateChange { state: self, context, effects }.apply(operation)
    }
}

impl<R: RoomCell> StateChange<'_, R> {
    /// Applies an operation.
    pub fn apply(&mut self, operation: Operation) -> Outcome {
        self.try_apply(operation).unwrap_or_else(Outcome::Refused)
    }

    fn try_apply(&mut self, operation: Operation) -> Result<Outcome, OperationError> {
        match operation {
            Operation::Enter { name, address, back } => {
                return Ok(Outcome::Entered(self.enter(&name, address, back)));
            }
            Operation::Redeem { token } => return Ok(Outcome::Redeemed(self.redeem(&token))),
            Operation::Rename { name } => return self.rename(&name).map(Outcome::Renamed),
            Operation::Join { room, replay_from, credential } => {
                return Ok(Outcome::Joined(self.join(&room, replay_from, &credential)));
            }
            Operation::Unban { subject, scope } => {
                return self.unban(&subject, &scope).map(Outcome::Unbanned);
            }
            Operation::SaveSession(ResumeToken { token, saved }) => {
                self.save_session(&token, saved);
            }
            Operation::Part { room } => self.part(&room)?,
            Operation::Say { room, lines } => self.say(&room, &lines)?,
            Operation::Delete { room, number, own } => self.delete_line(&room, number, own)?,
            Operation::Topic { room, words } => self.set_topic(&room, &words)?,
            Operation::Away { words } => self.author_mut()?.set_away(words.as_deref()),
            Operation::Write { to, words, kind } => self.write(to, kind, &words)?,
            Operation::Tell { to, words } => self.effects.notice(to, words),
            Operation::FloodMuted { until_ms, count } => self.flood_muted(until_ms, count)?,
            Operation::BecomeOperator => self.author_mut()?.make_operator(true),
            Operation::Audit { what } => self.audit(what)?,
            Operation::Exit { reason, keep } => self.exit(reason.as_deref(), keep)?,
            Operation::Kick { room, whom, words } => self.kick(&room, whom, &words)?,
            Operation::Ban(ban) => self.ban(&ban)?,
            Operation::Alter { room, change } => self.alter(&room, change)?,
            Operation::Forget { room } => self.forget(&room)?,
            Operation::NodeDown { node, name, reason } => {
                self.node_down(node, &name, &reason);
            }
            Operation::Rejoin { users } => {
                for rejoining in users {
                    self.rejoin(rejoining, self.context.is_here);
                }
            }
        }
        Ok(Outcome::Done)
    }

    fn enter(
        &mut self,
        name: &Name,
        address: Option<IpAddr>,
        back: Option<RestoredSession>,
    ) -> Result<Entered, ClaimNameError> {
        let saved = back.as_ref().map_or(0, |back| back.lineage);
        let lineage =
            if saved > 0 { saved } else { self.state.users.lineage(self.context.session) };
        let suspect = Suspect { name: Some(name), address, lineage: Some(lineage) };
        if let Some(ban) = self.state.bans.find(self.context.now_ms, suspect, None) {
            return Err(ClaimNameError::Banned(self.state.ban_words(ban)));
        }
        self.state.claim(name, self.context.session)?;
        let mut user = Box::new(User::new(self.context, address, name.clone(), lineage));
        let flood_mute =
            self.state.flood_mutes.enter(self.context.now_ms, user.writer(), back.is_some());
        if let Some(back) = back {
            user.make_operator(back.operator);
            user.set_away(back.away.as_deref());
        }
        self.state.users.insert(user);
        Ok(Entered { session: self.context.session, flood_mute })
    }

    /// Changes the name of the author, in all their rooms.
    fn rename(&mut self, name: &Name) -> Result<Result<(), ClaimNameError>, OperationError> {
        let user = self.author()?;
        let (old, memberships) = (user.name(), user.memberships());
        let suspect = Suspect { name: Some(name), ..Suspect::default() };
        if let Some(ban) = self.state.bans.find(self.context.now_ms, suspect, None) {
            return Ok(Err(ClaimNameError::Banned(self.state.ban_words(ban))));
        }
        // The user has both names until every room has the line about the change.
        if let Err(taken) = self.state.claim(name, self.context.session) {
            return Ok(Err(taken));
        }
        for (cell, member_id) in memberships {
            cell.change(|room| {
                if let Some(appended) = room.rename(self.context.now_ms, member_id, name.clone()) {
                    let kind = LineKind::Renamed;
                    self.effects.keep_line(room, appended, kind, old.as_str(), name.as_str());
                }
            });
        }
        if let Some(user) = self.state.users.get_mut(self.context.session) {
            user.set_name(name.clone());
        }
        self.state.release(&old, self.context.session);
        // Releasing the old name also released any key that both names share, so the new name is
        // claimed again.
        Ok(self.state.claim(name, self.context.session))
    }

    /// Removes the author from the chat and from all rooms. Each room shows the reason; with `None`
    /// it shows no line.
    fn exit(
        &mut self,
        reason: Option<&str>,
        keep: Option<ResumeToken>,
    ) -> Result<(), OperationError> {
        let user = self.state.users.remove(self.context.session);
        let mut user = user.ok_or(OperationError::NotInRoom)?;
        if let Some(ResumeToken { token, saved }) = keep.filter(|_| !user.is_retired()) {
            self.keep_token(&token, saved);
        }
        let name = user.name();
        for (cell, member_id) in user.take_memberships() {
            cell.leave(member_id, |room| {
                // An expelled user has already left this room on all nodes.
                let was_in = room.is_in(member_id);
                match reason {
                    Some(reason) => {
                        if let Some(left) = room.leave(self.context.now_ms, member_id, reason) {
                            self.effects.keep_line(
                                room,
                                left,
                                LineKind::Left,
                                name.as_str(),
                                reason,
                            );
                        }
                    }
                    None => room.leave_silently(member_id),
                }
                if was_in {
                    room.review_operators(self.context.now_ms, self.effects);
                }
            });
            self.remove_if_empty(&cell);
        }
        self.state.release(&name, user.session);
        if !user.is_retired() {
            self.note_departure(&user);
        }
        Ok(())
    }

    /// Delivers a private line to one user. The caller reports a full mailbox.
    fn write(&mut self, to: u64, kind: LineKind, words: &str) -> Result<(), OperationError> {
        let state = &*self.state;
        let from = state.user(self.context.session).filter(|_| state.user(to).is_some());
        let from = from.ok_or(OperationError::NotFound)?;
        let notification = Notification::Private {
            time_ms: self.context.now_ms,
            from: from.name(),
            session: from.session,
            lineage: from.lineage,
            kind,
            text: Arc::from(words),
        };
        self.effects.notify(to, notification);
        Ok(())
    }

    fn audit(&mut self, what: String) -> Result<(), OperationError> {
        let user = self.author()?;
        let (is_of_chat, name, time_ms) = (user.is_operator(), user.name(), self.context.now_ms);
        self.effects.emit(Effect::Audit { is_of_chat, time_ms, by: name.as_str(), what });
        Ok(())
    }

    /// Saves a session. Does nothing if its user has moved to another session: the token then
    /// belongs to that session, and this session's state is out of date.
    fn save_session(&mut self, token: &str, saved: SavedSession) {
        if !self.state.user(self.context.session).is_some_and(User::is_retired) {
            self.keep_token(token, saved);
        }
    }

    fn keep_token(&mut self, token: &str, saved: SavedSession) {
        self.effects.emit(Effect::KeepToken { token, saved: &saved });
        for dropped in self.state.tokens.keep(self.context.now_ms, Arc::from(token), saved) {
            self.effects.emit(Effect::DeleteToken(&dropped));
        }
    }

    /// Redeems a token, and returns the session that it restores. If that session is still open, it
    /// is ended. The token cannot be used again.
    fn redeem(&mut self, token: &str) -> Option<ResumeToken> {
        let (token, mut saved) = self.state.tokens.redeem(self.context.now_ms, token)?;
        self.effects.emit(Effect::DeleteToken(&token));
        if let Some(session) = saved.session
            && let Some(user) = self.state.users.get_mut(session)
        {
            user.retire();
            let (name, memberships) = (user.name(), user.memberships());
            saved.name = name.clone();
            saved.rooms = self.positions(&memberships, &saved.rooms);
            for (cell, _) in memberships {
                let reason = "goes on elsewhere";
                self.expel(session, &cell, "", reason);
            }
            self.state.release(&name, session);
            self.effects.disconnect(session, GOES_ON);
        }
        Some(ResumeToken { token: token.to_string(), saved })
    }

    /// Returns the positions of a user in their rooms. In a cluster, only the node that serves the
    /// user knows which lines the user has read. The position of the next line is therefore taken
    /// from the saved session.
    fn positions(&self, memberships: &[(R, usize)], saved: &[Position]) -> Vec<Position> {
        let position = |(cell, member_id): &(R, usize)| {
            cell.with(|room| {
                let (next, operator) = room.membership(*member_id)?;
                let saved = saved.iter().find(|position| position.room.same_as(&room.name));
                let next = match (self.state.options.is_replicated, saved) {
                    (false, _) => next,
                    (true, saved) => saved.map_or(room.log.next(), |position| position.next),
                };
                Some(Position { next, operator, ..room.position_in() })
            })
        };
        memberships.iter().filter_map(position).collect()
    }

    fn note_departure(&mut self, user: &User<R>) {
        let left_ms = self.context.now_ms;
        let (name, lineage, address) = (user.name(), user.lineage, user.address);
        self.state.flood_mutes.leave(lineage, name.key());
        self.state.former_users.note(FormerUser { name, lineage, address, left_ms });
    }

    /// Records that the author wrote too fast, so that the mute continues if they reconnect.
    fn flood_muted(&mut self, until_ms: u64, count: u8) -> Result<(), OperationError> {
        let writer = self.author()?.writer();
        self.state.flood_mutes.begin(self.context.now_ms, writer, until_ms, count);
        Ok(())
    }
}
