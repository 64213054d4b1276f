//! The clients of one thread, which are polled in one task of the runtime.
//!
//! An event of a plain socket polls its client directly. The runtime's own path (registration,
//! waker, run queue, task) takes more than a thousand instructions for each event, which is more
//! than the exchange itself. All other events (timers, TLS, WebSocket, datagrams) wake a client as
//! usual.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use mio::Events;
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;

use super::plain_socket::SocketTable;
use echoline_base::poison::IgnorePoison;

/// Events that one look at the sockets returns at most.
const EVENTS_MAX: usize = 256;

/// Looks at the sockets, while each finds several events, before other tasks run.
const LOOKS_MAX: u32 = 16;

type ClientFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The selector of the plain sockets of one thread, and the table of these sockets.
#[derive(Debug)]
pub(crate) struct SocketPoll {
    poll: mio::Poll,
    table: Arc<SocketTable>,
}

impl SocketPoll {
    /// Creates the selector of a thread for its share of `clients`.
    ///
    /// # Errors
    /// If no more descriptors can be opened.
    pub(crate) fn new(clients: u32, threads: u32) -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        Ok(Self { poll, table: Arc::new(SocketTable::new(registry, clients, threads)) })
    }

    pub(crate) fn table(&self) -> &Arc<SocketTable> {
        &self.table
    }
}

/// The clients of one thread.
#[derive(Debug)]
pub(crate) struct ClientPool {
    /// Readable when a plain socket has an event.
    sockets: AsyncFd<mio::Poll>,
    table: Arc<SocketTable>,
    events: Events,
    slots: Vec<Option<PooledClient>>,
    running: usize,
    inbox: Arc<PoolInbox>,
    /// The woken slots of this turn. Kept to reuse its memory.
    woken: Vec<usize>,
}

/// A client in its slot.
struct PooledClient {
    future: ClientFuture,
    waker: Waker,
}

/// Adds clients to a pool. The pool ends when this handle was dropped and its clients have ended.
#[derive(Debug)]
pub(crate) struct ClientSpawner {
    table: Arc<SocketTable>,
    inbox: Arc<PoolInbox>,
}

/// The news for the task of a pool.
#[derive(Debug, Default)]
struct PoolInbox(Mutex<PoolNews>);

#[derive(Default)]
struct PoolNews {
    /// Slots whose clients were woken.
    woken: Vec<usize>,
    added: Vec<(usize, ClientFuture)>,
    /// Whether no more clients are added.
    is_complete: bool,
    /// The waker of the pool's task, while it waits.
    task: Option<Waker>,
}

impl ClientPool {
    /// Creates a pool without clients. Must be called in the runtime of its thread.
    ///
    /// # Errors
    /// If the runtime cannot register the selector.
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe, and asks for nothing more than \
        that the descriptor is owned and stays the same: that of a `Poll` is and does"
    )]
    pub(crate) fn new(sockets: SocketPoll) -> io::Result<(Self, ClientSpawner)> {
        let SocketPoll { poll, table } = sockets;
        let inbox = Arc::<PoolInbox>::default();
        let spawner = ClientSpawner { table: Arc::clone(&table), inbox: Arc::clone(&inbox) };
        let pool = Self {
            sockets: AsyncFd::new(poll)?,
            table,
            events: Events::with_capacity(EVENTS_MAX),
            slots: Vec::new(),
            running: 0,
            inbox,
            woken: Vec::new(),
        };
        Ok((pool, spawner))
    }

    /// Runs the clients to their ends. If it is dropped, all clients are dropped.
    ///
    /// # Errors
    /// If the system cannot be asked for events.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        let mut looks = 0;
        while !self.poll_woken() {
            let events = self.poll_sockets()?;
            looks += 1;
            if events < 2 {
                // Nothing is left: an event that came since then makes the selector readable.
                looks = 0;
                std::future::poll_fn(|cx| self.poll_news(cx)).await?;
            } else if looks >= LOOKS_MAX {
                looks = 0;
                yield_now().await;
            }
        }
        Ok(())
    }

    /// Adds new clients and polls the woken ones. Returns whether all have ended.
    fn poll_woken(&mut self) -> bool {
        let mut woken = std::mem::take(&mut self.woken);
        let is_complete = {
            let mut news = self.inbox.0.lock().ignore_poison();
            std::mem::swap(&mut woken, &mut news.woken);
            for (slot, future) in news.added.drain(..) {
                if self.slots.len() <= slot {
                    self.slots.resize_with(slot + 1, || None);
                }
                let waker = Arc::new(SlotWaker { slot, inbox: Arc::clone(&self.inbox) }).into();
                self.slots[slot] = Some(PooledClient { future, waker });
                self.running += 1;
                woken.push(slot);
            }
            news.is_complete
        };
        for slot in woken.drain(..) {
            self.poll_client(slot);
        }
        self.woken = woken;
        is_complete && self.running == 0
    }

    /// Polls the clients whose sockets have events, and returns the number of events.
    fn poll_sockets(&mut self) -> io::Result<usize> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = self.sockets.get_mut().poll(&mut events, Some(Duration::ZERO));
        let mut count = 0;
        if polled.is_ok() {
            for event in &events {
                count += 1;
                let slot = self.table.note(event);
                self.poll_client(slot);
            }
        }
        self.events = events;
        match polled {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            // After an interruption the sockets are looked at again.
            Err(_) => Ok(usize::MAX),
            Ok(()) => Ok(count),
        }
    }

    fn poll_client(&mut self, slot: usize) {
        let Some(Some(client)) = self.slots.get_mut(slot) else { return };
        let cx = &mut Context::from_waker(&client.waker);
        if client.future.as_mut().poll(cx).is_ready() {
            self.slots[slot] = None;
            self.running -= 1;
        }
    }

    /// Ready when a client was added or woken, or a socket has an event.
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut news = self.inbox.0.lock().ignore_poison();
        if news.is_waiting(self.running) {
            news.task = Some(cx.waker().clone());
        } else {
            return Poll::Ready(Ok(()));
        }
        drop(news);
        let mut guard = ready!(self.sockets.poll_read_ready_mut(cx))?;
        guard.clear_ready();
        Poll::Ready(Ok(()))
    }
}

impl PoolNews {
    /// Returns whether a pool with `running` clients has nothing to do.
    fn is_waiting(&self, running: usize) -> bool {
        self.woken.is_empty() && self.added.is_empty() && !(self.is_complete && running == 0)
    }
}

impl PoolInbox {
    fn change(&self, change: impl FnOnce(&mut PoolNews)) {
        let task = {
            let mut news = self.0.lock().ignore_poison();
            change(&mut news);
            news.task.take()
        };
        task.into_iter().for_each(Waker::wake);
    }
}

impl ClientSpawner {
    /// Adds a client. It is polled in the task of the pool.
    pub(crate) fn spawn(&self, client: u32, future: impl Future<Output = ()> + Send + 'static) {
        let slot = self.table.slot(client);
        let future = Box::pin(future);
        self.inbox.change(|news| news.added.push((slot, future)));
    }
}

impl Drop for ClientSpawner {
    fn drop(&mut self) {
        self.inbox.change(|news| news.is_complete = true);
    }
}

/// Wakes the client in a slot.
#[derive(Debug)]
struct SlotWaker {
    slot: usize,
    inbox: Arc<PoolInbox>,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.inbox.change(|news| news.woken.push(self.slot));
    }
}

impl std::fmt::Debug for PooledClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PooledClient").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for PoolNews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { woken, added, is_complete, .. } = self;
        write!(f, "PoolNews {{ {woken:?}, {} added, {is_complete} }}", added.len())
    }
}
