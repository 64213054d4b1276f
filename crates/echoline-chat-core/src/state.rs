//! The state of a whole chat: its users, rooms, bans and saved sessions.
//!
//! The state changes only through [`ChatState::apply`] and through the replication of a cluster.
//! Time is an argument, and nothing is random: two nodes that apply the same operations have the
//! same state.

pub(crate) mod apply;
pub(crate) mod apply_in_rooms;
#[cfg(test)]
mod apply_tests;
pub(crate) mod bans;
mod change;
pub(crate) mod flood_mutes;
pub(crate) mod former_users;
pub(crate) mod moderation;
pub(crate) mod rejoin;
pub(crate) mod room_cell;
pub(crate) mod room_removal;
pub(crate) mod source;
pub(crate) mod tokens;
pub(crate) mod user;
pub(crate) mod user_table;

pub use apply::GOES_ON;
pub use apply_in_rooms::deleted_by;
pub use bans::{
    Ban, Bans, ROOM_BANS_MAX, Scope, Subject, Suspect, TooManyBans, counted, ending, network_of,
};
pub use change::StateChange;
pub use flood_mutes::{ContinuedMute, FloodMutes, MuteSubject};
pub use former_users::{FormerUser, FormerUsers};
pub use rejoin::{DownUser, LastOperation};
pub use room_cell::RoomCell;
pub use tokens::{
    BRIEF_MS, IGNORED_MAX, Ignored, Position, Preferences, SavedSession, SessionState,
    TOKEN_LETTERS, Tokens, digest, digest_of_kept, token,
};
pub use user::User;
pub use user_table::{UserTable, person_id};

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;

use crate::room::{Log, LogLimits, Room};
use crate::state::user_table::lineage_of_id;
use crate::{ClaimNameError, JoinError, Key, Name};
use echoline_base::source::Source;

/// The state of a chat. `R` is the type that holds a room.
#[derive(Debug)]
pub struct ChatState<R> {
    /// The settings.
    pub options: StateOptions,
    /// The room that every user enters first.
    pub lobby: R,
    /// The users in the chat.
    pub users: UserTable<R>,
    /// Users of this node who left the chat because the node's lease expired. Their sessions and
    /// memberships continue when the node rejoins.
    pub suspended: BTreeMap<u64, Box<User<R>>>,
    /// Every key of every name that is in use, and the session that has the name.
    pub names: HashMap<Key, u64>,
    /// All rooms, including the lobby.
    pub rooms: BTreeMap<Key, R>,
    /// Removed rooms that have suspended members, by name. Those members may rejoin a room of the
    /// same name.
    pub awaited_rooms: BTreeMap<Key, R>,
    /// The bans.
    pub bans: Bans,
    /// The saved sessions and their tokens.
    pub tokens: Tokens,
    /// The users who left most recently.
    pub former_users: FormerUsers,
    /// The mutes of users who wrote too fast.
    pub flood_mutes: FloodMutes,
    /// The number that the first line of the next new room gets. It is higher than the number of
    /// any line of a removed room, so a new room with the same name cannot be confused with the old
    /// one.
    pub next_first_line: u64,
}

/// The settings of a chat's state.
#[derive(Clone, Debug)]
pub struct StateOptions {
    /// The name of the room that every user enters first.
    pub lobby: Name,
    /// The limits of each room's log.
    pub log: LogLimits,
    /// Whether new lines wait for the store before they are shown.
    pub holds_lines: bool,
    /// Whether rooms outlive their last member.
    pub keeps_rooms: bool,
    /// Whether this is the state of one node of a cluster.
    pub is_replicated: bool,
    /// The lineage of session 0. A new session's lineage is this number plus the session's number.
    pub lineages_from: u64,
    /// Formats a time in milliseconds since 1970.
    pub moment: fn(u64) -> String,
}

/// The state that a store restores.
#[derive(Debug, Default)]
pub struct RestoredState {
    /// The rooms.
    pub rooms: Vec<Room>,
    /// The bans.
    pub bans: Bans,
    /// The saved sessions and their tokens.
    pub tokens: Tokens,
}

/// The limits for creating rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomLimits {
    /// The maximum number of rooms.
    pub all: usize,
    /// The maximum number of rooms that users of one source have created.
    pub per_source: usize,
}

