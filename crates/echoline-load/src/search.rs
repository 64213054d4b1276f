//! Which rate to try next in the search for the highest that holds. Pure.

use super::walk::Purpose;

/// The search ends when the lowest rate that broke is at most so many times the highest that held.
const RESOLUTION: f64 = 1.05;

/// Runs at the rate that was found, beside the one that found it.
const CONFIRMATIONS: u32 = 2;

/// Runs in all, so that an objective that holds by chance ends the search too.
const RUNS_MAX: u32 = 40;

/// Messages per second: less is no load, more no tester of ours drives.
const RATE_MIN: f64 = 1.0;
const RATE_MAX: f64 = 4_000_000.0;

/// Doubles the rate until it breaks (or halves it until it holds), bisects what lies between, and
/// confirms what was found. A rate that does not hold again counts as broken.
#[derive(Clone, Debug)]
pub(super) struct Search {
    first: f64,
    /// Rates that held each time, ascending.
    held: Vec<f64>,
    /// The lowest rate that broke.
    broke: Option<f64>,
    confirmations: u32,
    runs: u32,
}

impl Search {
    /// Begins at a rate in messages per second.
    pub(super) fn from(first: f64) -> Self {
        let first = first.clamp(RATE_MIN, RATE_MAX);
        Self { first, held: Vec::new(), broke: None, confirmations: 0, runs: 0 }
    }

    /// The next rate and why; `None` where there is no more to find out.
    pub(super) fn next(&self) -> Option<(f64, Purpose)> {
        if self.runs >= RUNS_MAX {
            return None;
        }
        match (self.highest(), self.broke) {
            (None, None) => Some((self.first, Purpose::Bracket)),
            (None, Some(broke)) => {
                (broke > RATE_MIN).then(|| ((broke / 2.0).max(RATE_MIN), Purpose::Bracket))
            }
            (Some(held), None) if held < RATE_MAX => {
                Some(((held * 2.0).min(RATE_MAX), Purpose::Bracket))
            }
            (Some(held), Some(broke)) if broke > held * RESOLUTION => {
                Some((three_digits((held * broke).sqrt()), Purpose::Bisect))
            }
            (Some(held), _) => {
                (self.confirmations < CONFIRMATIONS).then_some((held, Purpose::Confirm))
            }
        }
    }

    /// What became of the rate that [`next`](Self::next) said.
    pub(super) fn tell(&mut self, rate: f64, holds: bool) {
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

    /// The highest rate that held each time.
    pub(super) fn highest(&self) -> Option<f64> {
        self.held.last().copied()
    }

    /// The lowest rate that broke.
    pub(super) fn broke(&self) -> Option<f64> {
        self.broke
    }

    /// How often the highest rate held.
    pub(super) fn times(&self) -> u32 {
        self.confirmations + 1
    }
}

/// A rate as one would write it. Half of a step of five per cent is more than the last digit.
fn three_digits(rate: f64) -> f64 {
    let unit = 10f64.powf(rate.log10().floor() - 2.0);
    (rate / unit).round() * unit
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs the search against a server; the rates that were tried.
    fn walk(search: &mut Search, mut holds: impl FnMut(f64) -> bool) -> Vec<(f64, Purpose)> {
        let mut tried = Vec::new();
        while let Some((rate, purpose)) = search.next() {
            tried.push((rate, purpose));
            search.tell(rate, holds(rate));
        }
        assert!(tried.len() <= RUNS_MAX as usize);
        tried
    }

    #[test]
    fn it_brackets_bisects_and_confirms() {
        let mut search = Search::from(1000.0);
        let tried = walk(&mut search, |rate| rate <= 5000.0);
        let rates: Vec<_> = tried[..4].iter().map(|&(rate, _)| rate).collect();
        assert_eq!(rates, [1000.0, 2000.0, 4000.0, 8000.0]);
        assert!(tried.iter().any(|&(_, purpose)| purpose == Purpose::Bisect));
        let confirmed = tried.iter().filter(|&&(_, purpose)| purpose == Purpose::Confirm).count();
        assert_eq!((confirmed, search.times()), (2, 3));
        let highest = search.highest().unwrap();
        assert!((4750.0..=5000.0).contains(&highest), "{highest}");
    }

    #[test]
    fn a_server_that_holds_nothing_or_everything_ends_the_search() {
        let mut search = Search::from(1000.0);
        let tried = walk(&mut search, |_| false);
        assert_eq!(tried.last(), Some(&(RATE_MIN, Purpose::Bracket)));
        assert_eq!(search.highest(), None);
        let mut search = Search::from(1000.0);
        walk(&mut search, |_| true);
        assert_eq!(search.highest(), Some(RATE_MAX));
    }

    #[test]
    fn what_does_not_hold_again_is_not_the_answer() {
        let mut runs = 0;
        let mut search = Search::from(1000.0);
        walk(&mut search, |rate| {
            // The first run at 900 and more is luck.
            runs += 1;
            rate < 900.0 || runs == 1
        });
        let highest = search.highest().unwrap();
        assert!((850.0..900.0).contains(&highest), "{highest}");
    }

    proptest! {
        #[test]
        fn it_comes_within_five_per_cent(limit in 1.0f64..3e6, first in 0.1f64..1e7) {
            let mut search = Search::from(first);
            walk(&mut search, |rate| rate <= limit);
            let highest = search.highest().unwrap();
            prop_assert!(highest <= limit && highest * RESOLUTION >= limit, "{highest} {limit}");
        }
    }
}
