//! Applies the faults to the bytes of one direction of a connection. Pure.

use std::time::Duration;

use super::faults::ConnectionFaults;
use super::kind::Direction;
use super::plan::Fault;
use super::queue::{NextAction, Pacing, TimedQueue};
use super::selector::{MessageCarrier, MessageFaults, RuleSelector};

/// A message without a line end ends after this number of bytes.
const MESSAGE_MAX: u64 = 64 * 1024;

/// The maximum number of queued bytes. Beyond it the sender has to wait.
const QUEUE_MAX: usize = 256 * 1024;

/// The maximum number of queued bytes in a slow direction. It is small, so that the sender notices
/// a slow reader.
const SLOW_QUEUE_MAX: usize = 4 * 1024;

/// The maximum length of an unlimited stall, so that every stall ends.
const STALL_LONGEST: Duration = Duration::from_secs(60 * 60);

/// One direction of a connection with faults. Bytes that are pushed in come out later, are changed,
/// or are lost. Times are relative to an arbitrary start.
#[derive(Debug)]
pub struct FaultPipe {
    direction: Direction,
    selector: RuleSelector,
    /// Faults that happen once, after a number of bytes or a time.
    triggers: Vec<Trigger>,
    carrier: MessageCarrier,
    /// The time at which the current plan took effect.
    since: Duration,
    /// Bytes that were pushed under the current plan, including lost ones.
    passed: u64,
    message: Option<PipedMessage>,
    queue: TimedQueue,
    /// Whether the direction has ended. Further bytes are then discarded.
    closed: bool,
}

/// A message in progress.
#[derive(Debug, Default)]
struct PipedMessage {
    message_faults: MessageFaults,
    /// The length so far, in bytes.
    length: u64,
    /// The bytes to send once more when the message ends, if the message is duplicated.
    copy: Vec<u8>,
}

#[derive(Debug)]
struct Trigger {
    rule: usize,
    /// The number of bytes that pass before the trigger.
    at: u64,
    /// The earliest time of the trigger. It then fires even if no bytes arrive.
    due: Option<Duration>,
}

impl FaultPipe {
    /// Creates the pipe of one direction of a new connection.
    pub fn new(faults: ConnectionFaults, direction: Direction, carrier: MessageCarrier) -> Self {
        let selector = RuleSelector::new(faults, direction, carrier);
        let triggers = triggers(&selector, Duration::ZERO);
        Self {
            direction,
            selector,
            triggers,
            carrier,
            since: Duration::ZERO,
            passed: 0,
            message: None,
            queue: TimedQueue::default(),
            closed: false,
        }
    }

