//! The queue of one direction. It keeps bytes in order, and each piece has a due time. Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// A time that is never reached.
pub(crate) const NEVER: Duration = Duration::MAX;

/// The number of pieces per second at a limited rate. Small pieces make a slow stream steady.
const PIECES_PER_SECOND: u64 = 100;

/// A queue of bytes and events. Items are never reordered.
#[derive(Debug, Default)]
pub(crate) struct TimedQueue {
    items: VecDeque<QueueItem>,
    /// The number of queued bytes.
    length: usize,
    /// The time at which the last item will have been passed on completely.
    last: Duration,
}

#[derive(Debug)]
enum QueueItem {
    Bytes(PacedBytes),
    /// The direction ends here. This item stays at the front.
    End {
        at: Duration,
    },
    /// The connection is reset here. This item stays at the front.
    Reset {
        at: Duration,
    },
    /// Nothing passes until the plan changes. If it has not changed at `until`, the connection is
    /// reset.
    Stalled {
        until: Duration,
    },
}

/// Bytes with the same pacing.
#[derive(Debug)]
struct PacedBytes {
    from: Duration,
    pacing: Pacing,
    bytes: Vec<u8>,
    /// The number of bytes at the front that were already passed on.
    taken: usize,
}

/// The times at which bytes are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pacing {
    AtOnce,
    /// Pieces of a fixed size with a fixed pause between them. The first piece is shorter if
    /// earlier bytes of its message have filled a part of it.
    Pieces {
        first: usize,
        bytes: usize,
        gap: Duration,
    },
    /// A constant rate, in bytes per second.
    Rate(u64),
}

/// The next action.
#[derive(Debug, PartialEq, Eq)]
pub enum NextAction<'a> {
    /// These bytes are due, in one piece.
    Bytes(&'a [u8]),
    /// Nothing is due before this time.
    Wait(Duration),
    /// The queue is empty.
    Nothing,
    /// The direction has ended.
    End,
    /// The connection must be reset.
    Reset,
}

impl TimedQueue {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Appends bytes. They are passed on after `delay` at the earliest.
    pub(crate) fn push(&mut self, bytes: &[u8], now: Duration, delay: Duration, pacing: Pacing) {
        if bytes.is_empty() {
            return;
        }
        let from = now.saturating_add(delay).max(self.last);
        self.length += bytes.len();
        if let Some(QueueItem::Bytes(batch)) = self.items.back_mut()
            && (batch.pacing, pacing) == (Pacing::AtOnce, Pacing::AtOnce)
            && (batch.from == from || batch.from.max(from) <= now)
        {
            return batch.bytes.extend_from_slice(bytes);
        }
        let batch = PacedBytes { from, pacing, bytes: bytes.to_vec(), taken: 0 };
        self.last = batch.due_at(batch.bytes.len());
        self.items.push_back(QueueItem::Bytes(batch));
    }

    /// Delays all later items by `length`.
    pub(crate) fn pause(&mut self, now: Duration, length: Duration) {
        self.last = self.last.max(now).saturating_add(length);
    }

    /// Blocks all later items. After `limit` the connection is reset.
    pub(crate) fn stall(&mut self, now: Duration, limit: Duration) {
        let until = self.last.max(now).saturating_add(limit);
        self.items.push_back(QueueItem::Stalled { until });
        self.last = NEVER;
    }

    /// Shortens stalls so that they end at `limit` at the latest.
    pub(crate) fn hurry(&mut self, limit: Duration) {
        for item in &mut self.items {
            if let QueueItem::Stalled { until } = item {
                *until = limit.min(*until);
            }
        }
    }

    /// Ends the direction after the queued bytes.
    pub(crate) fn end(&mut self, now: Duration) {
        self.items.push_back(QueueItem::End { at: self.last.max(now) });
    }

    /// Resets the connection after the queued bytes.
    pub(crate) fn reset(&mut self, now: Duration) {
        self.items.push_back(QueueItem::Reset { at: self.last.max(now) });
    }

    /// Makes all items due now, and ends stalls.
    pub(crate) fn release(&mut self, now: Duration) {
        self.items.retain(|item| !matches!(item, QueueItem::Stalled { .. }));
        for item in &mut self.items {
            match item {
                QueueItem::Bytes(batch) => (batch.from, batch.pacing) = (now, Pacing::AtOnce),
                QueueItem::End { at } | QueueItem::Reset { at } => *at = now,
                QueueItem::Stalled { .. } => {}
            }
        }
        self.last = now;
    }

    pub(crate) fn next(&self, now: Duration) -> NextAction<'_> {
        match self.items.front() {
            None => NextAction::Nothing,
            Some(QueueItem::Bytes(batch)) => batch.next(now),
            Some(QueueItem::End { at } | QueueItem::Reset { at }) if *at > now => {
                NextAction::Wait(*at)
            }
            Some(QueueItem::End { .. }) => NextAction::End,
            Some(QueueItem::Stalled { until }) if *until > now => NextAction::Wait(*until),
            Some(QueueItem::Reset { .. } | QueueItem::Stalled { .. }) => NextAction::Reset,
        }
    }

    /// Removes `count` due bytes that were passed on.
    pub(crate) fn consume(&mut self, count: usize) {
        if let Some(QueueItem::Bytes(batch)) = self.items.front_mut() {
            self.length -= count;
            batch.taken += count;
            if batch.taken == batch.bytes.len() {
                self.items.pop_front();
            }
        }
    }
}

