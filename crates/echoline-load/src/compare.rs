//! Whether runs after a change are worse than before it. Pure.
//!
//! The unit of comparison is the run: its samples depend on one another (one busy moment slows
//! thousands of them), so pooled they would make chance look like proof. Each figure of each run
//! counts once, and groups of runs are held against one another by the test in [`rank`].

use super::metric::Metric;
use super::rank;
use super::report::{Mode, Report};
use super::times::Percentile;

/// How likely an error may be where a difference is claimed.
const ALPHA: f64 = 0.05;

/// Runs of one side, at most.
pub(super) const RUNS_MAX: usize = rank::GROUP_MAX;

/// Runs before and after a change, figure by figure.
#[derive(Clone, Debug, PartialEq)]
pub struct RunComparison {
    /// One for each figure that is compared.
    pub differences: Vec<Difference>,
    /// Settings that are not the same before and after: name, before, after.
    pub settings: Vec<(String, String, String)>,
    /// Runs on each side that it takes to tell a difference from chance, where these were fewer.
    pub runs_needed: Option<usize>,
}

/// One figure before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Which figure.
    pub metric: Metric,
    /// That of each run before; empty where a run has too few samples for it.
    pub before: Vec<f64>,
    /// That of each run after.
    pub after: Vec<f64>,
    /// How likely chance alone makes a difference like this in any of the figures compared;
    /// `None` with one run on a side.
    pub p_value: Option<f64>,
    /// What follows from that.
    pub finding: Finding,
}

/// What can be said of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A difference that is hardly chance and matters, for the worse.
    Worse,
    /// The same, for the better.
    Better,
    /// No difference that is hardly chance, or none that matters.
    Same,
    /// Too few runs or samples.
    Unknown,
}

/// Why runs cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// Latency and service time are different things.
    #[error("open loop and closed loop cannot be compared: what they measure is not the same")]
    Modes,
    /// There is nothing on one side.
    #[error("a comparison takes at least one run before and one after")]
    Missing,
    /// More than anybody repeats.
    #[error("more than {RUNS_MAX} runs on one side are too many")]
    TooMany,
}

impl RunComparison {
    /// Compares `after` with `before`. A difference of the medians of no more than `tolerance`, a
    /// share of what was before, does not matter.
    ///
    /// # Errors
    /// Where one side is empty or too large, or where open and closed loop are mixed.
    pub fn new(before: &[Report], after: &[Report], tolerance: f64) -> Result<Self, CompareError> {
        if before.is_empty() || after.is_empty() {
            return Err(CompareError::Missing);
        }
        if before.len().max(after.len()) > RUNS_MAX {
            return Err(CompareError::TooMany);
        }
        let mode = |report: &Report| report.settings.mode;
        let is_mixed = |wanted: Mode| before.iter().chain(after).any(|run| mode(run) != wanted);
        if is_mixed(mode(&before[0])) {
            return Err(CompareError::Modes);
        }
        let metrics = [Metric::Rate, Metric::Errors]
            .into_iter()
            .chain(Percentile::SHOWN.map(Metric::Percentile));
        let mut differences: Vec<_> =
            metrics.map(|metric| Difference::new(metric, before, after)).collect();
        judge(&mut differences, tolerance);
        let sizes = (before.len(), after.len());
        let tested = differences.iter().filter(|difference| difference.is_known()).count();
        let runs_needed = runs_needed(sizes, tested);
        Ok(Self { differences, settings: different_settings(before, after), runs_needed })
    }

    /// The figures of which this was found.
    pub fn found(&self, finding: Finding) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(move |difference| difference.finding == finding)
    }
}

impl Difference {
    fn new(metric: Metric, before: &[Report], after: &[Report]) -> Self {
        let figures = |runs: &[Report]| -> Vec<f64> {
            let figures = runs.iter().map(|run| metric.of(&run.record, run.elapsed));
            figures.collect::<Option<_>>().unwrap_or_default()
        };
        let (before, after) = (figures(before), figures(after));
        Self { metric, before, after, p_value: None, finding: Finding::Unknown }
    }

    /// The median of each side; `None` where one of them is empty.
    #[must_use]
    pub fn medians(&self) -> Option<(f64, f64)> {
        rank::median(&self.before).zip(rank::median(&self.after))
    }

    /// How much more it is after than before, as a share of what was before, from median to
    /// median; infinite where it was nothing before.
    #[must_use]
    pub fn change(&self) -> Option<f64> {
        let (before, after) = self.medians()?;
        Some(if before == after { 0.0 } else { (after - before) / before })
    }

    /// The same, as a share by which it is worse; negative where it is better.
    #[must_use]
    pub fn worsening(&self) -> Option<f64> {
        let change = self.change()?;
        Some(if self.metric == Metric::Rate { -change } else { change })
    }

    fn is_known(&self) -> bool {
        !self.before.is_empty() && !self.after.is_empty()
    }
}

fn judge(differences: &mut [Difference], tolerance: f64) {
    let mut tested: Vec<_> = differences
        .iter_mut()
        .filter(|difference| difference.before.len().min(difference.after.len()) > 1)
        .collect();
    let p_values: Vec<_> = tested
        .iter()
        .map(|difference| rank::p_value(&difference.before, &difference.after))
        .collect();
    let corrected = rank::corrected(&p_values);
    for (difference, p_value) in tested.iter_mut().zip(corrected) {
        difference.p_value = Some(p_value);
        let least = rank::p_value_least(difference.before.len(), difference.after.len());
        difference.finding = match difference.worsening() {
            _ if least * p_values.len() as f64 > ALPHA => Finding::Unknown,
            Some(worsening) if p_value <= ALPHA && worsening > tolerance => Finding::Worse,
            Some(worsening) if p_value <= ALPHA && worsening < -tolerance => Finding::Better,
            _ => Finding::Same,
        };
    }
}

