//! Which faults the next message has. Pure.

use std::time::Duration;

use super::faults::Orders;
use super::plan::{Direction, Fault, FaultLayer, Per};
use echoline_base::random::Random;

/// Asks the rules of one direction of a connection about one message after the other.
#[derive(Debug)]
pub(crate) struct Choice {
    pub orders: Orders,
    direction: Direction,
    /// The rules that concern this direction.
    rules: Vec<Asked>,
    is_slow: bool,
}

/// A rule, and what it has said so far.
#[derive(Debug)]
struct Asked {
    index: usize,
    /// Messages that began after the rule's first `after` bytes.
    messages: u64,
    /// How many of them it has chosen.
    chosen: u64,
}

/// The carrier of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Messages of a stream: lines.
    Stream,
    /// The socket below TLS and WebSocket.
    Socket,
    /// Datagrams.
    Datagrams,
}

/// The faults of one message, all rules together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub is_dropped: bool,
    pub is_duplicated: bool,
    /// The sum of what the rules ask for.
    pub delay: Duration,
    /// How long to wait for a datagram that passes.
    pub hold: Option<Duration>,
    /// Bytes that are kept.
    pub length: Option<u64>,
    /// Bytes of a piece, and the time between two.
    pub split: Option<(u64, Duration)>,
    /// Bytes a second.
    pub rate: Option<u64>,
    pub damages: Vec<Damage>,
    /// Rules that do something to the connection, and after how many bytes of the message.
    pub shots: Vec<(usize, u64)>,
}

/// Bytes of a message that are changed.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    from: u64,
    to: u64,
    random: Random,
}

impl Choice {
    pub(crate) fn new(orders: Orders, direction: Direction, carrier: Carrier) -> Self {
        let concerns = |index: &usize| {
            let rule = &orders.edition.plan.rules[*index];
            let kind = rule.kind();
            let known = match carrier {
                Carrier::Stream | Carrier::Socket => {
                    kind.is_for_streams() && rule.fault != Fault::Refuse
                }
                Carrier::Datagrams => kind.is_for_datagrams(),
            };
            let known = known && (rule.layer == FaultLayer::Socket) == (carrier == Carrier::Socket);
            let spared = rule.per == Per::Connection && !orders.is_chosen(*index);
            known && rule.direction == direction && !spared
        };
        let plan = &orders.edition.plan;
        let rules = (0..plan.rules.len()).filter(concerns);
        let rules: Vec<Asked> =
            rules.map(|index| Asked { index, messages: 0, chosen: 0 }).collect();
        let slow = |asked: &Asked| matches!(plan.rules[asked.index].fault, Fault::Slow(_));
        let is_slow = rules.iter().any(slow);
        Self { orders, direction, rules, is_slow }
    }

    /// Whether no rule concerns this direction.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether some rule here makes things slow.
    pub(crate) fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// The rules that do something to this connection once, each with the number of bytes and the
    /// time that pass first.
    pub(crate) fn shots(&self) -> impl Iterator<Item = (usize, u64, Duration)> {
        let rules = self.rules.iter().map(|asked| asked.index);
        rules.filter_map(|index| {
            let rule = &self.orders.edition.plan.rules[index];
            let once = rule.per == Per::Connection && ends_or_stops(&rule.fault);
            once.then_some((index, rule.when.after, rule.when.after_time))
        })
    }

    /// The faults of the next message, which begins when `passed` bytes have passed and the plan
    /// has held for `age`. Counts them.
    pub(crate) fn next(&mut self, passed: u64, age: Duration) -> Verdict {
        let mut verdict = Verdict::default();
        let direction = if self.direction == Direction::In { 0 } else { 1 };
        for asked in &mut self.rules {
            let rule = &self.orders.edition.plan.rules[asked.index];
            let when = &rule.when;
            if passed < when.after || age < when.after_time {
                continue;
            }
            asked.messages += 1;
            let mut random = self.orders.random(asked.index, direction, asked.messages);
            // Drawn in any case: the numbers that come after it are for the fault itself.
            let lucky = random.fraction() >= when.probability;
            let spent = when.count.is_some_and(|count| asked.chosen >= count.get());
            let hit = match rule.per {
                // Decided already; what ends or stops a connection is one of its `shots`.
                Per::Connection => !ends_or_stops(&rule.fault),
                Per::Message => !lucky && !spent && when.is_turn(asked.messages),
            };
            if hit {
                asked.chosen += 1;
                verdict.add(asked.index, &rule.fault, rule.offset, random);
                if !ends_or_stops(&rule.fault) {
                    self.orders.edition.note(asked.index);
                }
            }
        }
        verdict
    }
}

/// Whether it happens to a connection rather than to the bytes of a message.
fn ends_or_stops(fault: &Fault) -> bool {
    matches!(fault, Fault::Reset | Fault::HalfClose | Fault::Stall(_))
}

impl Verdict {
    fn add(&mut self, index: usize, fault: &Fault, offset: u64, mut random: Random) {
        match *fault {
            Fault::Delay { shortest, longest } => {
                self.delay += shortest + (longest - shortest).mul_f64(random.fraction());
            }
            Fault::Drop => self.is_dropped = true,
            Fault::Duplicate => self.is_duplicated = true,
            Fault::Reorder(longest) => self.hold = Some(longest),
            Fault::Corrupt(bytes) => {
                let to = offset.saturating_add(bytes);
                self.damages.push(Damage { from: offset, to, random });
            }
            Fault::Truncate(bytes) => {
                self.length = Some(self.length.map_or(bytes, |length| length.min(bytes)));
            }
            Fault::Split { bytes, gap } => self.split = Some((bytes, gap)),
            Fault::Slow(rate) => self.rate = Some(self.rate.map_or(rate, |own| own.min(rate))),
            Fault::Reset | Fault::HalfClose | Fault::Stall(_) => self.shots.push((index, offset)),
            // Decided when the connection came.
            Fault::Refuse => {}
        }
    }

    /// Changes those of `bytes` that are to be, the first of which is number `position` of the
    /// message. To be called with the bytes in their order, each once.
    pub(crate) fn damage(&mut self, bytes: &mut [u8], position: u64) {
        for damage in &mut self.damages {
            damage.apply(bytes, position);
        }
    }
}

impl Damage {
    fn apply(&mut self, bytes: &mut [u8], position: u64) {
        let from = self.from.saturating_sub(position).min(bytes.len() as u64);
        let to = self.to.saturating_sub(position).min(bytes.len() as u64);
        for byte in &mut bytes[from as usize..to as usize] {
            let drawn = self.random.next_u64();
            if *byte != b'\n' {
                *byte = flip(*byte, drawn);
            }
        }
    }
}

/// `byte` with one bit changed. No line end comes of it: that would be one message more.
fn flip(byte: u8, drawn: u64) -> u8 {
    let bit = drawn % 8;
    match byte ^ 1 << bit {
        b'\n' => byte ^ 1 << ((bit + 1) % 8),
        changed => changed,
    }
}
