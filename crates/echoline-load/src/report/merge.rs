//! Merges the reports of several machines. Pure. The result is exact, because histograms and counts
//! are added and percentiles are never averaged.

use std::time::Duration;

use super::{LoadReport, RunSummary};
use crate::verdict::{MeasurementWarning, ProcessorTime};

/// The overlap, as a share of the shorter run, below which merged runs get a warning.
const OVERLAP_MIN: f64 = 0.9;

/// The error of reports that cannot be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// One report is of an open loop and the other of a closed loop: latency and service time
    /// cannot be added.
    #[error("an open loop and a closed loop cannot be merged: they measure different things")]
    Modes,
    /// A search is not one run.
    #[error(
        "a search for the highest rate cannot be merged: its rates were not tried at the same time"
    )]
    Searches,
    /// The runs were not concurrent, so the sum of their clients and rates has no meaning.
    #[error(
        "the runs did not overlap: {gap:.1?} lie between them, so their clients and rates cannot \
         be added"
    )]
    NotConcurrent {
        /// The time from the end of one run to the start of the other.
        gap: Duration,
    },
}

impl LoadReport {
    /// Merges the report of another machine that ran at the same time.
    ///
    /// Counts, histograms, clients and planned rates are added. The measured time is that of the
    /// longer run. If the runs overlapped for less than nine tenths of the shorter, the report gets
    /// a warning. Reports without a start time count as concurrent.
    ///
    /// # Errors
    /// [`MergeError`] if the sum would have no meaning. The report is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        let partly = self.check_concurrent(other)?;
        self.settings.merge(&other.settings);
        self.settings.rate =
            self.settings.rate.zip(other.settings.rate).map(|(mine, theirs)| mine + theirs);
        self.settings.duration = self.settings.duration.max(other.settings.duration);
        self.measuring_began = earlier(self.measuring_began, other.measuring_began);
        self.elapsed = self.elapsed.max(other.elapsed);
        self.record.merge(&other.record);
        self.merge_rest(other, Duration::max);
        self.note_warning(partly);
        Ok(())
    }

    /// Merges the report of another run that took place before or after this one. The measured
    /// times are added, and the higher planned rate is kept. The report gets a warning that the
    /// runs were not concurrent.
    ///
    /// # Errors
    /// [`MergeError`] if the sum would have no meaning. The report is then unchanged.
    pub fn merge_sequential(&mut self, other: &Self) -> Result<(), MergeError> {
        self.check_kind(other)?;
        self.settings.merge(&other.settings);
        self.settings.rate =
            self.settings.rate.zip(other.settings.rate).map(|(mine, theirs)| mine.max(theirs));
        let durations = self.settings.duration.zip(other.settings.duration);
        self.settings.duration = durations.map(|(mine, theirs)| mine + theirs);
        // The intervals of the series no longer have a common start.
        self.measuring_began = None;
        self.elapsed += other.elapsed;
        let mut record = other.record.clone();
        let series = std::mem::take(&mut record.series);
        self.record.merge(&record);
        self.record.series.append(&series);
        self.merge_rest(other, |mine, theirs| mine + theirs);
        self.note_warning(Some(MeasurementWarning::NotConcurrent));
        Ok(())
    }

    fn check_kind(&self, other: &Self) -> Result<(), MergeError> {
        if self.settings.mode != other.settings.mode {
            return Err(MergeError::Modes);
        }
        if self.search.is_some() || other.search.is_some() {
            return Err(MergeError::Searches);
        }
        Ok(())
    }

    /// Checks that both runs were concurrent. Returns a warning if they overlapped only in part.
    ///
    /// # Errors
    /// [`MergeError`] if the runs did not overlap.
    pub fn check_concurrent(&self, other: &Self) -> Result<Option<MeasurementWarning>, MergeError> {
        self.check_kind(other)?;
        let Some((mine, theirs)) = self.measuring_began.zip(other.measuring_began) else {
            return Ok(None);
        };
        let ended = (mine + self.elapsed).min(theirs + other.elapsed);
        let began = mine.max(theirs);
        let Some(overlap) = ended.checked_sub(began) else {
            return Err(MergeError::NotConcurrent { gap: began.saturating_sub(ended) });
        };
        let shortest = self.elapsed.min(other.elapsed);
        let partly = overlap < shortest.mul_f64(OVERLAP_MIN);
        Ok(partly.then_some(MeasurementWarning::PartialOverlap { overlap, shortest }))
    }

    fn note_warning(&mut self, warnings: Option<MeasurementWarning>) {
        self.warnings.extend(warnings.filter(|warnings| !self.warnings.contains(warnings)));
    }

    /// Merges the parts that do not depend on when the runs took place. `add` combines their times.
    fn merge_rest(&mut self, other: &Self, add: fn(Duration, Duration) -> Duration) {
        if self.started.is_empty() || (!other.started.is_empty() && other.started < self.started) {
            self.started.clone_from(&other.started);
        }
        match (&mut self.warm_up, &other.warm_up) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, theirs) => mine.clone_from(theirs),
            (Some(_), None) => {}
        }
        self.processor = match (self.processor, other.processor) {
            (Some(mine), Some(theirs)) => Some(ProcessorTime {
                user: mine.user + theirs.user,
                system: mine.system + theirs.system,
                elapsed: add(mine.elapsed, theirs.elapsed),
                polled: mine.polled + theirs.polled,
                polling_pauses: mine.polling_pauses.saturating_add(theirs.polling_pauses),
            }),
            // A partial sum would suggest that the testers had more idle processor time than they
            // had.
            _ => None,
        };
        for warnings in &other.warnings {
            self.note_warning(Some(warnings.clone()));
        }
    }
}

