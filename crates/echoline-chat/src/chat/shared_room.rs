//! A room behind its lock, and the wakers of the members who wait for its next line.
//!
//! The lock is held only for short steps, never across an await or a system call. A member who has
//! seen all lines registers a waker. A member whose peer does not read registers no waker, and
//! therefore does not slow down other members.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use crate::chat::wake_batcher::WakeBatcher;
use echoline_base::poison::IgnorePoison;
use echoline_chat_core::room::{Batch, LineView, MemberId, Own, Room};
use echoline_chat_core::state::RoomCell;

/// A room that sessions share. Clones refer to the same room.
#[derive(Clone, Debug)]
pub(crate) struct SharedRoom(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    room: Room,
    /// For each member id: the waker of the member, if the member waits.
    waiters: Vec<Waiter>,
    /// The members to wake at the next line, grouped by thread.
    waiting: Vec<WaitingMembers>,
    /// The waiting members have been woken for all lines before this number.
    told: u64,
}

/// The members who wait on one thread.
#[derive(Debug)]
struct WaitingMembers {
    batcher: Arc<WakeBatcher>,
    memberships: Vec<MemberId>,
    /// A list that the next wake-up reuses, to save an allocation.
    spare: Vec<Waker>,
}

#[derive(Debug, Default)]
struct Waiter {
    waker: Option<Waker>,
    is_waiting: bool,
}

/// The result of taking lines for a member.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TakeResult {
    /// The number of lines that the log dropped before the member saw them.
    pub(crate) missed: u64,
    /// `Pending` if there are no more lines. The task is woken when there are.
    pub(crate) more: Poll<()>,
}

impl SharedRoom {
    /// Returns whether both are the same room.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Reads or changes the room. After appending lines, the caller must call [`wake`](Self::wake).
    /// Many lines can share one wake-up.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Room) -> T) -> T {
        look(&mut self.lock().room)
    }

    /// Like [`with`](Self::with), but then wakes the members who wait for new lines.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Room) -> T) -> T {
        let result = self.with(change);
        self.wake();
        result
    }

    /// Fills `batch` with the member's next lines. If no more lines are left, the next line wakes
    /// the task.
    pub(crate) fn take(
        &self,
        member_id: MemberId,
        batch: &mut Batch,
        batcher: &Arc<WakeBatcher>,
        cx: &Context<'_>,
    ) -> TakeResult {
        let mut state = self.lock();
        let missed = state.room.take(member_id, batch);
        TakeResult { missed, more: state.wait(member_id, batcher, cx) }
    }

    /// Passes the member's next lines to `each`, one by one, until `each` returns `false` or no
    /// line is left. If no line is left, the next line wakes the task. Returns the number of missed
    /// lines.
    pub(crate) fn take_lines(
        &self,
        member_id: MemberId,
        own: Own,
        batcher: &Arc<WakeBatcher>,
        cx: &Context<'_>,
        mut each: impl FnMut(Option<u64>, LineView<'_>) -> bool,
    ) -> TakeResult {
        let mut state = self.lock();
        let mut missed = 0;
        let mut goes_on = true;
        while goes_on {
            let Some(line) = state.room.take_line(member_id, own, &mut missed) else { break };
            let before = std::mem::take(&mut missed);
            goes_on = each((before > 0).then_some(before), line);
        }
        TakeResult { missed, more: state.wait(member_id, batcher, cx) }
    }

    /// Sets the member's next line back to `next`, because the connection did not take the whole
    /// batch.
    pub(crate) fn put_back(&self, member_id: MemberId, next: u64) {
        self.lock().room.put_back(member_id, next);
    }

    /// Runs `leave`, which removes a member. The member's task is no longer woken.
    fn leave<T>(&self, member_id: MemberId, leave: impl FnOnce(&mut Room) -> T) -> T {
        let result = {
            let mut state = self.lock();
            if let Some(waiter) = state.waiters.get_mut(member_id) {
                // Drops the waker, because it keeps its task alive.
                *waiter = Waiter::default();
            }
            leave(&mut state.room)
        };
        self.wake();
        result
    }

    /// Runs `look` if the member has seen all lines. If `settled` is set, additionally requires
    /// that no line waits for the store. Returns `None` if `look` was not run.
    pub(crate) fn at_end<T>(
        &self,
        member_id: MemberId,
        settled: bool,
        look: impl FnOnce(&Room) -> T,
    ) -> Option<T> {
        let State { room, .. } = &*self.lock();
        // A suspended member does not see the latest lines. This is called again after the member
        // rejoins.
        let has_seen_all = room.is_caught_up(member_id) && !room.is_suspended(member_id);
        let at_end = has_seen_all && (!settled || room.is_settled());
        at_end.then(|| look(room))
    }

    /// Wakes all waiting members if there are new lines.
    pub(crate) fn wake(&self) {
        let mut lists = {
            let mut state = self.lock();
            let visible = state.room.log.visible();
            if std::mem::replace(&mut state.told, visible) == visible {
                return;
            }
            state.take_wakers()
        };
        // The lock is released first, because a task that wakes on another thread takes it at once.
        for (batcher, wakers) in &mut lists {
            batcher.wake(wakers);
        }
        let mut state = self.lock();
        for (batcher, wakers) in lists {
            state.waiting_at(&batcher).spare = wakers;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock cannot break the order of the room's lines, so the lock is still
        // usable.
        self.0.lock().ignore_poison()
    }
}

impl RoomCell for SharedRoom {
    fn new(room: Room) -> Self {
        let told = room.log.visible();
        let state = State { room, waiters: Vec::new(), waiting: Vec::new(), told };
        Self(Arc::new(Mutex::new(state)))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Room) -> T) -> T {
        self.with(look)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Room) -> T) -> T {
        self.change(change)
    }

    fn leave<T>(&self, member_id: MemberId, leave: impl FnOnce(&mut Room) -> T) -> T {
        self.leave(member_id, leave)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.is_same(other)
    }
}

