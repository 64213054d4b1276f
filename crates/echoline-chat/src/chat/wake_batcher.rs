//! Wakes the members of each thread in batches.
//!
//! Waking a task on another thread costs a system call. The members to wake are therefore collected
//! in one list per thread. Each thread has a batcher task, and only this task is woken from other
//! threads. It then wakes the members on its own thread, which needs no system call.
//!
//! The batcher task wakes a few members and then yields. Other work on the thread, above all
//! reading the next line, need not wait until a thousand members were written to. A member that is
//! woken late gets more lines at once.

use echoline_base::poison::IgnorePoison;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};

/// The number of members that are woken before the task yields. A runtime polls for I/O after a
/// similar number of tasks (tokio: 61), so a smaller number gains little.
const AT_ONCE: usize = 32;

/// The batchers of one chat, one for each thread that serves it.
#[derive(Debug, Default)]
pub(crate) struct WakeBatchers {
    by_thread: Mutex<HashMap<ThreadId, Arc<WakeBatcher>>>,
}

/// The batcher of one thread. It wakes the tasks of this thread.
#[derive(Debug)]
pub(crate) struct WakeBatcher {
    thread: ThreadId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The wakers that the batcher's task must still call.
    wakers: VecDeque<Waker>,
    /// The waker of the batcher's task; `None` before it has run and after it has ended.
    task: Option<Waker>,
    is_over: bool,
}

impl WakeBatchers {
    /// Returns the batcher of the current thread. Must be called within the runtime of this thread.
    pub(crate) fn here(&self) -> Arc<WakeBatcher> {
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
    /// Wakes all of `wakers`, and empties the list for its next use.
    pub(crate) fn wake(&self, wakers: &mut Vec<Waker>) {
        if let Some(task) = self.hand_over(wakers) {
            return task.wake();
        }
        wakers.drain(..).for_each(Waker::wake);
    }

    /// Moves `wakers` to the batcher's task, and returns the waker of that task. Returns `None` and
    /// leaves the list unchanged if the task is not running. The same applies if there are only a
    /// few wakers and this is their thread.
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

/// Runs the task of a batcher until the chat is dropped.
async fn run(batcher: Arc<WakeBatcher>) {
    // If the runtime drops this task, the guard calls the remaining wakers.
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

    /// All members are woken: from this thread, from another thread, and after the runtime has
    /// ended.
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
        assert_eq!(
            count.0.load(Ordering::SeqCst),
            1,
            "without a running task, the member is woken at once"
        );
        runtime.block_on(tokio::task::yield_now());
        other(10);
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "the wakers wait in the task");
        runtime.block_on(tokio::task::yield_now());
        assert_eq!(count.0.load(Ordering::SeqCst), 11);
        batcher.wake(&mut wakers(&count, 5));
        assert_eq!(
            count.0.load(Ordering::SeqCst),
            16,
            "a few members of this thread are woken at once"
        );
        other(20);
        drop(runtime);
        assert_eq!(
            count.0.load(Ordering::SeqCst),
            36,
            "the end of the task calls the remaining wakers"
        );
        other(30);
        assert_eq!(count.0.load(Ordering::SeqCst), 66, "after the end, members are woken at once");
    }

    /// Waits for one turn of the task queue. (`yield_now` of tokio waits until the queue is empty.)
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
        // This runs as a task, so that it takes turns with the other tasks.
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
