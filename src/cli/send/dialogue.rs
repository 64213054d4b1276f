//! Sending and receiving at the same time, until one of them has to end.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::input::{Input, Next};
use super::screen::Screen;
use super::tally::Tally;

/// Read from the server at once: all that is ever held of it.
const CHUNK_BYTES: usize = 16 * 1024;

/// How long a greeting may take beyond the way to the server and back.
const GREETING_WAIT: Duration = Duration::from_millis(20);

/// How long the rest of a line is waited for before its beginning is shown above a prompt.
const LINE_WAIT: Duration = Duration::from_millis(50);

/// A client and what it needs.
pub(super) struct Dialogue {
    pub(super) input: Input,
    pub(super) screen: Screen,
    /// How long the server may be silent where it is its turn.
    pub(super) timeout: Option<Duration>,
    /// How long connecting took.
    pub(super) round_trip: Duration,
}

/// Why a dialogue ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The server closed the connection in order.
    Closed {
        /// Before the end of the input.
        input_left: bool,
    },
    /// The server was silent for too long.
    Silent {
        /// It did not even take what was sent.
        unsent: bool,
    },
    /// The user gave up.
    Interrupted,
    /// Nobody reads the replies any more.
    OutputGone,
    /// An error on one side.
    Broken(Side, io::Error),
}

/// One of the three that a client joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Input,
    Output,
}

/// What the three parts of a dialogue tell one another.
struct Shared {
    tally: RefCell<Tally>,
    /// When a byte last came or went.
    active_at: Cell<Instant>,
    turn: Cell<Turn>,
    /// Whoever reads our output takes his time.
    printing: Cell<bool>,
}

/// Who has to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The user is to type.
    User,
    /// The server is to take what is sent.
    ServerReads,
    /// The server is to answer: all was sent.
    ServerAnswers,
}

impl Dialogue {
    /// Sends all input and prints what comes, to the end.
    pub(super) async fn hold<S: AsyncRead + AsyncWrite>(self, stream: S) -> (Ending, Tally) {
        let shared = Shared {
            tally: RefCell::default(),
            active_at: Cell::new(Instant::now()),
            turn: Cell::new(Turn::User),
            printing: Cell::new(false),
        };
        let (reader, writer) = split(stream);
        let greeting_wait = GREETING_WAIT + self.round_trip;
        let ending = tokio::select! {
            ending = receive(reader, self.screen, &shared) => ending,
            ending = transmit(writer, self.input, greeting_wait, &shared) => ending,
            ending = watch_silence(self.timeout, &shared) => ending,
        };
        (ending, shared.tally.into_inner())
    }
}

impl Shared {
    fn note_activity(&self) {
        self.active_at.set(Instant::now());
    }
}

/// Sends all input and then the end of the stream; ends only where there is no sense in reading
/// on.
async fn transmit<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut input: Input,
    greeting_wait: Duration,
    shared: &Shared,
) -> Ending {
    sleep(greeting_wait).await;
    let mut bytes = Vec::new();
    loop {
        shared.turn.set(Turn::User);
        let (lines, is_last) = match input.next(&mut bytes).await {
            Ok(Next::Lines(lines)) => (lines, false),
            Ok(Next::End(lines)) => (lines, true),
            Ok(Next::Interrupted) => return Ending::Interrupted,
            Err(error) => return Ending::Broken(Side::Input, error),
        };
        shared.tally.borrow_mut().begin();
        shared.tally.borrow_mut().note_sent(lines);
        shared.note_activity();
        shared.turn.set(Turn::ServerReads);
        if write(&mut writer, &bytes, shared).await.is_err() {
            break;
        }
        if is_last {
            shared.tally.borrow_mut().note_input_end();
            // Fails only where the connection is broken, which the reader sees too.
            let _ = writer.shutdown().await;
            break;
        }
    }
    // A server that takes no more may still have something to say: the reader finds the end.
    shared.note_activity();
    shared.turn.set(Turn::ServerAnswers);
    pending().await
}

async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    mut bytes: &[u8],
    shared: &Shared,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = writer.write(bytes).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[count..];
        shared.note_activity();
    }
    writer.flush().await
}