impl State {
    fn wait(
        &mut self,
        member_id: MemberId,
        batcher: &Arc<WakeBatcher>,
        cx: &Context<'_>,
    ) -> Poll<()> {
        if !self.room.is_caught_up(member_id) {
            return Poll::Ready(());
        }
        if self.waiters.len() <= member_id {
            self.waiters.resize_with(member_id + 1, Waiter::default);
        }
        let waiter = &mut self.waiters[member_id];
        if !waiter.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            waiter.waker = Some(cx.waker().clone());
        }
        if !std::mem::replace(&mut waiter.is_waiting, true) {
            self.waiting_at(batcher).memberships.push(member_id);
        }
        Poll::Pending
    }

    /// Returns the members who wait on the thread of this batcher. There are few threads, so a
    /// linear search is enough.
    fn waiting_at(&mut self, batcher: &Arc<WakeBatcher>) -> &mut WaitingMembers {
        let same = |waiting: &WaitingMembers| Arc::ptr_eq(&waiting.batcher, batcher);
        let index = self.waiting.iter().position(same).unwrap_or_else(|| {
            // Drops the lists of threads that have no waiting members, because such a thread may
            // have ended.
            self.waiting.retain(|waiting| !waiting.memberships.is_empty());
            let batcher = Arc::clone(batcher);
            self.waiting.push(WaitingMembers {
                batcher,
                memberships: Vec::new(),
                spare: Vec::new(),
            });
            self.waiting.len() - 1
        });
        &mut self.waiting[index]
    }

    fn take_wakers(&mut self) -> Vec<(Arc<WakeBatcher>, Vec<Waker>)> {
        let Self { waiting, waiters, .. } = self;
        let mut lists = Vec::new();
        for WaitingMembers { batcher, memberships, spare } in
            waiting.iter_mut().filter(|w| !w.memberships.is_empty())
        {
            let mut wakers = std::mem::take(spare);
            for member_id in memberships.drain(..) {
                let waiter = &mut waiters[member_id];
                waiter.is_waiting = false;
                wakers.extend(waiter.waker.clone());
            }
            lists.push((Arc::clone(batcher), wakers));
        }
        lists
    }
}
