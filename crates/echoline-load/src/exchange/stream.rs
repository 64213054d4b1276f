//! The messages and replies on one stream: sends the messages that are due and checks the replies.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::account::ClientAccount;
use super::dial::describe;
use super::dispatcher::{Dispatch, Dispatcher, DueMessage, ExchangeEnd};
use super::reply::{ReplyCheck, ReplyChecker, ReplyFault, excerpt};
use crate::message::{ExpectedReply, MessageHeader};
use crate::statistics::{MessageOutcome, SkipReason};

/// The number of bytes of settled messages that may accumulate at the front of the buffer. At this
/// number the others are moved to the front.
const SPENT_BYTES_MAX: usize = 64 * 1024;

/// The exchange on one stream connection of a client.
///
/// One buffer holds all messages in flight, so nothing is allocated per message. The clock is read
/// once per received packet, and this time counts as the end of all replies in the packet. If the
/// packet has only one reply, the time is also the start of the next message.
pub(super) struct StreamExchange<'account, S> {
    stream: S,
    account: &'account mut ClientAccount,
    replies: ReplyChecker,
    /// The bytes of the messages in flight: `answered..sent` was written, and the rest was not.
    outgoing: Vec<u8>,
    header: MessageHeader,
    answered: usize,
    sent: usize,
    /// Whether the stream may hold buffered bytes, as TLS does.
    unflushed: bool,
    /// The expected reply, if it differs from the message.
    expected: Vec<u8>,
    dispatcher: Dispatcher,
}

/// The failure of an exchange.
enum ExchangeFailure {
    Wrong(ReplyFault),
    TimedOut,
    Closed,
    Broken(io::Error),
}

