//! The running chat: the pure state behind its lock, the live sessions, and the services that all
//! sessions share.
//!
//! Locks are taken in a fixed order: first the chat's, then a room's, then a mailbox's. They are
//! never held across an await. Saying a line takes only the room's lock.

pub(crate) mod evictions;
pub(crate) mod live_state;
pub(crate) mod mailbox;
pub(crate) mod people;
pub(crate) mod shared_room;
pub(crate) mod wake_batcher;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ipnet::IpNet;

use crate::access::password_checks::PasswordChecks;
use crate::access::source_gates::SourceGates;
use crate::archive::Archive;
use crate::chat::live_state::{ChatUser, LiveState, SessionHandle};
use crate::chat::shared_room::SharedRoom;
use crate::chat::wake_batcher::WakeBatchers;
use crate::cluster::Cluster;
use crate::settings::ChatSettings;
use echoline::sources::Sources;
use echoline_base::poison::IgnorePoison;
pub(crate) use echoline_chat_core::Credential;
use echoline_chat_core::replication::NODE;
use echoline_chat_core::room::MemberId;
use echoline_chat_core::state::{
    Ban, ChatState, FormerUser, RestoredState, RoomLimits, StateChange, StateOptions, Suspect,
};
pub(crate) use echoline_chat_core::{ClaimNameError, JoinError};
use echoline_chat_core::{
    Days, Effect, Joined, Key, Name, Operation, OperationContext, OperationError, Outcome,
};

/// A chat with all its rooms and users. Its sessions share it.
#[derive(Debug)]
pub struct Chat {
    /// The settings with which the chat started. Later changes are in `rules`.
    pub(crate) settings: ChatSettings,
    rules: Mutex<Arc<ChatSettings>>,
    pub(crate) archive: Archive,
    pub(crate) batchers: WakeBatchers,
    pub(crate) passwords: PasswordChecks,
    /// Limits the concurrent password checks and searches of each source.
    pub(crate) gates: SourceGates,
    pub(crate) lobby: SharedRoom,
    /// This node's part of the cluster; `None` without a cluster.
    pub(crate) cluster: Option<Arc<Cluster>>,
    sessions: AtomicU64,
    state: Arc<Mutex<LiveState>>,
}

/// The part of a chat that a store restores.
#[derive(Debug, Default)]
pub(crate) struct RestoredChat {
    pub(crate) state: RestoredState,
    /// Tokens that exceed the limit, to be deleted from the store.
    pub(crate) dropped_tokens: Vec<Arc<str>>,
}

/// A user's membership in a room, as the user's session holds it.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) shared_room: SharedRoom,
    pub(crate) room: Name,
    pub(crate) member_id: MemberId,
    /// The number of the member's join line.
    pub(crate) joined: u64,
    /// The day of the last line shown, until the member has seen their own join. Lines before the
    /// join may be from earlier days.
    pub(crate) past: Option<Box<Days>>,
}

impl Membership {
    /// Returns whether the member is an operator of the room.
    pub(crate) fn is_operator(&self) -> bool {
        self.shared_room.with(|room| room.standing(self.member_id).1)
    }
}

impl Chat {
    /// Creates an empty chat that has everything in memory only.
    #[must_use]
    pub fn new(settings: ChatSettings) -> Self {
        Self::open(settings, Archive::default(), RestoredChat::default())
    }

    /// Creates a chat that continues with the state in `kept`.
    pub(crate) fn open(settings: ChatSettings, archive: Archive, kept: RestoredChat) -> Self {
        let options = StateOptions {
            holds_lines: archive.holds,
            keeps_rooms: archive.is_lasting(),
            // Each process counts its sessions from 1. The random start makes lineages unique
            // across restarts.
            lineages_from: random(),
            ..options(&settings, false)
        };
        let RestoredChat { state, dropped_tokens } = kept;
        dropped_tokens.iter().for_each(|token| archive.keep(Effect::DeleteToken(token)));
        Self::with_state(settings, archive, ChatState::new(options, state), None)
    }

    /// Creates a chat that is one node of a cluster. Its session numbers are unique in the cluster.
    pub(crate) fn replicated(settings: ChatSettings, cluster: Cluster) -> Self {
        let state = ChatState::new(options(&settings, true), RestoredState::default());
        Self::with_state(settings, Archive::default(), state, Some(Arc::new(cluster)))
    }

