//! Parses a plan. Pure.

use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use super::amount::{parse_bytes, parse_rate, parse_time};
use super::error::{FaultError, KEYS};
use super::kind::FaultKind;
use super::kind::{Direction, Per};
use super::plan::{Conditions, Fault, FaultLayer, FaultPlan, FaultRule, RULES_MAX};
use echoline_base::amount::{self, ExactTime};

/// The maximum time for which `reorder` holds a datagram, if the rule states none.
const REORDER_LONGEST: Duration = Duration::from_millis(50);

/// The default pause between two pieces. It lets the peer receive them one by one.
const SPLIT_GAP: Duration = Duration::from_millis(1);

/// The minimum similarity at which a known word is suggested for an unknown one.
const SIMILARITY_MIN: f64 = 0.7;

const A_TIME: &str = "length of time: write for example 50ms, 1.5s or 2m (24h at most)";
const A_DELAY: &str = "delay: write for example 50ms, 50ms±10ms or 20ms..80ms (24h at most)";
const A_SIZE: &str = "number of bytes: write for example 512 or 10KiB";
const AN_AFTER: &str =
    "number of bytes or length of time: write for example 10KiB or 5s (1M is a size, 1m a minute)";
const A_LAYER: &str = "layer: write text (above TLS) or socket (below it)";
const SOME_BYTES: &str = "number of bytes from 1 up: write for example 3 or 10KiB";
const A_RATE: &str = "rate: write for example 10KiB/s";
const A_SHARE: &str = "probability: write a number from 0 to 1, for example 0.1, or 10%";
const A_NUMBER: &str = "number from 1 up";
const A_DIRECTION: &str = "direction: write in (what the server receives) or out (what it sends)";
const A_SCOPE: &str = "scope: write connection or message";

impl FromStr for FaultPlan {
    type Err = FaultError;

    /// Parses one rule per line. Empty lines and comments (`#`) are ignored.
    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut plan = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let rule = line.split('#').next().unwrap_or_default().trim();
            if !rule.is_empty() {
                let added = rule.parse().and_then(|rule| plan.push(rule));
                added.map_err(|error| FaultError::Line { number, error: Box::new(error) })?;
            }
        }
        Ok(plan)
    }
}

impl FaultPlan {
    /// Appends a rule.
    ///
    /// # Errors
    /// [`FaultError::TooMany`] if the plan already has 64 rules.
    pub fn push(&mut self, rule: FaultRule) -> Result<(), FaultError> {
        if self.rules.len() == RULES_MAX {
            return Err(FaultError::TooMany);
        }
        self.rules.push(rule);
        Ok(())
    }
}

impl FromStr for FaultRule {
    type Err = FaultError;

    /// Parses one rule: `KIND[=VALUE] [KEY=VALUE]...`.
    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut words = text.split_whitespace();
        let first = words.next().ok_or(FaultError::Empty)?;
        let (name, value) = split(first);
        let known = FaultKind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = known.ok_or_else(|| FaultError::UnknownKind {
            rule: text.trim().to_owned(),
            kind: name.to_owned(),
            nearest: nearest(name, FaultKind::ALL.map(FaultKind::name).as_slice()),
        })?;
        let mut pairs = Pairs { rule: text.trim(), kind, pairs: Vec::new() };
        for word in words {
            pairs.push(word)?;
        }
        pairs.rule(value)
    }
}

