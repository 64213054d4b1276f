//! The messages and replies on one connection: sends what is due, checks what comes back.

mod datagrams;
mod gate;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::client::{Client, Flight};
use super::deadline::Deadline;
use super::dial::describe;
use super::expect::Reply;
use super::ledger::{End, Outcome};
use super::reply::{Fault, Replies, Verdict, shown};
use gate::{Due, Gate, Next};

pub(super) use datagrams::DatagramExchange;

/// Sent bytes that are kept in front of those in flight before they are moved away.
const SPENT_BYTES_MAX: usize = 64 * 1024;

/// One connection of a client.
///
/// There is one buffer of messages for all that are in flight, so that nothing is allocated for
/// each, and one time is asked for each packet that comes: it is when its replies were complete,
/// and, where there was but one, when the message that it makes room for is begun.
pub(super) struct Exchange<'client, S> {
    stream: S,
    client: &'client mut Client,
    replies: Replies,
    /// The messages in flight: `answered..sent` was sent, the rest is to be.
    outgoing: Vec<u8>,
    answered: usize,
    sent: usize,
    /// The stream took something and may not have passed it on, as one that encrypts.
    unflushed: bool,
    /// What a reply is held against where that is not the message.
    expected: Vec<u8>,
    deadline: Deadline,
    gate: Gate,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// For this reason.
    Finished(End),
    /// It has had its share of messages.
    Renew,
}

/// Why an exchange failed.
enum Failure {
    Wrong(Fault),
    TimedOut,
    Closed,
    Broken(io::Error),
}