    fn with_state(
        settings: ChatSettings,
        archive: Archive,
        state: ChatState<SharedRoom>,
        cluster: Option<Arc<Cluster>>,
    ) -> Self {
        let rules = Mutex::new(Arc::new(settings.clone()));
        let lobby = state.lobby.clone();
        let (batchers, passwords, gates, sessions) = Default::default();
        let state = Arc::new(Mutex::new(LiveState::new(state)));
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

    /// Returns the rates and penalties of all sources.
    #[must_use]
    pub fn sources(&self) -> &Arc<Sources> {
        &self.settings.sources
    }

    /// Changes the settings of the running chat. Only these values of `settings` are used: the
    /// limits of rooms, the earlier lines for new members, the time for a login, the rate of lines
    /// and the operators' password. Users who are in the chat keep their rate, and operators stay
    /// operators.
    pub fn renew(&self, settings: &ChatSettings) {
        *self.rules.lock().ignore_poison() = Arc::new(settings.clone());
    }

    pub(crate) fn rules(&self) -> Arc<ChatSettings> {
        Arc::clone(&self.rules.lock().ignore_poison())
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.settings.clock)()
    }

    /// Returns the number of a new session, which is unique on all nodes.
    pub(crate) fn next_session(&self) -> u64 {
        let count = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        self.cluster.as_ref().map_or(count, |cluster| cluster.session(count))
    }

    /// Applies an operation to the state, and carries out its effects.
    pub(crate) fn apply_operation(
        &self,
        context: OperationContext,
        operation: Operation,
    ) -> Outcome {
        let is_exit = matches!(operation, Operation::Exit { .. });
        let is_write = matches!(operation, Operation::Write { .. });
        let mut live = self.lock();
        if let Operation::Join { room, .. } = &operation
            && self.cluster.is_none()
            && let Err(error) = self.check_room_limits_in(&live, context.session, room)
        {
            return Outcome::Joined(Err(error));
        }
        let (outcome, unread) =
            live.change(&self.archive, context, |change| change.apply(operation));
        match &outcome {
            Outcome::Entered(Ok(entered)) if context.is_here => {
                if let Some(user) = live.user(entered.session) {
                    let handle = SessionHandle::new(user, entered, Arc::downgrade(&self.state));
                    live.add_session(handle);
                }
            }
            Outcome::Done if is_exit => live.remove_session(context.session),
            _ => {}
        }
        match unread {
            Some(session) if is_write => {
                let name = live.user(session).map(ChatUser::name);
                drop(live);
                name.map_or(outcome, |name| self.refuse_unread(context, &name))
            }
            _ => outcome,
        }
    }

