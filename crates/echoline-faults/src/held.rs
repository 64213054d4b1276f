//! Datagrams that are passed on later. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::datagram::DatagramFate;

/// Holds datagrams, each until its due time or until another datagram has passed. Times are
/// relative to an arbitrary start. The caller bounds [`len`](Self::len).
#[derive(Debug)]
pub struct HeldDatagrams<T> {
    items: BTreeMap<u64, T>,
    /// The numbers of all held datagrams, by due time and then by order of arrival.
    due: BinaryHeap<Reverse<(Duration, u64)>>,
    /// The datagrams that are passed on as soon as another one has passed.
    waiting: Vec<u64>,
    next: u64,
}

impl<T> Default for HeldDatagrams<T> {
    fn default() -> Self {
        let (items, due) = (BTreeMap::new(), BinaryHeap::new());
        Self { items, due, waiting: Vec::new(), next: 0 }
    }
}

impl<T> HeldDatagrams<T> {
    /// Holds a datagram whose fate is a delay.
    pub fn push(&mut self, now: Duration, fate: &DatagramFate, item: T) {
        let number = self.next;
        self.next += 1;
        self.items.insert(number, item);
        let wait = fate.delay + fate.hold.unwrap_or_default();
        self.due.push(Reverse((now.saturating_add(wait), number)));
        if fate.hold.is_some() {
            self.waiting.push(number);
        }
    }

    /// Records that a datagram has passed without being held. This releases the datagrams that wait
    /// until another one has passed.
    pub fn passed(&mut self, now: Duration) {
        for number in self.waiting.drain(..) {
            if self.items.contains_key(&number) {
                self.due.push(Reverse((now, number)));
            }
        }
    }

    /// Removes and returns the next datagram that is due.
    pub fn pop(&mut self, now: Duration) -> Option<T> {
        loop {
            let Reverse((at, number)) = *self.due.peek()?;
            if at > now {
                return None;
            }
            self.due.pop();
            // A datagram that was released early is in `due` twice. Its second entry finds no item.
            if let Some(item) = self.items.remove(&number) {
                self.waiting.retain(|waiting| *waiting != number);
                return Some(item);
            }
        }
    }

    /// Returns the time at which to call [`pop`](Self::pop) next; `pop` may still return `None`
    /// then.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        if self.items.is_empty() { None } else { self.due.peek().map(|next| next.0.0) }
    }

    /// Returns the number of held datagrams.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether no datagram is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    fn fate(delay: u64, hold: Option<u64>) -> DatagramFate {
        DatagramFate { copies: 1, length: 1, delay: ms(delay), hold: hold.map(ms) }
    }

    #[test]
    fn releases_datagrams_in_the_order_of_their_due_times() {
        let mut held = HeldDatagrams::default();
        held.push(ms(0), &fate(20, None), "late");
        held.push(ms(1), &fate(5, None), "soon");
        held.push(ms(1), &fate(5, None), "next");
        assert_eq!((held.next_at(), held.pop(ms(5))), (Some(ms(6)), None));
        assert_eq!(
            (held.pop(ms(6)), held.pop(ms(6)), held.pop(ms(6))),
            (Some("soon"), Some("next"), None)
        );
        assert_eq!((held.pop(ms(20)), held.next_at()), (Some("late"), None));
    }

    #[test]
    fn a_reordered_datagram_waits_for_another_or_for_its_time() {
        let mut held = HeldDatagrams::default();
        held.push(ms(0), &fate(0, Some(50)), 1);
        assert_eq!(held.pop(ms(10)), None);
        held.passed(ms(10));
        assert_eq!((held.pop(ms(10)), held.len(), held.next_at()), (Some(1), 0, None));
        held.push(ms(20), &fate(0, Some(50)), 2);
        assert_eq!((held.pop(ms(69)), held.pop(ms(70))), (None, Some(2)));
        held.passed(ms(80));
        assert_eq!(held.pop(ms(80)), None);
    }
}
