//! The whole chat: who is in it, which rooms there are, who may come in.
//!
//! Locks are taken in one order, the hall's, then a room's, then a mailbox's, and never held across
//! an await. What is said takes its room's lock only.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ipnet::IpNet;

use super::archive::Archive;
use super::bans::{Ban, Bans, Scope, Suspect, network_of};
use super::cluster::Cluster;
use super::days::Days;
use super::flood_mutes::FloodMutes;
use super::former_users::{FormerUser, FormerUsers};
use super::key::Key;
use super::log::Log;
use super::name::Name;
use super::password_checks::PasswordChecks;
use super::room::{MemberId, Room};
use super::rules::LiveRules;
use super::settings::Settings;
use super::shared_room::SharedRoom;
use super::source_gates::SourceGates;
use super::tokens::Tokens;
use super::user::User;
use super::user_table::{UserTable, lineage_of_id};
use super::wake_batcher::WakeBatchers;
use echoline::sources::Sources;
use echoline_base::poison::IgnorePoison;

/// A chat: all its rooms and everybody who is in them. Shared by its sessions.
#[derive(Debug)]
pub struct Chat {
    /// As the chat began; what may have changed since is in `rules`.
    pub(super) settings: Settings,
    pub(super) rules: LiveRules,
    pub(super) archive: Archive,
    pub(super) batchers: WakeBatchers,
    pub(super) passwords: PasswordChecks,
    /// Bounds the passwords and searches of one source at the same time.
    pub(super) gates: SourceGates,
    pub(super) lobby: Arc<SharedRoom>,
    /// The other machines, if there are any.
    pub(super) cluster: Option<Arc<Cluster>>,
    sessions: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) people: UserTable,
    /// Every key of every name that is in use, and whose it is.
    pub(super) names: HashMap<Key, u64>,
    /// The lobby too.
    pub(super) rooms: BTreeMap<Key, Arc<SharedRoom>>,
    /// Rooms that were removed while members of this machine, which was taken for gone, may come
    /// back to them.
    pub(super) awaiting: BTreeMap<Key, Arc<SharedRoom>>,
    pub(super) bans: Bans,
    pub(super) tokens: Tokens,
    pub(super) former_users: FormerUsers,
    pub(super) flood_mutes: FloodMutes,
    /// Higher than the number of any line of a room that was removed: a room of the same name
    /// does not begin in the middle of it.
    pub(super) numbers_from: u64,
}

/// What a store brings back.
#[derive(Debug, Default)]
pub(super) struct RestoredChat {
    pub(super) rooms: Vec<Room>,
    pub(super) bans: Bans,
    pub(super) tokens: Tokens,
    /// Tokens of the store that are too many, and are to leave it.
    pub(super) dropped_tokens: Vec<Arc<str>>,
}

/// Somebody's place in a room.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) shared_room: Arc<SharedRoom>,
    pub(super) room: Name,
    pub(super) member_id: MemberId,
    /// The number of the line that says that they came.
    pub(super) joined: u64,
    /// Whether this machine serves them.
    pub(super) is_here: bool,
    /// The day of the last line shown, until they have seen themselves come: what they are shown
    /// before that may be of other days.
    pub(super) past: Option<Box<Days>>,
}

impl Membership {
    /// Whether they are an operator of the room.
    pub(super) fn is_operator(&self) -> bool {
        self.shared_room.with(|room| room.standing(self.member_id).1)
    }
}

/// Why somebody cannot have a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClaimNameError {
    /// Somebody has it.
    Taken(Name),
    /// Somebody has one that looks like it.
    LooksLike(Name),
    /// It is banned: the sentence.
    Banned(String),
    /// It did not reach the other machines.
    NotDelivered,
}

/// Why somebody cannot enter a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JoinError {
    Already,
    Banned(String),
    Invited,
    /// It needs the words whose hash this is.
    Password(Arc<str>),
    TooManyRooms,
    /// Users from the same address have made so many rooms.
    TooManyOfSource(usize),
    TooManyOfYours,
    /// They are not in the chat any more.
    Gone,
    /// It did not reach the other machines: why.
    NotDelivered(&'static str),
}

/// What a newcomer to a room has shown.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Credential {
    Nothing,
    /// They know the words of which this is the hash.
    Password(String),
    /// A token says that they were in; as an earlier version tells it.
    Token {
        operator: bool,
    },
    /// A token says that they were in, as an operator or not, and which password the room had then:
    /// its stamp.
    Return {
        operator: bool,
        password: Option<String>,
        /// The number of the room's first line, see [`Origin`](super::room_origin::Origin).
        #[serde(default)]
        born: u64,
    },
}

