//! What becomes of an act: how the chat changes by it, the same on every machine.
//!
//! Whatever decides here is what the chat knew before, the act, and the time that came with it:
//! no clock, no setting of one machine, nothing by chance.

use std::net::IpAddr;
use std::sync::Arc;

use super::bans::Suspect;
use super::entrance::Newcomer;
use super::former_users::FormerUser;
use super::history::LineKind;
use super::mailbox::Notification;
use super::name::Name;
use super::operation::{Back, Operation, OperationError, Outcome, ResumeToken, SaidLine};
use super::room::ReplayFrom;
use super::shared_room::SharedRoom;
use super::state::{Chat, ClaimNameError, Credential, JoinError, Leaving, Membership, State};
use super::tokens::{Position, SavedSession};
use super::user::User;

/// What a session hears whose token was used.
pub(super) const GOES_ON: &str = "You go on in another connection";

/// Who acts, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OperationContext {
    pub(super) session: u64,
    /// The machine that serves the session; 0 where there is only one.
    pub(super) node: u32,
    /// Whether that is this one.
    pub(super) is_here: bool,
    /// Milliseconds since 1970.
    pub(super) now_ms: u64,
}

impl Chat {
    /// Does it.
    pub(super) fn apply_operation(&self, context: OperationContext, act: Operation) -> Outcome {
        match act {
            Operation::Enter { name, address, back } => {
                Outcome::Entered(self.enter(context, &name, address, back))
            }
            Operation::Redeem { token } => Outcome::Redeemed(self.redeem(context, &token)),
            Operation::SaveSession(ResumeToken { token, place }) => {
                self.keep_place(context, &token, place)
            }
            Operation::Rename { name } => self.rename(context, &name),
            Operation::Join { room, replay_from, credential: pass } => {
                Outcome::Joined(self.join(context, &room, replay_from, &pass))
            }
            Operation::Part { room } => self.part(context, &room),
            Operation::Say { room, lines } => self.say(context, &room, &lines),
            Operation::Delete { room, number, own } => {
                self.delete_line(context, &room, number, own)
            }
            Operation::Topic { room, words } => self.set_topic(context, &room, &words),
            Operation::Away { words } => self.with_person(context, |user| {
                user.set_away(words.as_deref());
                Outcome::Done
            }),
            Operation::Write { to, words, kind } => self.write(context, to, kind, &words),
            Operation::Tell { to, words } => self.tell(to, words),
            Operation::FloodMuted { until_ms, count } => self.flood_muted(context, until_ms, count),
            Operation::BecomeOperator => self.with_person(context, |user| {
                user.make_operator(true);
                Outcome::Done
            }),
            Operation::Kick { room, whom, words } => self.kick(context, &room, whom, &words),
            Operation::Ban(ban) => self.ban(context, ban),
            Operation::Unban { subject, scope } => self.unban(context, &subject, &scope),
            Operation::Alter { room, change } => self.alter(context, &room, change),
            Operation::Forget { room } => self.forget(context, &room),
            Operation::Audit { what } => self.with_person(context, |user| {
                let entry = (context.now_ms, user.name().to_string(), what);
                self.archive.audit(user.is_operator(), entry);
                Outcome::Done
            }),
            Operation::Exit { reason, keep } => {
                let leaving = reason.as_deref().map_or(Leaving::Silently, Leaving::Because);
                self.exit(context, leaving, keep)
            }
            Operation::NodeDown { .. } | Operation::Rejoin { .. } => Outcome::Done,
        }
    }

    fn with_person(
        &self,
        context: OperationContext,
        act: impl FnOnce(&User) -> Outcome,
    ) -> Outcome {
        match self.user(context.session) {
            Some(user) => act(&user),
            None => Outcome::Refused(OperationError::Outside),
        }
    }

    /// Lets somebody in under `name`.
    fn enter(
        &self,
        context: OperationContext,
        name: &Name,
        address: Option<IpAddr>,
        back: Option<Back>,
    ) -> Result<Arc<User>, ClaimNameError> {
        let mut state = self.lock();
        let saved = back.as_ref().map_or(0, |back| back.lineage);
        let lineage = if saved > 0 { saved } else { state.people.lineage(context.session) };
        let suspect = Suspect { name: Some(name), address, lineage: Some(lineage) };
        if let Some(ban) = state.bans.find(context.now_ms, suspect, None) {
            return Err(ClaimNameError::Banned(self.ban_words(ban)));
        }
        state.claim(name, context.session)?;
        let user = Arc::new(User::new(context, address, name.clone(), lineage));
        let (writer, is_back) = (user.writer(), back.is_some());
        user.set_flood_mute(state.flood_mutes.enter(context.now_ms, writer, is_back));
        if let Some(back) = back {
            user.make_operator(back.operator);
            user.set_away(back.away.as_deref());
        }
        state.people.insert(Arc::clone(&user));
        Ok(user)
    }

