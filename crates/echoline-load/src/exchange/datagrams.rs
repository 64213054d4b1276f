//! The messages and replies on one UDP socket. Each message has its own time-out. A lost message
//! does not end the exchange.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::account::ClientAccount;
use super::datagram_matcher::{ArrivalOrder, DatagramMatch, DatagramMatcher};
use super::dial::describe;
use super::dispatcher::{Dispatch, Dispatcher, DueMessage, ExchangeEnd};
use super::reply::{ReplyFault, excerpt, without_eol};
use crate::message::ExpectedReply;
use crate::settings::LoadSettings;
use crate::statistics::{DatagramAnomaly, MessageOutcome, SkipReason};
use echoline::internals::socket_error;

/// The number of bytes by which a reply may be longer than the message. Longer replies are
/// truncated.
const EXTRA_BYTES: usize = 1024;

/// The number of bytes of a datagram that an error shows.
const SHOWN_BYTES: usize = 80;

/// The exchange on one UDP socket of a client.
pub(super) struct DatagramExchange<'account> {
    socket: Arc<UdpSocket>,
    account: &'account mut ClientAccount,
    dispatcher: Dispatcher,
    matcher: DatagramMatcher,
    /// The message that was started last.
    message: Vec<u8>,
    /// Whether `message` waits for room in the socket's buffer.
    is_unsent: bool,
    buffer: Vec<u8>,
}

impl<'account> DatagramExchange<'account> {
    pub(super) fn new(socket: UdpSocket, account: &'account mut ClientAccount) -> Self {
        let settings = account.worker.settings();
        let now = Instant::now();
        Self {
            socket: Arc::new(socket),
            dispatcher: Dispatcher::new(account, now),
            matcher: DatagramMatcher::new(&settings.expect),
            message: Vec::with_capacity(settings.plan.size()),
            is_unsent: false,
            buffer: vec![0; settings.plan.size() + EXTRA_BYTES],
            account,
        }
    }