/// The keys of one rule. Parsing removes each key that it recognizes.
struct Pairs<'a> {
    rule: &'a str,
    kind: FaultKind,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Pairs<'a> {
    fn push(&mut self, word: &'a str) -> Result<(), FaultError> {
        let (key, value) = split(word);
        let (rule, name) = (self.rule.to_owned(), key.to_owned());
        if !KEYS.contains(&key) {
            let nearest = nearest(key, KEYS);
            return Err(FaultError::UnknownKey { rule, key: name, nearest });
        }
        if self.pairs.iter().any(|(other, _)| *other == key) {
            return Err(FaultError::Twice { rule, key: name });
        }
        self.pairs.push((key, value.unwrap_or_default()));
        Ok(())
    }

    fn rule(mut self, value: Option<&str>) -> Result<FaultRule, FaultError> {
        let kind = self.kind;
        let fault = self.fault(value)?;
        let per = self.scope()?;
        let rule = FaultRule {
            fault,
            when: self.when()?,
            direction: self.direction()?,
            per,
            offset: self.offset(per)?,
            layer: self.layer()?,
        };
        match self.pairs.first() {
            Some((key, _)) => {
                let (rule, key) = (self.rule.to_owned(), (*key).to_owned());
                Err(FaultError::Misplaced { rule, kind, key })
            }
            None => Ok(rule),
        }
    }

    /// Parses the fault from `value`, the text after the kind.
    fn fault(&mut self, value: Option<&str>) -> Result<Fault, FaultError> {
        let size = |text: &str| parse_bytes(text).filter(|&bytes| bytes > 0);
        let fault = match (self.kind, value) {
            (FaultKind::Delay, Some(text)) => self.read(text, A_DELAY, parse_delay)?,
            (FaultKind::Delay, None) => return Err(self.missing("a length of time")),
            (FaultKind::Reorder, None) => Fault::Reorder(REORDER_LONGEST),
            (FaultKind::Reorder, Some(text)) => {
                Fault::Reorder(self.read(text, A_TIME, parse_time)?)
            }
            (FaultKind::Corrupt, text) => {
                Fault::Corrupt(self.read(text.unwrap_or("1"), SOME_BYTES, size)?)
            }
            (FaultKind::Truncate, text) => {
                Fault::Truncate(self.read(text.unwrap_or("1"), A_SIZE, parse_bytes)?)
            }
            (FaultKind::Split, text) => Fault::Split {
                bytes: self.read(text.unwrap_or("1"), SOME_BYTES, size)?,
                gap: self.take("gap", A_TIME, parse_time)?.unwrap_or(SPLIT_GAP),
            },
            (FaultKind::Stall, Some(text)) => {
                Fault::Stall(Some(self.read(text, A_TIME, parse_time)?))
            }
            (FaultKind::Stall, None) => Fault::Stall(None),
            (kind, Some(value)) => {
                let (rule, key) = (self.rule.to_owned(), format!("value ('={value}')"));
                return Err(FaultError::Misplaced { rule, kind, key });
            }
            (FaultKind::SlowRead | FaultKind::SlowWrite, None) => {
                let rate = self.take("rate", A_RATE, parse_rate)?;
                Fault::Slow(rate.ok_or_else(|| self.missing("a rate"))?)
            }
            (FaultKind::Drop, None) => Fault::Drop,
            (FaultKind::Duplicate, None) => Fault::Duplicate,
            (FaultKind::Reset, None) => Fault::Reset,
            (FaultKind::HalfClose, None) => Fault::HalfClose,
            (FaultKind::Refuse, None) => Fault::Refuse,
        };
        Ok(fault)
    }

    fn when(&mut self) -> Result<Conditions, FaultError> {
        let default = Conditions::default();
        // A connection is refused before any byte passes, so `refuse` does not accept `after`.
        let after = match self.kind {
            FaultKind::Refuse => None,
            _ => self.take("after", AN_AFTER, parse_after)?,
        };
        let (after, after_time) = after.unwrap_or_default();
        Ok(Conditions {
            probability: self.take("p", A_SHARE, parse_share)?.unwrap_or(default.probability),
            skip: self.take("skip", A_NUMBER, parse_number)?.map_or(0, NonZeroU64::get),
            first: self.take("first", A_NUMBER, parse_number)?,
            every: self.take("every", A_NUMBER, parse_number)?,
            at: self.take("at", A_NUMBER, parse_number)?,
            count: self.take("count", A_NUMBER, parse_number)?,
            after,
            after_time,
        })
    }

    fn direction(&mut self) -> Result<Direction, FaultError> {
        let default = self.kind.direction();
        match self.kind {
            // The names of these kinds imply the direction.
            FaultKind::SlowRead | FaultKind::SlowWrite | FaultKind::Refuse => Ok(default),
            _ => {
                let read = |text: &str| match text {
                    "in" => Some(Direction::In),
                    "out" => Some(Direction::Out),
                    _ => None,
                };
                Ok(self.take("direction", A_DIRECTION, read)?.unwrap_or(default))
            }
        }
    }

    fn scope(&mut self) -> Result<Per, FaultError> {
        let default = self.kind.per();
        let read = |text: &str| match text {
            "connection" => Some(Per::Connection),
            "message" => Some(Per::Message),
            _ => None,
        };
        match self.kind {
            FaultKind::Refuse => Ok(default),
            _ => Ok(self.take("per", A_SCOPE, read)?.unwrap_or(default)),
        }
    }

    fn offset(&mut self, per: Per) -> Result<u64, FaultError> {
        use FaultKind::{Corrupt, HalfClose, Reset, Stall};
        let taken = match self.kind {
            Corrupt => true,
            HalfClose | Reset | Stall => per == Per::Message,
            _ => false,
        };
        let offset = if taken { self.take("offset", A_SIZE, parse_bytes)? } else { None };
        Ok(offset.unwrap_or_default())
    }

    fn layer(&mut self) -> Result<FaultLayer, FaultError> {
        let read = |text: &str| match text {
            "text" => Some(FaultLayer::Text),
            "socket" => Some(FaultLayer::Socket),
            _ => None,
        };
        // Connections are refused before any layer exists, and datagrams have no layers.
        let has_layers = !matches!(self.kind, FaultKind::Refuse | FaultKind::Reorder);
        let layer = if has_layers { self.take("layer", A_LAYER, read)? } else { None };
        Ok(layer.unwrap_or_default())
    }

    /// Removes `key` from the rule and returns its value, if the rule has this key.
    fn take<T>(
        &mut self,
        key: &str,
        wanted: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, FaultError> {
        let Some(place) = self.pairs.iter().position(|(other, _)| *other == key) else {
            return Ok(None);
        };
        let (_, value) = self.pairs.remove(place);
        self.read(value, wanted, read).map(Some)
    }

    fn read<T>(
        &self,
        value: &str,
        wanted: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, FaultError> {
        read(value).ok_or_else(|| FaultError::WrongValue {
            rule: self.rule.to_owned(),
            value: value.to_owned(),
            wanted,
        })
    }

    fn missing(&self, what: &'static str) -> FaultError {
        FaultError::Missing { rule: self.rule.to_owned(), kind: self.kind, what }
    }
}

/// Splits `key=value`. A word alone has no value.
fn split(word: &str) -> (&str, Option<&str>) {
    word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)))
}

