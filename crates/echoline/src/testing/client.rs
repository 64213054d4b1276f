//! The client of a connection in memory: it sends, and expects what the server sends.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::{JoinError, JoinHandle, yield_now};
use tokio::time::{Instant, timeout_at};

use super::dialogue_log::{DialogueEvent, DialogueLog, Shown, difference};
use super::pipe::ClientEnd;
use super::run::TestRun;
use crate::connection::limits::Closed;
use echoline_base::supervise::panic_message;

/// The number of bytes per read.
const READ_BYTES: usize = 4096;

/// The maximum number of turns that [`TestClient::send`] gives the handler to read the bytes. A
/// split point takes two.
const TURNS_MAX: usize = 1000;

/// A client of a [`TestServer`](super::TestServer), made by its
/// [`connect`](super::TestServer::connect).
///
/// Each method panics if the server does something else than expected, or nothing within
/// [`patience`](super::TestServer::patience). The message shows the place of the call, the dialogue
/// so far, the state of the handler, and the seed of the split points.
///
/// The output of the handler waits in the connection until a method receives it, so a client that
/// only sleeps is a client that does not read. Dropping the client closes the connection.
pub struct TestClient {
    end: ClientEnd,
    /// The bytes that were received and not yet expected.
    received: Vec<u8>,
    /// [`DialogueEvent::Ended`] or [`DialogueEvent::WasReset`].
    ended: Option<DialogueEvent>,
    log: DialogueLog,
    handler: HandlerState,
    /// The error that the handler returned.
    error: Arc<OnceLock<String>>,
    run: Arc<TestRun>,
}

enum HandlerState {
    Running(JoinHandle<Closed>),
    /// With the message of a panic.
    Ended(Closed, Option<String>),
}

impl TestClient {
    pub(super) fn new(
        end: ClientEnd,
        handler: Result<JoinHandle<Closed>, Closed>,
        error: Arc<OnceLock<String>>,
        run: Arc<TestRun>,
    ) -> Self {
        let handler = match handler {
            Ok(task) => HandlerState::Running(task),
            Err(closed) => HandlerState::Ended(closed, None),
        };
        let (received, log) = (Vec::new(), DialogueLog::default());
        Self { end, received, ended: None, log, handler, error, run }
    }