/// Prints what comes until the server ends it.
async fn receive<R: AsyncRead + Unpin>(
    mut reader: R,
    mut screen: Screen,
    shared: &Shared,
) -> Ending {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = match reader.read(&mut chunk).await {
            Ok(0) => {
                screen.settle().await;
                let mut tally = shared.tally.borrow_mut();
                tally.note_close();
                return Ending::Closed { input_left: !tally.has_input_ended() };
            }
            Ok(count) => count,
            Err(error) => return Ending::Broken(Side::Server, error),
        };
        let count = match screen.wants_lines() {
            true => complete_line(&mut reader, &mut chunk, count).await,
            false => count,
        };
        shared.tally.borrow_mut().note_received(&chunk[..count]);
        shared.printing.set(true);
        match screen.show(&chunk[..count]).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ending::OutputGone,
            Err(error) => return Ending::Broken(Side::Output, error),
        }
        shared.printing.set(false);
        shared.note_activity();
    }
}

/// Waits a moment for the rest of a line. An end of the stream shows again at the next read.
async fn complete_line<R: AsyncRead + Unpin>(
    reader: &mut R,
    chunk: &mut [u8],
    mut count: usize,
) -> usize {
    let deadline = Instant::now() + LINE_WAIT;
    while count < chunk.len() && !chunk[..count].ends_with(b"\n") {
        match timeout_at(deadline, reader.read(&mut chunk[count..])).await {
            Ok(Ok(more)) if more > 0 => count += more,
            _ => break,
        }
    }
    count
}

/// Ends when the server has been silent for too long where it was its turn.
async fn watch_silence(timeout: Option<Duration>, shared: &Shared) -> Ending {
    let Some(timeout) = timeout else { return pending().await };
    loop {
        let Some(due) = shared.active_at.get().checked_add(timeout) else { return pending().await };
        if due > Instant::now() {
            sleep_until(due).await;
            continue;
        }
        match shared.turn.get() {
            // Whoever ends this notes the time, and this wakes no later than is due from then.
            _ if shared.printing.get() => sleep(timeout).await,
            Turn::User => sleep(timeout).await,
            Turn::ServerReads => return Ending::Silent { unsent: true },
            Turn::ServerAnswers => return Ending::Silent { unsent: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::cli::send::line_ends::LineEnds;
    use crate::net::Eol;

    /// Sends `texts` to `server` over a pipe of eight bytes: the ending, what is unanswered, what
    /// was printed, and how many seconds it took.
    async fn hold<F: Future<Output = ()>>(
        texts: &[&str],
        server: impl FnOnce(DuplexStream) -> F,
    ) -> (Ending, u64, Vec<u8>, u64) {
        let (here, there) = duplex(8);
        let (output, mut printed) = duplex(1 << 20);
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        let dialogue = Dialogue {
            input: Input::texts(texts, LineEnds::new(Eol::Lf)),
            screen: Screen::plain(output),
            timeout: Some(Duration::from_secs(10)),
            round_trip: Duration::ZERO,
        };
        let begin = Instant::now();
        let ((ending, tally), ()) = tokio::join!(dialogue.hold(here), server(there));
        let elapsed = begin.elapsed().as_secs();
        let mut bytes = Vec::new();
        printed.read_to_end(&mut bytes).await.unwrap();
        (ending, tally.unanswered(), bytes, elapsed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipe_of_eight_bytes_is_enough() {
        let text = "x".repeat(10_000);
        let texts = [text.as_str(), "end"];
        let held = hold(&texts, |there| async move {
            let (mut reader, mut writer) = split(there);
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let (ending, unanswered, printed, seconds) = held.await;
        assert!(matches!(ending, Ending::Closed { input_left: false }), "{ending:?}");
        assert_eq!((unanswered, seconds), (0, 0));
        assert_eq!(printed, format!("{text}\nend\n").as_bytes());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_the_last_byte_in_either_direction() {
        let held = hold(&["a", "b"], |mut there| async move {
            for _ in 0..3 {
                sleep(Duration::from_secs(9)).await;
                there.write_all(b"x").await.unwrap();
            }
            sleep(Duration::from_secs(11)).await;
        });
        let (ending, unanswered, printed, seconds) = held.await;
        assert!(matches!(ending, Ending::Silent { unsent: false }), "{ending:?}");
        assert_eq!((unanswered, printed.as_slice()), (2, &b"xxx"[..]));
        assert_eq!(seconds, 38);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_nothing_is_given_up() {
        let held = hold(&["more than eight bytes"], |there| async move {
            sleep(Duration::from_secs(11)).await;
            drop(there);
        });
        let (ending, unanswered, ..) = held.await;
        assert!(matches!(ending, Ending::Silent { unsent: true }), "{ending:?}");
        assert_eq!(unanswered, 1);
    }
}
