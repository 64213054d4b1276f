//! Compares runs before and after a change. Pure.
//!
//! The unit of comparison is the run. The samples of a run depend on one another, because one busy
//! moment slows thousands of them. If all samples were pooled, random differences would look
//! significant. Each run counts once per metric, and the groups are compared by the test in
//! [`rank`].

use crate::report::{LoadReport, LoopMode};
use crate::statistics::{Percentile, rank};
use crate::verdict::Metric;

/// The significance level.
const ALPHA: f64 = 0.05;

/// The maximum number of runs on one side.
pub(crate) const RUNS_MAX: usize = rank::GROUP_MAX;

/// A comparison of runs before and after a change, metric by metric.
#[derive(Clone, Debug, PartialEq)]
pub struct RunComparison {
    /// The difference in each metric.
    pub differences: Vec<Difference>,
    /// The settings that differ: the name, the value before, and the value after the change.
    pub settings: Vec<(String, String, String)>,
    /// The number of runs on each side that the test needs, if there were fewer.
    pub runs_needed: Option<usize>,
}

/// A metric before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The metric.
    pub metric: Metric,
    /// The value of the metric in each run before the change; empty if a run has too few samples.
    pub before: Vec<f64>,
    /// The value of the metric in each run after the change.
    pub after: Vec<f64>,
    /// The p-value, corrected for the number of metrics; `None` with one run on a side.
    pub p_value: Option<f64>,
    /// The verdict on the metric.
    pub verdict: ChangeVerdict,
}

/// The verdict on a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeVerdict {
    /// The metric is significantly worse, by more than the tolerance.
    Worse,
    /// The metric is significantly better, by more than the tolerance.
    Better,
    /// The difference is not significant, or is within the tolerance.
    Same,
    /// There are too few runs or samples.
    Unknown,
}

/// The error of runs that cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// Open and closed loop are mixed: latency and service time cannot be compared.
    #[error("an open loop and a closed loop cannot be compared: they measure different things")]
    Modes,
    /// One side has no runs.
    #[error("a comparison needs at least one run before and one run after")]
    Missing,
    /// One side has too many runs.
    #[error("too many runs on one side: the limit is {RUNS_MAX}")]
    TooMany,
}

impl RunComparison {
    /// Compares `after` with `before`. Medians that differ by no more than `tolerance`, a share of
    /// the value before, count as the same.
    ///
    /// # Errors
    /// If one side is empty or too large, or if open and closed loop are mixed.
    pub fn new(
        before: &[LoadReport],
        after: &[LoadReport],
        tolerance: f64,
    ) -> Result<Self, CompareError> {
        if before.is_empty() || after.is_empty() {
            return Err(CompareError::Missing);
        }
        if before.len().max(after.len()) > RUNS_MAX {
            return Err(CompareError::TooMany);
        }
        let mode = |report: &LoadReport| report.settings.mode;
        let is_mixed = |wanted: LoopMode| before.iter().chain(after).any(|run| mode(run) != wanted);
        if is_mixed(mode(&before[0])) {
            return Err(CompareError::Modes);
        }
        let metrics = [Metric::Rate, Metric::Errors]
            .into_iter()
            .chain(Percentile::DEFAULTS.map(Metric::Percentile));
        let mut differences: Vec<_> =
            metrics.map(|metric| Difference::new(metric, before, after)).collect();
        set_verdicts(&mut differences, tolerance);
        let sizes = (before.len(), after.len());
        let tested = differences.iter().filter(|difference| difference.is_known()).count();
        let runs_needed = runs_needed(sizes, tested);
        Ok(Self { differences, settings: different_settings(before, after), runs_needed })
    }

    /// Returns the metrics with this verdict.
    pub fn with_verdict(&self, verdict: ChangeVerdict) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(move |difference| difference.verdict == verdict)
    }
}

impl Difference {
    fn new(metric: Metric, before: &[LoadReport], after: &[LoadReport]) -> Self {
        let figures = |runs: &[LoadReport]| -> Vec<f64> {
            let figures = runs.iter().map(|run| metric.of(&run.record, run.elapsed));
            figures.collect::<Option<_>>().unwrap_or_default()
        };
        let (before, after) = (figures(before), figures(after));
        Self { metric, before, after, p_value: None, verdict: ChangeVerdict::Unknown }
    }

    /// Returns the median of each side; `None` if one of them is empty.
    #[must_use]
    pub fn medians(&self) -> Option<(f64, f64)> {
        rank::median(&self.before).zip(rank::median(&self.after))
    }

    /// Returns the relative change of the median; infinite if it was zero before.
    #[must_use]
    pub fn change(&self) -> Option<f64> {
        let (before, after) = self.medians()?;
        Some(if before == after { 0.0 } else { (after - before) / before })
    }

    /// Returns the relative change for the worse; negative if it is better.
    #[must_use]
    pub fn worsening(&self) -> Option<f64> {
        let change = self.change()?;
        Some(if self.metric == Metric::Rate { -change } else { change })
    }

    fn is_known(&self) -> bool {
        !self.before.is_empty() && !self.after.is_empty()
    }
}

