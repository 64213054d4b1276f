//! Creates and removes rooms, identically on every node. Pure.
//!
//! A room is removed when the last member leaves it. If rooms outlive their members (with a store,
//! and in a cluster), a room stays if it is worth keeping. So rooms without a said line cannot use
//! up the limit of rooms.

use core::net::IpAddr;

use crate::effect::{Effect, Effects};
use crate::name::Name;
use crate::operation::OperationContext;
use crate::outcome::OperationError;
use crate::room::Room;
use crate::room::log::Log;
use crate::room::room_origin::RoomOrigin;
use crate::state::ChatState;
use crate::state::room_cell::RoomCell;
use echoline_base::source::Source;

impl<R: RoomCell> ChatState<R> {
    /// Creates a room. `maker` is the address of the user who creates it; `None` if the room is
    /// restored.
    pub fn make_room(
        &mut self,
        name: &Name,
        maker: Option<Option<IpAddr>>,
        effects: &mut dyn Effects,
    ) -> R {
        let born = self.next_first_line.max(1);
        let origin = RoomOrigin { born, maker: maker.map(Source::from) };
        let limits = self.options.log;
        let cell = match self.awaited_rooms.remove(name.key()) {
            // Suspended members of this node rejoin the room that had the name before.
            Some(cell) => {
                cell.with(|room| room.renew(name.clone(), limits, origin));
                cell
            }
            None => {
                let mut room = Room::new(name.clone(), Log::new(limits, born, 0));
                room.log.holds = self.options.holds_lines;
                room.origin = origin;
                R::new(room)
            }
        };
        cell.with(|room| effects.emit(Effect::KeepRoom(room)));
        self.rooms.insert(name.key().clone(), cell.clone());
        cell
    }

    /// Removes a room that its last member has left, unless it is kept.
    pub(crate) fn remove_if_empty(&mut self, cell: &R, effects: &mut dyn Effects) {
        let keeps = self.options.keeps_rooms;
        if cell.with(|room| room.count() == 0 && !(keeps && room.is_worth_keeping())) {
            self.remove_room(cell, effects);
        }
    }

    /// Removes the rooms whose members went down with their node and have not rejoined.
    pub(crate) fn remove_abandoned(&mut self, now_ms: u64, effects: &mut dyn Effects) {
        let mut abandoned: Vec<R> = self.rooms.values().cloned().collect();
        abandoned.retain(|cell| cell.with(|room| room.is_abandoned(now_ms)));
        abandoned.iter().for_each(|cell| self.remove_room(cell, effects));
    }

    /// Removes the rooms that a store restored although they are not worth keeping. If a token
    /// leads to such a room, its members get time to return.
    pub fn remove_worthless(&mut self, now_ms: u64, effects: &mut dyn Effects) {
        let awaited = self.tokens.rooms(now_ms);
        let mut rooms: Vec<R> = self.rooms.values().cloned().collect();
        rooms.retain(|cell| cell.with(|room| !room.is_worth_keeping()));
        for cell in &rooms {
            match cell.with(|room| awaited.contains(room.name.key())) {
                true => cell.with(|room| room.review_operators(now_ms, effects)),
                false => self.remove_room(cell, effects),
            }
        }
    }

    /// Removes a room with its lines and bans, from the store too. The lobby stays.
    pub fn remove_room(&mut self, cell: &R, effects: &mut dyn Effects) {
        let (name, next, is_awaited) =
            cell.with(|room| (room.name.clone(), room.log.next(), room.awaits_members()));
        let is_known = self.rooms.get(name.key()).is_some_and(|known| known.is_same(cell));
        if cell.is_same(&self.lobby) || !is_known {
            return;
        }
        self.rooms.remove(name.key());
        self.next_first_line = self.next_first_line.max(next);
        for ban in self.bans.remove_room(name.key()) {
            effects.emit(Effect::DeleteBan(&ban));
        }
        effects.emit(Effect::DeleteRoom(&name));
        self.awaited_rooms.retain(|_, cell| cell.with(|room| room.awaits_members()));
        if is_awaited {
            self.awaited_rooms.insert(name.key().clone(), cell.clone());
        }
    }

    /// Removes a room for an operator of the chat, and tells its members.
    pub fn forget(
        &mut self,
        context: OperationContext,
        room: &Name,
        effects: &mut dyn Effects,
    ) -> Result<(), OperationError> {
        let user = self.user(context.session).ok_or(OperationError::NotInRoom)?;
        let cell = self.rooms.get(room.key()).cloned().ok_or(OperationError::NotFound)?;
        if !user.is_operator() || cell.is_same(&self.lobby) {
            return Err(OperationError::NotOperator);
        }
        let (by, room) = (user.name(), cell.with(|room| room.name.clone()));
        let words = format!("{by} removed the room {room} and its history");
        let sessions: Vec<u64> =
            cell.with(|room| room.members().iter().map(|member| member.session).collect());
        for session in sessions {
            let reason = "the room was removed";
            self.expel(context.now_ms, session, &cell, &words, reason, effects);
        }
        self.remove_room(&cell, effects);
        Ok(())
    }
}
