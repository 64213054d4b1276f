//! Applies operations to the chat's state. Pure.
//!
//! The result depends only on the state, the operation and its time. There is no clock and no
//! randomness. So every node of a cluster reaches the same state.

use core::net::IpAddr;
use std::sync::Arc;

use crate::LineKind;
use crate::effect::{Effect, Effects};
use crate::name::Name;
use crate::notification::Notification;
use crate::operation::{Operation, OperationContext, RestoredSession, ResumeToken};
use crate::outcome::{ClaimNameError, Entered, OperationError, Outcome};
use crate::state::ChatState;
use crate::state::bans::Suspect;
use crate::state::room_cell::RoomCell;
use crate::state::tokens::{Position, SavedSession};
use crate::state::user::User;

/// The message for a session whose token was used in another connection.
pub const GOES_ON: &str = "You continue in another connection";

impl<R: RoomCell> ChatState<R> {
    /// Applies an operation. `effects` carries out the actions outside of the state.
    pub fn apply(
        &mut self,
        context: OperationContext,
        operation: Operation,
        effects: &mut dyn Effects,
    ) -> Outcome {
        match operation {
            Operation::Enter { name, address, back } => {
                Outcome::Entered(self.enter(context, &name, address, back))
            }
            Operation::Redeem { token } => Outcome::Redeemed(self.redeem(context, &token, effects)),
            Operation::SaveSession(ResumeToken { token, saved }) => {
                self.save_session(context, &token, saved, effects)
            }
            Operation::Rename { name } => self.rename(context, &name, effects),
            Operation::Join { room, replay_from, credential } => {
                Outcome::Joined(self.join(context, &room, replay_from, &credential, effects))
            }
            Operation::Part { room } => self.part(context, &room, effects),
            Operation::Say { room, lines } => self.say(context, &room, &lines, effects),
            Operation::Delete { room, number, own } => {
                self.delete_line(context, &room, number, own, effects)
            }
            Operation::Topic { room, words } => self.set_topic(context, &room, &words, effects),
            Operation::Away { words } => {
                self.change_user(context, |user| user.set_away(words.as_deref()))
            }
            Operation::Write { to, words, kind } => self.write(context, to, kind, &words, effects),
            Operation::Tell { to, words } => {
                effects.notice(to, words);
                Outcome::Done
            }
            Operation::FloodMuted { until_ms, count } => self.flood_muted(context, until_ms, count),
            Operation::BecomeOperator => self.change_user(context, |user| user.make_operator(true)),
            Operation::Audit { what } => self.audit(context, what, effects),
            Operation::Exit { reason, keep } => {
                self.exit(context, reason.as_deref(), keep, effects)
            }
            Operation::NodeDown { node, name, reason } => {
                self.node_down(context.now_ms, node, &name, &reason, effects);
                Outcome::Done
            }
            Operation::Rejoin { users } => {
                for rejoining in users {
                    self.rejoin(context, rejoining, context.is_here, effects);
                }
                Outcome::Done
            }
            operation => self.moderate(context, operation, effects),
        }
    }

    fn change_user(
        &mut self,
        context: OperationContext,
        change: impl FnOnce(&mut User<R>),
    ) -> Outcome {
        match self.users.get_mut(context.session) {
            Some(user) => {
                change(user);
                Outcome::Done
            }
            None => Outcome::Refused(OperationError::NotInRoom),
        }
    }

    fn enter(
        &mut self,
        context: OperationContext,
        name: &Name,
        address: Option<IpAddr>,
        back: Option<RestoredSession>,
    ) -> Result<Entered, ClaimNameError> {
        let saved = back.as_ref().map_or(0, |back| back.lineage);
        let lineage = if saved > 0 { saved } else { self.users.lineage(context.session) };
        let suspect = Suspect { name: Some(name), address, lineage: Some(lineage) };
        if let Some(ban) = self.bans.find(context.now_ms, suspect, None) {
            return Err(ClaimNameError::Banned(self.ban_words(ban)));
        }
        self.claim(name, context.session)?;
        let mut user = Box::new(User::new(context, address, name.clone(), lineage));
        let flood_mute = self.flood_mutes.enter(context.now_ms, user.writer(), back.is_some());
        if let Some(back) = back {
            user.make_operator(back.operator);
            user.set_away(back.away.as_deref());
        }
        self.users.insert(user);
        Ok(Entered { session: context.session, flood_mute })
    }

    /// Gives a user a new name, in all their rooms.
    fn rename(
        &mut self,
        context: OperationContext,
        name: &Name,
        effects: &mut dyn Effects,
    ) -> Outcome {
        let Some(user) = self.user(context.session) else {
            return Outcome::Refused(OperationError::NotInRoom);
        };
        let (old, memberships) = (user.name(), user.memberships());
        let suspect = Suspect { name: Some(name), ..Suspect::default() };
        if let Some(ban) = self.bans.find(context.now_ms, suspect, None) {
            return Outcome::Renamed(Err(ClaimNameError::Banned(self.ban_words(ban))));
        }
        // The user has both names until every room has the line about the change.
        if let Err(taken) = self.claim(name, context.session) {
            return Outcome::Renamed(Err(taken));
        }
        for (cell, member_id) in memberships {
            cell.change(|room| {
                if let Some(appended) = room.rename(context.now_ms, member_id, name.clone()) {
                    let kind = LineKind::Renamed;
                    effects.keep_line(room, appended, kind, old.as_str(), name.as_str());
                }
            });
        }
        if let Some(user) = self.users.get_mut(context.session) {
            user.set_name(name.clone());
        }
        self.release(&old, context.session);
        // Releasing the old name also released a key that both names share.
        Outcome::Renamed(self.claim(name, context.session))
    }

