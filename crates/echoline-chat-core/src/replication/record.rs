//! The recorded state after one entry of the stream, and how a node continues from it.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::NODE;
use crate::room::RoomRecord;
use crate::state::rejoin::known_lineage;
use crate::state::{
    Ban, Bans, ChatState, FloodMutes, FormerUsers, LastOperation, RoomCell, SavedSession,
    StateChange, Tokens, User, digest_of_kept,
};
use crate::{Key, Name, Notification, Operation, OperationContext};

/// The recorded state. Its lists are ordered, so that all nodes write the same bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// The version of the format.
    pub version: u16,
    /// The number that the first line of the next new room gets.
    #[serde(rename = "numbers_from")]
    pub next_first_line: u64,
    /// The rooms.
    pub rooms: Vec<RoomRecord>,
    /// The users.
    #[serde(rename = "people")]
    pub users: Vec<UserRecord>,
    /// The bans.
    pub bans: Vec<Ban>,
    /// The saved sessions, each with the digest of its token.
    pub tokens: Vec<(String, SavedSession)>,
    /// The users who left most recently.
    #[serde(default)]
    pub former_users: FormerUsers,
    /// The mutes of users who wrote too fast.
    #[serde(default)]
    pub flood_mutes: FloodMutes,
    /// For each node: the number of the last operation whose author is the node itself, not a user.
    pub nodes: BTreeMap<u32, u64>,
    /// The nodes that went down most recently.
    pub gone_nodes: VecDeque<u32>,
    /// The sessions that ended most recently.
    pub gone_sessions: VecDeque<u64>,
    /// For each node: the highest count (the lower half of a session's number) of an ended session
    /// that `gone_sessions` has dropped.
    #[serde(default)]
    pub session_floors: BTreeMap<u32, u32>,
    /// The last operations of users whose node went down.
    pub gone_with: VecDeque<LastOperation>,
}

/// A user in a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub struct UserRecord {
    /// The number of the session.
    pub session: u64,
    /// The user's number, the same in all their sessions.
    #[serde(default)]
    pub lineage: u64,
    /// The time at which the session began, in milliseconds since 1970.
    #[serde(default)]
    pub since_ms: u64,
    /// The number of the node.
    pub node: u32,
    /// The name of the user.
    pub name: Name,
    /// The network address, if it is known.
    pub address: Option<IpAddr>,
    /// Whether the user is an operator.
    pub operator: bool,
    /// Whether the user has moved to another session.
    pub retired: bool,
    /// The away text, if the user is away.
    pub away: Option<String>,
    /// The number of the user's last operation that was applied.
    pub last: u64,
    /// Whether the user's last operation was refused.
    pub refused: bool,
}

impl Record {
    /// The current version of the format.
    pub const VERSION: u16 = 1;
}

impl<R: RoomCell> ChatState<R> {
    /// Removes all users from the chat. Users that this node serves are suspended; returns their
    /// sessions.
    pub fn suspend_all(&mut self) -> Vec<u64> {
        self.names.clear();
        let mut here = Vec::new();
        for mut user in self.users.take_all().into_values() {
            if !user.is_here {
                user.release_all();
                continue;
            }
            for (cell, member_id) in user.memberships() {
                cell.with(|room| room.suspend(member_id));
            }
            here.push(user.session);
            self.suspended.insert(user.session, user);
        }
        here
    }

    /// Adds a user that another node serves.
    fn restore_user(&mut self, record: UserRecord) {
        let UserRecord { session, node, .. } = record;
        let context = OperationContext { session, node, is_here: false, now_ms: 0 };
        let lineage = known_lineage(record.lineage, session);
        let user = User::new(context, record.address, record.name, lineage);
        let mut user = Box::new(user.since(record.since_ms));
        user.make_operator(record.operator);
        if record.retired {
            user.retire();
        } else {
            // This cannot fail, because the record gives each name to one user only.
            let _ = self.claim(&user.name(), session);
        }
        user.set_away(record.away.as_deref());
        user.last = record.last;
        user.was_refused = record.refused;
        self.users.insert(user);
    }

    /// Restores a room and its members from a record.
    fn restore_room(&mut self, cell: &R, record: RoomRecord) {
        let members = cell.change(|room| room.fill(record));
        for (session, is_operator) in members {
            let Some(user) = self.users.get_mut(session) else { continue };
            let (identity, name) = (user.identity(), user.name());
            let member_id = cell.with(|room| room.add_member(identity, name, is_operator));
            user.add_membership(cell.clone(), member_id);
        }
    }

    /// Removes all rooms except the lobby, and empties the lobby.
    pub fn reset(&mut self) {
        let lobby = &self.lobby;
        self.rooms.retain(|_, cell| cell.is_same(lobby));
        let limits = self.options.log;
        self.lobby.change(|room| room.reset(limits));
        (self.bans, self.tokens, self.next_first_line) = Default::default();
        (self.former_users, self.flood_mutes, self.awaited_rooms) = Default::default();
    }
}