    /// Sends `bytes`, and receives output meanwhile. The handler reads them in pieces that the seed
    /// determines. Returns when the handler has read all of them, or does not read; no time passes
    /// then. After the server has closed the connection, the bytes are lost, as with a socket.
    ///
    /// Not cancel safe: a part of the bytes may have been sent.
    ///
    /// # Panics
    /// If the connection is full and the handler does not read within the patience.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let (caller, bytes) = (Location::caller(), bytes.as_ref().to_vec());
        async move { self.send_from(caller, &bytes).await }
    }

    /// Sends `line` and the line end of the server. Otherwise like [`send`](Self::send).
    ///
    /// # Panics
    /// Like [`send`](Self::send).
    #[track_caller]
    pub fn send_line(&mut self, line: impl fmt::Display) -> impl Future<Output = ()> {
        let (caller, line) = (Location::caller(), format!("{line}{}", self.run.eol()));
        async move { self.send_from(caller, line.as_bytes()).await }
    }

    /// Waits for exactly these bytes. Further bytes stay for the next call. Cancel safe.
    ///
    /// # Panics
    /// If other bytes arrive, the stream ends, or the bytes do not arrive within the patience.
    #[track_caller]
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let (caller, expected) = (Location::caller(), expected.as_ref().to_vec());
        async move { self.expect_from(caller, &expected).await }
    }

    /// Waits for `line` and the line end of the server. Otherwise like [`expect`](Self::expect).
    ///
    /// # Panics
    /// Like [`expect`](Self::expect).
    #[track_caller]
    pub fn expect_line(&mut self, line: impl fmt::Display) -> impl Future<Output = ()> {
        let (caller, line) = (Location::caller(), format!("{line}{}", self.run.eol()));
        async move { self.expect_from(caller, line.as_bytes()).await }
    }

    /// Waits for a line and returns it without its end (`\n` or `\r\n`). Bytes that are not UTF-8
    /// are replaced. For a line that a test cannot know in full, such as a time. Cancel safe.
    ///
    /// # Panics
    /// If the stream ends before the line, or no whole line arrives within the patience.
    #[track_caller]
    pub fn read_line(&mut self) -> impl Future<Output = String> {
        let caller = Location::caller();
        async move {
            let found = |received: &[u8]| received.iter().position(|&byte| byte == b'\n');
            if let Err(reason) = self.receive_until(|client| found(&client.received)).await {
                self.fail(caller, &format!("expected a line, but {reason}"));
            }
            let length = found(&self.received).map_or(self.received.len(), |end| end + 1);
            let line: Vec<u8> = self.received.drain(..length).collect();
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
        }
    }

    /// Waits until the server ends the stream, and returns all bytes before. Cancel safe.
    ///
    /// # Panics
    /// If the server resets the connection, or does not end the stream within the patience.
    #[track_caller]
    pub fn read_to_end(&mut self) -> impl Future<Output = Vec<u8>> {
        let caller = Location::caller();
        async move {
            self.end_from(caller, DialogueEvent::Ended).await;
            std::mem::take(&mut self.received)
        }
    }

    /// Waits until the server ends the stream without sending more. Cancel safe.
    ///
    /// # Panics
    /// If bytes arrive, the server resets the connection, or does not end the stream within the
    /// patience.
    #[track_caller]
    pub fn expect_end(&mut self) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            let reached = |client: &Self| client.has_news().then_some(());
            let reason = match self.receive_until(reached).await {
                Ok(()) if self.ended == Some(DialogueEvent::Ended) && self.received.is_empty() => {
                    return;
                }
                Ok(()) => self.news(),
                Err(reason) => reason,
            };
            self.fail(caller, &format!("expected the end of the stream, but {reason}"));
        }
    }

    /// Waits until the server resets the connection, as it does with a peer that does not read or
    /// when it aborts. Bytes before are discarded. Cancel safe.
    ///
    /// # Panics
    /// If the server ends the stream in order, or does nothing within the patience.
    #[track_caller]
    pub fn expect_reset(&mut self) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            self.end_from(caller, DialogueEvent::WasReset).await;
            self.received.clear();
        }
    }

    /// Lets `duration` pass, and expects that nothing arrives meanwhile. On a paused clock this
    /// takes no real time. Cancel safe.
    ///
    /// # Panics
    /// If bytes or the end of the stream arrive.
    #[track_caller]
    pub fn expect_silence(&mut self, duration: Duration) -> impl Future<Output = ()> {
        let (caller, until) = (Location::caller(), Instant::now() + duration);
        async move {
            let received = poll_fn(|cx| {
                while !self.has_news() {
                    ready!(self.poll_receive(cx));
                }
                Poll::Ready(())
            });
            if timeout_at(until, received).await.is_ok() {
                let news = self.news();
                self.fail(caller, &format!("expected silence for {duration:?}, but {news}"));
            }
        }
    }

    /// Ends the client's stream. The server reads the end and can still write, as after
    /// shutdown(2).
    pub async fn shutdown_write(&mut self) {
        // It fails only after a reset, when there is nothing left to end.
        let _ = poll_fn(|cx| Pin::new(&mut self.end).poll_shutdown(cx)).await;
        self.log.push(DialogueEvent::WriteEnded, b"");
    }

    /// Resets the connection. The handler's reads and writes end as [`Closed::Reset`].
    pub fn reset(&mut self) {
        self.end.reset();
        self.ended = Some(DialogueEvent::Reset);
        self.log.push(DialogueEvent::Reset, b"");
    }

    /// Waits until the handler has ended, and returns the close reason that the server counts in
    /// its [`Report`](crate::Report): [`Closed::Panicked`] after a panic, [`Closed::Busy`] if no
    /// slot was free, and so on. It receives nothing meanwhile. Cancel safe.
    ///
    /// # Panics
    /// If the handler does not end within the patience.
    #[track_caller]
    pub fn closed(&mut self) -> impl Future<Output = Closed> {
        let caller = Location::caller();
        async move { self.closed_from(caller).await }
    }

    /// Waits until the handler has ended, for this close reason. Otherwise like
    /// [`closed`](Self::closed).
    ///
    /// # Panics
    /// If the close reason is another one, or the handler does not end within the patience.
    #[track_caller]
    pub fn expect_closed(&mut self, expected: Closed) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            let closed = self.closed_from(caller).await;
            if closed != expected {
                let text = format!("expected Closed::{expected:?}, but it is Closed::{closed:?}");
                self.fail(caller, &text);
            }
        }
    }

    async fn send_from(&mut self, caller: &Location<'_>, bytes: &[u8]) {
        let deadline = self.deadline();
        let mut rest = bytes;
        while !rest.is_empty() {
            match timeout_at(deadline, poll_fn(|cx| self.poll_send(rest, cx))).await {
                Ok(Ok(length)) => {
                    self.log.push(DialogueEvent::Sent, &rest[..length]);
                    rest = &rest[length..];
                }
                Ok(Err(_)) => return self.log.push(DialogueEvent::Lost, rest),
                Err(_) => {
                    let (left, length) = (rest.len(), bytes.len());
                    self.fail(
                        caller,
                        &format!(
                            "{left} of {length} bytes cannot be sent: the \
                        handler does not read within {:?}",
                            self.run.patience
                        ),
                    );
                }
            }
        }
        for _ in 0..TURNS_MAX {
            if self.end.unread() == 0 {
                break;
            }
            yield_now().await;
        }
    }

    async fn expect_from(&mut self, caller: &Location<'_>, expected: &[u8]) {
        let reached = |client: &Self| {
            let length = client.received.len().min(expected.len());
            let difference = difference(expected, &client.received[..length]);
            difference.map(Err).or_else(|| (length == expected.len()).then_some(Ok(())))
        };
        let reason = match self.receive_until(reached).await {
            Ok(Ok(())) => return drop(self.received.drain(..expected.len())),
            Ok(Err(difference)) => format!("the output {difference}"),
            Err(reason) => reason,
        };
        self.fail(caller, &format!("expected {}, but {reason}", Shown(expected)));
    }

    /// Waits for the end of the stream. Keeps the bytes before it.
    async fn end_from(&mut self, caller: &Location<'_>, expected: DialogueEvent) {
        let reached = |client: &Self| client.ended;
        let reason = match self.receive_until(reached).await {
            Ok(ended) if ended == expected => return,
            Ok(ended) => said(ended).to_owned(),
            Err(reason) => reason,
        };
        let wanted =
            if expected == DialogueEvent::Ended { "the end of the stream" } else { "a reset" };
        self.fail(caller, &format!("expected {wanted}, but {reason}"));
    }

    async fn closed_from(&mut self, caller: &Location<'_>) -> Closed {
        let deadline = self.deadline();
        if timeout_at(deadline, poll_fn(|cx| self.handler.poll(cx))).await.is_err() {
            let text = format!("the handler has not ended within {:?}", self.run.patience);
            self.fail(caller, &text);
        }
        match self.handler {
            HandlerState::Ended(closed, _) => closed,
            HandlerState::Running(_) => unreachable!("the wait was completed"),
        }
    }

    /// Receives until `reached` returns something.
    ///
    /// # Errors
    /// One phrase if the stream ends before, or after the patience.
    async fn receive_until<T>(
        &mut self,
        mut reached: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, String> {
        let deadline = self.deadline();
        loop {
            if let Some(found) = reached(self) {
                return Ok(found);
            }
            let reason = match self.ended {
                Some(ended) => said(ended).to_owned(),
                None => match timeout_at(deadline, poll_fn(|cx| self.poll_receive(cx))).await {
                    Ok(()) => continue,
                    Err(_) => format!("nothing more arrives within {:?}", self.run.patience),
                },
            };
            return Err(match self.received.is_empty() {
                true => reason,
                false => format!("{reason} after {}", Shown(&self.received)),
            });
        }
    }

    /// Returns whether bytes or the end of the stream have arrived.
    fn has_news(&self) -> bool {
        !self.received.is_empty() || self.ended.is_some()
    }

    /// Returns the phrase for the bytes or the end that have arrived.
    fn news(&self) -> String {
        match self.ended {
            Some(ended) if self.received.is_empty() => said(ended).to_owned(),
            _ => format!("the server sent {}", Shown(&self.received)),
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.run.patience
    }

    /// Receives bytes or the end of the stream. Pending after the end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended.is_some() {
            return Poll::Pending;
        }
        let mut bytes = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        let event = match ready!(Pin::new(&mut self.end).poll_read(cx, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => DialogueEvent::Received,
            Ok(()) => DialogueEvent::Ended,
            Err(_) => DialogueEvent::WasReset,
        };
        self.log.push(event, buffer.filled());
        self.received.extend_from_slice(buffer.filled());
        self.ended = (event != DialogueEvent::Received).then_some(event);
        Poll::Ready(())
    }

    /// Receives everything that has arrived, and sends.
    fn poll_send(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while self.poll_receive(cx).is_ready() {}
        Pin::new(&mut self.end).poll_write(cx, bytes)
    }

    /// Ends the test.
    fn fail(&mut self, caller: &Location<'_>, sentence: &str) -> ! {
        // Polled only to learn whether it has ended.
        let _ = self.handler.poll(&mut Context::from_waker(Waker::noop()));
        self.run.note_seed_shown();
        let (log, seed) = (&self.log, self.run.seed_note());
        let error = self.error.get().map(|error| format!("; it returned the error: {error}"));
        let (handler, error) = (&self.handler, error.unwrap_or_default());
        panic!("{caller}: {sentence}\n\n{log}  {handler}{error}\n\n{seed}\n");
    }
}