impl<R: RoomCell> ChatState<R> {
    /// Creates a chat without users, with the stored rooms, bans and sessions.
    pub fn new(options: StateOptions, restored: RestoredState) -> Self {
        let RestoredState { rooms: kept, bans, tokens } = restored;
        let mut rooms = BTreeMap::new();
        for room in kept {
            rooms.insert(room.name.key().clone(), R::new(room));
        }
        let lobby = rooms.entry(options.lobby.key().clone()).or_insert_with(|| {
            let mut room = Room::new(options.lobby.clone(), Log::new(options.log, 1, 0));
            room.log.holds = options.holds_lines;
            R::new(room)
        });
        let lobby = lobby.clone();
        lobby.with(|room| room.is_lobby = true);
        let next_first_line = tokens.last_born().map_or(0, |born| born.saturating_add(1));
        let users = UserTable::new(options.lineages_from);
        Self {
            options,
            lobby,
            users,
            suspended: BTreeMap::new(),
            names: HashMap::new(),
            rooms,
            awaited_rooms: BTreeMap::new(),
            bans,
            tokens,
            former_users: FormerUsers::default(),
            flood_mutes: FloodMutes::default(),
            next_first_line,
        }
    }

    /// Returns the user who has this name, or a name that looks like it.
    pub fn find(&self, name: &Name) -> Option<&User<R>> {
        let session = name.keys().find_map(|key| self.names.get(key))?;
        self.user(*session)
    }

    /// Returns the user of this session, if they are in the chat.
    pub fn user(&self, session: u64) -> Option<&User<R>> {
        self.users.get(&session).map(|user| &**user)
    }

    /// Returns the user of this session. Also finds a suspended user of this node.
    pub fn served_user(&self, session: u64) -> Option<&User<R>> {
        self.suspended.get(&session).map(|user| &**user).or_else(|| self.user(session))
    }

    /// Returns the user with this id, if they are in the chat.
    pub fn user_with_id(&self, id: &str) -> Option<&User<R>> {
        self.users.of_lineage(lineage_of_id(id)?)
    }

    /// Counts the users from this network, except the user with this lineage.
    pub fn users_from(&self, network: IpNet, lineage: u64) -> usize {
        let users = self.users.values();
        let from = users.filter(|user| user.address.map(network_of) == Some(network));
        from.filter(|user| user.lineage != lineage && !user.is_retired()).count()
    }

    /// Returns the message for a banned user.
    pub fn ban_words(&self, ban: &Ban) -> String {
        ban.words(self.options.moment)
    }

    /// Checks whether the session can have the name: no other session has this name, or a name that
    /// looks like it.
    pub fn is_free(&self, name: &Name, session: u64) -> Result<(), ClaimNameError> {
        let other = name.keys().filter_map(|key| self.names.get(key)).find(|&&s| s != session);
        if let Some(user) = other.and_then(|session| self.users.get(session)) {
            let theirs = user.name();
            let same = theirs.same_as(name);
            return Err(if same {
                ClaimNameError::Taken(theirs)
            } else {
                ClaimNameError::LooksLike(theirs)
            });
        }
        Ok(())
    }

    /// Gives `name` to the session, unless another session has it.
    pub fn claim(&mut self, name: &Name, session: u64) -> Result<(), ClaimNameError> {
        self.is_free(name, session)?;
        for key in name.keys() {
            self.names.insert(key.clone(), session);
        }
        Ok(())
    }

    /// Frees the keys of a name, if the session has them.
    pub fn release(&mut self, name: &Name, session: u64) {
        for key in name.keys() {
            if self.names.get(key) == Some(&session) {
                self.names.remove(key);
            }
        }
    }

    /// Returns whether the room exists, or whether the user may create it. Each node checks its own
    /// limits before it proposes to create a room.
    pub fn check_room_limits(
        &self,
        now_ms: u64,
        session: u64,
        room: &Name,
        limits: RoomLimits,
    ) -> Result<(), JoinError> {
        let Some(user) = self.user(session) else { return Ok(()) };
        if self.rooms.contains_key(room.key()) {
            return Ok(());
        }
        let source = Some(Source::from(user.address));
        let (mut all, mut theirs) = (0, 0);
        for cell in self.rooms.values() {
            cell.with(|room| {
                let counts = !room.is_abandoned(now_ms) || room.is_lobby;
                all += usize::from(counts);
                theirs += usize::from(counts && room.origin.maker == source);
            });
        }
        match () {
            () if all >= limits.all => Err(JoinError::TooManyRooms),
            () if user.is_operator() => Ok(()),
            () if theirs >= limits.per_source => Err(JoinError::TooManyOfSource(theirs)),
            () => Ok(()),
        }
    }

    /// Returns the nodes that serve at least one user, in ascending order.
    pub fn nodes(&self) -> Vec<u32> {
        let mut nodes: Vec<u32> = self.users.values().map(|user| user.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Releases a session's membership of a room from which it was expelled. This node serves the
    /// session.
    pub fn release_membership(&mut self, session: u64, room: &R) {
        match self.suspended.get_mut(&session) {
            Some(user) => user.release(room),
            None => self.users.get_mut(session).into_iter().for_each(|user| user.release(room)),
        }
    }

    /// Releases all memberships of a session that ended while its user was suspended.
    pub fn release_suspended(&mut self, session: u64) {
        if let Some(mut user) = self.suspended.remove(&session) {
            user.release_all();
        }
    }
}