impl<R: RoomCell> StateChange<'_, R> {
    /// Restores the state from a record. The users of the `served` sessions are suspended until
    /// they rejoin.
    pub fn restore(&mut self, record: &mut Record, served: &BTreeSet<u64>) {
        let names: BTreeSet<Key> =
            record.rooms.iter().map(|room| room.name.key().clone()).collect();
        self.state.bans = Bans::default();
        for ban in record.bans.drain(..) {
            // A snapshot of an earlier version may have too many bans for a room. The excess is
            // dropped, in the same way on all nodes.
            let _ = self.state.bans.add(0, ban);
        }
        self.state.tokens = Tokens::default();
        for (token, saved) in record.tokens.drain(..) {
            // A token is dropped only if an earlier version allowed more tokens for one source.
            let _ = self.state.tokens.keep(0, digest_of_kept(token).into(), saved);
        }
        self.state.next_first_line = record.next_first_line;
        self.state.former_users = std::mem::take(&mut record.former_users);
        self.state.flood_mutes = std::mem::take(&mut record.flood_mutes);
        for user in record.users.drain(..) {
            self.state.restore_user(user);
        }
        for room in record.rooms.drain(..) {
            let found = self.state.rooms.get(room.name.key()).cloned();
            let cell = found.unwrap_or_else(|| self.make_room(&room.name, None));
            self.state.restore_room(&cell, room);
        }
        // Removes the rooms that are not in the record: the other nodes have removed them.
        let lobby = &self.state.lobby;
        self.state.rooms.retain(|key, cell| names.contains(key) || cell.is_same(lobby));
        for &session in served {
            self.match_memberships(session);
        }
    }

    /// Keeps a suspended user's memberships only in the rooms in which the record has them.
    fn match_memberships(&mut self, session: u64) {
        let Some((suspended, recorded)) =
            self.state.suspended.get(&session).zip(self.state.user(session))
        else {
            return;
        };
        for (cell, member_id) in suspended.memberships() {
            let theirs = recorded.member_id_in(&cell);
            let lost = cell.with(|room| match theirs {
                Some(theirs) => {
                    let is_operator = room.is_operator(theirs);
                    room.set_operator(member_id, is_operator);
                    None
                }
                None => room.cancel_suspension(member_id).then(|| room.name.clone()),
            });
            if let Some(room) = lost {
                let words =
                    format!("You were removed from {room} while this node was not connected");
                self.effects.notify(session, Notification::Expelled { room, words });
            }
        }
    }
}

impl UserRecord {
    /// Records a user.
    pub fn of<R>(user: &User<R>) -> Self {
        Self {
            session: user.session,
            lineage: user.lineage,
            since_ms: user.since_ms,
            node: user.node,
            name: user.name(),
            address: user.address,
            operator: user.is_operator(),
            retired: user.is_retired(),
            away: user.away().map(|words| words.to_string()),
            last: user.last,
            refused: user.was_refused,
        }
    }
}

/// The operations that a snapshot already contains.
#[derive(Debug)]
pub struct AppliedOperations {
    /// The last operation of each author, and whether it was refused.
    lasts: BTreeMap<u64, LastOperation>,
    /// The nodes that went down.
    pub gone_nodes: BTreeSet<u32>,
    /// The sessions that have ended.
    pub gone_sessions: BTreeSet<u64>,
    nodes: BTreeMap<u32, u64>,
}

/// The status of an operation that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationStatus {
    /// The operation is in flight, or may be sent again.
    Pending,
    /// The operation was applied.
    Applied,
    /// The operation was refused.
    Refused,
}

impl AppliedOperations {
    /// Collects the operations of a snapshot.
    pub fn of(record: &Record) -> Self {
        let users = record.users.iter().map(|user| LastOperation {
            session: user.session,
            number: user.last,
            refused: user.refused,
        });
        let all = record.gone_with.iter().copied().chain(users);
        Self {
            lasts: all.map(|last| (last.session, last)).collect(),
            gone_nodes: record.gone_nodes.iter().copied().collect(),
            gone_sessions: record.gone_sessions.iter().copied().collect(),
            nodes: record.nodes.clone(),
        }
    }

    /// Returns the status of the operation with this number, which `node` sent.
    pub fn status(
        &self,
        node: u32,
        session: u64,
        number: u64,
        operation: &Operation,
    ) -> OperationStatus {
        if session == NODE {
            let is_done = self.nodes.get(&node).is_some_and(|last| number <= *last);
            return if is_done { OperationStatus::Applied } else { OperationStatus::Pending };
        }
        let is_over = self.gone_sessions.contains(&session);
        match self.lasts.get(&session) {
            Some(last) if number < last.number => OperationStatus::Applied,
            Some(last) if number == last.number && last.refused => OperationStatus::Refused,
            Some(last) if number == last.number => OperationStatus::Applied,
            _ if is_over => OperationStatus::Applied,
            // It is unknown whether the operation was applied. Losing it is better than applying it
            // twice.
            None if self.gone_nodes.contains(&node)
                && !matches!(operation, Operation::Exit { .. }) =>
            {
                OperationStatus::Refused
            }
            _ => OperationStatus::Pending,
        }
    }
}
