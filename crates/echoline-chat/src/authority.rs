//! Who may keep order, and what becomes of it: kicks, mutes, invitations, what a room is.

use std::sync::Arc;

use super::apply_operation::OperationContext;
use super::bans::Scope;
use super::history::LineKind;
use super::mailbox::Notification;
use super::muted::Muted;
use super::name::Name;
use super::operation::{OperationError, Outcome, RoomChange};
use super::room::Room;
use super::room_operators;
use super::shared_room::SharedRoom;
use super::state::{Chat, State};
use super::user::User;

impl Chat {
    /// Whether who acts may ban in `scope`: an operator of the whole chat anywhere, one of a room
    /// there.
    pub(super) fn may_ban(&self, state: &State, context: OperationContext, scope: &Scope) -> bool {
        let Some(user) = state.people.get(&context.session) else { return false };
        match scope {
            Scope::Chat => user.is_operator(),
            Scope::Room(room) => {
                let shared_room = state.rooms.get(room.key());
                user.is_operator()
                    || shared_room.is_some_and(|shared_room| keeps_order(user, shared_room))
            }
        }
    }

    /// Who acts, where they keep order in the room of this name.
    fn authority(
        &self,
        state: &State,
        context: OperationContext,
        room: &Name,
    ) -> Result<(Arc<User>, Arc<SharedRoom>), OperationError> {
        let user = state.people.get(&context.session).ok_or(OperationError::Outside)?;
        let shared_room = state.rooms.get(room.key()).ok_or(OperationError::Outside)?;
        if !user.is_operator() && !keeps_order(user, shared_room) {
            return Err(OperationError::NotOperator);
        }
        Ok((Arc::clone(user), Arc::clone(shared_room)))
    }

    /// Whether who acts keeps order in the room of this name.
    pub(super) fn keeps_order_in(&self, context: OperationContext, room: &Name) -> bool {
        self.authority(&self.lock(), context, room).is_ok()
    }

