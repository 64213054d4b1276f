use std::io::IoSlice;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep};

use super::*;
use crate::connection::config::{ConnectionConfig, Eol, Farewell};
use crate::connection::feed::Outlet;
use crate::connection::handle::Connection;
use crate::connection::limits::Limits;
use crate::server::shutdown::Shutdown;

/// A call that the connection made to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// A read that returned bytes.
    Read,
    /// A read that found no bytes.
    Look,
    Write,
    Shutdown,
}

/// A peer that sends its next piece some time after each read or write, until it has sent all
/// pieces.
struct Peer {
    calls: Arc<Mutex<Vec<Call>>>,
    /// The pieces to receive, each with its delay after the last read or write.
    pieces: Box<dyn Iterator<Item = (Duration, &'static [u8])> + Send>,
    next: Option<(Pin<Box<Sleep>>, &'static [u8])>,
    is_shut: bool,
}

impl Peer {
    fn advance(&mut self) {
        self.next = self.pieces.next().map(|(delay, piece)| (Box::pin(sleep(delay)), piece));
    }

    fn note(&self, call: Call) {
        self.calls.lock().unwrap().push(call);
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_shut {
            return Poll::Ready(Ok(()));
        }
        let Some((timer, piece)) = &mut self.next else {
            self.note(Call::Look);
            return Poll::Pending;
        };
        if timer.as_mut().poll(cx).is_pending() {
            self.note(Call::Look);
            return Poll::Pending;
        }
        buffer.put_slice(piece);
        let is_whole = piece.ends_with(b"\n");
        self.next = None;
        self.note(Call::Read);
        if !is_whole {
            self.advance();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.note(Call::Write);
        self.advance();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A connection is shut down at once when it is closed, and again in the task that lingers.
        // Only the first call is recorded.
        if !std::mem::replace(&mut self.is_shut, true) {
            self.note(Call::Shutdown);
        }
        Poll::Ready(Ok(()))
    }
}

type Handler = fn(Connection<Peer>) -> Pin<Box<dyn Future<Output = Result<(), Closed>> + Send>>;

/// The ways in which a handler answers each line with itself.
const HANDLERS: [Handler; 4] = [
    |mut client| {
        Box::pin(async move {
            while let Some(line) = client.read_line().await? {
                client.write_line(&line).await?;
            }
            Ok(())
        })
    },
    |mut client| Box::pin(async move { client.echo().await }),
    |mut client| {
        Box::pin(async move {
            let feed = |_: &mut Outlet<'_, Peer>, _: &mut Context<'_>| Poll::Pending;
            while let Some(line) = client.read_line_feeding(feed).await? {
                client.write_line(&line).await?;
            }
            Ok(())
        })
    },
    |mut client| {
        Box::pin(async move {
            let mut answer = Vec::new();
            loop {
                let feed = |outlet: &mut Outlet<'_, Peer>, cx: &mut Context<'_>| {
                    if !answer.is_empty() {
                        let sent = outlet.offer(&mut [IoSlice::new(&answer)], cx)?;
                        answer.drain(..sent);
                    }
                    Poll::Pending
                };
                match client.read_line_feeding(feed).await? {
                    Some(line) => answer.extend([&line[..], b"\n"].concat()),
                    None => return Ok(()),
                }
            }
        })
    },
];

/// Drains a connection to a peer that sends `pieces`. The drain begins `after` the start. Returns
/// the calls to the stream and the duration of the drain.
async fn drained(
    handler: Handler,
    after: Duration,
    idle_timeout: Option<Duration>,
    pieces: impl Iterator<Item = (Duration, &'static [u8])> + Send + 'static,
) -> (Vec<Call>, Duration) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let pieces = Box::new(pieces);
    let mut peer = Peer { calls: Arc::clone(&calls), pieces, next: None, is_shut: false };
    peer.advance();
    let limits = Limits { idle_timeout, ..Limits::default() };
    let shutdown = Shutdown::new();
    let config = ConnectionConfig::new(limits, shutdown.clone(), Eol::Lf, Farewell::Silent);
    let handler = tokio::spawn(handler(Connection::with_config(peer, Arc::new(config), None)));
    sleep(after).await;
    shutdown.drain();
    let start = Instant::now();
    assert_eq!(handler.await.unwrap(), Err(Closed::Drained));
    let took = start.elapsed();
    let calls = calls.lock().unwrap().clone();
    (calls, took)
}

fn count(calls: &[Call], call: Call) -> usize {
    calls.iter().filter(|other| **other == call).count()
}

const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

/// Issue 11, item E: a client that sends a line for each answer gets the end of the stream together
/// with the last answer. If a read separated the two, the client would see the answer first and
/// send one more line, which would get no answer.
#[tokio::test(start_paused = true)]
async fn regression_the_last_answer_leaves_with_the_end_of_the_stream() {
    for (number, handler) in HANDLERS.into_iter().enumerate() {
        for delay in [1, 7, 150] {
            let delay = Duration::from_millis(delay);
            let pieces = std::iter::repeat((delay, &b"line\n"[..]));
            let (calls, took) = drained(handler, 20 * delay, MINUTE, pieces).await;
            let what = format!("handler {number}, {delay:?}: {calls:?}");
            assert!(calls.ends_with(&[Call::Write, Call::Shutdown]), "{what}");
            assert_eq!(count(&calls, Call::Read), count(&calls, Call::Write), "{what}");
            assert!(took <= Duration::from_millis(250), "{took:?}, {what}");
        }
    }
}

/// Issue 11, item E: the connection waits for a line whose second part arrives late, and answers
/// it.
#[tokio::test(start_paused = true)]
async fn regression_a_late_line_in_several_pieces_is_answered() {
    let late = Duration::from_millis(50);
    let pieces = [(late, &b"several "[..]), (late, b"pieces "), (late, b"later\n")];
    for handler in [HANDLERS[0], HANDLERS[2], HANDLERS[3]] {
        let (calls, took) = drained(handler, Duration::ZERO, MINUTE, pieces.into_iter()).await;
        assert!(calls.ends_with(&[Call::Write, Call::Shutdown]), "{calls:?}");
        assert_eq!(count(&calls, Call::Read), 3, "{calls:?}");
        assert!(took < Duration::from_millis(160), "{took:?}");
    }
}

/// Issue 11, item E: a client that has been silent for some time delays a drain by at most 20 ms. A
/// client that was busy, or sent an unfinished line, delays it by at most 200 ms.
#[tokio::test(start_paused = true)]
async fn regression_a_drain_waits_longer_for_a_client_that_was_busy() {
    let millis = Duration::from_millis;
    let line = (Duration::ZERO, &b"line\n"[..]);
    let begun = (millis(60), &b"begun"[..]);
    for (pieces, after, idle_timeout, least, most) in [
        (vec![line], millis(1000), MINUTE, 20, 25),
        (vec![line], millis(50), MINUTE, 145, 155),
        // Without an idle time-out, a connection does not record how long its client was silent.
        (vec![line], millis(1000), None, 200, 205),
        (vec![line, begun], millis(0), MINUTE, 255, 265),
    ] {
        let (calls, took) = drained(HANDLERS[0], after, idle_timeout, pieces.into_iter()).await;
        assert!(took >= millis(least) && took <= millis(most), "{took:?}: {calls:?}");
        assert!(calls.ends_with(&[Call::Look, Call::Shutdown]), "{calls:?}");
    }
}
