//! The way to the store's thread: changes, which never wait for a place, and questions.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::options::Sync;
use super::pace::{Load, Next};
use super::question::Question;
use super::record::Change;
use echoline_base::poison::IgnorePoison;

/// Bytes of changes that wait at most.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Questions that wait at most.
const QUESTIONS_MAX: usize = 1000;
/// Searches that wait at most, beside the other questions.
const SEARCHES_MAX: usize = 100;

/// A bounded queue. What the thread has in hand counts until it is durable.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Wakes the thread.
    work: Condvar,
    /// Wakes who waits for the thread's end.
    end: Condvar,
    bound: usize,
    sync: Sync,
}

#[derive(Debug, Default)]
struct State {
    changes: VecDeque<Change>,
    bytes: usize,
    /// How many changes, and bytes, the thread has in hand.
    in_hand: (usize, usize),
    /// Changes that found no place and were not yet told of.
    lost: u64,
    questions: VecDeque<Question>,
    /// Searches have their turns, a step each, while no other question waits.
    searches: VecDeque<Question>,
    /// Until when the thread may go on trying.
    closing: Option<Instant>,
    /// The thread is gone: how many changes it left behind.
    ended: Option<u64>,
    /// Whether the thread waits, and how: a wake-up is a system call.
    asleep: bool,
}

/// What the thread is to do next.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) question: Option<Question>,
    pub(super) write: bool,
    /// Changes lost since the last turn.
    pub(super) lost: u64,
    /// Nothing is left, or no more time.
    pub(super) end: bool,
}

impl Queue {
    pub(super) fn new(bound: usize, sync: Sync) -> Self {
        let (state, work, end) = (Mutex::default(), Condvar::new(), Condvar::new());
        Self { state, work, end, bound: bound.max(8), sync }
    }

    /// Takes a change, or counts it as lost.
    pub(super) fn push(&self, change: Change) {
        let size = change.size();
        let mut state = self.lock();
        let reserved = if change.is_anybodys() { 8 } else { 0 };
        let part = |bound: usize| bound - bound.checked_div(reserved).unwrap_or(0);
        let (count, bytes) = (state.count(), state.bytes + state.in_hand.1);
        let was_half_full = self.is_half_full(&state);
        if state.ended.is_some() || count >= part(self.bound) || bytes + size > part(BYTES_MAX) {
            state.lost += 1;
        } else {
            state.changes.push_back(change);
            state.bytes += size;
        }
        // Who sleeps until a second is over has nothing to learn from one more line.
        let news =
            self.sync == Sync::Each || count == 0 || (!was_half_full && self.is_half_full(&state));
        self.wake(state, news);
    }

    /// Puts a question; gives it back where too many wait, or nobody is there to answer.
    pub(super) fn ask(&self, question: Question) -> Result<(), Refusal> {
        let mut state = self.lock();
        if state.ended.is_some() {
            return Err(Refusal::Closed);
        }
        let is_search = matches!(question, Question::Search(_));
        let (waiting, most) = match is_search {
            true => (&mut state.searches, SEARCHES_MAX),
            false => (&mut state.questions, QUESTIONS_MAX),
        };
        if waiting.len() >= most {
            return Err(Refusal::Busy);
        }
        waiting.push_back(question);
        self.wake(state, true);
        Ok(())
    }

    /// Waits for something to do: a question, or the time that `next` names.
    pub(super) fn wait(&self, next: impl Fn(Load) -> Next) -> Turn {
        let mut state = self.lock();
        loop {
            let now = now();
            let late = state.closing.is_some_and(|until| until <= now);
            let closing = state.closing.is_some();
            let (waiting, half_full) = (state.count() > 0, self.is_half_full(&state));
            let next = next(Load { waiting, half_full, closing });
            let write = match next {
                Next::Now => true,
                Next::At(time) => time <= now,
                Next::WhenAsked => false,
            };
            let end = late || (closing && next == Next::WhenAsked && state.questions.is_empty());
            let question = state.questions.pop_front().or_else(|| state.searches.pop_front());
            if write || end || question.is_some() {
                let lost = std::mem::take(&mut state.lost);
                return Turn { question, write, lost, end };
            }
            let until = match next {
                Next::At(time) => Some(state.closing.map_or(time, |until| until.min(time))),
                _ => state.closing,
            };
            state = self.sleep(state, until.map(|until| until - now));
        }
    }

