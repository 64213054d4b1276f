//! The dialogue over UDP: each line is one datagram, and so is each answer.

use std::io;
use std::time::Duration;

use anyhow::{Context, anyhow};
use memchr::memchr;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

use super::dialogue::{DialogueEnd, DialogueEndpoint};
use super::failure::SendFailure;
use super::input::{Input, NextInput};
use super::screen::Screen;
use super::tally::ReplyTally;
use echoline::Address;
use echoline::internals::socket_error;

/// The maximum payload of a datagram over IPv4, in bytes. Over IPv6 it is 20 bytes more.
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// The number of unanswered lines at which sending pauses. A usual server can queue so many
/// datagrams.
const WINDOW: u64 = 32;

/// The delay before the next line if no answer arrives. Answers may be lost, or the server may send
/// none.
const PAUSE: Duration = Duration::from_millis(100);

/// A datagram client with its input, its output and its time-out.
pub(super) struct DatagramDialogue {
    pub(super) input: Input,
    pub(super) screen: Screen,
    /// The time to wait for answers after the last line.
    pub(super) timeout: Option<Duration>,
}

/// Lines that wait to be sent.
#[derive(Debug, Default)]
struct PendingLines {
    bytes: Vec<u8>,
    /// The number of bytes that were sent.
    gone: usize,
    /// Whether the input has ended. Remaining bytes without a line end are then also a line.
    ended: bool,
}

/// Returns a socket that sends to `address` and receives only from it.
pub(super) async fn open(address: &Address) -> Result<UdpSocket, SendFailure> {
    let found = address.resolve().await;
    let found = found.with_context(|| format!("cannot connect to {address}"));
    let found = found.map_err(SendFailure::not_connected)?;
    let none = || SendFailure::not_connected(anyhow!("{address} has no address"));
    let to = found.first().ok_or_else(none)?;
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let connected = async {
        let socket = UdpSocket::bind(any).await?;
        socket.connect(to).await?;
        io::Result::Ok(socket)
    };
    let connected = connected.await.with_context(|| format!("cannot send to {address}"));
    connected.map_err(SendFailure::not_connected)
}

impl DatagramDialogue {
    /// Sends all input and prints the answers, until every line was answered or no more answers
    /// arrive.
    pub(super) async fn hold(mut self, socket: &UdpSocket) -> (DialogueEnd, ReplyTally) {
        let mut tally = ReplyTally::default();
        let ending = self.run(socket, &mut tally).await.unwrap_or_else(|ending| ending);
        self.screen.settle().await;
        (ending, tally)
    }

    async fn run(
        &mut self,
        socket: &UdpSocket,
        tally: &mut ReplyTally,
    ) -> Result<DialogueEnd, DialogueEnd> {
        let (mut lines, mut typed) = (PendingLines::default(), Vec::new());
        let mut chunk = vec![0; DATAGRAM_BYTES_MAX + 21];
        let (mut active_at, mut window) = (Instant::now(), WINDOW);
        loop {
            if let Some(line) = lines.first().filter(|_| tally.unanswered() < window) {
                send(socket, line).await?;
                lines.drop_first();
                tally.note_sent(1);
                active_at = Instant::now();
                continue;
            }
            let waits = lines.first().is_some();
            let reads = !waits && !tally.has_input_ended();
            if tally.is_complete() && !waits {
                return Ok(DialogueEnd::Closed { input_left: false });
            }
            let patience = if waits { Some(PAUSE) } else { self.timeout };
            tokio::select! {
                biased;
                received = socket.recv(&mut chunk) => {
                    let count = received.map_err(broken(DialogueEndpoint::Server))?;
                    tally.note_datagram();
                    self.show(&chunk[..count]).await?;
                    active_at = Instant::now();
                }
                error = socket_error(socket) => return Err(broken(DialogueEndpoint::Server)(error)),
                next = self.input.next(&mut typed), if reads => {
                    match next.map_err(broken(DialogueEndpoint::Input))? {
                        NextInput::Lines(_) => {}
                        NextInput::End(unended) => {
                            tally.note_input_end(unended);
                            lines.ended = true;
                        }
                        NextInput::Interrupted => return Err(DialogueEnd::Interrupted),
                    }
                    lines.push(&typed)?;
                    active_at = Instant::now();
                }
                () = until(active_at, patience), if waits || !reads => {
                    if !waits {
                        return Ok(DialogueEnd::Silent { unsent: false });
                    }
                    // Allow one more line, although no answer has arrived.
                    window += 1;
                    active_at = Instant::now();
                }
            }
        }
    }

    async fn show(&mut self, datagram: &[u8]) -> Result<(), DialogueEnd> {
        self.screen.show(datagram).await.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => DialogueEnd::OutputGone,
            _ => DialogueEnd::Broken(DialogueEndpoint::Output, error),
        })
    }
}

/// Waits until `patience` has passed since `active_at`; never returns if `patience` is `None`.
async fn until(active_at: Instant, patience: Option<Duration>) {
    match patience.and_then(|length| active_at.checked_add(length)) {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn send(socket: &UdpSocket, line: &[u8]) -> Result<(), DialogueEnd> {
    let sent = socket.send(line).await;
    sent.map(drop).map_err(|error| DialogueEnd::Broken(DialogueEndpoint::Server, error))
}

/// Returns a function that turns an error at `endpoint` into the end of the dialogue.
fn broken(endpoint: DialogueEndpoint) -> impl FnOnce(io::Error) -> DialogueEnd {
    move |error| DialogueEnd::Broken(endpoint, error)
}

impl PendingLines {
    fn push(&mut self, bytes: &[u8]) -> Result<(), DialogueEnd> {
        self.bytes.drain(..self.gone);
        self.gone = 0;
        self.bytes.extend_from_slice(bytes);
        let longest = self.bytes.split(|&byte| byte == b'\n').map(<[u8]>::len).max();
        if longest.is_some_and(|longest| longest >= DATAGRAM_BYTES_MAX) {
            let text = format!(
                "a line of more than {DATAGRAM_BYTES_MAX} bytes does not fit into a datagram"
            );
            let error = io::Error::new(io::ErrorKind::InvalidInput, text);
            return Err(DialogueEnd::Broken(DialogueEndpoint::Input, error));
        }
        Ok(())
    }

    /// Returns the first complete line with its line end. After the end of the input, also returns
    /// a last line without a line end.
    fn first(&self) -> Option<&[u8]> {
        let rest = &self.bytes[self.gone..];
        let whole = memchr(b'\n', rest).map(|end| &rest[..=end]);
        whole.or_else(|| Some(rest).filter(|rest| self.ended && !rest.is_empty()))
    }

    fn drop_first(&mut self) {
        self.gone += self.first().map_or(0, <[u8]>::len);
    }
}