/// Returns the earlier of two times; `None` if one is not known.
fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.zip(other).map(|(one, other)| one.min(other))
}

impl RunSummary {
    fn merge(&mut self, other: &Self) {
        self.clients += other.clients;
        self.bytes = self.bytes.max(other.bytes);
        for target in &other.targets {
            if !self.targets.contains(target) {
                self.targets.push(target.clone());
            }
        }
        for (name, value) in &other.listed {
            match self.listed.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) if values.split(" | ").any(|known| known == value) => {}
                Some((_, values)) => values.extend([" | ", value]),
                None => self.listed.push((name.clone(), value.clone())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::statistics::{CorrectReply, MessageOutcome, Percentile, RunRecord};

    #[test]
    fn counts_and_settings_of_both_reports_are_added() {
        let mut report = sample::open();
        let mut other = sample::open();
        other.settings.targets = vec!["10.0.0.1:7".to_owned()];
        other.settings.listed[0].1 = "500/s".to_owned();
        other.elapsed = Duration::from_secs(12);
        other.started = "2026-11-23T16:59:59+01:00".to_owned();
        report.merge(&other).unwrap();
        assert!(report.record.ledger.adds_up());
        assert_eq!(report.record.ledger.ok(), 2 * 9980);
        assert_eq!(report.record.failures(MessageOutcome::TimedOut).count(), 18);
        assert_eq!((report.settings.clients, report.settings.rate), (40, Some(2000.0)));
        assert_eq!(report.settings.targets.len(), 3);
        assert_eq!(report.settings.listed[0].1, "1000/s | 500/s");
        assert_eq!(report.settings.listed[1].1, "20");
        assert_eq!(report.elapsed, Duration::from_secs(12));
        assert_eq!(report.started, other.started);
        assert_eq!(report.warnings.len(), 1);
        assert_eq!(report.processor.unwrap().user, Duration::from_secs(1));
        let json = report.to_json();
        assert_eq!(LoadReport::from_json(&json).unwrap().to_json(), json);
    }

    /// Issue 11, item 30: the rates of runs that never overlapped are not added.
    #[test]
    fn regression_runs_that_never_overlapped_are_not_added() {
        let later = |millis: u64| {
            let mut report = sample::open();
            report.measuring_began = report.measuring_began.map(|at| at + seconds(millis) / 1000);
            report
        };
        let mut merged = sample::open();
        let gap = merged.merge(&later(12_500)).unwrap_err();
        assert_eq!(gap, MergeError::NotConcurrent { gap: seconds(5) / 2 });
        assert_eq!(later(12_500).merge(&sample::open()), Err(gap));
        assert_eq!((merged.record.ledger.ok(), merged.warnings.len()), (9980, 1));
        // Nearly concurrent runs count as concurrent. A partial overlap gives a warning.
        merged.merge(&later(999)).unwrap();
        assert_eq!(merged.warnings.len(), 1);
        merged.merge(&later(7000)).unwrap();
        let partly =
            MeasurementWarning::PartialOverlap { overlap: seconds(3), shortest: seconds(10) };
        assert_eq!(merged.warnings[1], partly);
        assert_eq!(merged.elapsed, seconds(10));
        let json = merged.to_json();
        assert_eq!(LoadReport::from_json(&json).unwrap().warnings, merged.warnings);
    }

    /// Issue 11, item 30: sequential runs are merged with a warning.
    #[test]
    fn regression_sequential_runs_add_their_times_with_a_warning() {
        let mut merged = sample::open();
        merged.merge_sequential(&sample::open()).unwrap();
        assert_eq!((merged.settings.rate, merged.elapsed), (Some(1000.0), seconds(20)));
        assert_eq!((merged.settings.duration, merged.measuring_began), (Some(seconds(20)), None));
        assert_eq!(merged.record.series.intervals().len(), 20);
        assert_eq!(merged.record.ledger.ok(), 2 * 9980);
        assert_eq!(merged.warnings.last(), Some(&MeasurementWarning::NotConcurrent));
        let text = merged.to_string();
        assert!(text.contains("do not trust this run: the merged runs did not overlap"), "{text}");
        let json = merged.to_json();
        assert_eq!(LoadReport::from_json(&json).unwrap().warnings, merged.warnings);
        assert_eq!(merged.merge_sequential(&sample::closed()), Err(MergeError::Modes));
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn rejects_reports_whose_sum_has_no_meaning() {
        let mut open = sample::open();
        assert_eq!(open.merge(&sample::closed()), Err(MergeError::Modes));
        assert_eq!(open.merge(&sample::search()), Err(MergeError::Searches));
        assert_eq!(open.record.ledger.ok(), 9980);
    }

    /// One machine is fast and one is slow. The mean of their p99 values would be half of the
    /// correct p99.
    #[test]
    fn a_percentile_is_that_of_all_samples() {
        let report = |latency: Duration| {
            let mut report = sample::closed();
            report.record = RunRecord::new(1000);
            for _ in 0..1000 {
                let at = Duration::ZERO;
                report.record.reply(CorrectReply { at, latency: None, service: latency });
            }
            report
        };
        let mut merged = report(Duration::from_millis(1));
        merged.merge(&report(Duration::from_millis(100))).unwrap();
        let [p50, p90, ..] = Percentile::DEFAULTS.map(|p| merged.record.service.percentile(p));
        assert_eq!(p50.map(|time| time.as_millis()), Some(1));
        assert_eq!(p90.map(|time| time.as_millis()), Some(100));
    }
}
