//! Plain sockets whose readiness the [`ClientPool`](super::pool::ClientPool) reports: without the
//! registration of the runtime, which costs more than the rest of a short exchange.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bits of a socket's readiness.
const READABLE: u8 = 1;
const WRITABLE: u8 = 2;
/// The end of the input, or an error: a read returns it even after a short read.
const READ_CLOSED: u8 = 4;

/// The time for which a read or a write of a thread's only socket waits.
const WAIT: Duration = Duration::from_millis(1);

/// Reads of a thread's only socket before other tasks run.
const READS_MAX: u32 = 64;

/// The sockets of one thread: their registry, and the readiness of each client's socket.
///
/// Only this thread reads and changes the readiness, so it is loaded and stored without locks.
#[derive(Debug)]
pub(crate) struct SocketTable {
    registry: Registry,
    /// Clients are distributed over this many threads in turn.
    threads: u32,
    readiness: Box<[AtomicU8]>,
    /// Sockets that are open.
    open: AtomicUsize,
    /// Whether a poll of the sockets may wait for an event, because messages have no due times.
    may_wait: bool,
    /// Whether reads and writes wait too, because the thread has only one client.
    waits: bool,
}

impl SocketTable {
    /// Creates the table of a thread for its share of `clients`. If messages have no due times, a
    /// poll of the sockets `may_wait`.
    pub(super) fn new(registry: Registry, clients: u32, threads: u32, may_wait: bool) -> Self {
        let share = clients.div_ceil(threads);
        let readiness = (0..share).map(|_| AtomicU8::new(0)).collect();
        let waits = may_wait && share == 1;
        Self { registry, threads, readiness, open: AtomicUsize::new(0), may_wait, waits }
    }

    pub(super) fn may_wait(&self) -> bool {
        self.may_wait
    }

    /// Returns the number of open sockets.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns the position of a client among those of its thread.
    pub(super) fn slot(&self, client: u32) -> usize {
        (client / self.threads) as usize
    }

    /// Adds the readiness that an event reports, and returns the slot of its client.
    pub(super) fn note(&self, event: &Event) -> usize {
        let slot = event.token().0;
        let mut bits = 0;
        if event.is_readable() {
            bits |= READABLE;
        }
        if event.is_writable() {
            bits |= WRITABLE;
        }
        if event.is_read_closed() || event.is_error() {
            bits |= READABLE | READ_CLOSED;
        }
        if event.is_write_closed() || event.is_error() {
            bits |= WRITABLE;
        }
        self.set(slot, self.of(slot) | bits);
        slot
    }

    #[inline]
    fn of(&self, slot: usize) -> u8 {
        self.readiness[slot].load(Ordering::Relaxed)
    }

    #[inline]
    fn set(&self, slot: usize, bits: u8) {
        self.readiness[slot].store(bits, Ordering::Relaxed);
    }
}

/// A plain socket of a client, which is polled again after each event of its socket.
///
/// The only socket of a thread waits for a reply in its read, for at most a millisecond: this saves
/// one system call for each message.
///
/// A poll registers no waker. It must run in the [`ClientPool`](super::pool::ClientPool) of its
/// table, in the slot of its client.
#[derive(Debug)]
pub(super) struct PlainSocket {
    socket: Socket,
    table: Arc<SocketTable>,
    slot: usize,
    /// Reads since other tasks ran, if reads wait.
    reads: u32,
}

impl PlainSocket {
    /// Registers a socket that does not block. A client has one at a time.
    pub(super) fn new(socket: Socket, table: Arc<SocketTable>, client: u32) -> io::Result<Self> {
        let slot = table.slot(client);
        if table.waits {
            socket.set_nonblocking(false)?;
            socket.set_read_timeout(Some(WAIT))?;
            socket.set_write_timeout(Some(WAIT))?;
        }
        table.registry.register(
            &mut SourceFd(&socket.as_raw_fd()),
            Token(slot),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        // The first read and write find out by themselves.
        table.set(slot, READABLE | WRITABLE);
        table.open.fetch_add(1, Ordering::Relaxed);
        Ok(Self { socket, table, slot, reads: 0 })
    }

    #[inline]
    fn is_ready(&self, bits: u8) -> bool {
        self.table.of(self.slot) & bits != 0
    }

    #[inline]
    fn clear(&self, bits: u8) {
        self.table.set(self.slot, self.table.of(self.slot) & !bits);
    }

    /// Repeats `call` while it is interrupted. If it would block, the socket is no longer ready.
    #[inline]
    fn poll_call(
        &self,
        bits: u8,
        mut call: impl FnMut(&Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if !self.is_ready(bits) {
            return Poll::Pending;
        }
        loop {
            match call(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.clear(bits);
                    return Poll::Pending;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl Drop for PlainSocket {
    fn drop(&mut self) {
        self.table.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for PlainSocket {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.table.waits {
            self.reads += 1;
            if self.reads > READS_MAX {
                self.reads = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let room = buffer.initialize_unfilled();
        let length = room.len();
        let count = match self.poll_call(READABLE, |mut socket| socket.read(room)) {
            Poll::Ready(Ok(count)) => count,
            other => return other.map_ok(drop),
        };
        // A short read has emptied the socket (epoll(7)), unless its end follows.
        if count < length && !self.table.waits && !self.is_ready(READ_CLOSED) {
            self.clear(READABLE);
        }
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PlainSocket {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_call(WRITABLE, |socket| socket.send_with_flags(bytes, libc::MSG_NOSIGNAL))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(std::net::Shutdown::Write))
    }
}