impl PacedBytes {
    fn next(&self, now: Duration) -> NextAction<'_> {
        let end = self.piece_end();
        let at = self.due_at(end);
        if at > now {
            NextAction::Wait(at)
        } else {
            NextAction::Bytes(&self.bytes[self.taken..end])
        }
    }

    /// Returns the end of the piece that contains the next byte.
    fn piece_end(&self) -> usize {
        let end = match self.pacing {
            Pacing::AtOnce => self.bytes.len(),
            Pacing::Pieces { first, .. } if self.taken < first => first,
            Pacing::Pieces { first, bytes, .. } => {
                let pieces = (self.taken - first) / bytes + 1;
                first.saturating_add(bytes.saturating_mul(pieces))
            }
            Pacing::Rate(rate) => {
                let piece = (rate / PIECES_PER_SECOND).max(1);
                self.taken.saturating_add(usize::try_from(piece).unwrap_or(usize::MAX))
            }
        };
        end.min(self.bytes.len())
    }

    /// Returns the time at which the first `length` bytes are passed on.
    fn due_at(&self, length: usize) -> Duration {
        let wait = match self.pacing {
            Pacing::AtOnce => Duration::ZERO,
            Pacing::Pieces { first, bytes, gap } => {
                let pieces = length.saturating_sub(first).div_ceil(bytes);
                gap.saturating_mul(u32::try_from(pieces).unwrap_or(u32::MAX))
            }
            Pacing::Rate(rate) => {
                let nanos = length as u128 * 1_000_000_000 / u128::from(rate);
                Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
        };
        self.from.saturating_add(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    /// Returns the output of the queue, with its times.
    fn run(queue: &mut TimedQueue, mut now: Duration) -> Vec<(u128, String)> {
        let mut seen = Vec::new();
        loop {
            match queue.next(now) {
                NextAction::Bytes(bytes) => {
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    queue.consume(text.len());
                    seen.push((now.as_millis(), text));
                }
                NextAction::Wait(NEVER) | NextAction::Nothing => return seen,
                NextAction::Wait(at) => now = at,
                other => {
                    seen.push((now.as_millis(), format!("{other:?}")));
                    return seen;
                }
            }
        }
    }

    fn seen(all: &[(u128, &str)]) -> Vec<(u128, String)> {
        all.iter().map(|(at, text)| (*at, (*text).to_owned())).collect()
    }

    #[test]
    fn items_are_never_reordered() {
        let mut queue = TimedQueue::default();
        queue.push(b"slow", ms(0), ms(50), Pacing::AtOnce);
        queue.push(b"quick", ms(0), ms(10), Pacing::AtOnce);
        queue.push(b"later", ms(10), ms(50), Pacing::AtOnce);
        assert_eq!(queue.len(), 14);
        assert_eq!(run(&mut queue, ms(0)), seen(&[(50, "slowquick"), (60, "later")]));
        assert_eq!((queue.is_empty(), queue.length), (true, 0));
    }

    #[test]
    fn pieces_come_one_by_one_at_the_given_rate() {
        let mut queue = TimedQueue::default();
        queue.push(b"abcdefg", ms(0), ms(5), Pacing::Pieces { first: 1, bytes: 3, gap: ms(2) });
        queue.push(b"next", ms(0), ms(0), Pacing::AtOnce);
        let pieces = [(5, "a"), (7, "bcd"), (9, "efg"), (9, "next")];
        assert_eq!(run(&mut queue, ms(0)), seen(&pieces));
        queue.push(b"0123456789", ms(100), ms(0), Pacing::Rate(1000));
        queue.push(b"ab", ms(100), ms(0), Pacing::Rate(1));
        queue.reset(ms(100));
        let paced = [(110, "0123456789"), (1110, "a"), (2110, "b"), (2110, "Reset")];
        assert_eq!(run(&mut queue, ms(100)), seen(&paced));
    }

    #[test]
    fn a_stall_holds_until_it_is_released_or_over() {
        let mut queue = TimedQueue::default();
        queue.push(b"before", ms(0), ms(0), Pacing::AtOnce);
        queue.pause(ms(10), ms(5));
        queue.push(b"after", ms(10), ms(0), Pacing::AtOnce);
        assert_eq!(run(&mut queue, ms(10)), seen(&[(10, "before"), (15, "after")]));
        queue.stall(ms(20), ms(1000));
        queue.push(b"held", ms(20), ms(0), Pacing::AtOnce);
        queue.end(ms(20));
        assert_eq!(queue.next(ms(1019)), NextAction::Wait(ms(1020)));
        assert_eq!(queue.next(ms(1020)), NextAction::Reset);
        queue.hurry(ms(600));
        assert_eq!(queue.next(ms(600)), NextAction::Reset);
        queue.release(ms(500));
        assert_eq!(run(&mut queue, ms(500)), seen(&[(500, "held"), (500, "End")]));
    }
}
