//! The order of trials in the search for the highest rate. Pure. A rate "holds" if a run meets the
//! objectives, otherwise it "breaks".

use crate::report::TrialPurpose;

/// The search ends when the lowest rate that broke is at most this factor above the highest that
/// held.
const RESOLUTION: f64 = 1.05;

/// The number of runs that confirm the found rate.
const CONFIRMATIONS: u32 = 2;

/// The maximum number of runs, so that a search also ends if an objective holds only by chance.
const RUNS_MAX: u32 = 40;

/// The range of rates in messages per second.
const RATE_MIN: f64 = 1.0;
const RATE_MAX: f64 = 4_000_000.0;

/// Doubles the rate until it breaks, or halves it until it holds. Then bisects the range between
/// the two, and confirms the result. A rate that does not hold again counts as broken.
#[derive(Clone, Debug)]
pub(crate) struct RateSearch {
    first: f64,
    /// The rates that held in each of their trials, in ascending order.
    held: Vec<f64>,
    /// The lowest rate that did not hold.
    broke: Option<f64>,
    confirmations: u32,
    runs: u32,
}

impl RateSearch {
    /// Begins at `first` messages per second.
    pub(crate) fn from(first: f64) -> Self {
        let first = first.clamp(RATE_MIN, RATE_MAX);
        Self { first, held: Vec::new(), broke: None, confirmations: 0, runs: 0 }
    }

    /// Returns the next rate and its purpose; `None` when the search is over.
    pub(crate) fn next(&self) -> Option<(f64, TrialPurpose)> {
        if self.runs >= RUNS_MAX {
            return None;
        }
        match (self.highest(), self.broke) {
            (None, None) => Some((self.first, TrialPurpose::Bracket)),
            (None, Some(broke)) => {
                (broke > RATE_MIN).then(|| ((broke / 2.0).max(RATE_MIN), TrialPurpose::Bracket))
            }
            (Some(held), None) if held < RATE_MAX => {
                Some(((held * 2.0).min(RATE_MAX), TrialPurpose::Bracket))
            }
            (Some(held), Some(broke)) if broke > held * RESOLUTION => {
                Some((three_digits((held * broke).sqrt()), TrialPurpose::Bisect))
            }
            (Some(held), _) => {
                (self.confirmations < CONFIRMATIONS).then_some((held, TrialPurpose::Confirm))
            }
        }
    }

    /// Records the result of the rate that [`next`](Self::next) returned.
    pub(crate) fn record(&mut self, rate: f64, holds: bool) {
        self.runs += 1;
        let again = self.highest() == Some(rate);
        match (holds, again) {
            (true, true) => self.confirmations += 1,
            (true, false) => {
                self.held.push(rate);
                self.confirmations = 0;
            }
            (false, _) => {
                self.held.retain(|&held| held < rate);
                self.broke = Some(rate);
                self.confirmations = 0;
            }
        }
    }

    /// Returns the highest rate that held each time.
    pub(crate) fn highest(&self) -> Option<f64> {
        self.held.last().copied()
    }

    /// Returns the lowest rate that did not hold.
    pub(crate) fn broke(&self) -> Option<f64> {
        self.broke
    }

    /// Returns the number of runs in which the highest rate held.
    pub(crate) fn times(&self) -> u32 {
        self.confirmations + 1
    }
}

/// Rounds to three digits, which is finer than half of the resolution.
fn three_digits(rate: f64) -> f64 {
    let unit = 10f64.powf(rate.log10().floor() - 2.0);
    (rate / unit).round() * unit
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs the search against a server, and returns the rates that were tried.
    fn try_rates(
        search: &mut RateSearch,
        mut holds: impl FnMut(f64) -> bool,
    ) -> Vec<(f64, TrialPurpose)> {
        let mut tried = Vec::new();
        while let Some((rate, purpose)) = search.next() {
            tried.push((rate, purpose));
            search.record(rate, holds(rate));
        }
        assert!(tried.len() <= RUNS_MAX as usize);
        tried
    }

    #[test]
    fn brackets_bisects_and_confirms() {
        let mut search = RateSearch::from(1000.0);
        let tried = try_rates(&mut search, |rate| rate <= 5000.0);
        let rates: Vec<_> = tried[..4].iter().map(|&(rate, _)| rate).collect();
        assert_eq!(rates, [1000.0, 2000.0, 4000.0, 8000.0]);
        assert!(tried.iter().any(|&(_, purpose)| purpose == TrialPurpose::Bisect));
        let confirmed =
            tried.iter().filter(|&&(_, purpose)| purpose == TrialPurpose::Confirm).count();
        assert_eq!((confirmed, search.times()), (2, 3));
        let highest = search.highest().unwrap();
        assert!((4750.0..=5000.0).contains(&highest), "{highest}");
    }

    #[test]
    fn a_server_that_holds_nothing_or_everything_ends_the_search() {
        let mut search = RateSearch::from(1000.0);
        let tried = try_rates(&mut search, |_| false);
        assert_eq!(tried.last(), Some(&(RATE_MIN, TrialPurpose::Bracket)));
        assert_eq!(search.highest(), None);
        let mut search = RateSearch::from(1000.0);
        try_rates(&mut search, |_| true);
        assert_eq!(search.highest(), Some(RATE_MAX));
    }

    #[test]
    fn a_rate_that_does_not_hold_again_is_not_the_result() {
        let mut runs = 0;
        let mut search = RateSearch::from(1000.0);
        try_rates(&mut search, |rate| {
            // In this test the first run holds by chance, even at a rate of 900 or more.
            runs += 1;
            rate < 900.0 || runs == 1
        });
        let highest = search.highest().unwrap();
        assert!((850.0..900.0).contains(&highest), "{highest}");
    }

    proptest! {
        #[test]
        fn finds_the_limit_within_five_per_cent(limit in 1.0f64..3e6, first in 0.1f64..1e7) {
            let mut search = RateSearch::from(first);
            try_rates(&mut search, |rate| rate <= limit);
            let highest = search.highest().unwrap();
            prop_assert!(highest <= limit && highest * RESOLUTION >= limit, "{highest} {limit}");
        }
    }
}