impl<'account, S> StreamExchange<'account, S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(stream: S, account: &'account mut ClientAccount) -> Self {
        let settings = account.worker.settings();
        let size = settings.plan.size();
        let now = Instant::now();
        Self {
            stream,
            replies: ReplyChecker::new(size, settings.depth.get() as usize, &settings.expect),
            outgoing: Vec::with_capacity(size),
            header: MessageHeader::default(),
            answered: 0,
            sent: 0,
            unflushed: false,
            expected: Vec::new(),
            dispatcher: Dispatcher::new(account, now),
            account,
        }
    }

    /// Sends the messages of the client until the connection ends, and records their outcomes.
    /// Returns the stream, to be closed.
    pub(super) async fn run(mut self) -> (ExchangeEnd, S) {
        let end = match poll_fn(|cx| self.poll(cx)).await {
            Ok(end) => end,
            Err(failure) => ExchangeEnd::Finished(self.fail(failure)),
        };
        (end, self.stream)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<ExchangeEnd, ExchangeFailure>> {
        // The wake-up carries no timestamp, so the clock is read again on the next use.
        self.dispatcher.forget_time();
        loop {
            if let Some(end) = self.begin_due_messages(cx) {
                return Poll::Ready(Ok(end));
            }
            // A server that accepts no more data may have sent the reason. So this reads before it
            // handles the error.
            let broken = match self.poll_send(cx) {
                Poll::Ready(Err(error)) => Some(error),
                Poll::Ready(Ok(())) | Poll::Pending => None,
            };
            match self.poll_answers(cx, broken.is_some()) {
                Poll::Ready(Ok(())) => continue,
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => {}
            }
            if let Some(error) = broken {
                return Poll::Ready(Err(ExchangeFailure::Broken(error)));
            }
            if self.account.in_flight.is_empty() {
                return Poll::Pending;
            }
            return self.dispatcher.deadline.poll(cx).map(|()| Err(ExchangeFailure::TimedOut));
        }
    }

    /// Begins every message that is due, up to the depth.
    fn begin_due_messages(&mut self, cx: &Context<'_>) -> Option<ExchangeEnd> {
        let depth = self.account.worker.settings().depth.get() as usize;
        let mut end = None;
        while end.is_none() && self.account.in_flight.len() < depth {
            match self.dispatcher.next(self.account, cx) {
                Dispatch::Begin(message) => self.begin(message),
                Dispatch::Wait => break,
                Dispatch::End(found) => end = Some(found),
            }
        }
        end.filter(|_| self.account.in_flight.is_empty())
    }

    fn begin(&mut self, message: DueMessage) {
        let settings = self.account.worker.settings();
        let before = self.outgoing.len();
        let (client, number) = (self.account.index, message.number);
        settings.plan.push_next(&mut self.header, client, number, &mut self.outgoing);
        let length = self.outgoing.len() - before;
        self.dispatcher.begin(self.account, message, length);
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.outgoing.len() {
            let rest = &self.outgoing[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Receives bytes, and is ready when at least one message was answered.
    fn poll_answers(
        &mut self,
        cx: &mut Context<'_>,
        broken: bool,
    ) -> Poll<Result<(), ExchangeFailure>> {
        loop {
            let answered = if self.replies.is_empty() { 0 } else { self.check()? };
            if answered > 0 {
                // Checking several replies took time, so the clock is read again.
                if answered > 1 {
                    self.dispatcher.forget_time();
                }
                return Poll::Ready(Ok(()));
            }
            if self.account.in_flight.is_empty() && !self.replies.is_empty() {
                // No message waits for a reply, so the bytes are checked against the next message.
                return Poll::Pending;
            }
            match ready!(self.poll_receive(cx)) {
                Ok(count @ 1..) => {
                    self.replies.fill(count);
                    self.dispatcher.read_clock();
                }
                // The system reports a reset only once. If a write has reported it, the read
                // returns the end of the stream.
                Ok(0) if broken => return Poll::Pending,
                Ok(0) => return Poll::Ready(Err(ExchangeFailure::Closed)),
                Err(error) => return Poll::Ready(Err(ExchangeFailure::Broken(error))),
            }
        }
    }

    /// Returns the number of messages that the received bytes answer.
    fn check(&mut self) -> Result<usize, ExchangeFailure> {
        let mut answered = 0;
        if self.replies.is_verbatim() {
            answered = self.settle_echoed();
            if self.replies.is_verbatim() {
                return Ok(answered);
            }
        }
        while let Some(&message) = self.account.in_flight.front() {
            let settings = self.account.worker.settings();
            let end = self.answered + message.length - settings.plan.eol().as_str().len();
            let text = match &settings.expect.reply {
                ExpectedReply::Text(template) => {
                    self.expected.clear();
                    let (client, number) = (self.account.index, message.number);
                    template.write(settings.plan.seed(), client, number, &mut self.expected);
                    &self.expected[..]
                }
                _ => &self.outgoing[self.answered..end],
            };
            match self.replies.check(&settings.expect, text) {
                ReplyCheck::Correct => self.settle(1, message.length),
                ReplyCheck::Wrong(fault) => return Err(ExchangeFailure::Wrong(fault)),
                ReplyCheck::Incomplete => break,
            }
            answered += 1;
        }
        Ok(answered)
    }

    /// Settles the messages that came back byte for byte, and returns their number.
    fn settle_echoed(&mut self) -> usize {
        let equal = self.replies.echoed(&self.outgoing[self.answered..]);
        let (mut messages, mut bytes) = (0, 0);
        for message in &self.account.in_flight {
            if bytes + message.length > equal {
                break;
            }
            messages += 1;
            bytes += message.length;
        }
        if messages > 0 {
            self.replies.take_echoed(bytes);
            self.settle(messages, bytes);
        }
        messages
    }

    /// Settles the oldest messages, `bytes` together, as answered correctly.
    fn settle(&mut self, messages: usize, bytes: usize) {
        let now = self.dispatcher.now();
        self.account.reply_to_oldest(messages, now);
        self.dispatcher.settle(self.account, now);
        self.answered += bytes;
        if self.account.in_flight.is_empty() && self.sent == self.outgoing.len() {
            self.outgoing.clear();
            (self.answered, self.sent) = (0, 0);
        } else if self.answered.min(self.sent) > SPENT_BYTES_MAX {
            let spent = self.answered.min(self.sent);
            self.outgoing.drain(..spent);
            (self.answered, self.sent) = (self.answered - spent, self.sent - spent);
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(self.replies.room());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        Poll::Ready(Ok(room.filled().len()))
    }

    /// Fails all messages in flight: the oldest one because of `failure`, the others because the
    /// connection ends.
    fn fail(&mut self, failure: ExchangeFailure) -> SkipReason {
        let now = self.dispatcher.read_clock();
        let outcome = failure.outcome();
        let example = (outcome == MessageOutcome::Wrong).then(|| self.compare());
        let reason = self.describe(failure);
        self.account.note(|record| {
            record.note_reason(&reason);
            if let Some(example) = example {
                record.note_wrong(|| example);
            }
        });
        if let Some(message) = self.account.in_flight.pop_front() {
            self.account.fail(&message, outcome, now);
        }
        let others = if outcome == MessageOutcome::Reset {
            MessageOutcome::Reset
        } else {
            MessageOutcome::Lost
        };
        self.account.fail_all(others, now);
        outcome.into()
    }

    /// Shows the oldest message and the reply to it.
    fn compare(&self) -> String {
        let length = self.account.in_flight.front().map_or(0, |message| message.length);
        let message = &self.outgoing[self.answered..self.answered + length];
        format!("sent \"{}\", got \"{}\"", excerpt(message), self.replies.unmatched_excerpt())
    }

    fn describe(&self, failure: ExchangeFailure) -> String {
        let idle = self.account.in_flight.is_empty();
        let when = if idle { "while no reply was due" } else { "before the reply" };
        let reason = match failure {
            ExchangeFailure::Wrong(fault) => return format!("wrong reply: {}", fault.describe()),
            ExchangeFailure::TimedOut => {
                format!("no reply within {:?}", self.account.worker.settings().timeout)
            }
            ExchangeFailure::Closed => format!("the server closed the connection {when}"),
            ExchangeFailure::Broken(error) => {
                format!("the connection broke {when}: {}", describe(&error))
            }
        };
        match self.replies.unmatched_excerpt() {
            said if said.is_empty() => reason,
            said => format!("{reason}; its last line was \"{said}\""),
        }
    }
}

impl ExchangeFailure {
    fn outcome(&self) -> MessageOutcome {
        match self {
            Self::Wrong(_) => MessageOutcome::Wrong,
            Self::TimedOut => MessageOutcome::TimedOut,
            Self::Broken(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                MessageOutcome::Reset
            }
            // A broken pipe means that the peer had already closed the connection.
            Self::Closed | Self::Broken(_) => MessageOutcome::Lost,
        }
    }
}
