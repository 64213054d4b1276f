//! What one author has done and the others have not seen yet: one act is on its way, the rest
//! waits for it. So their order is the author's, however often something has to be sent again.
//!
//! Pure but for the channels in it, on which nothing waits here. Time is counted in ticks.

use std::collections::VecDeque;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::name::Name;
use crate::operation::{Operation, SaidLine};
use crate::outcome::Outcome;
use echoline_chat_core::replication::SAY_LINES;
use echoline_chat_core::replication::envelope::Envelope;

/// Bytes of text in one act: far below what a bus takes.
const SAY_BYTES: usize = 64 * 1024;

/// The way back to the caller who waits for the outcome of an act.
#[derive(Debug)]
pub(super) struct Reply {
    sender: oneshot::Sender<Outcome>,
    /// Given back when the act has come back or never will, also if the caller has left.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Reply {
    pub(super) fn new(
        sender: oneshot::Sender<Outcome>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { sender, _permit: permit }
    }

    /// # Errors
    /// The outcome, if the caller does not wait any more.
    #[expect(clippy::result_large_err, reason = "it is as large as the argument")]
    pub(super) fn send(self, outcome: Outcome) -> Result<(), Outcome> {
        self.sender.send(outcome)
    }

    /// Whether the caller does not wait any more.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// The acts of one author.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The number of the last act that was sent.
    last: u64,
    sent: Option<Sent>,
    waiting: VecDeque<Waiting>,
    /// The author's session is over.
    pub(super) is_over: bool,
}

/// An act that is on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) id: String,
    pub(super) since: u64,
    pub(super) act: Operation,
    pub(super) reply: Option<Reply>,
}

/// An act that waits for its turn.
#[derive(Debug)]
pub(super) struct Waiting {
    /// `None` only waits for those before it.
    pub(super) act: Option<Operation>,
    pub(super) reply: Option<Reply>,
    pub(super) since: u64,
}

impl Outbox {
    /// Puts an act, or with `None` only a wait for all those before it, at the end.
    pub(super) fn push(&mut self, now: u64, act: Option<Operation>, reply: Option<Reply>) {
        self.waiting.push_back(Waiting { act, reply, since: now });
    }

    /// Puts a line at the end: into the act before it, if that one has room for it.
    pub(super) fn say(&mut self, now: u64, room: &Name, line: SaidLine) {
        if let Some(Waiting { act: Some(Operation::Say { room: last, lines }), .. }) =
            self.waiting.back_mut()
            && last.same_as(room)
            && lines.len() < SAY_LINES
            && lines.iter().map(|line| line.text.len()).sum::<usize>() < SAY_BYTES
        {
            lines.push(line);
            return;
        }
        let act = Operation::Say { room: room.clone(), lines: vec![line] };
        self.waiting.push_back(Waiting { act: Some(act), reply: None, since: now });
    }

    /// The act to be sent now, where none is on its way, with its number and in an envelope by
    /// `seal`; waits that are over are answered. What nobody waits for any more is not wanted.
    pub(super) fn next(
        &mut self,
        now: u64,
        seal: impl FnOnce(u64, Operation) -> Envelope,
    ) -> Option<Envelope> {
        if self.sent.is_some() {
            return None;
        }
        while let Some(Waiting { act, reply, .. }) = self.waiting.pop_front() {
            if reply.as_ref().is_some_and(Reply::is_closed) {
                continue;
            }
            let Some(act) = act else {
                if let Some(reply) = reply {
                    // The receiver may be gone.
                    let _ = reply.send(Outcome::Done);
                }
                continue;
            };
            self.last += 1;
            let sealed = seal(self.last, act.clone());
            self.sent = Some(Sent { id: sealed.id(), since: now, act, reply });
            return Some(sealed);
        }
        None
    }

    /// The number of the act that is on its way, or was last.
    pub(super) fn number(&self) -> u64 {
        self.last
    }

    /// What is on its way.
    pub(super) fn sent(&self) -> Option<&Sent> {
        self.sent.as_ref()
    }

    /// What was on its way has come back, or never will.
    pub(super) fn settle(&mut self) -> Option<Sent> {
        self.sent.take()
    }

    /// What was on its way can have no effect any more, and is to be sent again.
    pub(super) fn take_back(&mut self) {
        if let Some(Sent { act, reply, since, .. }) = self.sent.take() {
            self.waiting.push_front(Waiting { act: Some(act), reply, since });
        }
    }

