//! The messages and answers on one UDP socket: each message has a time-out of its own, and a loss
//! ends nothing.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::gate::{Due, Gate, Next};
use super::{Leave, shown};
use crate::answers::{Answers, Match, Order};
use crate::client::Client;
use crate::deadline::Deadline;
use crate::dial::describe;
use crate::expect::Reply;
use crate::ledger::{End, Outcome};
use crate::reply::{Fault, without_end};
use crate::settings::Settings;
use crate::strays::Stray;
use echoline::internals::socket_error;

/// How much longer than the message an answer may be; what is beyond that is cut off.
const EXTRA_BYTES: usize = 1024;

/// How much of what came is shown.
const SHOWN_BYTES: usize = 80;

/// One socket of a client.
pub(crate) struct DatagramExchange<'client> {
    socket: Arc<UdpSocket>,
    client: &'client mut Client,
    gate: Gate,
    answers: Answers,
    /// The message that was begun last.
    message: Vec<u8>,
    /// The system has no room for it yet.
    unsent: bool,
    buffer: Vec<u8>,
    /// Of the oldest message in flight.
    deadline: Deadline,
}

impl<'client> DatagramExchange<'client> {
    pub(crate) fn new(socket: UdpSocket, client: &'client mut Client) -> Self {
        let settings = client.job.settings();
        let now = Instant::now();
        Self {
            socket: Arc::new(socket),
            gate: Gate::new(client, now),
            answers: Answers::new(&settings.expect),
            message: Vec::with_capacity(settings.plan.size()),
            unsent: false,
            buffer: vec![0; settings.plan.size() + EXTRA_BYTES],
            deadline: Deadline::new(now + settings.timeout()),
            client,
        }
    }

    /// Sends all messages of the client, or as many as there is sense in, and records what
    /// became of them.
    pub(crate) async fn run(mut self) -> Leave {
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
                // As a connection that is refused: nobody is there, now.
                Leave::Finished(End::NotConnected)
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Leave>> {
        // Who was woken does not know when.
        self.gate.now = None;
        loop {
            self.give_up_late();
            if let Some(leave) = self.take_turns(cx)? {
                return Poll::Ready(Ok(leave));
            }
            if self.poll_answer(cx)?.is_ready() {
                continue;
            }
            if self.client.flights.is_empty() {
                return Poll::Pending;
            }
            ready!(self.deadline.poll(cx));
            self.gate.now = None;
        }
    }

    /// Begins and sends every message whose turn it is, as far as there is room.
    fn take_turns(&mut self, cx: &mut Context<'_>) -> io::Result<Option<Leave>> {
        let depth = self.client.job.settings().depth.get() as usize;
        loop {
            if self.unsent && self.poll_send(cx)?.is_pending() {
                return Ok(None);
            }
            if self.client.flights.len() >= depth {
                return Ok(None);
            }
            match self.gate.next(self.client, cx) {
                Next::Begin(message) => self.begin(message),
                Next::Wait => return Ok(None),
                Next::Leave(leave) => {
                    return Ok(Some(leave).filter(|_| self.client.flights.is_empty()));
                }
            }
        }
    }

    fn begin(&mut self, message: Due) {
        let settings = self.client.job.settings();
        self.message.clear();
        settings.plan.push_message(self.client.index, message.number, &mut self.message);
        if self.client.flights.is_empty() {
            self.deadline.put_off(self.gate.now() + settings.timeout());
        }
        self.answers.wait_for(message.number, texts(settings, self.client.index));
        self.gate.begin(self.client, message, self.message.len());
        self.unsent = true;
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.socket.poll_send(cx, &self.message))?;
        self.unsent = false;
        Poll::Ready(Ok(()))
    }

    /// Ready when something came.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = ReadBuf::new(&mut self.buffer);
        ready!(self.socket.poll_recv(cx, &mut room))?;
        let length = room.filled().len();
        self.gate.now = Some(Instant::now());
        // What comes too late is late, however busy the tester was meanwhile.
        self.give_up_late();
        self.judge(length);
        Poll::Ready(Ok(()))
    }

    /// What has come already when everything is settled: a second answer, perhaps.
    fn take_rest(&mut self) {
        while let Ok(length) = self.socket.try_recv(&mut self.buffer) {
            self.judge(length);
        }
    }

    fn judge(&mut self, length: usize) {
        let (settings, index) = (self.client.job.settings(), self.client.index);
        let datagram = &self.buffer[..length];
        let now = self.gate.now.unwrap_or_else(Instant::now);
        match self.answers.take(&settings.expect, datagram, texts(settings, index)) {
            Match::Answer { place, order } => self.answer(place, order),
            Match::Wrong { place, fault } => self.fail_wrong(place, fault, length),
            Match::Late => self.client.stray(Stray::Late, now),
            Match::Duplicate => self.client.stray(Stray::Duplicated, now),
            Match::Stray => self.client.stray(Stray::Unasked, now),
        }
    }

    fn answer(&mut self, place: usize, order: Order) {
        let now = self.gate.now();
        if let Some(flight) = self.client.flights.remove(place) {
            self.client.answer(&flight, now);
        }
        if order == Order::Overtaken {
            self.client.stray(Stray::Reordered, now);
        }
        self.settled(now);
    }

    fn fail_wrong(&mut self, place: usize, fault: Fault, length: usize) {
        let now = self.gate.now();
        let Some(flight) = self.client.flights.remove(place) else { return };
        let got = shown(&self.buffer[..length.min(SHOWN_BYTES + 1)]);
        let settings = self.client.job.settings();
        let mut message = Vec::new();
        settings.plan.push_message(self.client.index, flight.number, &mut message);
        self.client.note(|record| {
            record.note_reason(&format!("wrong reply: {}", fault.describe()));
            record.note_wrong(|| format!("sent \"{}\", got \"{got}\"", shown(&message)));
        });
        self.client.fail(&flight, Outcome::Wrong, now);
        self.settled(now);
    }

    /// There is room for another message.
    fn settled(&mut self, now: Instant) {
        self.gate.free_since = now;
        if let Some(next) = self.client.flights.front() {
            self.deadline.put_off(next.begun + self.client.job.settings().timeout());
        }
    }

    /// Gives up every message that has waited for as long as it may.
    fn give_up_late(&mut self) {
        let timeout = self.client.job.settings().timeout();
        while let Some(&flight) = self.client.flights.front() {
            let due = flight.begun + timeout;
            let now = self.gate.now();
            if now < due {
                break;
            }
            self.client.flights.pop_front();
            self.answers.give_up();
            // One that the system had no room for all the time is not sent any more.
            self.unsent &= !self.client.flights.is_empty();
            let reason = format!("no reply within {timeout:?}");
            self.client.note(|record| record.note_reason(&reason));
            self.client.fail(&flight, Outcome::TimedOut, now);
            self.settled(now);
        }
    }

    /// The system says that nothing gets there: everything in flight is lost.
    fn fail(&mut self, error: &io::Error) {
        let now = Instant::now();
        let reason = format!("cannot send or receive: {}", describe(error));
        self.client.note(|record| record.note_reason(&reason));
        while let Some(flight) = self.client.flights.pop_front() {
            self.client.fail(&flight, Outcome::Lost, now);
        }
    }
}

/// Makes what the right answer to a message of `client` says.
fn texts(settings: &Settings, client: u32) -> impl Fn(u32, &mut Vec<u8>) {
    move |number, text| match &settings.expect.reply {
        Reply::Text(template) => template.write(settings.plan.seed(), client, number, text),
        _ => {
            settings.plan.push_message(client, number, text);
            text.truncate(without_end(text).len());
        }
    }
}
