//! Rooms made and removed, the same on every node.
//!
//! A room is removed when the last member leaves it. Where rooms outlive their members (with a
//! store, and in a cluster) it is kept if it is worth keeping, so that rooms in which nothing was
//! said cannot use up the places for others.

use std::sync::Arc;

use super::apply_operation::OperationContext;
use super::log::Log;
use super::name::Name;
use super::operation::{OperationError, Outcome};
use super::room::Room;
use super::room_origin::Origin;
use super::shared_room::SharedRoom;
use super::state::{Chat, JoinError, State};
use super::user::User;
use echoline::sources::Source;

impl Chat {
    /// Whether the room is there, or the user may make it; on the node that serves them.
    pub(super) fn has_place(&self, session: u64, room: &Name) -> Result<(), JoinError> {
        let state = self.lock();
        match state.people.get(&session) {
            Some(user) if !state.rooms.contains_key(room.key()) => {
                self.has_place_for_room(&state, self.now_ms(), user)
            }
            _ => Ok(()),
        }
    }

    /// Whether a user may make one more room. Each node checks its own
    /// limit of rooms before it proposes one.
    pub(super) fn has_place_for_room(
        &self,
        state: &State,
        now_ms: u64,
        user: &User,
    ) -> Result<(), JoinError> {
        let (rules, source) = (self.rules(), Some(Source::from(user.address)));
        let (mut all, mut theirs) = (0, 0);
        for shared_room in state.rooms.values() {
            shared_room.with(|room| {
                let counts = !room.is_abandoned(now_ms) || Arc::ptr_eq(shared_room, &self.lobby);
                all += usize::from(counts);
                theirs += usize::from(counts && room.origin.maker == source);
            });
        }
        match () {
            () if all >= rules.max_rooms => Err(JoinError::TooManyRooms),
            () if user.is_operator() => Ok(()),
            () if theirs >= rules.max_rooms_per_ip => Err(JoinError::TooManyOfSource(theirs)),
            () => Ok(()),
        }
    }

    /// Makes a room; `maker` is the user who does, if it is not made again.
    pub(super) fn make_room(
        &self,
        state: &mut State,
        name: &Name,
        maker: Option<&User>,
    ) -> Arc<SharedRoom> {
        let born = state.numbers_from.max(1);
        let maker = maker.map(|user| Source::from(user.address));
        let origin = Origin { born, maker };
        let shared_room = match state.awaiting.remove(name.key()) {
            // Members of this machine are still expected in the room that had the name.
            Some(shared_room) => {
                let limits = self.settings.log;
                shared_room.with(|room| room.become_another(name.clone(), limits, origin));
                shared_room
            }
            None => {
                let mut room = Room::new(name.clone(), Log::new(self.settings.log, born, 0));
                room.log.holds = self.holds();
                room.origin = origin;
                Arc::new(SharedRoom::new(room))
            }
        };
        shared_room.with(|room| self.archive.room(room));
        state.rooms.insert(name.key().clone(), Arc::clone(&shared_room));
        shared_room
    }

    /// Removes a room that its last member has left, unless it is kept.
    pub(super) fn remove_if_empty(&self, state: &mut State, shared_room: &Arc<SharedRoom>) {
        let lasts = self.keeps_rooms();
        let is_over =
            shared_room.with(|room| room.count() == 0 && !(lasts && room.is_worth_keeping()));
        if is_over {
            self.remove_room(state, shared_room);
        }
    }

    /// Removes the rooms whose members went with their machine and have not come back.
    pub(super) fn remove_abandoned(&self, state: &mut State, now_ms: u64) {
        let is_abandoned =
            |shared_room: &Arc<SharedRoom>| shared_room.with(|room| room.is_abandoned(now_ms));
        let mut abandoned: Vec<_> = state.rooms.values().cloned().collect();
        abandoned.retain(is_abandoned);
        for shared_room in &abandoned {
            self.remove_room(state, shared_room);
        }
    }

    /// Removes the rooms that a store brought back although nothing in them is worth keeping. If a
    /// token leads to such a room, its members have time to come back.
    pub(super) fn remove_worthless(&self) {
        let (mut state, now_ms) = (self.lock(), self.now_ms());
        let awaited = state.tokens.rooms(now_ms);
        let rooms: Vec<_> = state.rooms.values().cloned().collect();
        for shared_room in
            rooms.iter().filter(|shared_room| !shared_room.with(|room| room.is_worth_keeping()))
        {
            match shared_room.with(|room| awaited.contains(room.name.key())) {
                true => shared_room.with(|room| self.update_empty_since(room, now_ms)),
                false => self.remove_room(&mut state, shared_room),
            }
        }
    }

    /// Removes a room with its lines and bans, from the store too. The lobby stays.
    pub(super) fn remove_room(&self, state: &mut State, shared_room: &Arc<SharedRoom>) {
        let (name, next, is_awaited) =
            shared_room.with(|room| (room.name.clone(), room.log.next(), room.awaits_members()));
        let is_known =
            state.rooms.get(name.key()).is_some_and(|known| Arc::ptr_eq(known, shared_room));
        if Arc::ptr_eq(shared_room, &self.lobby) || !is_known {
            return;
        }
        state.rooms.remove(name.key());
        state.numbers_from = state.numbers_from.max(next);
        for ban in state.bans.remove_room(name.key()) {
            self.archive.unban(&ban);
        }
        self.archive.room_gone(&name);
        state.awaiting.retain(|_, shared_room| shared_room.with(|room| room.awaits_members()));
        if is_awaited {
            state.awaiting.insert(name.key().clone(), Arc::clone(shared_room));
        }
    }

    /// An operator of the chat removes a room; its members hear of it.
    pub(super) fn forget(&self, context: OperationContext, room: &Name) -> Outcome {
        let mut state = self.lock();
        let Some(user) = state.people.get(&context.session).cloned() else {
            return Outcome::Refused(OperationError::Outside);
        };
        let Some(shared_room) = state.rooms.get(room.key()).cloned() else {
            return Outcome::Refused(OperationError::Absent);
        };
        if !user.is_operator() || Arc::ptr_eq(&shared_room, &self.lobby) {
            return Outcome::Refused(OperationError::NotOperator);
        }
        let (by, room) = (user.name(), shared_room.with(|room| room.name.clone()));
        let words = format!("{by} removed the room {room} and all that was said in it");
        let sessions: Vec<u64> =
            shared_room.with(|room| room.members().iter().map(|member| member.session).collect());
        for session in sessions {
            if let Some(member) = state.people.get(&session).cloned() {
                let reason = "the room was removed";
                self.expel(&mut state, context.now_ms, &member, &shared_room, &words, reason);
            }
        }
        self.remove_room(&mut state, &shared_room);
        Outcome::Done
    }
}