    /// Gives somebody a new name, in all their rooms.
    fn rename(&self, context: OperationContext, name: &Name) -> Outcome {
        let mut state = self.lock();
        let Some(user) = state.people.get(&context.session).cloned() else {
            return Outcome::Refused(OperationError::Outside);
        };
        let suspect = Suspect { name: Some(name), ..Suspect::default() };
        if let Some(ban) = state.bans.find(context.now_ms, suspect, None) {
            return Outcome::Renamed(Err(ClaimNameError::Banned(self.ban_words(ban))));
        }
        // Both names are theirs until every room has heard of it.
        if let Err(taken) = state.claim(name, user.session) {
            return Outcome::Renamed(Err(taken));
        }
        let old = user.name();
        for (shared_room, member_id) in user.memberships() {
            shared_room.change(|room| {
                if let Some(appended) = room.rename(context.now_ms, member_id, name.clone()) {
                    self.archive.line(room, appended, LineKind::Renamed, &old, name.as_str());
                }
            });
        }
        user.set_name(name.clone());
        state.release(&old, user.session);
        // A key that both names share went with the old one.
        Outcome::Renamed(state.claim(name, user.session))
    }

    /// Lets somebody into a room, which is made where it is not there.
    fn join(
        &self,
        context: OperationContext,
        room: &Name,
        replay_from: ReplayFrom,
        pass: &Credential,
    ) -> Result<Membership, JoinError> {
        let mut state = self.lock();
        let user = state.people.get(&context.session).cloned().ok_or(JoinError::Gone)?;
        let name = user.name();
        let ban = state.bans.find(context.now_ms, user.suspect(&name), Some(room.key()));
        if let Some(ban) = ban.filter(|_| !user.is_operator()) {
            return Err(JoinError::Banned(self.ban_words(ban)));
        }
        let (shared_room, is_new) = match state.rooms.get(room.key()) {
            Some(shared_room) => (Arc::clone(shared_room), false),
            None => {
                if self.cluster.is_none() {
                    self.has_place_for_room(&state, context.now_ms, &user)?;
                }
                self.remove_abandoned(&mut state, context.now_ms);
                (self.make_room(&mut state, room, Some(&user)), true)
            }
        };
        // Still under the hall's lock: a room that is being entered is not forgotten.
        let membership = shared_room.change(|room| {
            let (session, lineage) = (user.session, user.lineage);
            let is_operator = user.is_operator();
            let pass = room.valid(pass);
            room.admit(Newcomer { session, lineage, is_operator }, pass)?;
            let (member_id, joined) =
                room.join(context.now_ms, user.who(), name.clone(), replay_from);
            let token = pass.is_operators();
            let returns = room.operators.forget(lineage);
            room.set_operator(member_id, is_new || token || returns);
            self.archive.line(room, joined, LineKind::Joined, &name, "");
            self.update_empty_since(room, context.now_ms);
            Ok((member_id, room.name.clone(), joined.number))
        });
        let (member_id, room, joined) = membership?;
        user.add_membership(Arc::clone(&shared_room), member_id);
        Ok(Membership { shared_room, room, member_id, joined, is_here: user.is_here, past: None })
    }

    fn part(&self, context: OperationContext, room: &Name) -> Outcome {
        let mut state = self.lock();
        let found = state.people.get(&context.session).cloned();
        match (found, state.rooms.get(room.key()).cloned()) {
            (Some(user), Some(shared_room)) => {
                shared_room.with(|room| match user.member_id_in(&shared_room) {
                    Some(member_id) if room.standing(member_id).1 => {
                        room.operators.remember(user.lineage)
                    }
                    _ => {}
                });
                self.take_out(&mut state, context.now_ms, &user, &shared_room, "");
                Outcome::Done
            }
            _ => Outcome::Refused(OperationError::Outside),
        }
    }

