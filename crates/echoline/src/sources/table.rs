//! The bounded table of sources: token buckets, and penalties that grow and decay. Pure: time is
//! an argument.
//!
//! The table has at most [`SourceLimits::max_sources`] entries. Beyond that, a new source replaces
//! the least recently seen source without a penalty. Sources with a penalty take at most half of
//! the entries, and only another source with a penalty can replace them. So a flood from many
//! addresses cannot end a penalty.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::limits::{Penalties, SourceAction, SourceLimits, SourceRate};
use super::refusal::{PenalisedSource, SourceRefusal};
use super::token_bucket::{TokenBucket, nanos};
use echoline_base::source::Source;

const ACTIONS: usize = SourceAction::ALL.len();

/// The known sources with their buckets and penalties.
#[derive(Debug)]
pub(super) struct SourceTable {
    limits: SourceLimits,
    entries: HashMap<Source, SourceState>,
    /// The sources without a penalty, the least recently seen one first.
    calm: BTreeSet<(u64, Source)>,
    /// The sources with penalties, in the order of their last penalty, the oldest first.
    penalised: BTreeSet<(u64, Source)>,
    /// The next position in `calm` or `penalised`. Each change of the order uses a new one.
    order: u64,
}

#[derive(Debug)]
struct SourceState {
    /// The key in `calm`, or in `penalised` if there are penalties.
    order: u64,
    /// The bucket of each action.
    buckets: [TokenBucket; ACTIONS],
    penalties: Option<Box<[Penalty; ACTIONS]>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Penalty {
    /// The number of penalties, minus those that have decayed.
    level: u32,
    /// The time of the last penalty, moved forward for each level that has decayed.
    since: Duration,
    until: Duration,
}

impl Penalty {
    /// Lowers the level by one for each decay time since the last penalty.
    fn decay(&mut self, rules: Penalties, now: Duration) {
        let quiet = now.saturating_sub(self.since.max(self.until));
        if self.level == 0 || quiet < rules.decay {
            return;
        }
        let steps = quiet.as_nanos() / rules.decay.as_nanos().max(1);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX).min(self.level);
        self.level -= steps;
        self.since = self.since.max(self.until) + rules.decay.saturating_mul(steps);
    }

    fn begin(&mut self, rules: Penalties, now: Duration) {
        self.level = self.level.saturating_add(1).min(32);
        let doubled = 2u32.saturating_pow(self.level - 1);
        self.since = now;
        self.until = now + rules.first.saturating_mul(doubled).min(rules.longest);
    }

    fn is_over(&self, now: Duration) -> bool {
        self.level == 0 && self.until <= now
    }
}

impl SourceState {
    /// Takes `count` tokens of an action at `rate`. Returns `false` if too few are left. `now` is
    /// in nanoseconds.
    fn take(&mut self, action: SourceAction, count: u32, rate: SourceRate, now: u64) -> bool {
        self.buckets[action as usize].take(rate.nanos_of(count), rate.depth(), now)
    }

    /// Begins a penalty, at the end of which `count` tokens are available.
    fn punish(
        &mut self,
        action: SourceAction,
        count: u32,
        rate: SourceRate,
        rules: Penalties,
        now: Duration,
    ) -> Duration {
        let penalty = &mut self.penalties.get_or_insert_default()[action as usize];
        penalty.begin(rules, now);
        let missing = rate.depth() - rate.nanos_of(count);
        let full_at = nanos(penalty.until).saturating_add(missing);
        self.buckets[action as usize] = TokenBucket::full_at(full_at);
        penalty.until - now
    }

    /// Returns the time that is left of the penalty for an action.
    fn remaining(&mut self, action: SourceAction, rules: Penalties, now: Duration) -> Duration {
        let Some(penalties) = &mut self.penalties else { return Duration::ZERO };
        let penalty = &mut penalties[action as usize];
        penalty.decay(rules, now);
        penalty.until.saturating_sub(now)
    }
}

impl SourceTable {
    pub(super) fn new(limits: SourceLimits) -> Self {
        let (entries, calm, penalised) = Default::default();
        Self { limits, entries, calm, penalised, order: 0 }
    }