    /// Sends the messages of the client until the socket ends, and records their outcomes.
    pub(super) async fn run(mut self) -> ExchangeEnd {
        let socket = Arc::clone(&self.socket);
        let ended = tokio::select! {
            biased;
            ended = poll_fn(|cx| self.poll(cx)) => ended,
            error = socket_error(&socket) => Err(error),
        };
        match ended {
            Ok(leave) => {
                self.take_rest();
                leave
            }
            Err(error) => {
                self.fail(&error);
                // The error means that no server is there now, as after a refused connection.
                ExchangeEnd::Finished(SkipReason::NotConnected)
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ExchangeEnd>> {
        // The wake-up carries no timestamp, so the clock is read again on the next use.
        self.dispatcher.forget_time();
        loop {
            self.give_up_timed_out();
            if let Some(leave) = self.begin_due_messages(cx)? {
                return Poll::Ready(Ok(leave));
            }
            if self.poll_answer(cx)?.is_ready() {
                continue;
            }
            if self.account.in_flight.is_empty() {
                return Poll::Pending;
            }
            ready!(self.dispatcher.deadline.poll(cx));
            self.dispatcher.forget_time();
        }
    }

    /// Begins and sends every message that is due, up to the depth.
    fn begin_due_messages(&mut self, cx: &mut Context<'_>) -> io::Result<Option<ExchangeEnd>> {
        let depth = self.account.worker.settings().depth.get() as usize;
        loop {
            if self.is_unsent && self.poll_send(cx)?.is_pending() {
                return Ok(None);
            }
            if self.account.in_flight.len() >= depth {
                return Ok(None);
            }
            match self.dispatcher.next(self.account, cx) {
                Dispatch::Begin(message) => self.begin(message),
                Dispatch::Wait => return Ok(None),
                Dispatch::End(leave) => {
                    return Ok(Some(leave).filter(|_| self.account.in_flight.is_empty()));
                }
            }
        }
    }

    fn begin(&mut self, message: DueMessage) {
        let settings = self.account.worker.settings();
        self.message.clear();
        settings.plan.push_message(self.account.index, message.number, &mut self.message);
        self.matcher.wait_for(message.number, expected_text(settings, self.account.index));
        self.dispatcher.begin(self.account, message, self.message.len());
        self.is_unsent = true;
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.socket.poll_send(cx, &self.message))?;
        self.is_unsent = false;
        Poll::Ready(Ok(()))
    }

    /// Returns `Ready` when a datagram was received.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = ReadBuf::new(&mut self.buffer);
        ready!(self.socket.poll_recv(cx, &mut room))?;
        let length = room.filled().len();
        self.dispatcher.read_clock();
        // Messages time out before the reply is checked. So a late reply counts as late, even if
        // the tester was busy and read it late.
        self.give_up_timed_out();
        self.check(length);
        Poll::Ready(Ok(()))
    }

    /// Receives the datagrams that have arrived after all messages are settled, such as second
    /// replies.
    fn take_rest(&mut self) {
        while let Ok(length) = self.socket.try_recv(&mut self.buffer) {
            self.check(length);
        }
    }

    fn check(&mut self, length: usize) {
        let (settings, index) = (self.account.worker.settings(), self.account.index);
        let datagram = &self.buffer[..length];
        let now = self.dispatcher.now();
        match self.matcher.take(&settings.expect, datagram, expected_text(settings, index)) {
            DatagramMatch::Correct { index, order } => self.answer(index, order),
            DatagramMatch::Wrong { index, fault } => self.fail_wrong(index, fault, length),
            DatagramMatch::Late => self.account.anomaly(DatagramAnomaly::Late, now),
            DatagramMatch::Duplicate => self.account.anomaly(DatagramAnomaly::Duplicated, now),
            DatagramMatch::Unasked => self.account.anomaly(DatagramAnomaly::Unasked, now),
        }
    }

    fn answer(&mut self, index: usize, order: ArrivalOrder) {
        let now = self.dispatcher.now();
        if let Some(sent) = self.account.in_flight.remove(index) {
            self.account.reply(&sent, now);
        }
        if order == ArrivalOrder::Overtaken {
            self.account.anomaly(DatagramAnomaly::Reordered, now);
        }
        self.dispatcher.settle(self.account, now);
    }

    fn fail_wrong(&mut self, index: usize, fault: ReplyFault, length: usize) {
        let now = self.dispatcher.now();
        let Some(sent) = self.account.in_flight.remove(index) else { return };
        let got = excerpt(&self.buffer[..length.min(SHOWN_BYTES + 1)]);
        let settings = self.account.worker.settings();
        let mut message = Vec::new();
        settings.plan.push_message(self.account.index, sent.number, &mut message);
        self.account.note(|record| {
            record.note_reason(&format!("wrong reply: {}", fault.describe()));
            record.note_wrong(|| format!("sent \"{}\", got \"{got}\"", excerpt(&message)));
        });
        self.account.fail(&sent, MessageOutcome::Wrong, now);
        self.dispatcher.settle(self.account, now);
    }

    /// Gives up every message whose time-out has passed.
    fn give_up_timed_out(&mut self) {
        let timeout = self.account.worker.settings().timeout();
        while let Some(&sent) = self.account.in_flight.front() {
            let due = sent.started + timeout;
            let now = self.dispatcher.now();
            if now < due {
                break;
            }
            self.account.in_flight.pop_front();
            self.matcher.give_up();
            // A message that still waits for room in the buffer is dropped once it has timed out.
            self.is_unsent &= !self.account.in_flight.is_empty();
            let reason = format!("no reply within {timeout:?}");
            self.account.note_reason(&reason);
            self.account.fail(&sent, MessageOutcome::TimedOut, now);
            self.dispatcher.settle(self.account, now);
        }
    }

    /// Fails all messages in flight after an error of the socket.
    fn fail(&mut self, error: &io::Error) {
        let now = self.dispatcher.read_clock();
        let reason = format!("cannot send or receive: {}", describe(error));
        self.account.note_reason(&reason);
        self.account.fail_all(MessageOutcome::Lost, now);
    }
}

/// Returns a function that writes the expected reply to a message of `client`.
fn expected_text(settings: &LoadSettings, client: u32) -> impl Fn(u32, &mut Vec<u8>) {
    move |number, text| match &settings.expect.reply {
        ExpectedReply::Text(template) => template.write(settings.plan.seed(), client, number, text),
        _ => {
            settings.plan.push_message(client, number, text);
            text.truncate(without_eol(text).len());
        }
    }
}