fn set_verdicts(differences: &mut [Difference], tolerance: f64) {
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
        difference.verdict = match difference.worsening() {
            _ if least * p_values.len() as f64 > ALPHA => ChangeVerdict::Unknown,
            Some(worsening) if p_value <= ALPHA && worsening > tolerance => ChangeVerdict::Worse,
            Some(worsening) if p_value <= ALPHA && worsening < -tolerance => ChangeVerdict::Better,
            _ => ChangeVerdict::Same,
        };
    }
}

/// Returns the number of runs on each side that the test needs, if these are too few.
fn runs_needed((before, after): (usize, usize), figures: usize) -> Option<usize> {
    let tells = |before, after| rank::p_value_least(before, after) * figures as f64 <= ALPHA;
    if tells(before, after) { None } else { (2..RUNS_MAX).find(|&runs| tells(runs, runs)) }
}

fn different_settings(
    before: &[LoadReport],
    after: &[LoadReport],
) -> Vec<(String, String, String)> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in before.iter().chain(after).flat_map(|run| &run.settings.listed) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let values = |runs: &[LoadReport], name: &str| {
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
    use crate::statistics::{CorrectReply, MessageOutcome, RunRecord};

    /// Returns a run of two thousand replies that take this long each.
    fn run(micros: u64) -> LoadReport {
        let mut report = sample::closed();
        report.record = RunRecord::new(2000);
        report.elapsed = Duration::from_secs(1);
        for number in 0..2000 {
            let service = Duration::from_micros(micros + number % 100);
            report.record.reply(CorrectReply { at: Duration::ZERO, latency: None, service });
        }
        report
    }

    fn runs(micros: &[u64]) -> Vec<LoadReport> {
        micros.iter().map(|&micros| run(micros)).collect()
    }

    fn metrics_with(comparison: &RunComparison, verdict: ChangeVerdict) -> Vec<String> {
        comparison.with_verdict(verdict).map(|difference| difference.metric.to_string()).collect()
    }

    #[test]
    fn slower_runs_are_worse_and_faster_ones_better() {
        let (slow, fast) =
            (runs(&[1500, 1510, 1520, 1530, 1540]), runs(&[900, 910, 905, 950, 930]));
        let worse = RunComparison::new(&fast, &slow, 0.05).unwrap();
        assert_eq!(metrics_with(&worse, ChangeVerdict::Worse), ["p50", "p90", "p99"]);
        assert_eq!(metrics_with(&worse, ChangeVerdict::Same), ["rate", "errors"]);
        assert_eq!(worse.runs_needed, None);
        let better = RunComparison::new(&slow, &fast, 0.05).unwrap();
        assert_eq!(metrics_with(&better, ChangeVerdict::Better), ["p50", "p90", "p99"]);
        assert_eq!(metrics_with(&better, ChangeVerdict::Unknown), ["p99.9"]);
    }

    #[test]
    fn small_or_overlapping_differences_count_as_the_same() {
        let before = runs(&[1000, 1001, 1002, 1003, 1004]);
        let small = RunComparison::new(&before, &runs(&[1010, 1011, 1012, 1013, 1014]), 0.05);
        assert_eq!(metrics_with(&small.unwrap(), ChangeVerdict::Worse).len(), 0);
        let wild = RunComparison::new(&before, &runs(&[990, 5000, 998, 4000, 1001]), 0.05);
        assert_eq!(metrics_with(&wild.unwrap(), ChangeVerdict::Worse).len(), 0);
    }

    #[test]
    fn too_few_runs_give_no_verdict_but_the_number_needed() {
        let one = RunComparison::new(&runs(&[1000]), &runs(&[9000]), 0.05).unwrap();
        assert_eq!(metrics_with(&one, ChangeVerdict::Unknown).len(), 6);
        assert_eq!(one.runs_needed, Some(5));
        assert!(one.differences.iter().all(|difference| difference.p_value.is_none()));
        let three = RunComparison::new(&runs(&[1, 2, 3]), &runs(&[900, 901, 902]), 0.0).unwrap();
        assert_eq!(metrics_with(&three, ChangeVerdict::Unknown).len(), 6);
        assert!(three.differences[2].p_value.is_some());
    }

    #[test]
    fn errors_after_none_are_infinitely_worse() {
        let mut bad = run(1000);
        bad.record.ledger.plan(10);
        bad.record.ledger.settle_many(MessageOutcome::Lost, 10);
        let after = vec![bad; 5];
        let before = runs(&[1000; 5]);
        let comparison = RunComparison::new(&before, &after, 0.05).unwrap();
        assert_eq!(metrics_with(&comparison, ChangeVerdict::Worse), ["errors"]);
        assert_eq!(comparison.differences[1].worsening(), Some(f64::INFINITY));
    }

    #[test]
    fn rejects_incomparable_runs_and_lists_different_settings() {
        let compare =
            |before: &[LoadReport], after: &[LoadReport]| RunComparison::new(before, after, 0.05);
        assert_eq!(compare(&[], &runs(&[1])), Err(CompareError::Missing));
        assert_eq!(compare(&runs(&[1; 51]), &runs(&[1])), Err(CompareError::TooMany));
        assert_eq!(compare(&runs(&[1]), &[sample::open()]), Err(CompareError::Modes));
        let mut other = sample::open();
        other.settings.listed[1].1 = "40".to_owned();
        let settings = compare(&[sample::open()], &[other]).unwrap().settings;
        assert_eq!(settings, [("clients".to_owned(), "20".to_owned(), "40".to_owned())]);
    }
}
