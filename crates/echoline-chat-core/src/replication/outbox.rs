//! The operations of one author that the other nodes do not have yet.
//!
//! One operation is in flight, and the others wait for it. This keeps the author's order even if an
//! operation is sent again. Time is counted in ticks of about a second.

use std::collections::VecDeque;

use super::SAY_LINES;
use super::envelope::Envelope;
use crate::{Name, Operation, SaidLine};

/// The maximum size of the text in one operation, in bytes. It is far below the limit of the
/// stream.
const SAY_BYTES: usize = 64 * 1024;

/// A caller that waits for the outcome of an operation.
pub trait PendingReply {
    /// Returns whether the caller no longer waits.
    fn is_closed(&self) -> bool;

    /// Tells the caller that all its earlier operations are done.
    fn complete(self);
}

/// The operations of one author. `T` is a caller that waits for an outcome.
#[derive(Debug)]
pub struct Outbox<T> {
    /// The number of the last operation that was sent.
    last: u64,
    sent: Option<Sent<T>>,
    waiting: VecDeque<QueuedOperation<T>>,
    /// Whether the author's session is over.
    pub is_over: bool,
}

/// An operation that is in flight.
#[derive(Debug)]
pub struct Sent<T> {
    /// The id of the proposal that contains the operation.
    pub id: String,
    /// The tick at which the operation was sent.
    pub since: u64,
    /// The operation.
    pub operation: Operation,
    /// The caller that waits for the outcome of the operation.
    pub reply: Option<T>,
}

/// An operation that waits for its turn.
#[derive(Debug)]
pub struct QueuedOperation<T> {
    /// The operation. `None` marks a caller that waits only for the operations before it.
    pub operation: Option<Operation>,
    /// The caller that waits for the outcome of the operation.
    pub reply: Option<T>,
    /// The tick at which the operation was queued.
    pub since: u64,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self { last: 0, sent: None, waiting: VecDeque::new(), is_over: false }
    }
}

impl<T: PendingReply> Outbox<T> {
    /// Appends an operation. With `None`, `reply` only waits for all operations before it.
    pub fn push(&mut self, now: u64, operation: Option<Operation>, reply: Option<T>) {
        self.waiting.push_back(QueuedOperation { operation, reply, since: now });
    }

    /// Appends a line to the last queued operation. If that operation has no space for the line,
    /// adds a new operation.
    pub fn say(&mut self, now: u64, room: &Name, line: SaidLine) {
        if let Some(QueuedOperation {
            operation: Some(Operation::Say { room: last, lines }), ..
        }) = self.waiting.back_mut()
            && last.same_as(room)
            && lines.len() < SAY_LINES
            && lines.iter().map(|line| line.text.len()).sum::<usize>() < SAY_BYTES
        {
            lines.push(line);
            return;
        }
        let operation = Operation::Say { room: room.clone(), lines: vec![line] };
        self.waiting.push_back(QueuedOperation {
            operation: Some(operation),
            reply: None,
            since: now,
        });
    }

    /// Takes the next operation, if none is in flight. `seal` puts it into an envelope with its
    /// number. Replies to callers that only wait for the operations before it. Drops operations
    /// whose caller no longer waits.
    pub fn next(
        &mut self,
        now: u64,
        seal: impl FnOnce(u64, Operation) -> Envelope,
    ) -> Option<Envelope> {
        if self.sent.is_some() {
            return None;
        }
        while let Some(QueuedOperation { operation, reply, .. }) = self.waiting.pop_front() {
            if reply.as_ref().is_some_and(PendingReply::is_closed) {
                continue;
            }
            let Some(operation) = operation else {
                reply.into_iter().for_each(PendingReply::complete);
                continue;
            };
            self.last += 1;
            let sealed = seal(self.last, operation.clone());
            self.sent = Some(Sent { id: sealed.id(), since: now, operation, reply });
            return Some(sealed);
        }
        None
    }

    /// Returns the number of the operation that is in flight, or of the last one if none is.
    pub fn number(&self) -> u64 {
        self.last
    }

    /// Returns the operation that is in flight.
    pub fn sent(&self) -> Option<&Sent<T>> {
        self.sent.as_ref()
    }

    /// Takes the operation that was in flight, because it has come back or is lost.
    pub fn settle(&mut self) -> Option<Sent<T>> {
        self.sent.take()
    }

    /// Puts the operation that was in flight back to the front of the queue. The copy that was sent
    /// has no effect, so the operation is sent again.
    pub fn take_back(&mut self) {
        if let Some(Sent { operation, reply, since, .. }) = self.sent.take() {
            self.waiting.push_front(QueuedOperation { operation: Some(operation), reply, since });
        }
    }

    /// Drops the queued rejoins, because the users rejoin in another way.
    pub fn forget_returns(&mut self) {
        self.waiting.retain(|waiting| !matches!(waiting.operation, Some(Operation::Rejoin { .. })));
    }

    /// Returns the number of lines that may not have arrived yet.
    pub fn lines(&self) -> usize {
        let waiting = self.waiting.iter().filter_map(|waiting| waiting.operation.as_ref());
        let sent = self.sent.as_ref().map_or(0, |sent| said(&sent.operation).len());
        waiting.map(|operation| said(operation).len()).sum::<usize>() + sent
    }