    /// Hands out all changes that wait, and counts them as being in hand.
    pub(super) fn take(&self) -> VecDeque<Change> {
        let mut state = self.lock();
        let (taken, bytes) = (std::mem::take(&mut state.changes), std::mem::take(&mut state.bytes));
        state.in_hand = (state.in_hand.0 + taken.len(), state.in_hand.1 + bytes);
        taken
    }

    /// What was in hand is written, or given up.
    pub(super) fn done(&self) {
        self.lock().in_hand = (0, 0);
    }

    /// Puts back a search, which takes more than one turn.
    pub(super) fn put_back(&self, search: Question) {
        self.lock().searches.push_back(search);
    }

    /// Asks the thread to finish, and to give up at `until`.
    pub(super) fn close(&self, until: Instant) {
        let mut state = self.lock();
        state.closing = Some(until);
        self.wake(state, true);
    }

    /// Waits for the thread's end, at most until a time: whether it came, and how many changes were
    /// left behind.
    pub(super) fn await_end(&self, until: Instant) -> (bool, u64) {
        let mut state = self.lock();
        loop {
            let rest = until.saturating_duration_since(now());
            match state.ended {
                Some(left) => return (true, left),
                None if rest.is_zero() => return (false, state.count() as u64 + state.lost),
                None => state = self.end.wait_timeout(state, rest).ignore_poison().0,
            }
        }
    }

    /// The thread is gone: questions are dropped, which their askers notice.
    pub(super) fn ended(&self) {
        let mut state = self.lock();
        state.ended = Some(state.count() as u64 + state.lost);
        state.questions.clear();
        state.searches.clear();
        state.changes.clear();
        self.end.notify_all();
    }

    fn is_half_full(&self, state: &State) -> bool {
        state.count() * 2 >= self.bound || (state.bytes + state.in_hand.1) * 2 >= BYTES_MAX
    }

    fn wake(&self, mut state: MutexGuard<'_, State>, news: bool) {
        if news && std::mem::take(&mut state.asleep) {
            self.work.notify_one();
        }
    }

    fn sleep<'s>(
        &self,
        mut state: MutexGuard<'s, State>,
        length: Option<Duration>,
    ) -> MutexGuard<'s, State> {
        state.asleep = true;
        let mut state = match length {
            Some(length) => self.work.wait_timeout(state, length).ignore_poison().0,
            None => self.work.wait(state).ignore_poison(),
        };
        state.asleep = false;
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
}

impl State {
    fn count(&self) -> usize {
        self.changes.len() + self.in_hand.0
    }
}

/// Why a question was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Busy,
    Closed,
}

/// The store's thread lives in real time: what it waits for is the disk.
#[expect(clippy::disallowed_methods, reason = "a thread of its own, outside of tokio's clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::super::question::Search;
    use super::super::words::Words;
    use super::*;

    fn search() -> Question {
        let (looked, found, reply) = ((0, 0), Vec::new(), oneshot::channel().0);
        let (room, words) = ("lobby".to_owned(), Words::new("x"));
        Question::Search(Search { room, words, most: 1, before: 9, looked, found, reply })
    }

    /// Issue 12, item 13: searches, however many wait, come after all other questions; and they do
    /// not take the places of those.
    #[test]
    fn attack_searches_hold_up_no_other_question() {
        let queue = Queue::new(8, Sync::Second);
        for _ in 0..SEARCHES_MAX {
            queue.ask(search()).unwrap();
        }
        assert_eq!(queue.ask(search()), Err(Refusal::Busy));
        let (reply, _answer) = oneshot::channel();
        queue.ask(Question::Audit { most: 1, reply }).unwrap();
        let next = || queue.wait(|_| Next::WhenAsked).question;
        assert!(matches!(next(), Some(Question::Audit { .. })));
        let Some(step @ Question::Search(_)) = next() else { panic!("a search is next") };
        queue.put_back(step);
        let (reply, _answer) = oneshot::channel();
        queue.ask(Question::Audit { most: 1, reply }).unwrap();
        assert!(matches!(next(), Some(Question::Audit { .. })));
    }
}
