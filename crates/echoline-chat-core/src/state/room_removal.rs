//! Creates and removes rooms, in the same way on every node.
//!
//! A room is removed when its last member leaves. With a store or in a cluster, rooms may outlive
//! their members, but only rooms that are worth keeping do. Rooms in which nothing was said
//! therefore cannot use up the limit of rooms.

use core::net::IpAddr;

use crate::room::{Log, Room, RoomOrigin};
use crate::state::{RoomCell, StateChange};
use crate::{Effect, Name, OperationError};
use echoline_base::source::Source;

impl<R: RoomCell> StateChange<'_, R> {
    /// Creates a room. `maker` is the address of the user who creates it: `Some(None)` if the
    /// address is unknown, and `None` if the room is restored.
    pub(crate) fn make_room(&mut self, name: &Name, maker: Option<Option<IpAddr>>) -> R {
        let born = self.state.next_first_line.max(1);
        let origin = RoomOrigin { born, maker: maker.map(Source::from) };
        let limits = self.state.options.log;
        let cell = match self.state.awaited_rooms.remove(name.key()) {
            // Suspended members of this node will rejoin the new room, because it has the name of
            // their old one.
            Some(cell) => {
                cell.with(|room| room.renew(name.clone(), limits, origin));
                cell
            }
            None => {
                let mut room = Room::new(name.clone(), Log::new(limits, born, 0));
                room.log.holds = self.state.options.holds_lines;
                room.origin = origin;
                R::new(room)
            }
        };
        cell.with(|room| self.effects.emit(Effect::KeepRoom(room)));
        self.state.rooms.insert(name.key().clone(), cell.clone());
        cell
    }

    /// Removes a room after its last member left, unless it is worth keeping.
    pub(crate) fn remove_if_empty(&mut self, cell: &R) {
        let keeps = self.state.options.keeps_rooms;
        if cell.with(|room| room.count() == 0 && !(keeps && room.is_worth_keeping())) {
            self.remove_room(cell);
        }
    }

    /// Removes the rooms whose members went down with their node and have not rejoined in time.
    pub(crate) fn remove_abandoned(&mut self) {
        let mut abandoned: Vec<R> = self.state.rooms.values().cloned().collect();
        abandoned.retain(|cell| cell.with(|room| room.is_abandoned(self.context.now_ms)));
        abandoned.iter().for_each(|cell| self.remove_room(cell));
    }

    /// Removes the rooms that a store restored although they are not worth keeping. If a saved
    /// session is in such a room, its user gets time to return.
    pub fn remove_worthless(&mut self) {
        let awaited = self.state.tokens.rooms(self.context.now_ms);
        let mut rooms: Vec<R> = self.state.rooms.values().cloned().collect();
        rooms.retain(|cell| cell.with(|room| !room.is_worth_keeping()));
        for cell in &rooms {
            match cell.with(|room| awaited.contains(room.name.key())) {
                true => cell.with(|room| room.review_operators(self.context.now_ms, self.effects)),
                false => self.remove_room(cell),
            }
        }
    }

    /// Removes a room with its lines and bans, also from the store. The lobby is never removed.
    pub(crate) fn remove_room(&mut self, cell: &R) {
        let (name, next, is_awaited) =
            cell.with(|room| (room.name.clone(), room.log.next(), room.awaits_members()));
        let is_known = self.state.rooms.get(name.key()).is_some_and(|known| known.is_same(cell));
        if cell.is_same(&self.state.lobby) || !is_known {
            return;
        }
        self.state.rooms.remove(name.key());
        self.state.next_first_line = self.state.next_first_line.max(next);
        for ban in self.state.bans.remove_room(name.key()) {
            self.effects.emit(Effect::DeleteBan(&ban));
        }
        self.effects.emit(Effect::DeleteRoom(&name));
        self.state.awaited_rooms.retain(|_, cell| cell.with(|room| room.awaits_members()));
        if is_awaited {
            self.state.awaited_rooms.insert(name.key().clone(), cell.clone());
        }
    }

    /// Removes a room for an operator of the chat, and tells its members.
    pub(crate) fn forget(&mut self, room: &Name) -> Result<(), OperationError> {
        let user = self.author()?;
        let cell = self.state.rooms.get(room.key()).cloned().ok_or(OperationError::NotFound)?;
        if !user.is_operator() || cell.is_same(&self.state.lobby) {
            return Err(OperationError::NotOperator);
        }
        let (by, room) = (user.name(), cell.with(|room| room.name.clone()));
        let words = format!("{by} removed the room {room} and its history");
        let sessions: Vec<u64> =
            cell.with(|room| room.members().iter().map(|member| member.session).collect());
        for session in sessions {
            let reason = "the room was removed";
            self.expel(session, &cell, &words, reason);
        }
        self.remove_room(&cell);
        Ok(())
    }
}
