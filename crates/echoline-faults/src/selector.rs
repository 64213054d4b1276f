//! Selects the faults of the next message. Pure.

use std::time::Duration;

use super::faults::ConnectionFaults;
use super::kind::{Direction, Per};
use super::plan::{Fault, FaultLayer};
use echoline_base::random::Random;

/// Evaluates the rules of one direction of a connection for each message in turn.
#[derive(Debug)]
pub(crate) struct RuleSelector {
    pub faults: ConnectionFaults,
    direction: Direction,
    /// The rules that apply to this direction.
    rules: Vec<RuleState>,
    is_slow: bool,
}

/// A rule and its counters.
#[derive(Debug)]
struct RuleState {
    index: usize,
    /// The number of messages that began after the first `after` bytes of the connection.
    messages: u64,
    /// The number of these messages that the rule chose.
    chosen: u64,
}

/// The layer whose messages are selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageCarrier {
    /// Messages of a stream: lines.
    Stream,
    /// The socket below TLS and WebSocket.
    Socket,
    /// Datagrams.
    Datagrams,
}

/// The faults of one message, from all rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct MessageFaults {
    pub is_dropped: bool,
    pub is_duplicated: bool,
    /// The sum of all delays.
    pub delay: Duration,
    /// If another datagram must pass first: the maximum wait for it.
    pub hold: Option<Duration>,
    /// The number of bytes to which the message is cut.
    pub length: Option<u64>,
    /// The bytes per piece, and the pause between two pieces.
    pub split: Option<(u64, Duration)>,
    /// The maximum rate in bytes per second.
    pub rate: Option<u64>,
    pub corruptions: Vec<Corruption>,
    /// Rules that end or stop the connection. Each has the number of bytes of the message that pass
    /// first.
    pub triggers: Vec<(usize, u64)>,
}

/// The positions in a message at which a bit is flipped.
#[derive(Clone, Debug)]
pub(crate) struct Corruption {
    from: u64,
    to: u64,
    random: Random,
}

impl RuleSelector {
    pub(crate) fn new(
        faults: ConnectionFaults,
        direction: Direction,
        carrier: MessageCarrier,
    ) -> Self {
        let concerns = |index: &usize| {
            let rule = &faults.plan_version.plan.rules[*index];
            let kind = rule.kind();
            let known = match carrier {
                MessageCarrier::Stream | MessageCarrier::Socket => {
                    kind.is_for_streams() && rule.fault != Fault::Refuse
                }
                MessageCarrier::Datagrams => kind.is_for_datagrams(),
            };
            let known =
                known && (rule.layer == FaultLayer::Socket) == (carrier == MessageCarrier::Socket);
            let spared = rule.per == Per::Connection && !faults.is_chosen(*index);
            known && rule.direction == direction && !spared
        };
        let plan = &faults.plan_version.plan;
        let rules = (0..plan.rules.len()).filter(concerns);
        let rules: Vec<RuleState> =
            rules.map(|index| RuleState { index, messages: 0, chosen: 0 }).collect();
        let slow = |state: &RuleState| matches!(plan.rules[state.index].fault, Fault::Slow(_));
        let is_slow = rules.iter().any(slow);
        Self { faults, direction, rules, is_slow }
    }

    /// Returns whether no rule applies to this direction.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns whether a rule limits the rate.
    pub(crate) fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// Returns the rules that affect this connection once, each with the number of bytes and the
    /// time that must pass first.
    pub(crate) fn triggers(&self) -> impl Iterator<Item = (usize, u64, Duration)> {
        let rules = self.rules.iter().map(|state| state.index);
        rules.filter_map(|index| {
            let rule = &self.faults.plan_version.plan.rules[index];
            let once = rule.per == Per::Connection && ends_or_stops(&rule.fault);
            once.then_some((index, rule.when.after, rule.when.after_time))
        })
    }

    /// Counts the next message and returns its faults. The message begins after `passed` bytes,
    /// when the plan has been active for `age`.
    pub(crate) fn next(&mut self, passed: u64, age: Duration) -> MessageFaults {
        let mut message_faults = MessageFaults::default();
        let direction = if self.direction == Direction::In { 0 } else { 1 };
        for state in &mut self.rules {
            let rule = &self.faults.plan_version.plan.rules[state.index];
            let when = &rule.when;
            if passed < when.after || age < when.after_time {
                continue;
            }
            state.messages += 1;
            let mut random = self.faults.random(state.index, direction, state.messages);
            // This number is always drawn, because the random numbers after it belong to the fault
            // itself.
            let lucky = random.fraction() >= when.probability;
            let spent = when.count.is_some_and(|count| state.chosen >= count.get());
            let hit = match rule.per {
                // The connection was chosen earlier. Faults that end or stop it are in `triggers`.
                Per::Connection => !ends_or_stops(&rule.fault),
                Per::Message => !lucky && !spent && when.is_turn(state.messages),
            };
            if hit {
                state.chosen += 1;
                message_faults.add(state.index, &rule.fault, rule.offset, random);
                if !ends_or_stops(&rule.fault) {
                    self.faults.plan_version.note(state.index);
                }
            }
        }
        message_faults
    }
}

/// Returns whether the fault ends or stops the connection. All other faults change a message.
fn ends_or_stops(fault: &Fault) -> bool {
    matches!(fault, Fault::Reset | Fault::HalfClose | Fault::Stall(_))
}

impl MessageFaults {
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
                self.corruptions.push(Corruption { from: offset, to, random });
            }
            Fault::Truncate(bytes) => {
                self.length = Some(self.length.map_or(bytes, |length| length.min(bytes)));
            }
            Fault::Split { bytes, gap } => self.split = Some((bytes, gap)),
            Fault::Slow(rate) => self.rate = Some(self.rate.map_or(rate, |own| own.min(rate))),
            Fault::Reset | Fault::HalfClose | Fault::Stall(_) => {
                self.triggers.push((index, offset))
            }
            // The plan decides about this fault when the connection is accepted.
            Fault::Refuse => {}
        }
    }

    /// Corrupts the chosen positions of `bytes`, whose first byte is byte `position` of the
    /// message. The caller passes all bytes of the message in order, each once.
    pub(crate) fn corrupt(&mut self, bytes: &mut [u8], position: u64) {
        for corrupt in &mut self.corruptions {
            corrupt.apply(bytes, position);
        }
    }
}

impl Corruption {
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

/// Flips one bit of `byte`. The result is never a line end, which would add a message.
fn flip(byte: u8, drawn: u64) -> u8 {
    let bit = drawn % 8;
    match byte ^ 1 << bit {
        b'\n' => byte ^ 1 << ((bit + 1) % 8),
        changed => changed,
    }
}
