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

/// The maximum number of events that one poll of the sockets returns.
const EVENTS_MAX: usize = 256;

/// The maximum number of polls of the sockets before other tasks run, if each finds more events.
const POLLS_MAX: u32 = 16;

/// The time for which a poll waits for an event, if all clients wait for their sockets and nothing
/// has a due time. This replaces the wait of the runtime. Other events (a stop, a time-out) are
/// late by up to this time.
const DIRECT_WAIT: Duration = Duration::from_millis(1);

/// Like [`POLLS_MAX`], for polls that wait.
const DIRECT_POLLS_MAX: u32 = 64;

type ClientFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The selector of the plain sockets of one thread, and the table of these sockets.
#[derive(Debug)]
pub(crate) struct SocketPoll {
    poll: mio::Poll,
    table: Arc<SocketTable>,
}

impl SocketPoll {
    /// Creates the selector of a thread for its share of `clients`. If messages have no due times,
    /// a poll of the sockets `may_wait` for an event.
    ///
    /// # Errors
    /// If no more descriptors can be opened.
    pub(crate) fn new(clients: u32, threads: u32, may_wait: bool) -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let table = Arc::new(SocketTable::new(registry, clients, threads, may_wait));
        Ok(Self { poll, table })
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
        let mut polls = 0;
        while !self.poll_woken() {
            let waits =
                self.table.may_wait() && self.table.open() == self.running && !self.has_news();
            let (wait, polls_max, events_min) = match waits {
                true => (DIRECT_WAIT, DIRECT_POLLS_MAX, 1),
                false => (Duration::ZERO, POLLS_MAX, 2),
            };
            let events = self.poll_sockets(wait)?;
            polls += 1;
            if events < events_min {
                // Nothing is left: an event that came since then makes the selector readable.
                polls = 0;
                std::future::poll_fn(|cx| self.poll_news(cx)).await?;
            } else if polls >= polls_max {
                polls = 0;
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

    fn has_news(&self) -> bool {
        !self.inbox.0.lock().ignore_poison().is_waiting(self.running)
    }

    /// Polls the clients whose sockets have events, and returns the number of events.
    fn poll_sockets(&mut self, wait: Duration) -> io::Result<usize> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = self.sockets.get_mut().poll(&mut events, Some(wait));
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
            // After an interruption, the pool polls the sockets again.
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::plain_socket::PlainSocket;
    use super::*;

    fn pool(clients: u32) -> (ClientPool, ClientSpawner, Arc<SocketTable>) {
        pool_that(clients, false)
    }

    fn pool_that(clients: u32, may_wait: bool) -> (ClientPool, ClientSpawner, Arc<SocketTable>) {
        let sockets = SocketPoll::new(clients, 1, may_wait).unwrap();
        let table = Arc::clone(sockets.table());
        let (pool, spawner) = ClientPool::new(sockets).unwrap();
        (pool, spawner, table)
    }

    async fn connect(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    fn plain(stream: TcpStream, table: &Arc<SocketTable>, client: u32) -> PlainSocket {
        let socket = stream.into_std().unwrap().into();
        PlainSocket::new(socket, Arc::clone(table), client).unwrap()
    }

    /// More clients than events of one poll, each with several rounds in both directions.
    #[tokio::test]
    async fn every_client_is_polled_for_each_event_of_its_socket() {
        for may_wait in [false, true] {
            exchange_with_many(may_wait).await;
        }
    }

    async fn exchange_with_many(may_wait: bool) {
        const CLIENTS: u32 = 300;
        let (pool, spawner, table) = pool_that(CLIENTS, may_wait);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rounds = Arc::new(AtomicUsize::new(0));
        for client in 0..CLIENTS {
            let (here, there) = connect(&listener).await;
            tokio::spawn(async move {
                let (mut reader, mut writer) = there.into_split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
            let (table, rounds) = (Arc::clone(&table), Arc::clone(&rounds));
            spawner.spawn(client, async move {
                let mut socket = plain(here, &table, client);
                for round in 0..20u8 {
                    socket.write_all(&[round; 100]).await.unwrap();
                    let mut reply = [0; 100];
                    socket.read_exact(&mut reply).await.unwrap();
                    assert_eq!(reply, [round; 100]);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        drop(spawner);
        pool.run().await.unwrap();
        assert_eq!(rounds.load(Ordering::Relaxed), 20 * CLIENTS as usize);
    }

    /// The bytes and the end arrive in one event, and the first read is short.
    #[tokio::test]
    async fn a_short_read_does_not_hide_the_end_of_the_input() {
        for may_wait in [false, true] {
            read_bytes_and_end(may_wait).await;
        }
    }

    async fn read_bytes_and_end(may_wait: bool) {
        let (pool, spawner, table) = pool_that(1, may_wait);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (here, mut there) = connect(&listener).await;
        there.write_all(b"bye").await.unwrap();
        drop(there);
        let (first, read) = tokio::sync::oneshot::channel();
        spawner.spawn(0, async move {
            // Both are there before the socket is registered.
            here.readable().await.unwrap();
            let mut socket = plain(here, &table, 0);
            let mut input = Vec::new();
            socket.read_to_end(&mut input).await.unwrap();
            first.send(input).unwrap();
        });
        drop(spawner);
        pool.run().await.unwrap();
        assert_eq!(read.await.unwrap(), b"bye");
    }

    /// A write that fills the socket continues when the peer reads.
    #[tokio::test]
    async fn a_full_socket_is_written_to_again_when_it_has_room() {
        for may_wait in [false, true] {
            fill_a_socket(may_wait).await;
        }
    }

    async fn fill_a_socket(may_wait: bool) {
        let (pool, spawner, table) = pool_that(1, may_wait);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (here, mut there) = connect(&listener).await;
        let sent = vec![b'x'; 20_000_000];
        let expected = sent.len();
        spawner.spawn(0, async move {
            let mut socket = plain(here, &table, 0);
            socket.write_all(&sent).await.unwrap();
            socket.shutdown().await.unwrap();
        });
        drop(spawner);
        let mut received = Vec::new();
        let (ran, read) = tokio::join!(pool.run(), there.read_to_end(&mut received));
        ran.unwrap();
        assert_eq!((read.unwrap(), received.len()), (expected, expected));
    }

    /// The client never waits for an event, and other tasks run all the same.
    #[tokio::test]
    async fn the_only_socket_of_a_thread_leaves_time_to_other_tasks() {
        let (pool, spawner, table) = pool_that(1, true);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut there, _) = listener.accept().unwrap();
        let echo = std::thread::spawn(move || {
            let mut from = there.try_clone().unwrap();
            io::copy(&mut from, &mut there).unwrap();
        });
        let stop = Arc::new(AtomicUsize::new(0));
        let stopped = Arc::clone(&stop);
        spawner.spawn(0, async move {
            let mut socket = plain(here, &table, 0);
            while stopped.load(Ordering::Relaxed) == 0 {
                socket.write_all(b"hello").await.unwrap();
                socket.read_exact(&mut [0; 5]).await.unwrap();
            }
        });
        drop(spawner);
        let pool = tokio::spawn(pool.run());
        for _ in 0..100 {
            yield_now().await;
        }
        stop.store(1, Ordering::Relaxed);
        pool.await.unwrap().unwrap();
        echo.join().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn timers_and_other_tasks_wake_clients() {
        let (pool, spawner, _) = pool(2);
        let (tell, told) = tokio::sync::oneshot::channel();
        spawner.spawn(0, async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            tell.send(7).unwrap();
        });
        spawner.spawn(1, async move { assert_eq!(told.await, Ok(7)) });
        let begin = tokio::time::Instant::now();
        let task = tokio::spawn(pool.run());
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert!(!task.is_finished(), "more clients may come");
        spawner.spawn(0, async {});
        drop(spawner);
        task.await.unwrap().unwrap();
        assert_eq!(begin.elapsed().as_secs(), 9);
    }

    #[tokio::test]
    async fn a_dropped_pool_drops_its_clients() {
        let (pool, spawner, _) = pool(1);
        let held = Arc::new(());
        let clone = Arc::clone(&held);
        spawner.spawn(0, async move {
            std::future::pending::<()>().await;
            drop(clone);
        });
        let task = tokio::spawn(pool.run());
        yield_now().await;
        assert_eq!(Arc::strong_count(&held), 2);
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
