//! Somebody who is in the chat, as the others can reach them.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::mailbox::Mailbox;
use super::name::Name;

/// One session's person.
#[derive(Debug)]
pub(super) struct Person {
    /// Counts the sessions of this process, from 1.
    pub(super) session: u64,
    /// Where they come from; `None` over a stream without addresses.
    pub(super) address: Option<IpAddr>,
    pub(super) mailbox: Mailbox,
    operator: AtomicBool,
    /// Goes on in another session.
    retired: AtomicBool,
    /// Is on the way out: where they stand is kept, and they may be out of some rooms already.
    leaving: AtomicBool,
    card: Mutex<Card>,
}

#[derive(Debug)]
struct Card {
    name: Name,
    /// Made for the first of it: most people need none.
    more: Option<Box<More>>,
}

#[derive(Debug, Default)]
struct More {
    /// The words for those who write to somebody who is away.
    away: Option<Arc<str>>,
    /// Restores name, rooms and positions in another connection; made when it is first asked for.
    token: Option<Arc<str>>,
}

impl Person {
    pub(super) fn new(session: u64, address: Option<IpAddr>, name: Name) -> Self {
        Self {
            session,
            address,
            mailbox: Mailbox::default(),
            operator: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            card: Mutex::new(Card { name, more: None }),
        }
    }

    pub(super) fn name(&self) -> Name {
        self.card().name.clone()
    }

    pub(super) fn set_name(&self, name: Name) {
        self.card().name = name;
    }

    /// The words for those who write to somebody who is away.
    pub(super) fn away(&self) -> Option<Arc<str>> {
        self.card().more.as_ref()?.away.clone()
    }

    pub(super) fn set_away(&self, words: Option<&str>) {
        self.card().more.get_or_insert_default().away = words.map(Arc::from);
    }

    /// The person's token, made by `make` where there is none yet.
    pub(super) fn token_or(&self, make: impl FnOnce() -> Arc<str>) -> Arc<str> {
        Arc::clone(self.card().more.get_or_insert_default().token.get_or_insert_with(make))
    }

    pub(super) fn token(&self) -> Option<Arc<str>> {
        self.card().more.as_ref()?.token.clone()
    }

    /// Whether they may do everything, in every room.
    pub(super) fn is_operator(&self) -> bool {
        self.operator.load(Ordering::Relaxed)
    }

    pub(super) fn make_operator(&self) {
        self.operator.store(true, Ordering::Relaxed);
    }

    /// Whether they go on in another session, so that this one has nothing to come back to.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Whether they are on the way out, so that only what was kept says where they stood.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    fn card(&self) -> MutexGuard<'_, Card> {
        self.card.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
