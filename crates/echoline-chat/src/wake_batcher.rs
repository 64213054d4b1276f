//! Wakes the members of one thread in batches.
//!
//! Waking a task that runs on another thread costs a system call each time. The members to wake are
//! therefore collected in one list for each thread. Each thread has a batcher task, which is woken
//! once for its list. It wakes the members from their own thread, which only pushes them to its
//! queue.
//!
//! The batcher task wakes a few members, then yields to the end of that queue. Other work on the
//! thread, above all reading the next line, does not wait until a thousand members have been
//! written to. A member that is woken late gets more lines at once.

use echoline_base::poison::IgnorePoison;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};

/// The number of members that are woken at a time. A runtime polls for I/O after a similar number
/// of tasks (tokio: 61), so a smaller number gains little.
const AT_ONCE: usize = 32;

/// The batchers of one chat, one for each thread that serves it.
#[derive(Debug, Default)]
pub(super) struct WakeBatchers {
    by_thread: Mutex<HashMap<ThreadId, Arc<WakeBatcher>>>,
}

/// Wakes the tasks of one thread.
#[derive(Debug)]
pub(super) struct WakeBatcher {
    thread: ThreadId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The wakers that the batcher's task has yet to call.
    wakers: VecDeque<Waker>,
    /// Wakes the batcher's task; `None` once it has ended.
    task: Option<Waker>,
    is_over: bool,
}

impl WakeBatchers {
    /// Returns the batcher of this thread, whose runtime must be the current one.
    pub(super) fn here(&self) -> Arc<WakeBatcher> {
        let thread = thread::current().id();
        let mut by_thread = self.by_thread.lock().ignore_poison();
        let batcher =
            by_thread.get(&thread).filter(|batcher| !batcher.state.lock().ignore_poison().is_over);
        if let Some(batcher) = batcher {
            return Arc::clone(batcher);
        }
        let batcher = Arc::new(WakeBatcher { thread, state: Mutex::default() });
        drop(tokio::spawn(run(Arc::clone(&batcher))));
        by_thread.insert(thread, Arc::clone(&batcher));
        batcher
    }
}

impl Drop for WakeBatchers {
    fn drop(&mut self) {
        for batcher in self.by_thread.lock().ignore_poison().values() {
            batcher.end();
        }
    }
}

impl WakeBatcher {
    /// Wakes all of `wakers`, and leaves the list empty for the next time.
    pub(super) fn wake(&self, wakers: &mut Vec<Waker>) {
        if let Some(task) = self.hand_over(wakers) {
            return task.wake();
        }
        wakers.drain(..).for_each(Waker::wake);
    }

    /// Moves `wakers` to the batcher's task, and returns the waker of that task. Returns `None` and
    /// leaves the list unchanged if there are only a few wakers of the current thread, or if the
    /// task is not running.
    fn hand_over(&self, wakers: &mut Vec<Waker>) -> Option<Waker> {
        if wakers.len() <= AT_ONCE && self.thread == thread::current().id() {
            return None;
        }
        let mut state = self.state.lock().ignore_poison();
        let task = state.task.clone()?;
        state.wakers.extend(wakers.drain(..));
        Some(task)
    }

    fn end(&self) {
        let mut state = self.state.lock().ignore_poison();
        state.is_over = true;
        if let Some(task) = state.task.take() {
            drop(state);
            task.wake();
        }
    }
}

/// Runs the task of a batcher. It ends with its chat.
async fn run(batcher: Arc<WakeBatcher>) {
    // If the runtime drops the task, the guard still calls the remaining wakers.
    let batcher = AtEnd(batcher);
    let mut next = Vec::with_capacity(AT_ONCE);
    poll_fn(|cx| {
        let mut state = batcher.0.state.lock().ignore_poison();
        if state.is_over {
            return Poll::Ready(());
        }
        if !state.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            state.task = Some(cx.waker().clone());
        }
        let count = state.wakers.len().min(AT_ONCE);
        next.extend(state.wakers.drain(..count));
        let is_all = state.wakers.is_empty();
        drop(state);
        next.drain(..).for_each(Waker::wake);
        if !is_all {
            // The next batch runs after the tasks that were just woken.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

struct AtEnd(Arc<WakeBatcher>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.end();
        let mut left = std::mem::take(&mut self.0.state.lock().ignore_poison().wakers);
        left.drain(..).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn wakers(count: &Arc<Count>, number: usize) -> Vec<Waker> {
        (0..number).map(|_| Waker::from(Arc::clone(count))).collect()
    }

    /// All members are woken: from this thread, from another one, and after the runtime has ended.
    #[test]
    fn every_member_is_woken() {
        let (batchers, count) = (WakeBatchers::default(), Arc::new(Count::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let batcher = runtime.block_on(async { batchers.here() });
        let other = |number| {
            let (batcher, mut list) = (Arc::clone(&batcher), wakers(&count, number));
            thread::spawn(move || {
                batcher.wake(&mut list);
                assert!(list.is_empty());
            })
            .join()
            .unwrap();
        };
        other(1);
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "its task has not begun yet");
        runtime.block_on(tokio::task::yield_now());
        other(10);
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "the task has them");
        runtime.block_on(tokio::task::yield_now());
        assert_eq!(count.0.load(Ordering::SeqCst), 11);
        batcher.wake(&mut wakers(&count, 5));
        assert_eq!(count.0.load(Ordering::SeqCst), 16, "on its own thread at once");
        other(20);
        drop(runtime);
        assert_eq!(count.0.load(Ordering::SeqCst), 36, "the end wakes whom it still had");
        other(30);
        assert_eq!(count.0.load(Ordering::SeqCst), 66, "after the end at once");
    }

    /// Waits for one turn of the task queue. (tokio's `yield_now` waits until the queue is empty.)
    async fn next_turn() {
        let mut is_next = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut is_next, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Many members are woken in batches, and other tasks run between the batches.
    #[test]
    fn other_tasks_run_between_the_batches() {
        let (batchers, count) = (WakeBatchers::default(), Arc::new(Count::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // This runs as a task, so it takes turns with the other tasks.
        let work = runtime.spawn(async move {
            let batcher = batchers.here();
            next_turn().await;
            batcher.wake(&mut wakers(&count, 3 * AT_ONCE - 1));
            for woken in [0, AT_ONCE, 2 * AT_ONCE, 3 * AT_ONCE - 1, 3 * AT_ONCE - 1] {
                assert_eq!(count.0.load(Ordering::SeqCst), woken);
                next_turn().await;
            }
        });
        runtime.block_on(work).unwrap();
    }
}