    /// Removes a user from the chat and from all rooms, which show the reason. With `None`, the
    /// rooms show nothing.
    fn exit(
        &mut self,
        context: OperationContext,
        reason: Option<&str>,
        keep: Option<ResumeToken>,
        effects: &mut dyn Effects,
    ) -> Outcome {
        let Some(mut user) = self.users.remove(context.session) else {
            return Outcome::Refused(OperationError::NotInRoom);
        };
        if let Some(ResumeToken { token, saved }) = keep.filter(|_| !user.is_retired()) {
            self.keep_token(context.now_ms, &token, saved, effects);
        }
        let name = user.name();
        for (cell, member_id) in user.take_memberships() {
            cell.leave(member_id, |room| {
                // Other nodes have already removed an expelled user from the room.
                let was_in = room.is_in(member_id);
                match reason {
                    Some(reason) => {
                        if let Some(left) = room.leave(context.now_ms, member_id, reason) {
                            effects.keep_line(room, left, LineKind::Left, name.as_str(), reason);
                        }
                    }
                    None => room.leave_silently(member_id),
                }
                if was_in {
                    room.review_operators(context.now_ms, effects);
                }
            });
            self.remove_if_empty(&cell, effects);
        }
        self.release(&name, user.session);
        if !user.is_retired() {
            self.note_departure(context.now_ms, &user);
        }
        Outcome::Done
    }

    /// Writes a private line to one user. The caller reports a full mailbox.
    fn write(
        &self,
        context: OperationContext,
        to: u64,
        kind: LineKind,
        words: &str,
        effects: &mut dyn Effects,
    ) -> Outcome {
        let (Some(from), Some(_)) = (self.user(context.session), self.user(to)) else {
            return Outcome::Refused(OperationError::NotFound);
        };
        let notification = Notification::Private {
            time_ms: context.now_ms,
            from: from.name(),
            session: from.session,
            lineage: from.lineage,
            kind,
            text: Arc::from(words),
        };
        effects.notify(to, notification);
        Outcome::Done
    }

    fn audit(&self, context: OperationContext, what: String, effects: &mut dyn Effects) -> Outcome {
        let Some(user) = self.user(context.session) else {
            return Outcome::Refused(OperationError::NotInRoom);
        };
        let (is_of_chat, name, time_ms) = (user.is_operator(), user.name(), context.now_ms);
        effects.emit(Effect::Audit { is_of_chat, time_ms, by: name.as_str(), what });
        Outcome::Done
    }

    /// Saves a session, unless its user continues in another one. The token then restores the other
    /// session, and the state of this one is out of date.
    fn save_session(
        &mut self,
        context: OperationContext,
        token: &str,
        saved: SavedSession,
        effects: &mut dyn Effects,
    ) -> Outcome {
        if !self.user(context.session).is_some_and(User::is_retired) {
            self.keep_token(context.now_ms, token, saved, effects);
        }
        Outcome::Done
    }

    fn keep_token(
        &mut self,
        now_ms: u64,
        token: &str,
        saved: SavedSession,
        effects: &mut dyn Effects,
    ) {
        effects.emit(Effect::KeepToken { token, saved: &saved });
        for dropped in self.tokens.keep(now_ms, Arc::from(token), saved) {
            effects.emit(Effect::DeleteToken(&dropped));
        }
    }

    /// Uses a token up, and returns the session that it restores. If that session is still open, it
    /// is ended.
    fn redeem(
        &mut self,
        context: OperationContext,
        token: &str,
        effects: &mut dyn Effects,
    ) -> Option<ResumeToken> {
        let (token, mut saved) = self.tokens.redeem(context.now_ms, token)?;
        effects.emit(Effect::DeleteToken(&token));
        if let Some(session) = saved.session
            && let Some(user) = self.users.get_mut(session)
        {
            user.retire();
            let (name, memberships) = (user.name(), user.memberships());
            saved.name = name.clone();
            saved.rooms = self.positions(&memberships, &saved.rooms);
            for (cell, _) in memberships {
                let reason = "goes on elsewhere";
                self.expel(context.now_ms, session, &cell, "", reason, effects);
            }
            self.release(&name, session);
            effects.disconnect(session, GOES_ON);
        }
        Some(ResumeToken { token: token.to_string(), saved })
    }

    /// Returns the positions of a user in their rooms. Only the node that serves the user knows how
    /// far they have read. In a cluster, the position therefore comes from the saved session.
    fn positions(&self, memberships: &[(R, usize)], saved: &[Position]) -> Vec<Position> {
        let position = |(cell, member_id): &(R, usize)| {
            cell.with(|room| {
                let (next, operator) = room.membership(*member_id)?;
                let saved = saved.iter().find(|position| position.room.same_as(&room.name));
                let next = match (self.options.is_replicated, saved) {
                    (false, _) => next,
                    (true, saved) => saved.map_or(room.log.next(), |position| position.next),
                };
                Some(Position { next, operator, ..room.position_in() })
            })
        };
        memberships.iter().filter_map(position).collect()
    }

    fn note_departure(&mut self, left_ms: u64, user: &User<R>) {
        use crate::state::former_users::FormerUser;
        let (name, lineage, address) = (user.name(), user.lineage, user.address);
        self.flood_mutes.leave(lineage, name.key());
        self.former_users.note(FormerUser { name, lineage, address, left_ms });
    }

    /// Notes that a user wrote too fast, so that the mute lasts if they reconnect.
    fn flood_muted(&mut self, context: OperationContext, until_ms: u64, count: u8) -> Outcome {
        let Some(writer) = self.user(context.session).map(User::writer) else {
            return Outcome::Refused(OperationError::NotInRoom);
        };
        self.flood_mutes.begin(context.now_ms, writer, until_ms, count);
        Outcome::Done
    }
}