    /// Takes a member out of a room at this place of its order, whatever their session does, which
    /// gives the seat back where it is one of this machine; `None` where they are not in it.
    pub(super) fn take_out(
        &self,
        state: &mut State,
        now_ms: u64,
        user: &User,
        shared_room: &Arc<SharedRoom>,
        reason: &str,
    ) -> Option<Name> {
        let member_id = user.member_id_in(shared_room)?;
        let name = user.name();
        let room = shared_room.change(|room| {
            let left = room.expel(now_ms, member_id, reason)?;
            self.archive.line(room, left, LineKind::Left, &name, reason);
            self.update_empty_since(room, now_ms);
            Some(room.name.clone())
        })?;
        if !user.is_here {
            self.give_back(user, shared_room);
        }
        user.cancel_suspended_membership(shared_room);
        self.remove_if_empty(state, shared_room);
        Some(room)
    }

    /// A session gives back the seat of a room that it was taken out of.
    pub(super) fn give_back(&self, user: &User, shared_room: &Arc<SharedRoom>) {
        if let Some(member_id) = user.remove_membership(shared_room) {
            shared_room.leave(member_id, |room| room.leave_silently(member_id));
        }
    }

    /// Somebody is gone: from all rooms, and their name is free.
    fn exit(
        &self,
        context: OperationContext,
        leaving: Leaving<'_>,
        keep: Option<ResumeToken>,
    ) -> Outcome {
        let mut state = self.lock();
        let Some(user) = state.people.get(&context.session).cloned() else {
            return Outcome::Refused(OperationError::Outside);
        };
        if let Some(ResumeToken { token, place }) = keep.filter(|_| !user.is_retired()) {
            self.keep_token(&mut state, context.now_ms, &token, place);
        }
        let name = user.name();
        for (shared_room, member_id) in user.take_memberships() {
            shared_room.leave(member_id, |room| {
                // Other nodes have forgotten already where the user was expelled.
                let was_in = room.is_in(member_id);
                match leaving {
                    Leaving::Because(reason) => {
                        if let Some(left) = room.leave(context.now_ms, member_id, reason) {
                            self.archive.line(room, left, LineKind::Left, &name, reason);
                        }
                    }
                    Leaving::Silently => room.leave_silently(member_id),
                }
                if was_in {
                    self.update_empty_since(room, context.now_ms);
                }
            });
            self.remove_if_empty(&mut state, &shared_room);
        }
        state.release(&name, user.session);
        state.people.remove(user.session);
        if !user.is_retired() {
            state.flood_mutes.leave(user.lineage, name.key());
            let (lineage, address, left_ms) = (user.lineage, user.address, context.now_ms);
            state.former_users.note(FormerUser { name, lineage, address, left_ms });
        }
        Outcome::Done
    }

    /// Appends the context's lines to a room.
    pub(super) fn say(
        &self,
        context: OperationContext,
        room: &Name,
        lines: &[SaidLine],
    ) -> Outcome {
        let Some((user, shared_room)) = self.member(context, room) else {
            return Outcome::Refused(OperationError::Outside);
        };
        let Some(member_id) = user.member_id_in(&shared_room) else {
            return Outcome::Refused(OperationError::Outside);
        };
        let name = user.name();
        shared_room.change(|room| {
            if let Some(until) = room.muted_until(context.now_ms, name.key(), user.lineage) {
                return Outcome::Refused(OperationError::Muted(until));
            }
            self.elect_if_due(room, context.now_ms);
            for SaidLine { kind, text } in lines {
                let Some(appended) = room.say(context.now_ms, member_id, *kind, text) else {
                    return Outcome::Refused(OperationError::Outside);
                };
                self.archive.line(room, appended, *kind, &name, text);
                if user.represents_local_user() {
                    // This node serves the author.
                    room.hide(user.session, appended.number);
                }
            }
            Outcome::Done
        })
    }

    fn set_topic(&self, context: OperationContext, room: &Name, words: &str) -> Outcome {
        let Some((user, shared_room)) = self.member(context, room) else {
            return Outcome::Refused(OperationError::Outside);
        };
        let Some(member_id) = user.member_id_in(&shared_room) else {
            return Outcome::Refused(OperationError::Outside);
        };
        let name = user.name();
        shared_room.change(|room| {
            if let Some(until) = room.muted_until(context.now_ms, name.key(), user.lineage) {
                return Outcome::Refused(OperationError::Muted(until));
            }
            let Some(appended) = room.set_topic(context.now_ms, member_id, words) else {
                return Outcome::Refused(OperationError::Outside);
            };
            self.archive.line(room, appended, LineKind::Topic, &name, words);
            self.archive.room(room);
            Outcome::Done
        })
    }