/// How many runs on each side could tell, where these cannot.
fn runs_needed((before, after): (usize, usize), figures: usize) -> Option<usize> {
    let tells = |before, after| rank::p_value_least(before, after) * figures as f64 <= ALPHA;
    if tells(before, after) { None } else { (2..RUNS_MAX).find(|&runs| tells(runs, runs)) }
}

fn different_settings(before: &[Report], after: &[Report]) -> Vec<(String, String, String)> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in before.iter().chain(after).flat_map(|run| &run.settings.listed) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let values = |runs: &[Report], name: &str| {
        let mut values: Vec<&str> = Vec::new();
        for run in runs {
            let listed = run.settings.listed.iter().find(|(known, _)| known == name);
            let value = listed.map_or("-", |(_, value)| value.as_str());
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values.join(" | ")
    };
    let both = |name: &str| (name.to_owned(), values(before, name), values(after, name));
    names.into_iter().map(both).filter(|(_, before, after)| before != after).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::sample;
    use crate::{Answer, Record};

    /// A run of two thousand answers that take so long each.
    fn run(micros: u64) -> Report {
        let mut report = sample::closed();
        report.record = Record::new(2000);
        report.elapsed = Duration::from_secs(1);
        for number in 0..2000 {
            let service = Duration::from_micros(micros + number % 100);
            report.record.answer(Answer { at: Duration::ZERO, latency: None, service });
        }
        report
    }

    fn runs(micros: &[u64]) -> Vec<Report> {
        micros.iter().map(|&micros| run(micros)).collect()
    }

    fn findings(comparison: &RunComparison, finding: Finding) -> Vec<String> {
        comparison.found(finding).map(|difference| difference.metric.to_string()).collect()
    }

    #[test]
    fn slower_runs_are_worse_and_faster_ones_better() {
        let (slow, fast) =
            (runs(&[1500, 1510, 1520, 1530, 1540]), runs(&[900, 910, 905, 950, 930]));
        let worse = RunComparison::new(&fast, &slow, 0.05).unwrap();
        assert_eq!(findings(&worse, Finding::Worse), ["p50", "p90", "p99"]);
        assert_eq!(findings(&worse, Finding::Same), ["rate", "errors"]);
        assert_eq!(worse.runs_needed, None);
        let better = RunComparison::new(&slow, &fast, 0.05).unwrap();
        assert_eq!(findings(&better, Finding::Better), ["p50", "p90", "p99"]);
        assert_eq!(findings(&better, Finding::Unknown), ["p99.9"]);
    }

    #[test]
    fn what_is_small_does_not_matter_and_what_overlaps_is_chance() {
        let before = runs(&[1000, 1001, 1002, 1003, 1004]);
        let small = RunComparison::new(&before, &runs(&[1010, 1011, 1012, 1013, 1014]), 0.05);
        assert_eq!(findings(&small.unwrap(), Finding::Worse).len(), 0);
        let wild = RunComparison::new(&before, &runs(&[990, 5000, 998, 4000, 1001]), 0.05);
        assert_eq!(findings(&wild.unwrap(), Finding::Worse).len(), 0);
    }

    #[test]
    fn few_runs_tell_nothing_and_say_how_many_would() {
        let one = RunComparison::new(&runs(&[1000]), &runs(&[9000]), 0.05).unwrap();
        assert_eq!(findings(&one, Finding::Unknown).len(), 6);
        assert_eq!(one.runs_needed, Some(5));
        assert!(one.differences.iter().all(|difference| difference.p_value.is_none()));
        let three = RunComparison::new(&runs(&[1, 2, 3]), &runs(&[900, 901, 902]), 0.0).unwrap();
        assert_eq!(findings(&three, Finding::Unknown).len(), 6);
        assert!(three.differences[2].p_value.is_some());
    }

    #[test]
    fn errors_from_none_are_worse_without_end() {
        let mut bad = run(1000);
        bad.record.ledger.plan(10);
        bad.record.ledger.settle_many(crate::Outcome::Lost, 10);
        let after = vec![bad; 5];
        let before = runs(&[1000; 5]);
        let comparison = RunComparison::new(&before, &after, 0.05).unwrap();
        assert_eq!(findings(&comparison, Finding::Worse), ["errors"]);
        assert_eq!(comparison.differences[1].worsening(), Some(f64::INFINITY));
    }

    #[test]
    fn what_cannot_be_compared_is_refused_and_what_differs_is_named() {
        let compare = |before: &[Report], after: &[Report]| RunComparison::new(before, after, 0.05);
        assert_eq!(compare(&[], &runs(&[1])), Err(CompareError::Missing));
        assert_eq!(compare(&runs(&[1; 51]), &runs(&[1])), Err(CompareError::TooMany));
        assert_eq!(compare(&runs(&[1]), &[sample::open()]), Err(CompareError::Modes));
        let mut other = sample::open();
        other.settings.listed[1].1 = "40".to_owned();
        let settings = compare(&[sample::open()], &[other]).unwrap().settings;
        assert_eq!(settings, [("clients".to_owned(), "20".to_owned(), "40".to_owned())]);
    }
}