fn parse_delay(text: &str) -> Option<Fault> {
    if let Some((shortest, longest)) = text.split_once("..") {
        let (shortest, longest) = (parse_time(shortest)?, parse_time(longest)?);
        return (shortest <= longest).then_some(Fault::Delay { shortest, longest });
    }
    let Some((middle, width)) = text.split_once('±').or_else(|| text.split_once("+-")) else {
        let time = parse_time(text)?;
        return Some(Fault::Delay { shortest: time, longest: time });
    };
    let (middle, width) = (parse_time(middle)?, parse_time(width)?);
    // A printed plan must parse again, so the sum must be a valid duration too.
    let longest = parse_time(&ExactTime(middle + width).to_string())?;
    Some(Fault::Delay { shortest: middle.checked_sub(width)?, longest })
}

/// Parses the value of `after`: a number of bytes, or a time.
fn parse_after(text: &str) -> Option<(u64, Duration)> {
    let time = parse_time(text).map(|time| (0, time));
    time.or_else(|| Some((parse_bytes(text)?, Duration::ZERO)))
}

fn parse_share(text: &str) -> Option<f64> {
    let share = match text.ends_with('%') {
        true => amount::share(text)?,
        false => text.parse().ok()?,
    };
    // Adding 0 turns -0 into 0, which prints without a sign.
    (0.0..=1.0).contains(&share).then_some(share + 0.0)
}

fn parse_number(text: &str) -> Option<NonZeroU64> {
    text.parse().ok()
}

fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    let similar = known.iter().map(|known| (strsim::jaro_winkler(word, known), *known));
    let best = similar.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(similarity, _)| *similarity >= SIMILARITY_MIN).map(|(_, known)| known)
}

#[cfg(test)]
mod tests;