    /// Who acts, and the room of this name.
    pub(super) fn member(
        &self,
        context: OperationContext,
        room: &Name,
    ) -> Option<(Arc<User>, Arc<SharedRoom>)> {
        let state = self.lock();
        let user = Arc::clone(state.people.get(&context.session)?);
        Some((user, Arc::clone(state.rooms.get(room.key())?)))
    }

    fn write(&self, context: OperationContext, to: u64, kind: LineKind, words: &str) -> Outcome {
        let (from, other) = (self.user(context.session), self.user(to));
        let (Some(from), Some(other)) = (from, other) else {
            return Outcome::Refused(OperationError::Absent);
        };
        let notification = Notification::Private {
            time_ms: context.now_ms,
            from: from.name(),
            session: from.session,
            lineage: from.lineage,
            kind,
            text: Arc::from(words),
        };
        match other.deliver(notification) {
            true => Outcome::Done,
            false => {
                self.tell_elsewhere(&from, || {
                    format!("{} does not read: that was not delivered", other.name())
                });
                Outcome::Refused(OperationError::Unread)
            }
        }
    }

    fn tell(&self, to: u64, words: String) -> Outcome {
        if let Some(user) = self.user(to) {
            user.deliver(Notification::Notice(words));
        }
        Outcome::Done
    }

    /// Keeps what a token brings back, unless its session goes on elsewhere: then the token brings
    /// back whoever has it now, and what this session thinks is out of date.
    fn keep_place(&self, context: OperationContext, token: &str, place: SavedSession) -> Outcome {
        let mut state = self.lock();
        let is_retired = state.people.get(&context.session).is_some_and(|user| user.is_retired());
        if !is_retired {
            self.keep_token(&mut state, context.now_ms, token, place);
        }
        Outcome::Done
    }

    fn keep_token(&self, state: &mut State, now_ms: u64, token: &str, place: SavedSession) {
        self.archive.token(token, &place);
        for dropped in state.tokens.keep(now_ms, Arc::from(token), place) {
            self.archive.token_used(&dropped);
        }
    }

    /// What a token brings back; it is used up. Its session, where it is still there, is ended.
    fn redeem(&self, context: OperationContext, token: &str) -> Option<ResumeToken> {
        let mut state = self.lock();
        let (token, mut place) = state.tokens.redeem(context.now_ms, token)?;
        self.archive.token_used(&token);
        let session = place.session;
        if let (Some(cluster), Some(session)) = (&self.cluster, session) {
            // Also where it is just not here, because its machine was taken for gone.
            cluster.dismiss(session);
        }
        let old = session.and_then(|session| state.people.get(&session).cloned());
        if let Some(user) = old {
            user.retire();
            place.name = user.name();
            place.rooms = self.positions(&user, &place.rooms);
            for (shared_room, _) in user.memberships() {
                self.expel(
                    &mut state,
                    context.now_ms,
                    &user,
                    &shared_room,
                    "",
                    "goes on elsewhere",
                );
            }
            state.release(&user.name(), user.session);
            user.end(GOES_ON);
        }
        Some(ResumeToken { token: token.to_string(), place })
    }

    /// Where somebody stands in each of their rooms. How far they have read is known where they
    /// are served; in a cluster, only as far as they told when they were given the token.
    fn positions(&self, user: &User, told: &[Position]) -> Vec<Position> {
        let position = |(shared_room, member_id): (Arc<SharedRoom>, _)| {
            shared_room.with(|room| {
                let (next, operator) = room.membership(member_id)?;
                let told = told.iter().find(|position| position.room.same_as(&room.name));
                let next = match (&self.cluster, told) {
                    (None, _) => next,
                    (Some(_), told) => told.map_or(room.log.next(), |position| position.next),
                };
                Some(Position { next, operator, ..room.position_in() })
            })
        };
        user.memberships().into_iter().filter_map(position).collect()
    }

    /// Takes a member out of a room; they hear `words`, the others `reason`. `false` where they
    /// are not in it.
    pub(super) fn expel(
        &self,
        state: &mut State,
        now_ms: u64,
        user: &User,
        shared_room: &Arc<SharedRoom>,
        words: &str,
        reason: &str,
    ) -> bool {
        let Some(room) = self.take_out(state, now_ms, user, shared_room, reason) else {
            return false;
        };
        user.notify_expelled(room, words.to_owned());
        true
    }
}
