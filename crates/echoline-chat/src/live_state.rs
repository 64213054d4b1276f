//! The chat's state and the sessions that this node serves: the mailbox of each session, and its
//! data that is not replicated.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::archive::Archive;
use super::mailbox::Mailbox;
use super::shared_room::SharedRoom;
use echoline_base::SecretText;
use echoline_base::poison::IgnorePoison;
use echoline_chat_core::effect::{Effect, Effects};
use echoline_chat_core::name::Name;
use echoline_chat_core::notification::Disconnect;
use echoline_chat_core::outcome::Entered;
use echoline_chat_core::state::ChatState;
use echoline_chat_core::state::flood_mutes::ContinuedMute;
use echoline_chat_core::state::tokens::{TOKEN_LETTERS, token};
use echoline_chat_core::state::user::User;

/// A user in the chat's state.
pub(super) type ChatUser = User<SharedRoom>;

/// The chat's state, and the sessions that this node serves.
#[derive(Debug)]
pub(super) struct LiveState {
    chat: ChatState<SharedRoom>,
    sessions: HashMap<u64, Arc<SessionHandle>>,
}

impl Deref for LiveState {
    type Target = ChatState<SharedRoom>;

    fn deref(&self) -> &Self::Target {
        &self.chat
    }
}

impl DerefMut for LiveState {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.chat
    }
}

impl LiveState {
    /// Creates the state without any session.
    pub(super) fn new(chat: ChatState<SharedRoom>) -> Self {
        Self { chat, sessions: HashMap::new() }
    }

    /// Changes the state and carries its effects out under the lock. Returns the session whose
    /// mailbox was full, if there is one.
    pub(super) fn change<T>(
        &mut self,
        archive: &Archive,
        change: impl FnOnce(&mut ChatState<SharedRoom>, &mut dyn Effects) -> T,
    ) -> (T, Option<u64>) {
        let Self { chat, sessions } = self;
        let mut effects = LiveEffects { archive, sessions, unread: None };
        let result = change(chat, &mut effects);
        (result, effects.unread)
    }

    /// Adds a session that this node serves from now on.
    pub(super) fn add_session(&mut self, handle: SessionHandle) {
        self.sessions.insert(handle.session, Arc::new(handle));
    }

    /// Returns the session that this node serves.
    pub(super) fn session(&self, session: u64) -> Option<&Arc<SessionHandle>> {
        self.sessions.get(&session)
    }

    /// Removes a session whose user has left.
    pub(super) fn remove_session(&mut self, session: u64) {
        self.sessions.remove(&session);
    }

    /// Removes a session that has ended, and releases its memberships.
    pub(super) fn end_session(&mut self, session: u64) {
        self.sessions.remove(&session);
        self.chat.release_suspended(session);
    }
}

/// Carries effects out: in the store, and in the mailboxes of the sessions that this node serves.
struct LiveEffects<'a> {
    archive: &'a Archive,
    sessions: &'a HashMap<u64, Arc<SessionHandle>>,
    /// A session whose mailbox was full.
    unread: Option<u64>,
}

impl Effects for LiveEffects<'_> {
    fn emit(&mut self, effect: Effect<'_>) {
        match effect {
            Effect::Notify { session, notification } => {
                let handle = self.sessions.get(&session);
                if handle.is_some_and(|handle| !handle.mailbox.deliver(notification)) {
                    self.unread = Some(session);
                }
            }
            Effect::Disconnect { session, disconnect } => {
                if let Some(handle) = self.sessions.get(&session) {
                    handle.mailbox.end(disconnect);
                }
            }
            effect => self.archive.keep(effect),
        }
    }
}

/// A live session. The user's name and rights are in the chat's state and are looked up there, so
/// do not ask for them while the state or a room is locked.
#[derive(Debug)]
pub(super) struct SessionHandle {
    /// The number of the session, which no other has.
    pub(super) session: u64,
    /// The number of the user, which is the same in all sessions that a token restored.
    pub(super) lineage: u64,
    /// The time at which the session began, in milliseconds since 1970.
    pub(super) since_ms: u64,
    /// The network address; `None` over a stream without addresses.
    pub(super) address: Option<IpAddr>,
    pub(super) mailbox: Mailbox,
    /// The time of the user's last line, or else of their login, in milliseconds since 1970.
    spoke_ms: AtomicU64,
    /// The user's name at login, for a user who is no longer in the chat.
    first_name: Name,
    state: Weak<Mutex<LiveState>>,
    /// Created on first use, because most sessions need none.
    extras: Mutex<Option<Box<SessionExtras>>>,
}