impl Chat {
    /// An empty chat that keeps everything in memory.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::open(settings, Archive::default(), RestoredChat::default())
    }

    /// A chat with what was kept.
    pub(super) fn open(settings: Settings, archive: Archive, kept: RestoredChat) -> Self {
        let mut rooms = BTreeMap::new();
        for room in kept.rooms {
            rooms.insert(room.name.key().clone(), Arc::new(SharedRoom::new(room)));
        }
        let lobby = rooms.entry(settings.lobby.key().clone()).or_insert_with(|| {
            let mut room = Room::new(settings.lobby.clone(), Log::new(settings.log, 1, 0));
            room.log.holds = archive.holds;
            Arc::new(SharedRoom::new(room))
        });
        let lobby = Arc::clone(lobby);
        let RestoredChat { bans, tokens, dropped_tokens, .. } = kept;
        dropped_tokens.iter().for_each(|token| archive.token_used(token));
        // Each process numbers its sessions from 1: by this, no two of them have the same lineages.
        let people = UserTable::new(random());
        let numbers_from = tokens.last_born().map_or(0, |born| born.saturating_add(1));
        let state = State { people, rooms, bans, tokens, numbers_from, ..State::default() };
        let state = Mutex::new(state);
        let rules = LiveRules::new(&settings);
        let (batchers, passwords, gates, sessions) = Default::default();
        let cluster = None;
        Self {
            settings,
            rules,
            archive,
            batchers,
            passwords,
            gates,
            lobby,
            cluster,
            sessions,
            state,
        }
    }

    /// The rates and penalties of each source.
    #[must_use]
    pub fn sources(&self) -> &Arc<Sources> {
        &self.settings.sources
    }

    pub(super) fn now_ms(&self) -> u64 {
        (self.settings.clock)()
    }

    /// The number of a new session; of all machines together, no other will have it.
    pub(super) fn next_session(&self) -> u64 {
        let count = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        self.cluster.as_ref().map_or(count, |cluster| cluster.session(count))
    }

    /// Returns the sentence that refuses a connection from `address`, if it is banned.
    pub(super) fn banned(&self, address: Option<IpAddr>) -> Option<String> {
        let now_ms = self.now_ms();
        let suspect = Suspect { address, ..Suspect::default() };
        self.lock().bans.find(now_ms, suspect, None).map(|ban| self.ban_words(ban))
    }

    /// Who is called so, or so that it looks the same.
    pub(super) fn find(&self, name: &Name) -> Option<Arc<User>> {
        let state = self.lock();
        let session = name.keys().find_map(|key| state.names.get(key))?;
        state.people.get(session).cloned()
    }

    /// The person of this session, while it lasts.
    pub(super) fn user(&self, session: u64) -> Option<Arc<User>> {
        self.lock().people.get(&session).cloned()
    }

    /// The user who left last under this name.
    pub(super) fn former_user(&self, name: &Name) -> Option<FormerUser> {
        self.lock().former_users.find(name).cloned()
    }

    /// Whether a token restores a session of this user.
    pub(super) fn has_token(&self, lineage: u64) -> bool {
        self.lock().tokens.has(lineage)
    }

    /// Returns the number of users from this network, without the user of this lineage.
    pub(super) fn people_from(&self, network: IpNet, lineage: u64) -> usize {
        let from = |user: &&Arc<User>| user.address.map(network_of) == Some(network);
        let state = self.lock();
        let people = state.people.values().filter(from);
        people.filter(|user| user.lineage != lineage && !user.is_retired()).count()
    }

    /// The bans that mean this person, `name` being theirs: of the chat and of its rooms.
    pub(super) fn bans_of(&self, user: &User, name: &Name) -> Vec<Ban> {
        let now_ms = self.now_ms();
        self.lock().bans.all_of(now_ms, user.suspect(name)).cloned().collect()
    }

    /// Returns the user with this id, if they are in the chat.
    pub(super) fn person_with_id(&self, id: &str) -> Option<Arc<User>> {
        self.lock().people.of_lineage(lineage_of_id(id)?).cloned()
    }

    /// The words of each of these sessions for those who write to them while they are away.
    pub(super) fn away(&self, sessions: impl Iterator<Item = u64>) -> Vec<Option<Arc<str>>> {
        let state = self.lock();
        sessions.map(|session| state.people.get(&session)?.away()).collect()
    }

    /// Whether rooms outlive their last member.
    pub(super) fn keeps_rooms(&self) -> bool {
        self.archive.is_lasting() || self.cluster.is_some()
    }

    /// The room of this name.
    pub(super) fn room(&self, name: &Name) -> Option<Arc<SharedRoom>> {
        self.lock().rooms.get(name.key()).cloned()
    }

    /// All rooms.
    pub(super) fn rooms(&self) -> Vec<Arc<SharedRoom>> {
        self.lock().rooms.values().cloned().collect()
    }

    /// The bans that hold for the chat (`None`) or a room.
    pub(super) fn bans(&self, room: Option<&Key>) -> Vec<Ban> {
        let now_ms = self.now_ms();
        self.lock().bans.list(now_ms, room).cloned().collect()
    }

    pub(super) fn ban_words(&self, ban: &Ban) -> String {
        let place = match &ban.scope {
            Scope::Chat => "this chat".to_owned(),
            Scope::Room(name) => format!("the room {}", name.as_str()),
        };
        let until = ban.until_ms.map(|until| format!(" until {}", (self.settings.moment)(until)));
        let reason = if ban.reason.is_empty() { "" } else { ": " };
        let until = until.unwrap_or_default();
        format!("You are banned from {place}{until}{reason}{}", ban.reason)
    }

    /// How many are in, all rooms together.
    #[must_use]
    pub fn people(&self) -> usize {
        self.lock().people.len()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
}

fn random() -> u64 {
    getrandom::u64().expect("the system has random bytes")
}

/// How somebody leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving<'a> {
    /// The others hear of it, with this reason, which may be empty.
    Because(&'a str),
    /// Nobody hears of it: everybody has to leave.
    Silently,
}

impl State {
    /// Whether the session can have the name: no other session has it, or one that looks like it.
    pub(super) fn is_free(&self, name: &Name, session: u64) -> Result<(), ClaimNameError> {
        let other = name.keys().filter_map(|key| self.names.get(key)).find(|&&s| s != session);
        if let Some(user) = other.and_then(|session| self.people.get(session)) {
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

    /// Makes `name` the session's, unless another session has it.
    pub(super) fn claim(&mut self, name: &Name, session: u64) -> Result<(), ClaimNameError> {
        self.is_free(name, session)?;
        for key in name.keys() {
            self.names.insert(key.clone(), session);
        }
        Ok(())
    }

    pub(super) fn release(&mut self, name: &Name, session: u64) {
        for key in name.keys() {
            if self.names.get(key) == Some(&session) {
                self.names.remove(key);
            }
        }
    }
}