    /// Returns whether no operation is in flight or queued.
    pub fn is_empty(&self) -> bool {
        self.sent.is_none() && self.waiting.is_empty()
    }

    /// Takes the unsent operations that were queued before tick `since`, if they say lines or if a
    /// caller waits for their outcome. All other operations stay queued: a user must be able to
    /// leave, for example.
    pub fn expire(&mut self, since: u64) -> Vec<QueuedOperation<T>> {
        let (mut kept, mut expired) = (VecDeque::new(), Vec::new());
        for waiting in self.waiting.drain(..) {
            let says =
                waiting.operation.as_ref().is_some_and(|operation| !said(operation).is_empty());
            match waiting.since < since && (says || waiting.reply.is_some()) {
                true => expired.push(waiting),
                false => kept.push_back(waiting),
            }
        }
        self.waiting = kept;
        expired
    }
}

/// Returns the lines that an operation says.
pub(crate) fn said(operation: &Operation) -> &[SaidLine] {
    match operation {
        Operation::Say { lines, .. } => lines,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::LineKind;

    /// A caller, and whether it got its reply.
    #[derive(Debug)]
    struct Caller(Rc<Cell<bool>>);

    impl PendingReply for Caller {
        fn is_closed(&self) -> bool {
            false
        }

        fn complete(self) {
            self.0.set(true);
        }
    }

    fn room(text: &str) -> Name {
        Name::parse_room(text).unwrap()
    }

    fn line(text: &str) -> SaidLine {
        SaidLine { kind: LineKind::Said, text: text.into() }
    }

    fn next(outbox: &mut Outbox<Caller>) -> Option<Operation> {
        outbox
            .next(0, |number, operation| Envelope::new(1, 2, number, operation))
            .map(|sealed| sealed.operation)
    }

    fn texts(operation: Option<Operation>) -> Vec<String> {
        let Some(Operation::Say { lines, .. }) = operation else { panic!("{operation:?}") };
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn one_operation_is_in_flight_and_lines_gather_behind_it() {
        let mut outbox = Outbox::<Caller>::default();
        outbox.say(0, &room("den"), line("a"));
        assert_eq!(texts(next(&mut outbox)), ["a"]);
        outbox.say(0, &room("den"), line("b"));
        outbox.say(0, &room("den"), line("c"));
        outbox.say(0, &room("pit"), line("d"));
        assert_eq!((next(&mut outbox), outbox.lines()), (None, 4));
        assert_eq!(outbox.settle().unwrap().id, "00000001-2-1");
        assert_eq!(texts(next(&mut outbox)), ["b", "c"]);
        outbox.settle();
        assert_eq!(texts(next(&mut outbox)), ["d"], "lines of another room need another operation");
        outbox.settle();
        assert!(outbox.is_empty() && outbox.number() == 3);
    }

    #[test]
    fn operations_and_waits_keep_their_order() {
        let mut outbox = Outbox::<Caller>::default();
        let told = Rc::new(Cell::new(false));
        outbox.say(0, &room("den"), line("a"));
        outbox.push(0, None, Some(Caller(Rc::clone(&told))));
        outbox.push(0, Some(Operation::BecomeOperator), None);
        outbox.say(0, &room("den"), line("b"));
        assert_eq!(texts(next(&mut outbox)), ["a"]);
        assert!(!told.get());
        outbox.settle();
        assert_eq!(next(&mut outbox), Some(Operation::BecomeOperator));
        assert!(told.get());
        outbox.settle();
        assert_eq!(texts(next(&mut outbox)), ["b"]);
    }

    #[test]
    fn a_sent_operation_does_not_expire() {
        let mut outbox = Outbox::<Caller>::default();
        outbox.say(0, &room("den"), line("a"));
        next(&mut outbox);
        outbox.say(1, &room("den"), line("b"));
        outbox.push(1, Some(Operation::Exit { reason: None, keep: None }), None);
        outbox.say(5, &room("pit"), line("c"));
        let expired = outbox.expire(2);
        assert_eq!(expired.len(), 1);
        assert_eq!(outbox.lines(), 2);
        outbox.settle();
        assert!(matches!(next(&mut outbox), Some(Operation::Exit { .. })), "an exit never expires");
        outbox.settle();
        assert_eq!(texts(next(&mut outbox)), ["c"]);
        assert!(outbox.sent().is_some());
    }

    #[test]
    fn operations_are_bounded() {
        let mut outbox = Outbox::<Caller>::default();
        for _ in 0..40 {
            outbox.say(0, &room("den"), line(&"x".repeat(4096)));
        }
        (0..3000).for_each(|_| outbox.say(0, &room("pit"), line("x")));
        let mut acts = Vec::new();
        while let Some(Operation::Say { lines, .. }) = next(&mut outbox) {
            acts.push(lines.len());
            outbox.settle();
        }
        assert_eq!(acts, [16, 16, 8, 1024, 1024, 952]);
    }
}