    pub(super) fn kick(
        &self,
        context: OperationContext,
        room: &Name,
        whom: u64,
        words: &str,
    ) -> Outcome {
        let mut state = self.lock();
        let (user, shared_room) = match self.authority(&state, context, room) {
            Ok(found) => found,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let Some(other) = state.people.get(&whom).cloned() else {
            return Outcome::Refused(OperationError::Absent);
        };
        if is_above(&other, &user) {
            return Outcome::Refused(OperationError::NotOperator);
        }
        let by = user.name();
        let colon = if words.is_empty() { "" } else { ": " };
        let told = format!("You were kicked from {room} by {by}{colon}{words}");
        let reason = format!("kicked by {by}{colon}{words}");
        if !self.expel(&mut state, context.now_ms, &other, &shared_room, &told, &reason) {
            return Outcome::Refused(OperationError::Absent);
        }
        self.lose_room(&mut state, std::slice::from_ref(&other), &shared_room);
        if Arc::ptr_eq(&shared_room, &self.lobby) {
            // There is nothing to fall back on.
            other.end_because("Goodbye", Some(&told));
        }
        Outcome::Done
    }

    pub(super) fn alter(
        &self,
        context: OperationContext,
        room: &Name,
        change: RoomChange,
    ) -> Outcome {
        let mut state = self.lock();
        let (user, shared_room) = match self.authority(&state, context, room) {
            Ok(found) => found,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let other = |session: u64, state: &State| {
            state.people.get(&session).cloned().ok_or(OperationError::Absent)
        };
        let done = match change {
            RoomChange::Private(is_private) => {
                self.redefine(&shared_room, |room| room.private = is_private);
                Ok(())
            }
            RoomChange::Password(hash) => {
                self.redefine(&shared_room, |room| room.password = hash.map(Arc::from));
                Ok(())
            }
            RoomChange::Operator(session, operator) => other(session, &state).and_then(|other| {
                self.appoint(&mut state, context, &other, &shared_room, operator)
            }),
            RoomChange::Mute(session, until_ms) => other(session, &state)
                .and_then(|other| mute(context, &user, &other, &shared_room, until_ms)),
            RoomChange::Invite(session) => other(session, &state).map(|other| {
                shared_room.with(|room| room.invite(other.lineage));
                let (by, lineage, room) = (user.name(), user.lineage, room.clone());
                other.deliver(Notification::Invitation { by, lineage, room });
            }),
        };
        done.map_or_else(Outcome::Refused, |()| Outcome::Done)
    }

    fn redefine(&self, shared_room: &SharedRoom, change: impl FnOnce(&mut Room)) {
        shared_room.with(|room| {
            change(room);
            self.archive.room(room);
        });
    }
}

impl Chat {
    /// Remembers that a user wrote too fast, so that the mute lasts if they come back.
    pub(super) fn flood_muted(
        &self,
        context: OperationContext,
        until_ms: u64,
        count: u8,
    ) -> Outcome {
        let mut state = self.lock();
        let Some(user) = state.people.get(&context.session).cloned() else {
            return Outcome::Refused(OperationError::Outside);
        };
        state.flood_mutes.begin(context.now_ms, user.writer(), until_ms, count);
        Outcome::Done
    }

    /// Notes whether a room has an operator, and gives it one if it had none for too long.
    /// The lobby gets no operator in this way: every user is in it.
    pub(super) fn update_empty_since(&self, room: &mut Room, now_ms: u64) {
        if room.name.same_as(&self.settings.lobby) {
            return;
        }
        if let Some((name, appended)) = room.elect(now_ms) {
            let words = room_operators::words(&name);
            self.archive.line_of(room, appended, LineKind::Notice, "", &words);
        }
    }

    /// The same before something is said: it costs nothing while the room has an operator.
    pub(super) fn elect_if_due(&self, room: &mut Room, now_ms: u64) {
        if room.operators.is_due(now_ms) {
            self.update_empty_since(room, now_ms);
        }
    }

    /// Makes a user an operator of the room, or no longer. An operator of the whole chat takes
    /// the right from another one in all of it.
    fn appoint(
        &self,
        state: &mut State,
        context: OperationContext,
        other: &User,
        shared_room: &Arc<SharedRoom>,
        operator: bool,
    ) -> Result<(), OperationError> {
        let by = state.people.get(&context.session).ok_or(OperationError::Outside)?;
        if !operator && is_above(other, by) {
            return Err(OperationError::NotOperator);
        }
        let was_above_all = !operator && other.is_operator();
        if was_above_all {
            other.make_operator(false);
            other.deliver(Notification::Notice(
                "You are no operator of the chat any more".to_owned(),
            ));
        }
        if !operator {
            for (token, place) in state.tokens.depose(other.lineage) {
                self.archive.token(&token, &place);
            }
        }
        let member_id = other.member_id_in(shared_room);
        let (room, is_done) = shared_room.with(|room| {
            let was_former = !operator && room.operators.forget(other.lineage);
            let member_id = member_id.filter(|&member_id| room.is_in(member_id));
            if let Some(member_id) = member_id {
                room.set_operator(member_id, operator);
                self.update_empty_since(room, context.now_ms);
            }
            (room.name.clone(), member_id.is_some() || was_former)
        });
        if !is_done {
            return if was_above_all { Ok(()) } else { Err(OperationError::Absent) };
        }
        let now = if operator { "an operator" } else { "no operator any more" };
        other.deliver(Notification::Notice(format!("You are {now} of {room}")));
        Ok(())
    }
}

fn keeps_order(user: &User, shared_room: &Arc<SharedRoom>) -> bool {
    let member_id = user.member_id_in(shared_room);
    member_id.is_some_and(|member_id| shared_room.with(|room| room.standing(member_id).1))
}

/// Whether the other is an operator of the whole chat, and this one is not: then nothing can be
/// done to them.
pub(super) fn is_above(other: &User, user: &User) -> bool {
    other.is_operator() && !user.is_operator()
}

/// Mutes until then, or gives the word back.
fn mute(
    context: OperationContext,
    user: &User,
    other: &User,
    shared_room: &SharedRoom,
    until_ms: Option<u64>,
) -> Result<(), OperationError> {
    if until_ms.is_some() && is_above(other, user) {
        return Err(OperationError::NotOperator);
    }
    let muted = Muted { key: other.name().key().clone(), lineage: other.lineage };
    let room = shared_room.with(|room| {
        room.mute(context.now_ms, muted, until_ms);
        room.name.clone()
    });
    let what = if until_ms.is_some() { "muted" } else { "unmuted" };
    other.deliver(Notification::Notice(format!("You were {what} in {room}")));
    Ok(())
}
