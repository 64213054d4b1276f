//! What one person alone is told: private lines, notices, and that they have to go.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};

use super::history::LineKind;
use super::name::Name;
use super::operation::SaidLine;
use echoline_base::poison::IgnorePoison;

/// Letters that may wait; beyond it the sender is told that they cannot be delivered.
const LETTERS_MAX: usize = 100;

/// Bytes of the texts of letters that may wait.
const LETTER_BYTES_MAX: usize = 64 * 1024;

/// What somebody is told by another person or the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notification {
    /// Somebody says this to the receiver alone.
    Private {
        /// Milliseconds since 1970.
        time_ms: u64,
        from: Name,
        session: u64,
        lineage: u64,
        /// `Said` or `Action`.
        kind: LineKind,
        text: Arc<str>,
    },
    /// The server says this.
    Notice(String),
    /// A user, of this lineage, lets the receiver into a room.
    Invitation { by: Name, lineage: u64, room: Name },
    /// Lines of the receiver's came to nothing.
    NotDelivered { room: Name, reason: String, lines: Vec<SaidLine> },
    /// The other machines cannot be reached, or can be again.
    Link { is_lost: bool, words: String },
    /// Somebody took the receiver out of this room, with these words, if any.
    Expelled { room: Name, words: String },
}

/// Somebody has to go, and is told these words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disconnect {
    pub(super) words: String,
    /// The reason that a page shows, if the words do not say it.
    pub(super) reason: Option<String>,
}

/// The letters of one person. The sender never waits.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// Whether there is anything inside: looked at often, and mostly in vain.
    has_news: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Made for the first of them: most people never get one.
    post: Option<Box<Post>>,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
struct Post {
    notifications: VecDeque<Notification>,
    /// The bytes of their texts.
    bytes: usize,
    ending: Option<Disconnect>,
}

impl Notification {
    fn bytes(&self) -> usize {
        match self {
            Self::Private { text, .. } => text.len(),
            Self::Notice(words) | Self::Link { words, .. } | Self::Expelled { words, .. } => {
                words.len()
            }
            Self::Invitation { by, room, .. } => by.as_str().len() + room.as_str().len(),
            Self::NotDelivered { lines, .. } => lines.iter().map(|line| line.text.len()).sum(),
        }
    }
}

impl Post {
    fn push(&mut self, notification: Notification) {
        self.bytes += notification.bytes();
        self.notifications.push_back(notification);
    }

    fn pop(&mut self) -> Option<Notification> {
        let notification = self.notifications.pop_front()?;
        self.bytes -= notification.bytes();
        Some(notification)
    }
}

impl Mailbox {
    /// Delivers a letter; `false` if there are too many already.
    pub(super) fn deliver(&self, notification: Notification) -> bool {
        let mut state = self.lock();
        let post = state.post();
        let is_full =
            post.bytes + notification.bytes() > LETTER_BYTES_MAX && !post.notifications.is_empty();
        if post.notifications.len() >= LETTERS_MAX || is_full {
            return false;
        }
        post.push(notification);
        self.announce(state);
        true
    }

    /// Delivers a letter that has to be, of which there cannot be many: one for each room that the
    /// person is out of, and for each of their acts that came to nothing.
    pub(super) fn deliver_unbounded(&self, notification: Notification) {
        let mut state = self.lock();
        state.post().push(notification);
        self.announce(state);
    }

    /// Tells the person to go; the first reason counts.
    pub(super) fn end(&self, ending: Disconnect) {
        let mut state = self.lock();
        state.post().ending.get_or_insert(ending);
        self.announce(state);
    }

    /// Whether there may be a letter, or a reason to go. Most of the time there is none.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Acquire)
    }

    /// The next letter.
    pub(super) fn take(&self) -> Option<Notification> {
        if !self.has_news.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.lock();
        let notification = state.post().pop();
        if notification.is_none() && state.post().ending.is_none() {
            state.post = None;
            self.has_news.store(false, Ordering::Release);
        }
        notification
    }

    /// Why the person has to go, if so.
    pub(super) fn ending(&self) -> Option<Disconnect> {
        if !self.has_news.load(Ordering::Acquire) {
            return None;
        }
        self.lock().post.as_ref()?.ending.clone()
    }

    /// Has the task woken at the next news.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.lock().waker = Some(cx.waker().clone());
        if self.has_news.load(Ordering::Acquire) {
            cx.waker().wake_by_ref();
        }
    }

    fn announce(&self, state: MutexGuard<'_, State>) {
        self.has_news.store(true, Ordering::Release);
        let waker = state.waker.clone();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
}

impl State {
    fn post(&mut self) -> &mut Post {
        self.post.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_has_a_bound_and_says_so() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.take(), None);
        let notice = |number: usize| Notification::Notice(number.to_string());
        assert!((0..LETTERS_MAX).all(|number| mailbox.deliver(notice(number))));
        assert!(!mailbox.deliver(notice(999)));
        for number in 0..LETTERS_MAX {
            assert_eq!(mailbox.take(), Some(notice(number)));
        }
        assert_eq!(mailbox.take(), None);
        assert!(mailbox.deliver(notice(1)), "there is room again");
    }

    /// Issue 12, item 12: others cannot fill the memory of a server with lines for a user who does
    /// not read.
    #[test]
    fn attack_letters_of_a_user_who_does_not_read_are_bounded_in_bytes() {
        let mailbox = Mailbox::default();
        let long = || Notification::Notice("x".repeat(4096));
        let delivered = (0..LETTERS_MAX).take_while(|_| mailbox.deliver(long())).count();
        assert_eq!(delivered, LETTER_BYTES_MAX / 4096);
        assert_eq!(mailbox.take(), Some(long()));
        assert!(mailbox.deliver(long()) && !mailbox.deliver(long()));
        while mailbox.take().is_some() {}
        let larger = Notification::Notice("x".repeat(LETTER_BYTES_MAX + 1));
        assert!(mailbox.deliver(larger), "one letter always has a place");
    }

    #[test]
    fn the_first_reason_to_go_counts() {
        let mailbox = Mailbox::default();
        let ending = |words: &str| Disconnect { words: words.into(), reason: None };
        mailbox.end(ending("first"));
        mailbox.end(ending("second"));
        assert_eq!(mailbox.take(), None);
        assert_eq!(mailbox.ending(), Some(ending("first")));
    }
}