    /// Returns whether bytes pass unchanged: there are no rules, and no effects of earlier rules
    /// remain.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.selector.is_empty() && self.queue.is_empty() && self.message.is_none() && !self.closed
    }

    /// Returns the faults that the plan has decided for the connection.
    pub fn faults(&self) -> &ConnectionFaults {
        &self.selector.faults
    }

    /// Returns the number of bytes that may be pushed.
    pub fn room(&self) -> usize {
        let most = match (self.closed, self.selector.is_slow()) {
            // Any number of bytes may be pushed, because they are discarded.
            (true, _) => return usize::MAX,
            (false, true) => SLOW_QUEUE_MAX,
            (false, false) => QUEUE_MAX,
        };
        most.saturating_sub(self.queue.len())
    }

    /// Appends bytes to the pipe and applies the faults of their messages.
    pub fn push(&mut self, mut bytes: &[u8], now: Duration) {
        while !bytes.is_empty() && !self.closed {
            let message = self.message.get_or_insert_with(|| PipedMessage {
                message_faults: self.selector.next(self.passed, now.saturating_sub(self.since)),
                ..PipedMessage::default()
            });
            if message.length == 0 {
                let triggers = message.message_faults.triggers.iter();
                let begun = self.passed;
                self.triggers.extend(triggers.map(|&(rule, at)| Trigger {
                    rule,
                    at: begun + at,
                    due: None,
                }));
            }
            self.fire(now, |_| true);
            if self.closed {
                break;
            }
            let (piece, rest) = bytes.split_at(self.piece(bytes));
            self.take(piece, now);
            self.fire(now, |_| true);
            bytes = rest;
        }
    }

    /// Ends the input. An unlimited stall now lasts at most `patience`. After that the connection
    /// is reset, because ending the stream would make the truncated data look complete.
    pub fn finish(&mut self, now: Duration, patience: Duration) {
        self.queue.hurry(now.saturating_add(patience));
        if !self.closed {
            self.finish_message(now);
            self.closed = true;
            self.queue.end(now);
        }
    }

    /// Switches to another plan. Bytes that are queued because of the old plan are passed on at
    /// once.
    pub fn apply_plan(&mut self, faults: ConnectionFaults, now: Duration) {
        self.queue.release(now);
        if let Some(message) = &mut self.message {
            let message_faults = &mut message.message_faults;
            (message_faults.delay, message_faults.split, message_faults.rate) =
                (Duration::ZERO, None, None);
        }
        self.selector = RuleSelector::new(faults, self.direction, self.carrier);
        self.triggers = triggers(&self.selector, now);
        (self.passed, self.since) = (0, now);
        if self.selector.is_empty() && self.message.as_ref().is_some_and(PipedMessage::is_plain) {
            self.message = None;
        }
    }

    /// Fires the triggers whose time has come, even if no bytes arrive.
    pub fn fire_timed(&mut self, now: Duration) {
        if self.timed_at().is_some_and(|at| at <= now) {
            self.fire(now, |trigger| trigger.due.is_some());
        }
    }

    /// Returns the time of the next trigger that needs no more bytes.
    pub fn timed_at(&self) -> Option<Duration> {
        let timed = self.triggers.iter().filter(|trigger| trigger.at <= self.passed);
        timed.filter_map(|trigger| trigger.due).filter(|_| !self.closed).min()
    }

    /// Returns the next action.
    pub fn next(&self, now: Duration) -> NextAction<'_> {
        self.queue.next(now)
    }

    /// Removes `count` due bytes that were passed on.
    pub fn consume(&mut self, count: usize) {
        self.queue.consume(count);
    }

    /// Returns the number of `bytes` up to the end of the message or to the next trigger.
    fn piece(&self, bytes: &[u8]) -> usize {
        let line = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
        let message = self.message.as_ref().map_or(0, |message| message.length);
        let triggers =
            self.triggers.iter().filter_map(|trigger| trigger.at.checked_sub(self.passed));
        let triggers = triggers.filter(|&left| left > 0);
        let most = triggers.chain([MESSAGE_MAX - message, line as u64]).min();
        most.and_then(|most| usize::try_from(most).ok()).unwrap_or(line).min(line)
    }

    /// Appends bytes of one message. No trigger lies within them.
    fn take(&mut self, piece: &[u8], now: Duration) {
        let Some(message) = &mut self.message else { return };
        let position = message.length;
        self.passed += piece.len() as u64;
        message.length += piece.len() as u64;
        let is_over = piece.last() == Some(&b'\n') || message.length == MESSAGE_MAX;
        let message_faults = &mut message.message_faults;
        if !message_faults.is_dropped {
            let kept = message_faults.cut(piece, position);
            self.queue.push(&kept, now, message_faults.delay, message_faults.pacing(position));
            if message_faults.is_duplicated {
                message.copy.extend_from_slice(&kept);
            }
        }
        if is_over {
            self.finish_message(now);
        }
    }

    fn finish_message(&mut self, now: Duration) {
        let Some(message) = self.message.take() else { return };
        let message_faults = &message.message_faults;
        self.queue.push(&message.copy, now, message_faults.delay, message_faults.pacing(0));
    }

    /// Injects the faults of all due triggers for which `is_meant` returns true.
    fn fire(&mut self, now: Duration, is_meant: impl Fn(&Trigger) -> bool) {
        let passed = self.passed;
        let is_due = |trigger: &Trigger| is_meant(trigger) && trigger.is_due(passed, now);
        while let Some(place) = self.triggers.iter().position(is_due) {
            let index = self.triggers.remove(place).rule;
            let plan_version = &self.selector.faults.plan_version;
            match plan_version.plan.rules[index].fault {
                Fault::Reset => {
                    self.queue.reset(now);
                    self.closed = true;
                }
                Fault::HalfClose => {
                    self.queue.end(now);
                    self.closed = true;
                }
                Fault::Stall(Some(length)) => self.queue.pause(now, length),
                Fault::Stall(None) => self.queue.stall(now, STALL_LONGEST),
                _ => continue,
            }
            plan_version.note(index);
            if self.closed {
                self.triggers.clear();
            }
        }
    }
}

impl Trigger {
    fn is_due(&self, passed: u64, now: Duration) -> bool {
        self.at <= passed && self.due.is_none_or(|due| due <= now)
    }
}

/// Returns the triggers of a connection whose plan takes effect at `now`.
fn triggers(selector: &RuleSelector, now: Duration) -> Vec<Trigger> {
    let triggers = selector.triggers();
    let due = |after: Duration| (!after.is_zero()).then(|| now.saturating_add(after));
    triggers.map(|(rule, at, after)| Trigger { rule, at, due: due(after) }).collect()
}

impl PipedMessage {
    /// Returns whether the rest of the message passes unchanged.
    fn is_plain(&self) -> bool {
        let message_faults = &self.message_faults;
        !message_faults.is_dropped
            && !message_faults.is_duplicated
            && message_faults.length.is_none()
            && message_faults.corruptions.is_empty()
    }
}

impl MessageFaults {
    /// Applies the faults to `piece`, whose first byte is byte `position` of the message, and
    /// returns the remaining bytes.
    fn cut(&mut self, piece: &[u8], position: u64) -> Vec<u8> {
        let mut kept = piece.to_vec();
        self.corrupt(&mut kept, position);
        if let Some(length) = self.length {
            let length = usize::try_from(length.saturating_sub(position)).unwrap_or(usize::MAX);
            kept.truncate(length);
            // A truncated line keeps its line end.
            if piece.last() == Some(&b'\n') && kept.last() != Some(&b'\n') {
                kept.push(b'\n');
            }
        }
        kept
    }

    /// Returns the pacing of the bytes after the first `position` bytes of the message.
    fn pacing(&self, position: u64) -> Pacing {
        if let Some(rate) = self.rate {
            return Pacing::Rate(rate);
        }
        let Some((bytes, gap)) = self.split else { return Pacing::AtOnce };
        let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        // The message is cut at fixed positions, however its bytes arrived.
        Pacing::Pieces { first: size(bytes - position % bytes), bytes: size(bytes), gap }
    }
}

#[cfg(test)]
mod tests;
