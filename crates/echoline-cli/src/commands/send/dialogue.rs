//! Sends lines and receives replies at the same time, until one side ends the dialogue.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::input::{Input, NextInput};
use super::protocol::{FirstBytes, ForeignProtocol, StreamCarrier};
use super::screen::Screen;
use super::tally::ReplyTally;

/// The size of the read buffer, in bytes. Memory holds no more of the server's output than this.
const CHUNK_BYTES: usize = 16 * 1024;

/// The time for a greeting, in addition to one round trip.
const GREETING_WAIT: Duration = Duration::from_millis(20);

/// With `--no-half-close`, the time to wait for more lines after every line was answered. A round
/// trip is added.
const REST_WAIT: Duration = Duration::from_millis(200);

/// The time to wait for the rest of a line before its beginning is shown above a prompt.
const LINE_WAIT: Duration = Duration::from_millis(50);

/// A client with its input, its output and its options.
pub(super) struct LineDialogue {
    pub(super) input: Input,
    pub(super) screen: Screen,
    /// The time for which the server may be silent while it is the server's turn.
    pub(super) timeout: Option<Duration>,
    /// The time that connecting took, as an estimate of a round trip.
    pub(super) round_trip: Duration,
    pub(super) manner: DialogueOptions,
}

/// The options for sending and showing bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct DialogueOptions {
    /// Whether the end of the input shuts down the sending side of the connection.
    pub(super) half_close: bool,
    pub(super) carrier: StreamCarrier,
}

/// The reason why a dialogue ended.
#[derive(Debug)]
pub(super) enum DialogueEnd {
    /// The server closed the connection in order.
    Closed {
        /// Whether some input was not sent.
        input_left: bool,
    },
    /// The server was silent for too long.
    Silent {
        /// Whether the server has not read all input.
        unsent: bool,
    },
    /// The server speaks another protocol than lines.
    MisdirectedProtocol(ForeignProtocol),
    /// The user interrupted the dialogue.
    Interrupted,
    /// The reader of stdout has closed it.
    OutputGone,
    /// An error at one of the ends.
    Broken(DialogueEndpoint, io::Error),
}

/// One of the three ends between which a client moves bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DialogueEndpoint {
    Server,
    Input,
    Output,
}

/// State that the three concurrent parts of a dialogue share.
struct DialogueState {
    tally: RefCell<ReplyTally>,
    /// The time at which a byte was last sent or received.
    active_at: Cell<Instant>,
    turn: Cell<DialogueTurn>,
    opening: RefCell<FirstBytes>,
    /// Whether a write to the output is pending.
    printing: Cell<bool>,
}

/// The side that has to act next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DialogueTurn {
    /// The user has to type.
    User,
    /// The server has to read the input.
    ServerReads,
    /// The server has to answer; all input was sent.
    ServerAnswers,
}

impl LineDialogue {
    /// Runs a dialogue: sends all input and prints all replies.
    pub(super) async fn hold<S: AsyncRead + AsyncWrite>(
        self,
        stream: S,
    ) -> (DialogueEnd, ReplyTally) {
        let shared = DialogueState {
            tally: RefCell::default(),
            active_at: Cell::new(Instant::now()),
            turn: Cell::new(DialogueTurn::User),
            opening: RefCell::new(FirstBytes::new(self.manner.carrier)),
            printing: Cell::new(false),
        };
        let (reader, writer) = split(stream);
        let (manner, round_trip) = (self.manner, self.round_trip);
        let ending = tokio::select! {
            ending = receive(reader, self.screen, &shared) => ending,
            ending = transmit(writer, self.input, manner, round_trip, &shared) => ending,
            ending = watch_silence(self.timeout, &shared) => ending,
        };
        let foreign = shared.opening.borrow().mismatch();
        let ending = match (ending, foreign) {
            (
                DialogueEnd::Closed { .. }
                | DialogueEnd::Silent { .. }
                | DialogueEnd::Broken(DialogueEndpoint::Server, _),
                Some(protocol),
            ) => DialogueEnd::MisdirectedProtocol(protocol),
            (ending, _) => ending,
        };
        (ending, shared.tally.into_inner())
    }
}

impl DialogueState {
    fn note_activity(&self) {
        self.active_at.set(Instant::now());
    }
}