    /// Who was to come back comes back in another way.
    pub(super) fn forget_returns(&mut self) {
        self.waiting.retain(|waiting| !matches!(waiting.act, Some(Operation::Rejoin { .. })));
    }

    /// Lines that are not yet known to have arrived.
    pub(super) fn lines(&self) -> usize {
        let waiting = self.waiting.iter().filter_map(|waiting| waiting.act.as_ref());
        let sent = self.sent.as_ref().map_or(0, |sent| said(&sent.act).len());
        waiting.map(|act| said(act).len()).sum::<usize>() + sent
    }

    /// Whether nothing is on its way and nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_none() && self.waiting.is_empty()
    }

    /// Takes out the unsent acts that have waited since before `since`, if they say lines or if a
    /// caller waits for their outcome. The others stay: a user who leaves has to leave.
    pub(super) fn expire(&mut self, since: u64) -> Vec<Waiting> {
        let (mut kept, mut expired) = (VecDeque::new(), Vec::new());
        for waiting in self.waiting.drain(..) {
            let says = waiting.act.as_ref().is_some_and(|act| !said(act).is_empty());
            match waiting.since < since && (says || waiting.reply.is_some()) {
                true => expired.push(waiting),
                false => kept.push_back(waiting),
            }
        }
        self.waiting = kept;
        expired
    }
}

/// The lines that an act says.
pub(super) fn said(act: &Operation) -> &[SaidLine] {
    match act {
        Operation::Say { lines, .. } => lines,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::LineKind;

    fn room(text: &str) -> Name {
        Name::parse_room(text).unwrap()
    }

    fn line(text: &str) -> SaidLine {
        SaidLine { kind: LineKind::Said, text: text.into() }
    }

    fn next(outbox: &mut Outbox) -> Option<Operation> {
        outbox.next(0, |number, act| Envelope::new(1, 2, number, act)).map(|sealed| sealed.act)
    }

    fn texts(act: Option<Operation>) -> Vec<String> {
        let Some(Operation::Say { lines, .. }) = act else { panic!("{act:?}") };
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn one_act_is_on_its_way_and_lines_behind_it_gather() {
        let mut outbox = Outbox::default();
        outbox.say(0, &room("den"), line("a"));
        assert_eq!(texts(next(&mut outbox)), ["a"]);
        outbox.say(0, &room("den"), line("b"));
        outbox.say(0, &room("den"), line("c"));
        outbox.say(0, &room("pit"), line("d"));
        assert_eq!((next(&mut outbox), outbox.lines()), (None, 4));
        assert_eq!(outbox.settle().unwrap().id, "00000001-2-1");
        assert_eq!(texts(next(&mut outbox)), ["b", "c"]);
        outbox.settle();
        assert_eq!(texts(next(&mut outbox)), ["d"], "another room is another act");
        outbox.settle();
        assert!(outbox.is_empty() && outbox.number() == 3);
    }

    #[test]
    fn acts_keep_their_order_and_waits_their_place() {
        let mut outbox = Outbox::default();
        let (reply, mut waits) = oneshot::channel();
        outbox.say(0, &room("den"), line("a"));
        outbox.push(0, None, Some(Reply::new(reply, None)));
        outbox.push(0, Some(Operation::BecomeOperator), None);
        outbox.say(0, &room("den"), line("b"));
        assert_eq!(texts(next(&mut outbox)), ["a"]);
        assert!(waits.try_recv().is_err());
        outbox.settle();
        assert_eq!(next(&mut outbox), Some(Operation::BecomeOperator));
        assert!(waits.try_recv().is_ok());
        outbox.settle();
        assert_eq!(texts(next(&mut outbox)), ["b"]);
    }

    #[test]
    fn what_was_sent_does_not_expire() {
        let mut outbox = Outbox::default();
        outbox.say(0, &room("den"), line("a"));
        next(&mut outbox);
        outbox.say(1, &room("den"), line("b"));
        outbox.push(1, Some(Operation::Exit { reason: None, keep: None }), None);
        outbox.say(5, &room("pit"), line("c"));
        let expired = outbox.expire(2);
        assert_eq!(expired.len(), 1);
        assert_eq!(outbox.lines(), 2);
        outbox.settle();
        assert!(
            matches!(next(&mut outbox), Some(Operation::Exit { .. })),
            "who leaves has to leave"
        );
        outbox.settle();
        assert_eq!(texts(next(&mut outbox)), ["c"]);
        assert!(outbox.sent().is_some());
    }

    #[test]
    fn acts_are_bounded() {
        let mut outbox = Outbox::default();
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