impl HandlerState {
    /// Waits until the handler has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Running(task) = self {
            let ended = ready!(Pin::new(task).poll(cx));
            let message = |error: JoinError| {
                error.try_into_panic().ok().map(|payload| panic_message(&*payload).to_owned())
            };
            *self = match ended {
                Ok(closed) => Self::Ended(closed, None),
                Err(error) => Self::Ended(Closed::Panicked, message(error)),
            };
        }
        Poll::Ready(())
    }
}

impl fmt::Display for HandlerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running(_) => f.write_str("handler still runs"),
            Self::Ended(closed, None) => write!(f, "handler ended as Closed::{closed:?}"),
            Self::Ended(_, Some(message)) => write!(f, "handler panicked: {message:?}"),
        }
    }
}

/// Returns the phrase for an end of the connection.
fn said(ended: DialogueEvent) -> &'static str {
    match ended {
        DialogueEvent::WasReset => "the server reset the connection",
        DialogueEvent::Reset => "the client has reset the connection",
        _ => "the server ended the stream",
    }
}

impl AsyncRead for TestClient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.received.is_empty() {
            match self.ended {
                None => ready!(self.poll_receive(cx)),
                Some(DialogueEvent::Ended) => return Poll::Ready(Ok(())),
                Some(_) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
        let length = self.received.len().min(buffer.remaining());
        buffer.put_slice(&self.received[..length]);
        self.received.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TestClient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let length = ready!(Pin::new(&mut self.end).poll_write(cx, bytes))?;
        self.log.push(DialogueEvent::Sent, &bytes[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.end).poll_shutdown(cx))?;
        self.log.push(DialogueEvent::WriteEnded, b"");
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient")
            .field("received", &Shown(&self.received).to_string())
            .field("handler", &self.handler.to_string())
            .finish_non_exhaustive()
    }
}
