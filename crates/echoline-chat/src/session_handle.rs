//! A session that this node serves, as the chat reaches it: its mailbox, and what only its own node
//! knows of it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::flood_mutes::ContinuedMute;
use super::mailbox::Mailbox;
use super::name::Name;
use super::notification::Disconnect;
use super::outcome::Entered;
use super::state::{ChatUser, LiveState};
use echoline_base::SecretText;
use echoline_base::poison::IgnorePoison;

/// A live session. Its user's name and rights are in the chat's state, and are looked up there:
/// never while the state or a room is locked.
#[derive(Debug)]
pub(super) struct SessionHandle {
    /// The number of the session, which no other has.
    pub(super) session: u64,
    /// The number of the user, which is the same in all sessions that a token restored.
    pub(super) lineage: u64,
    /// When the session began (milliseconds since 1970).
    pub(super) since_ms: u64,
    /// The network address; `None` over a stream without addresses.
    pub(super) address: Option<IpAddr>,
    pub(super) mailbox: Mailbox,
    /// When the user said something last, or else when they came (milliseconds since 1970).
    spoke_ms: AtomicU64,
    /// The name with which the user came in, in case they are not in the chat any more.
    first_name: Name,
    state: Weak<Mutex<LiveState>>,
    /// Made for the first of it: most sessions need none.
    extras: Mutex<Option<Box<SessionExtras>>>,
}

#[derive(Debug, Default)]
struct SessionExtras {
    /// Restores the session in another connection; made when it is first asked for.
    token: Option<SecretText>,
    /// A mute for writing too fast that the session began with.
    flood_mute: Option<ContinuedMute>,
    /// The hash of the operators' password that the user gave.
    operator_proof: Option<Arc<str>>,
}

impl SessionHandle {
    /// The session of a user who has just come in.
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

    /// Looks at the session's user; `None` if they have left.
    fn user<T>(&self, look: impl FnOnce(&ChatUser) -> T) -> Option<T> {
        let state = self.state.upgrade()?;
        let state = state.lock().ignore_poison();
        state.served_user(self.session).map(look)
    }

    /// The name that the user has now.
    pub(super) fn name(&self) -> Name {
        self.user(ChatUser::name).unwrap_or_else(|| self.first_name.clone())
    }

    /// The away text.
    pub(super) fn away(&self) -> Option<Arc<str>> {
        self.user(ChatUser::away).flatten()
    }

    /// Whether the user is an operator of the whole chat.
    pub(super) fn is_operator(&self) -> bool {
        self.user(ChatUser::is_operator).unwrap_or_default()
    }

    /// Whether the user goes on in another session, so that this one has nothing to come back to.
    pub(super) fn is_retired(&self) -> bool {
        self.user(ChatUser::is_retired).unwrap_or_default()
    }

    /// The mute for writing too fast that the session began with.
    pub(super) fn flood_mute(&self) -> Option<ContinuedMute> {
        self.extras().as_ref()?.flood_mute
    }

    /// When the user said something last, or else when they came.
    pub(super) fn spoke_ms(&self) -> u64 {
        self.spoke_ms.load(Ordering::Relaxed)
    }

    /// Notes that the user says something, to all or to one.
    pub(super) fn note_speech(&self, now_ms: u64) {
        self.spoke_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Ends the session with these words.
    pub(super) fn end(&self, words: &str) {
        self.mailbox.end(Disconnect { words: words.to_owned(), reason: None });
    }

    /// The session's token, made by `make` if there is none yet.
    pub(super) fn token_or(&self, make: impl FnOnce() -> SecretText) -> SecretText {
        self.extras().get_or_insert_default().token.get_or_insert_with(make).clone()
    }

    pub(super) fn token(&self) -> Option<SecretText> {
        self.extras().as_ref()?.token.clone()
    }

    /// The proof that the user is an operator of the chat, for the saved session; `None` if they
    /// are none now.
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