impl<'client, S> Exchange<'client, S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(stream: S, client: &'client mut Client) -> Self {
        let settings = client.job.settings();
        let size = settings.plan.size();
        let now = Instant::now();
        Self {
            stream,
            replies: Replies::new(size, settings.depth.get() as usize, &settings.expect),
            outgoing: Vec::with_capacity(size),
            answered: 0,
            sent: 0,
            unflushed: false,
            expected: Vec::new(),
            deadline: Deadline::new(now + settings.timeout()),
            gate: Gate::new(client, now),
            client,
        }
    }

    /// Sends all messages of the client, or as many as there is sense in, and records what
    /// became of them. Gives the stream back, to be closed.
    pub(super) async fn run(mut self) -> (Leave, S) {
        let leave = match poll_fn(|cx| self.poll(cx)).await {
            Ok(leave) => leave,
            Err(failure) => Leave::Finished(self.fail(failure)),
        };
        (leave, self.stream)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Leave, Failure>> {
        // Who was woken does not know when.
        self.gate.now = None;
        loop {
            if let Some(leave) = self.take_turns(cx) {
                return Poll::Ready(Ok(leave));
            }
            // A server that takes no more may still have said why: first that is read.
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
                return Poll::Ready(Err(Failure::Broken(error)));
            }
            if self.client.flights.is_empty() {
                return Poll::Pending;
            }
            return self.deadline.poll(cx).map(|()| Err(Failure::TimedOut));
        }
    }

    /// Begins every message whose turn it is, as far as there is room.
    fn take_turns(&mut self, cx: &Context<'_>) -> Option<Leave> {
        let depth = self.client.job.settings().depth.get() as usize;
        let mut leave = None;
        while leave.is_none() && self.client.flights.len() < depth {
            match self.gate.next(self.client, cx) {
                Next::Begin(message) => self.begin(message),
                Next::Wait => break,
                Next::Leave(found) => leave = Some(found),
            }
        }
        leave.filter(|_| self.client.flights.is_empty())
    }

    fn begin(&mut self, message: Due) {
        let settings = self.client.job.settings();
        let before = self.outgoing.len();
        settings.plan.push_message(self.client.index, message.number, &mut self.outgoing);
        let length = self.outgoing.len() - before;
        if self.client.flights.is_empty() {
            self.deadline.put_off(self.gate.now() + settings.timeout());
        }
        self.gate.begin(self.client, message, length);
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

    /// Ready when at least one message was answered, so that there is room for others.
    fn poll_answers(&mut self, cx: &mut Context<'_>, broken: bool) -> Poll<Result<(), Failure>> {
        loop {
            let answered = self.judge()?;
            if answered > 0 {
                // What took so many replies has taken time.
                self.gate.now = self.gate.now.filter(|_| answered == 1);
                return Poll::Ready(Ok(()));
            }
            if self.client.flights.is_empty() && !self.replies.is_empty() {
                // Nobody asked for it: it will be held against the next message.
                return Poll::Pending;
            }
            match ready!(self.poll_receive(cx)) {
                Ok(count @ 1..) => {
                    self.replies.fill(count);
                    self.gate.now = Some(Instant::now());
                }
                // A reset is told once: whoever hears of it by sending reads a plain end.
                Ok(0) if broken => return Poll::Pending,
                Ok(0) => return Poll::Ready(Err(Failure::Closed)),
                Err(error) => return Poll::Ready(Err(Failure::Broken(error))),
            }
        }
    }

    /// How many messages were answered by what has come.
    fn judge(&mut self) -> Result<u32, Failure> {
        let mut answered = 0;
        while let Some(&flight) = self.client.flights.front() {
            let settings = self.client.job.settings();
            let end = self.answered + flight.length - settings.plan.eol().as_str().len();
            let text = match &settings.expect.reply {
                Reply::Text(template) => {
                    self.expected.clear();
                    let (client, number) = (self.client.index, flight.number);
                    template.write(settings.plan.seed(), client, number, &mut self.expected);
                    &self.expected[..]
                }
                _ => &self.outgoing[self.answered..end],
            };
            match self.replies.judge(&settings.expect, text) {
                Verdict::Right => self.settle(&flight),
                Verdict::Wrong(fault) => return Err(Failure::Wrong(fault)),
                Verdict::Incomplete => break,
            }
            answered += 1;
        }
        Ok(answered)
    }

    fn settle(&mut self, flight: &Flight) {
        let now = self.gate.now();
        self.client.flights.pop_front();
        self.client.answer(flight, now);
        self.gate.free_since = now;
        self.answered += flight.length;
        if self.client.flights.is_empty() && self.sent == self.outgoing.len() {
            self.outgoing.clear();
            (self.answered, self.sent) = (0, 0);
        } else if self.answered.min(self.sent) > SPENT_BYTES_MAX {
            let spent = self.answered.min(self.sent);
            self.outgoing.drain(..spent);
            (self.answered, self.sent) = (self.answered - spent, self.sent - spent);
        }
        if let Some(next) = self.client.flights.front() {
            self.deadline.put_off(next.begun + self.client.job.settings().timeout());
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(self.replies.room());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        Poll::Ready(Ok(room.filled().len()))
    }

    /// Records what becomes of everything in flight: the oldest failed, the others with it.
    fn fail(&mut self, failure: Failure) -> End {
        let now = Instant::now();
        let outcome = failure.outcome();
        let example = (outcome == Outcome::Wrong).then(|| self.compare());
        let reason = self.describe(failure);
        self.client.note(|record| {
            record.note_reason(&reason);
            if let Some(example) = example {
                record.note_wrong(|| example);
            }
        });
        if let Some(flight) = self.client.flights.pop_front() {
            self.client.fail(&flight, outcome, now);
        }
        let others = if outcome == Outcome::Reset { Outcome::Reset } else { Outcome::Lost };
        while let Some(flight) = self.client.flights.pop_front() {
            self.client.fail(&flight, others, now);
        }
        outcome.into()
    }

    /// What was sent beside what came.
    fn compare(&self) -> String {
        let length = self.client.flights.front().map_or(0, |flight| flight.length);
        let message = &self.outgoing[self.answered..self.answered + length];
        format!("sent \"{}\", got \"{}\"", shown(message), self.replies.last_other())
    }

    fn describe(&self, failure: Failure) -> String {
        let idle = self.client.flights.is_empty();
        let when = if idle { "while nothing was asked of it" } else { "before the reply" };
        let reason = match failure {
            Failure::Wrong(fault) => return format!("wrong reply: {}", fault.describe()),
            Failure::TimedOut => {
                format!("no reply within {:?}", self.client.job.settings().timeout)
            }
            Failure::Closed => format!("the server closed the connection {when}"),
            Failure::Broken(error) => {
                format!("the connection broke {when}: {}", describe(&error))
            }
        };
        match self.replies.last_other() {
            said if said.is_empty() => reason,
            said => format!("{reason}; the last it said: \"{said}\""),
        }
    }
}

impl Failure {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Wrong(_) => Outcome::Wrong,
            Self::TimedOut => Outcome::TimedOut,
            Self::Broken(error) if error.kind() == io::ErrorKind::ConnectionReset => Outcome::Reset,
            // A broken pipe is a connection that was closed first.
            Self::Closed | Self::Broken(_) => Outcome::Lost,
        }
    }
}

#[cfg(test)]
mod tests;
