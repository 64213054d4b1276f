//! The blocks that a node must compare with the stream's leader. Time is an argument.

use std::collections::BTreeSet;
use std::time::Duration;

use echoline_base::backoff::Backoff;
use tokio::time::Instant;

/// The maximum number of blocks that one check compares.
const CHECKS_MAX: usize = 8;
/// The pause after the second consecutive reset. Each further pause is twice as long, up to
/// `PAUSE_MAX`.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// If there was no reset for this time, the next reset counts as the first.
const CALM: Duration = Duration::from_secs(60);

/// The pending divergence checks and their result.
#[derive(Debug, Default)]
pub(super) struct PendingChecks {
    /// The blocks to compare, each given by the sequence of the last entry to compare.
    sequences: BTreeSet<u64>,
    /// Whether the next check compares the newest applied blocks too.
    newest: bool,
    /// The sequence of the first applied entry that differs from the stream.
    found: Option<u64>,
}

impl PendingChecks {
    /// Requests a check of the block that contains this entry. Ignored if too many checks are
    /// pending.
    pub(super) fn request(&mut self, sequence: u64) {
        if self.sequences.len() < CHECKS_MAX {
            self.sequences.insert(sequence);
        }
    }

    /// Requests a check of the newest applied blocks.
    pub(super) fn request_newest(&mut self) {
        self.newest = true;
    }

    /// Takes all pending checks: the sequences, and whether the newest blocks are requested.
    pub(super) fn take(&mut self) -> (BTreeSet<u64>, bool) {
        (std::mem::take(&mut self.sequences), std::mem::take(&mut self.newest))
    }

    /// Puts back checks that could not be performed.
    pub(super) fn put_back(&mut self, sequences: BTreeSet<u64>, newest: bool) {
        self.sequences.extend(sequences);
        self.newest |= newest;
    }

    /// Records the first wrong entry. The reset that follows makes all other checks obsolete.
    pub(super) fn found(&mut self, wrong: u64) {
        *self = Self { found: Some(wrong), ..Self::default() };
    }

    /// Takes the first wrong entry, if one was found.
    pub(super) fn take_found(&mut self) -> Option<u64> {
        self.found.take()
    }
}

/// The pauses after resets that a divergence caused.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResetBackoff {
    last: Option<Instant>,
    backoff: Backoff,
}

impl Default for ResetBackoff {
    fn default() -> Self {
        Self { last: None, backoff: Backoff::new(PAUSE, PAUSE_MAX) }
    }
}

impl ResetBackoff {
    /// Records a reset, and returns the pause after it.
    pub(super) fn next(&mut self, now: Instant) -> Duration {
        let is_first = self.last.is_none_or(|last| last + CALM < now);
        self.last = Some(now);
        if is_first {
            self.backoff.reset();
            return Duration::ZERO;
        }
        self.backoff.next_delay()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_resets_follow_each_other() {
        let (mut backoff, now) = (ResetBackoff::default(), Instant::now());
        let pauses: Vec<_> = (0..8).map(|_| backoff.next(now).as_secs()).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.next(now + CALM * 2), Duration::ZERO);
    }
}