/// Sends all input and then, with a half-close, the end of the stream. Returns only if the dialogue
/// must end although the server may send more.
async fn transmit<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut input: Input,
    manner: DialogueOptions,
    round_trip: Duration,
    shared: &DialogueState,
) -> DialogueEnd {
    sleep(GREETING_WAIT + round_trip).await;
    let mut bytes = Vec::new();
    loop {
        shared.turn.set(DialogueTurn::User);
        let (lines, ending) = match input.next(&mut bytes).await {
            Ok(NextInput::Lines(lines)) => (lines, None),
            Ok(NextInput::End(unended)) => (unended, Some(unended)),
            Ok(NextInput::Interrupted) => return DialogueEnd::Interrupted,
            Err(error) => return DialogueEnd::Broken(DialogueEndpoint::Input, error),
        };
        shared.tally.borrow_mut().begin();
        shared.tally.borrow_mut().note_sent(lines);
        shared.note_activity();
        shared.turn.set(DialogueTurn::ServerReads);
        shared.opening.borrow_mut().note_sent(&bytes);
        if write(&mut writer, &bytes, shared).await.is_err() {
            break;
        }
        if let Some(unended) = ending {
            shared.tally.borrow_mut().note_input_end(unended);
            if !manner.half_close {
                shared.note_activity();
                shared.turn.set(DialogueTurn::ServerAnswers);
                answers(REST_WAIT + round_trip, shared).await;
                let _ = writer.shutdown().await;
                return DialogueEnd::Silent { unsent: false };
            }
            // The call fails only if the connection is broken, which the reader also notices.
            let _ = writer.shutdown().await;
            break;
        }
    }
    // A server that no longer reads may still send replies, so the receiving part determines the
    // end.
    shared.note_activity();
    shared.turn.set(DialogueTurn::ServerAnswers);
    pending().await
}

/// Waits until every line was answered and the connection was then idle for `wait`.
async fn answers(wait: Duration, shared: &DialogueState) {
    loop {
        let due = shared.active_at.get() + wait;
        let is_quiet = due <= Instant::now() && !shared.printing.get();
        if is_quiet && shared.tally.borrow().is_complete() {
            return;
        }
        sleep_until(due.max(Instant::now() + wait / 4)).await;
    }
}

async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    mut bytes: &[u8],
    shared: &DialogueState,
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

/// Prints replies until the server closes the connection.
async fn receive<R: AsyncRead + Unpin>(
    mut reader: R,
    mut screen: Screen,
    shared: &DialogueState,
) -> DialogueEnd {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = match reader.read(&mut chunk).await {
            Ok(0) => {
                screen.settle().await;
                let mut tally = shared.tally.borrow_mut();
                tally.note_close();
                return DialogueEnd::Closed { input_left: !tally.has_input_ended() };
            }
            Ok(count) => count,
            Err(error) => return DialogueEnd::Broken(DialogueEndpoint::Server, error),
        };
        let is_undecided = |bytes: &[u8]| shared.opening.borrow().is_undecided(bytes);
        let count = match screen.wants_lines() {
            true => complete(&mut reader, &mut chunk, count, |bytes| bytes.ends_with(b"\n")).await,
            false => complete(&mut reader, &mut chunk, count, |bytes| !is_undecided(bytes)).await,
        };
        shared.opening.borrow_mut().note_received(&chunk[..count]);
        if shared.opening.borrow().mismatch() == Some(ForeignProtocol::Tls) {
            return DialogueEnd::MisdirectedProtocol(ForeignProtocol::Tls);
        }
        shared.tally.borrow_mut().note_received(&chunk[..count]);
        shared.printing.set(true);
        match screen.show(&chunk[..count]).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return DialogueEnd::OutputGone;
            }
            Err(error) => return DialogueEnd::Broken(DialogueEndpoint::Output, error),
        }
        shared.printing.set(false);
        shared.note_activity();
    }
}

/// Waits up to [`LINE_WAIT`] for more bytes until the last line is complete. If this meets the end
/// of the stream, the caller's next read returns it again.
async fn complete<R: AsyncRead + Unpin>(
    reader: &mut R,
    chunk: &mut [u8],
    mut count: usize,
    is_complete: impl Fn(&[u8]) -> bool,
) -> usize {
    let deadline = Instant::now() + LINE_WAIT;
    while count < chunk.len() && !is_complete(&chunk[..count]) {
        match timeout_at(deadline, reader.read(&mut chunk[count..])).await {
            Ok(Ok(more)) if more > 0 => count += more,
            _ => break,
        }
    }
    count
}

