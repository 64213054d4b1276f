//! The chat's state, and the sessions that this node serves. A session has a mailbox, and data that
//! is not replicated.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use crate::archive::Archive;
use crate::chat::mailbox::Mailbox;
use crate::chat::shared_room::SharedRoom;
use echoline_base::SecretText;
use echoline_base::poison::IgnorePoison;
use echoline_chat_core::state::{
    ChatState, ContinuedMute, StateChange, TOKEN_LETTERS, User, token,
};
use echoline_chat_core::{Disconnect, Effect, Effects, Entered, Name, OperationContext};

/// A user in the chat's state.
pub(crate) type ChatUser = User<SharedRoom>;

/// The chat's state, and the sessions that this node serves.
#[derive(Debug)]
pub(crate) struct LiveState {
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
    /// Creates the live state without any session.
    pub(crate) fn new(chat: ChatState<SharedRoom>) -> Self {
        Self { chat, sessions: HashMap::new() }
    }

    /// Changes the state, and carries out the effects under the lock. Returns the session whose
    /// mailbox was full, if there was one.
    pub(crate) fn change<T>(
        &mut self,
        archive: &Archive,
        context: OperationContext,
        change: impl FnOnce(&mut StateChange<'_, SharedRoom>) -> T,
    ) -> (T, Option<u64>) {
        let Self { chat: state, sessions } = self;
        let mut effects = LiveEffects { archive, sessions, unread: None };
        let result = change(&mut StateChange { state, context, effects: &mut effects });
        (result, effects.unread)
    }

    /// Adds a session that this node serves.
    pub(crate) fn add_session(&mut self, handle: SessionHandle) {
        self.sessions.insert(handle.session, Arc::new(handle));
    }

    /// Returns the session with this number, if this node serves it.
    pub(crate) fn session(&self, session: u64) -> Option<&Arc<SessionHandle>> {
        self.sessions.get(&session)
    }

    /// Removes a session whose user has left.
    pub(crate) fn remove_session(&mut self, session: u64) {
        self.sessions.remove(&session);
    }

    /// Removes a session that has ended, and releases its memberships.
    pub(crate) fn end_session(&mut self, session: u64) {
        self.sessions.remove(&session);
        self.chat.release_suspended(session);
    }
}

/// Carries out effects: in the store, and in the mailboxes of the sessions that this node serves.
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

/// A live session. The user's name and rights are looked up in the chat's state, which is locked
/// for that. Do not ask for them while the state or a room is locked.
#[derive(Debug)]
pub(crate) struct SessionHandle {
    /// The number of the session, which is unique.
    pub(crate) session: u64,
    /// The user's number, the same in all sessions that a token restores.
    pub(crate) lineage: u64,
    /// The time at which the session began, in milliseconds since 1970.
    pub(crate) since_ms: u64,
    /// The network address; `None` if the stream has no addresses.
    pub(crate) address: Option<IpAddr>,
    pub(crate) mailbox: Mailbox,
    /// The time of the user's last line, or of their login if there is none, in milliseconds since
    /// 1970.
    spoke_ms: AtomicU64,
    /// The user's name at login, used after the user has left the chat.
    first_name: Name,
    state: Weak<Mutex<LiveState>>,
    /// The extras are created on first use, because most sessions need none of them.
    extras: Mutex<Option<Box<SessionExtras>>>,
}

#[derive(Debug, Default)]
struct SessionExtras {
    /// The token that restores the session in another connection. Created when it is first needed.
    token: Option<SecretText>,
    /// The mute for writing too fast that was active when the session began.
    flood_mute: Option<ContinuedMute>,
    /// The hash of the operators' password that the user typed.
    operator_proof: Option<Arc<str>>,
}

impl SessionHandle {
    /// Creates the session of a user who has just logged in.
    pub(crate) fn new(user: &ChatUser, entered: &Entered, state: Weak<Mutex<LiveState>>) -> Self {
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

    /// Returns the user's current name.
    pub(crate) fn name(&self) -> Name {
        self.user(ChatUser::name).unwrap_or_else(|| self.first_name.clone())
    }

    /// Returns the away text, if the user is away.
    pub(crate) fn away(&self) -> Option<Arc<str>> {
        self.user(ChatUser::away).flatten()
    }

    /// Returns whether the user is an operator of the whole chat.
    pub(crate) fn is_operator(&self) -> bool {
        self.user(ChatUser::is_operator).unwrap_or_default()
    }

    /// Returns whether the user continues in another session. This session then cannot be restored.
    pub(crate) fn is_retired(&self) -> bool {
        self.user(ChatUser::is_retired).unwrap_or_default()
    }

    /// Returns the mute for writing too fast that was active when the session began.
    pub(crate) fn flood_mute(&self) -> Option<ContinuedMute> {
        self.extras().as_ref()?.flood_mute
    }

    /// Returns the time of the user's last line, or of their login if there is none.
    pub(crate) fn spoke_ms(&self) -> u64 {
        self.spoke_ms.load(Ordering::Relaxed)
    }

    /// Records that the user says something now, in a room or to one user.
    pub(crate) fn note_speech(&self, now_ms: u64) {
        self.spoke_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Ends the session with this message.
    pub(crate) fn end(&self, words: &str) {
        self.mailbox.end(Disconnect { words: words.to_owned(), reason: None });
    }

    /// Returns the session's token. Creates it if there is none yet.
    pub(crate) fn token_or_new(&self) -> SecretText {
        self.token_or(new_token)
    }

    /// Returns the session's token. Calls `make` if there is none yet.
    pub(crate) fn token_or(&self, make: impl FnOnce() -> SecretText) -> SecretText {
        self.extras().get_or_insert_default().token.get_or_insert_with(make).clone()
    }

    pub(crate) fn token(&self) -> Option<SecretText> {
        self.extras().as_ref()?.token.clone()
    }

    /// Returns the proof, for the saved session, that the user is an operator of the chat. Returns
    /// `None` if the user is not an operator.
    pub(crate) fn operator_proof(&self) -> Option<Arc<str>> {
        let proof = self.extras().as_ref()?.operator_proof.clone();
        proof.filter(|_| self.is_operator())
    }

    pub(crate) fn set_operator_proof(&self, proof: Option<Arc<str>>) {
        self.extras().get_or_insert_default().operator_proof = proof;
    }

    fn extras(&self) -> MutexGuard<'_, Option<Box<SessionExtras>>> {
        self.extras.lock().ignore_poison()
    }
}

/// Creates a random token.
fn new_token() -> SecretText {
    let mut random = [0; TOKEN_LETTERS];
    getrandom::fill(&mut random).expect("the system has random bytes");
    token(random)
}