#[derive(Debug, Default)]
struct SessionExtras {
    /// The token that restores the session in another connection; created when it is first needed.
    token: Option<SecretText>,
    /// A mute for writing too fast that the session began with.
    flood_mute: Option<ContinuedMute>,
    /// The hash of the operators' password that the user gave.
    operator_proof: Option<Arc<str>>,
}

impl SessionHandle {
    /// Creates the session of a user who has just logged in.
    pub(super) fn new(user: &ChatUser, entered: &Entered, state: Weak<Mutex<LiveState>>) -> Self {
        let flood_mute = entered.flood_mute;
        let extras = SessionExtras { flood_mute, ..SessionExtras::default() };
        Self {
            session: user.session,
            lineage: user.lineage,
            since_ms: user.since_ms,
            address: user.address,
            mailbox: Mailbox::default(),
            spoke_ms: AtomicU64::new(user.since_ms),
            first_name: user.name(),
            state,
            extras: Mutex::new(flood_mute.map(|_| Box::new(extras))),
        }
    }

    /// Runs `look` on the session's user. Returns `None` if the user has left.
    fn user<T>(&self, look: impl FnOnce(&ChatUser) -> T) -> Option<T> {
        let state = self.state.upgrade()?;
        let state = state.lock().ignore_poison();
        state.served_user(self.session).map(look)
    }

    /// Returns the name that the user has now.
    pub(super) fn name(&self) -> Name {
        self.user(ChatUser::name).unwrap_or_else(|| self.first_name.clone())
    }

    /// Returns the away text.
    pub(super) fn away(&self) -> Option<Arc<str>> {
        self.user(ChatUser::away).flatten()
    }

    /// Returns whether the user is an operator of the whole chat.
    pub(super) fn is_operator(&self) -> bool {
        self.user(ChatUser::is_operator).unwrap_or_default()
    }

    /// Returns whether the user continues in another session, so that this one cannot be resumed.
    pub(super) fn is_retired(&self) -> bool {
        self.user(ChatUser::is_retired).unwrap_or_default()
    }

    /// Returns the mute for writing too fast that the session began with.
    pub(super) fn flood_mute(&self) -> Option<ContinuedMute> {
        self.extras().as_ref()?.flood_mute
    }

    /// Returns the time of the user's last line, or else of their login.
    pub(super) fn spoke_ms(&self) -> u64 {
        self.spoke_ms.load(Ordering::Relaxed)
    }

    /// Notes that the user says something, in a room or to one user.
    pub(super) fn note_speech(&self, now_ms: u64) {
        self.spoke_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Ends the session with this message.
    pub(super) fn end(&self, words: &str) {
        self.mailbox.end(Disconnect { words: words.to_owned(), reason: None });
    }

    /// Returns the session's token. Creates it if there is none yet.
    pub(super) fn token_or_new(&self) -> SecretText {
        self.token_or(new_token)
    }

    /// Returns the session's token. Calls `make` if there is none yet.
    pub(super) fn token_or(&self, make: impl FnOnce() -> SecretText) -> SecretText {
        self.extras().get_or_insert_default().token.get_or_insert_with(make).clone()
    }

    pub(super) fn token(&self) -> Option<SecretText> {
        self.extras().as_ref()?.token.clone()
    }

    /// Returns the proof for the saved session that the user is an operator of the chat; `None` if
    /// they are not one now.
    pub(super) fn operator_proof(&self) -> Option<Arc<str>> {
        let proof = self.extras().as_ref()?.operator_proof.clone();
        proof.filter(|_| self.is_operator())
    }

    pub(super) fn set_operator_proof(&self, proof: Option<Arc<str>>) {
        self.extras().get_or_insert_default().operator_proof = proof;
    }

    fn extras(&self) -> MutexGuard<'_, Option<Box<SessionExtras>>> {
        self.extras.lock().ignore_poison()
    }
}

/// Returns a token that no other session has.
fn new_token() -> SecretText {
    let mut random = [0; TOKEN_LETTERS];
    getrandom::fill(&mut random).expect("the system has random bytes");
    token(random)
}