    /// Changes the state and carries out its effects under the lock.
    pub(crate) fn change<T>(
        &self,
        live: &mut LiveState,
        context: OperationContext,
        change: impl FnOnce(&mut StateChange<'_, SharedRoom>) -> T,
    ) -> T {
        live.change(&self.archive, context, change).0
    }

    /// Returns the session with this number, if this node serves it.
    pub(crate) fn session(&self, session: u64) -> Option<Arc<SessionHandle>> {
        self.lock().session(session).cloned()
    }

    /// Returns the membership that a join created.
    pub(crate) fn joined(&self, outcome: Outcome) -> Result<Membership, JoinError> {
        match outcome {
            Outcome::Joined(joined) => self.membership(joined?).ok_or(JoinError::Gone),
            outcome => Err(JoinError::of(&outcome)),
        }
    }

    /// Resolves the outcome of a join on the node that serves the user. Returns `None` if the
    /// membership was released since.
    fn membership(&self, joined: Joined) -> Option<Membership> {
        let Joined { session, room, member_id, number, .. } = joined;
        let memberships = self.lock().served_user(session)?.memberships();
        let mut memberships = memberships.into_iter().rev().filter(|&(_, id)| id == member_id);
        let (shared_room, _) = memberships
            .find(|(shared_room, _)| shared_room.with(|shared| shared.name.same_as(&room)))?;
        Some(Membership { shared_room, room, member_id, joined: number, past: None })
    }

    /// Returns the message for a client whose address is banned, or `None` if it is not banned.
    pub(crate) fn banned(&self, address: Option<IpAddr>) -> Option<String> {
        let now_ms = self.now_ms();
        let suspect = Suspect { address, ..Suspect::default() };
        let state = self.lock();
        state.bans.find(now_ms, suspect, None).map(|ban| state.ban_words(ban))
    }

    /// Returns the user who has this name, or a name that looks like it.
    pub(crate) fn find(&self, name: &Name) -> Option<ChatUser> {
        self.lock().find(name).cloned()
    }

    /// Returns the user of this session, if they are in the chat.
    pub(crate) fn user(&self, session: u64) -> Option<ChatUser> {
        self.lock().user(session).cloned()
    }

    /// Returns the last user who left under this name.
    pub(crate) fn former_user(&self, name: &Name) -> Option<FormerUser> {
        self.lock().former_users.find(name).cloned()
    }

    /// Returns whether a token can restore a session of this user.
    pub(crate) fn has_token(&self, lineage: u64) -> bool {
        self.lock().tokens.has(lineage)
    }

    /// Counts the users from this network, except the user with this lineage.
    pub(crate) fn people_from(&self, network: IpNet, lineage: u64) -> usize {
        self.lock().users_from(network, lineage)
    }

    /// Returns all bans that apply to this user, of the chat and of rooms.
    pub(crate) fn bans_of(&self, user: &ChatUser) -> Vec<Ban> {
        let now_ms = self.now_ms();
        self.lock().bans.all_of(now_ms, user.suspect()).cloned().collect()
    }

    /// Returns the user with this id, if they are in the chat.
    pub(crate) fn person_with_id(&self, id: &str) -> Option<ChatUser> {
        self.lock().user_with_id(id).cloned()
    }

    /// Returns the away text of each of these sessions.
    pub(crate) fn away(&self, sessions: impl Iterator<Item = u64>) -> Vec<Option<Arc<str>>> {
        let state = self.lock();
        sessions.map(|session| state.user(session)?.away()).collect()
    }

    /// Returns the room with this name.
    pub(crate) fn room(&self, name: &Name) -> Option<SharedRoom> {
        self.lock().rooms.get(name.key()).cloned()
    }

    /// Returns all rooms.
    pub(crate) fn rooms(&self) -> Vec<SharedRoom> {
        self.lock().rooms.values().cloned().collect()
    }

    /// Returns the active bans of the chat (`None`) or of a room.
    pub(crate) fn bans(&self, room: Option<&Key>) -> Vec<Ban> {
        let now_ms = self.now_ms();
        self.lock().bans.list(now_ms, room).cloned().collect()
    }

    /// Returns whether the room exists, or whether the user may create it. Only the node that
    /// serves the user checks this.
    pub(crate) fn check_room_limits(&self, session: u64, room: &Name) -> Result<(), JoinError> {
        self.check_room_limits_in(&self.lock(), session, room)
    }

    fn check_room_limits_in(
        &self,
        live: &LiveState,
        session: u64,
        room: &Name,
    ) -> Result<(), JoinError> {
        let rules = self.rules();
        let limits = RoomLimits { all: rules.max_rooms, per_source: rules.max_rooms_per_ip };
        live.check_room_limits(self.now_ms(), session, room, limits)
    }

    /// Releases a membership of a room from which the session was expelled.
    pub(crate) fn give_back(&self, session: &SessionHandle, shared_room: &SharedRoom) {
        self.lock().release_membership(session.session, shared_room);
    }

    /// Returns the number of users in the whole chat.
    #[must_use]
    pub fn people(&self) -> usize {
        self.lock().users.len()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, LiveState> {
        self.state.lock().ignore_poison()
    }

    /// Tells the author of a private line that the recipient's mailbox is full. If another node
    /// serves the author, the message is sent as an operation.
    fn refuse_unread(&self, context: OperationContext, to: &Name) -> Outcome {
        if self.is_replicated() && !context.is_here {
            let words = format!("Not delivered: the mailbox of {to} is full");
            self.announce(NODE, Operation::Tell { to: context.session, words });
        }
        Outcome::Refused(OperationError::MailboxFull)
    }
}

/// Returns the options for the state of a node, or of a chat without a store. Such a state is not
/// stored.
fn options(settings: &ChatSettings, is_replicated: bool) -> StateOptions {
    StateOptions {
        lobby: settings.lobby.clone(),
        log: settings.log,
        holds_lines: false,
        keeps_rooms: is_replicated,
        is_replicated,
        // All nodes must calculate the same lineages.
        lineages_from: 0,
        moment: settings.moment,
    }
}

fn random() -> u64 {
    getrandom::u64().expect("the system has random bytes")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use echoline_base::SecretText;

    #[test]
    fn renewing_a_chat_changes_only_its_live_settings() {
        let chat = Chat::new(ChatSettings::default());
        assert!(chat.rules().operator_password.is_none());
        let new = ChatSettings {
            max_rooms: 7,
            max_rooms_per_ip: 2,
            replay: 3,
            login_timeout: Duration::from_secs(1),
            flood: None,
            operator_password: Some("open sesame".into()),
            ..ChatSettings::default()
        };
        chat.renew(&new);
        let rules = chat.rules();
        assert_eq!((rules.max_rooms, rules.max_rooms_per_ip, rules.replay), (7, 2, 3));
        assert_eq!((rules.login_timeout, rules.flood), (Duration::from_secs(1), None));
        assert_eq!(rules.operator_password.as_ref().map(SecretText::reveal), Some("open sesame"));
        assert!(!format!("{chat:?}").contains("sesame"), "the password is not printed");
    }
}