/// Returns when the server has been silent for `timeout` during its turn.
async fn watch_silence(timeout: Option<Duration>, shared: &DialogueState) -> DialogueEnd {
    let Some(timeout) = timeout else { return pending().await };
    loop {
        let Some(due) = shared.active_at.get().checked_add(timeout) else { return pending().await };
        if due > Instant::now() {
            sleep_until(due).await;
            continue;
        }
        match shared.turn.get() {
            // The end of this state also updates `active_at`. So a sleep of `timeout` ends before
            // the new deadline.
            _ if shared.printing.get() => sleep(timeout).await,
            DialogueTurn::User => sleep(timeout).await,
            DialogueTurn::ServerReads => return DialogueEnd::Silent { unsent: true },
            DialogueTurn::ServerAnswers => return DialogueEnd::Silent { unsent: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::commands::send::line_ends::LineEnds;
    use echoline::Eol;

    /// Sends `texts` to `server` over a pipe of eight bytes. Returns the ending, the number of
    /// unanswered lines, the output, and the duration in seconds.
    async fn hold<F: Future<Output = ()>>(
        texts: &[&str],
        half_close: bool,
        server: impl FnOnce(DuplexStream) -> F,
    ) -> (DialogueEnd, u64, Vec<u8>, u64) {
        let (here, there) = duplex(8);
        let (output, mut printed) = duplex(1 << 20);
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        let dialogue = LineDialogue {
            input: Input::texts(texts, LineEnds::new(Eol::Lf)),
            screen: Screen::plain(output),
            timeout: Some(Duration::from_secs(10)),
            round_trip: Duration::ZERO,
            manner: DialogueOptions { half_close, carrier: StreamCarrier::Plain },
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
        let held = hold(&texts, true, |there| async move {
            let (mut reader, mut writer) = split(there);
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let (ending, unanswered, printed, seconds) = held.await;
        assert!(matches!(ending, DialogueEnd::Closed { input_left: false }), "{ending:?}");
        assert_eq!((unanswered, seconds), (0, 0));
        assert_eq!(printed, format!("{text}\nend\n").as_bytes());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_the_last_byte_in_either_direction() {
        let held = hold(&["a", "b"], true, |mut there| async move {
            for _ in 0..3 {
                sleep(Duration::from_secs(9)).await;
                there.write_all(b"x").await.unwrap();
            }
            sleep(Duration::from_secs(11)).await;
        });
        let (ending, unanswered, printed, seconds) = held.await;
        assert!(matches!(ending, DialogueEnd::Silent { unsent: false }), "{ending:?}");
        assert_eq!((unanswered, printed.as_slice()), (2, &b"xxx"[..]));
        assert_eq!(seconds, 38);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_reads_nothing_times_out() {
        let held = hold(&["more than eight bytes"], true, |there| async move {
            sleep(Duration::from_secs(11)).await;
            drop(there);
        });
        let (ending, unanswered, ..) = held.await;
        assert!(matches!(ending, DialogueEnd::Silent { unsent: true }), "{ending:?}");
        assert_eq!(unanswered, 1);
    }

    /// Issue 11, item 40: with --no-half-close the server sees the end of the stream only after all
    /// of its answers have arrived.
    #[tokio::test(start_paused = true)]
    async fn regression_without_a_half_close_the_answers_come_first() {
        let held = hold(&["a", "b"], false, |there| async move {
            let (mut reader, mut writer) = split(there);
            let mut bytes = [0; 4];
            reader.read_exact(&mut bytes).await.unwrap();
            sleep(Duration::from_secs(5)).await;
            writer.write_all(b"A\n").await.unwrap();
            sleep(Duration::from_secs(5)).await;
            writer.write_all(b"B\n").await.unwrap();
            // The server sends one more line than it received, before the wait ends.
            sleep(Duration::from_millis(150)).await;
            writer.write_all(b"C\n").await.unwrap();
            assert_eq!(reader.read(&mut bytes).await.unwrap(), 0);
        });
        let (ending, unanswered, printed, seconds) = held.await;
        assert!(matches!(ending, DialogueEnd::Silent { unsent: false }), "{ending:?}");
        assert_eq!((unanswered, printed.as_slice(), seconds), (0, &b"A\nB\nC\n"[..], 10));
    }

    /// Issue 11, item 40: without an answer the time-out still applies.
    #[tokio::test(start_paused = true)]
    async fn regression_without_a_half_close_silence_still_counts() {
        let held = hold(&["a"], false, |there| async move {
            sleep(Duration::from_secs(20)).await;
            drop(there);
        });
        let (ending, unanswered, _, seconds) = held.await;
        assert!(matches!(ending, DialogueEnd::Silent { unsent: false }), "{ending:?}");
        assert_eq!((unanswered, seconds), (1, 20));
    }
}
