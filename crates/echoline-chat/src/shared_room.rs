//! A room behind its lock, and the wakers of the members that wait for its next line.
//!
//! The lock is held for a short decision, and never across an await or a system call. A member that
//! has seen all lines registers its waker. A member whose peer does not read registers none, so it
//! costs the others nothing.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::wake_batcher::WakeBatcher;
use echoline_base::poison::IgnorePoison;
use echoline_chat_core::room::batch::Batch;
use echoline_chat_core::room::log::LineView;
use echoline_chat_core::room::{MemberId, Own, Room};
use echoline_chat_core::state::room_cell::RoomCell;

/// A room that sessions share. A clone is the same room.
#[derive(Clone, Debug)]
pub(super) struct SharedRoom(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    room: Room,
    /// The waiters, indexed by member id.
    waiters: Vec<Waiter>,
    /// The members to wake at the next line, by thread.
    waiting: Vec<WaitingMembers>,
    /// The number of the line up to which all waiting members were woken.
    told: u64,
}

/// The members that wait on one thread.
#[derive(Debug)]
struct WaitingMembers {
    batcher: Arc<WakeBatcher>,
    memberships: Vec<MemberId>,
    /// A spare list for the next wake-up, which saves an allocation.
    spare: Vec<Waker>,
}

#[derive(Debug, Default)]
struct Waiter {
    waker: Option<Waker>,
    is_waiting: bool,
}

/// The result of taking lines for a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TakeResult {
    /// The number of lines that the log dropped before the member saw them.
    pub(super) missed: u64,
    /// Pending if the batch has all lines. Then the task is woken for more.
    pub(super) more: Poll<()>,
}

impl SharedRoom {
    /// Returns whether both are the same room.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Reads or changes the room. A caller that appends lines calls [`wake`](Self::wake)
    /// afterwards, so that many lines cause one wake-up.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Room) -> T) -> T {
        look(&mut self.lock().room)
    }

    /// Like [`with`](Self::with), then wakes the members that wait for new lines.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Room) -> T) -> T {
        let result = self.with(change);
        self.wake();
        result
    }

    /// Fills `batch` with the member's next lines. If these are all, the next line wakes the task.
    pub(super) fn take(
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

    /// Passes the member's next lines to `each`, one by one, until it returns `false` or no line is
    /// left. If no line is left, the next line wakes the task. Returns the number of missed lines.
    pub(super) fn take_lines(
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

    /// Notes that the member's connection did not take the whole batch.
    pub(super) fn put_back(&self, member_id: MemberId, next: u64) {
        self.lock().room.put_back(member_id, next);
    }

    /// Runs `leave`, which removes a member. The member's task is not woken any more.
    fn leave<T>(&self, member_id: MemberId, leave: impl FnOnce(&mut Room) -> T) -> T {
        let result = {
            let mut state = self.lock();
            if let Some(waiter) = state.waiters.get_mut(member_id) {
                // The waker is dropped, because it keeps its task alive.
                *waiter = Waiter::default();
            }
            leave(&mut state.room)
        };
        self.wake();
        result
    }

    /// Returns the result of `look` if the member has seen all lines and, with `settled`, no line
    /// waits for the store. Returns `None` otherwise.
    pub(super) fn at_end<T>(
        &self,
        member_id: MemberId,
        settled: bool,
        look: impl FnOnce(&Room) -> T,
    ) -> Option<T> {
        let State { room, .. } = &*self.lock();
        // A suspended member has not seen the latest lines. It is asked again after it rejoins.
        let has_seen_all = room.is_caught_up(member_id) && !room.is_suspended(member_id);
        let at_end = has_seen_all && (!settled || room.is_settled());
        at_end.then(|| look(room))
    }

    /// Wakes all waiting members if there are new lines.
    pub(super) fn wake(&self) {
        let mut lists = {
            let mut state = self.lock();
            let visible = state.room.log.visible();
            if std::mem::replace(&mut state.told, visible) == visible {
                return;
            }
            state.take_wakers()
        };
        // Outside of the lock, because a task that wakes on another thread takes the lock at once.
        for (batcher, wakers) in &mut lists {
            batcher.wake(wakers);
        }
        let mut state = self.lock();
        for (batcher, wakers) in lists {
            state.waiting_at(&batcher).spare = wakers;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Even after a panic under the lock, the room's lines are still in order.
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

    /// Returns the members that wait on the thread of this batcher. A linear search is enough,
    /// because there are few threads.
    fn waiting_at(&mut self, batcher: &Arc<WakeBatcher>) -> &mut WaitingMembers {
        let same = |waiting: &WaitingMembers| Arc::ptr_eq(&waiting.batcher, batcher);
        let index = self.waiting.iter().position(same).unwrap_or_else(|| {
            // Removes the lists of ended threads, which have no waiting members.
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
