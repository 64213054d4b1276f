//! The pending notifications of one session: private lines, notices, and the end of the session.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Waker};

use echoline_base::poison::IgnorePoison;
use echoline_chat_core::{Disconnect, Notification};

/// The maximum number of pending notifications. If the mailbox is full, the sender is told that the
/// notification was not delivered.
const NOTIFICATIONS_MAX: usize = 100;

/// The maximum total size of the texts of pending notifications, in bytes.
const NOTIFICATION_BYTES_MAX: usize = 64 * 1024;

/// The notifications for one session. Senders never wait.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    /// Whether the mailbox may have content. The flag is read often, and is mostly `false`.
    has_news: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Created for the first notification, because most sessions never get one.
    post: Option<Box<Post>>,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
struct Post {
    notifications: VecDeque<Notification>,
    /// The total size of the texts, in bytes.
    bytes: usize,
    ending: Option<Disconnect>,
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
    /// Delivers a notification. Returns `false` if the mailbox is full. An essential notification
    /// is always delivered: the session gets at most one of them for each of its rooms and
    /// operations.
    pub(crate) fn deliver(&self, notification: Notification) -> bool {
        let mut state = self.lock();
        let post = state.post();
        let is_full = post.notifications.len() >= NOTIFICATIONS_MAX
            || post.bytes + notification.bytes() > NOTIFICATION_BYTES_MAX
                && !post.notifications.is_empty();
        if is_full && !notification.is_essential() {
            return false;
        }
        post.push(notification);
        self.announce(state);
        true
    }

    /// Ends the session. If it is called again, the first reason stays.
    pub(crate) fn end(&self, ending: Disconnect) {
        let mut state = self.lock();
        state.post().ending.get_or_insert(ending);
        self.announce(state);
    }

    /// Returns whether there may be a notification or a reason to end.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Acquire)
    }

    /// Takes the next notification, if there is one.
    pub(crate) fn take(&self) -> Option<Notification> {
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

    /// Returns the reason why the session must end, if there is one.
    pub(crate) fn ending(&self) -> Option<Disconnect> {
        if !self.has_news.load(Ordering::Acquire) {
            return None;
        }
        self.lock().post.as_ref()?.ending.clone()
    }

    /// Registers the task to wake when a notification arrives.
    pub(crate) fn register(&self, cx: &Context<'_>) {
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
    fn a_full_mailbox_refuses_notifications() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.take(), None);
        let notice = |number: usize| Notification::Notice(number.to_string());
        assert!((0..NOTIFICATIONS_MAX).all(|number| mailbox.deliver(notice(number))));
        assert!(!mailbox.deliver(notice(999)));
        for number in 0..NOTIFICATIONS_MAX {
            assert_eq!(mailbox.take(), Some(notice(number)));
        }
        assert_eq!(mailbox.take(), None);
        assert!(mailbox.deliver(notice(1)), "there is space again");
    }

    /// Issue 12, item 12: users cannot fill the memory of a server by writing to a user who does
    /// not read.
    #[test]
    fn attack_notifications_of_a_user_who_does_not_read_are_bounded_in_bytes() {
        let mailbox = Mailbox::default();
        let long = || Notification::Notice("x".repeat(4096));
        let delivered = (0..NOTIFICATIONS_MAX).take_while(|_| mailbox.deliver(long())).count();
        assert_eq!(delivered, NOTIFICATION_BYTES_MAX / 4096);
        assert_eq!(mailbox.take(), Some(long()));
        assert!(mailbox.deliver(long()) && !mailbox.deliver(long()));
        while mailbox.take().is_some() {}
        let larger = Notification::Notice("x".repeat(NOTIFICATION_BYTES_MAX + 1));
        assert!(mailbox.deliver(larger), "an empty mailbox accepts any notification");
    }

    #[test]
    fn the_first_reason_to_end_stays() {
        let mailbox = Mailbox::default();
        let ending = |words: &str| Disconnect { words: words.into(), reason: None };
        mailbox.end(ending("first"));
        mailbox.end(ending("second"));
        assert_eq!(mailbox.take(), None);
        assert_eq!(mailbox.ending(), Some(ending("first")));
    }
}