    /// Returns the number of sources in the table.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn limits(&self) -> &SourceLimits {
        &self.limits
    }

    pub(super) fn set_limits(&mut self, limits: SourceLimits) {
        self.limits = limits;
    }

    /// Takes `count` tokens, or returns a refusal with the time to wait. A source with too few
    /// tokens gets a penalty.
    pub(super) fn take(
        &mut self,
        source: Source,
        action: SourceAction,
        count: u32,
        now: Duration,
    ) -> Result<(), SourceRefusal> {
        let Some(rate) = self.limits.rate(action) else { return Ok(()) };
        if self.limits.is_exempt(source, action) {
            return Ok(());
        }
        if self.take_without_penalty(source, action, count, rate, nanos(now)) {
            return Ok(());
        }
        let rules = self.limits.penalties;
        self.touch(source, rules, now);
        let entry = self.entries.get_mut(&source).expect("it was touched");
        let refusal = |wait, is_new_penalty| SourceRefusal { action, wait, is_new_penalty };
        let remaining = entry.remaining(action, rules, now);
        if !remaining.is_zero() {
            return Err(refusal(remaining, false));
        }
        if entry.take(action, count, rate, nanos(now)) {
            return Ok(());
        }
        let wait = entry.punish(action, count, rate, rules, now);
        self.move_to_penalised(source);
        Err(refusal(wait, true))
    }

    /// Takes the tokens of a source that is known, has no penalty, and has enough tokens. Returns
    /// false for any other source, which [`take`](Self::take) then handles.
    fn take_without_penalty(
        &mut self,
        source: Source,
        action: SourceAction,
        count: u32,
        rate: SourceRate,
        now: u64,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(&source) else { return false };
        if entry.penalties.is_some() || !entry.take(action, count, rate, now) {
            return false;
        }
        if entry.order != self.order {
            self.calm.remove(&(entry.order, source));
            self.order += 1;
            entry.order = self.order;
            self.calm.insert((self.order, source));
        }
        true
    }

    /// Returns a token that was taken in advance.
    pub(super) fn give_back(&mut self, source: Source, action: SourceAction) {
        let Some(rate) = self.limits.rate(action) else { return };
        if let Some(entry) = self.entries.get_mut(&source) {
            entry.buckets[action as usize].give_back(rate.nanos_of(1));
        }
    }

    /// Forgets a source. Returns whether it had a penalty.
    pub(super) fn pardon(&mut self, source: Source, now: Duration) -> bool {
        let Some(mut entry) = self.entries.remove(&source) else { return false };
        let key = (entry.order, source);
        let _ = self.calm.remove(&key) || self.penalised.remove(&key);
        let rules = self.limits.penalties;
        SourceAction::ALL.iter().any(|action| !entry.remaining(*action, rules, now).is_zero())
    }

    /// Returns every penalty that has not ended.
    pub(super) fn penalised(&self, now: Duration) -> Vec<PenalisedSource> {
        let mut found = Vec::new();
        for (_, source) in &self.penalised {
            let penalties = self.entries.get(source).and_then(|entry| entry.penalties.as_ref());
            let penalties = penalties.into_iter().flat_map(|penalties| penalties.iter());
            for (action, penalty) in SourceAction::ALL.into_iter().zip(penalties) {
                let remaining = penalty.until.saturating_sub(now);
                if !remaining.is_zero() {
                    let (source, level) = (*source, penalty.level);
                    found.push(PenalisedSource { source, action, remaining, level });
                }
            }
        }
        found
    }

    /// Returns the number of sources whose penalty has not ended.
    pub(super) fn penalised_sources(&self, now: Duration) -> usize {
        let has_penalty = |entry: &&SourceState| {
            let penalties = entry.penalties.as_ref();
            penalties.is_some_and(|all| all.iter().any(|penalty| penalty.until > now))
        };
        let entries = self.penalised.iter().filter_map(|(_, source)| self.entries.get(source));
        entries.filter(has_penalty).count()
    }

    /// Marks the source as the most recently seen one, and adds it if it is new.
    fn touch(&mut self, source: Source, rules: Penalties, now: Duration) {
        let Some(entry) = self.entries.get_mut(&source) else {
            self.make_room();
            self.order += 1;
            let order = self.order;
            let entry =
                SourceState { order, buckets: [TokenBucket::default(); ACTIONS], penalties: None };
            self.entries.insert(source, entry);
            self.calm.insert((order, source));
            return;
        };
        if entry.order == self.order && entry.penalties.is_none() {
            // The source is already the most recently seen one.
            return;
        }
        if let Some(penalties) = &mut entry.penalties {
            penalties.iter_mut().for_each(|penalty| penalty.decay(rules, now));
            if !penalties.iter().all(|penalty| penalty.is_over(now)) {
                // The position of a penalised source changes only with a new penalty.
                return;
            }
            entry.penalties = None;
            self.penalised.remove(&(entry.order, source));
        } else {
            self.calm.remove(&(entry.order, source));
        }
        self.order += 1;
        entry.order = self.order;
        self.calm.insert((self.order, source));
    }

    /// Removes sources if the table is full. The least recently seen source without a penalty is
    /// removed first.
    fn make_room(&mut self) {
        while self.entries.len() >= self.limits.max_sources.max(2) {
            let evicted = self.calm.pop_first().or_else(|| self.penalised.pop_first());
            let Some((_, source)) = evicted else { return };
            self.entries.remove(&source);
        }
    }

    /// Records that the source got a penalty. If penalised sources take more than half of the
    /// table, removes those with the oldest penalties.
    fn move_to_penalised(&mut self, source: Source) {
        let Some(entry) = self.entries.get_mut(&source) else { return };
        let key = (entry.order, source);
        let _ = self.calm.remove(&key) || self.penalised.remove(&key);
        self.order += 1;
        entry.order = self.order;
        self.penalised.insert((self.order, source));
        while self.penalised.len() > (self.limits.max_sources / 2).max(1) {
            let Some((_, oldest)) = self.penalised.pop_first() else { return };
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
