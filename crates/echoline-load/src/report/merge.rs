//! Reports of several machines as one. Pure, and exact: histograms and counts are added, never
//! percentiles averaged.

use std::time::Duration;

use super::{Report, Summary};
use crate::trust::{Distrust, Processor};

/// The part of the shorter run for which two runs are to overlap before their rates are added
/// without a warning.
const TOGETHER_MIN: f64 = 0.9;

/// Why two reports cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// Latency and service time are different things.
    #[error("open loop and closed loop cannot be merged: what they measure is not the same")]
    Modes,
    /// A search has an answer of its own.
    #[error("a search for the highest rate cannot be merged: its rates were not tried together")]
    Searches,
    /// They did not run at the same time, so their rates and clients do not add up to anything.
    #[error(
        "they did not run at the same time: {gap:.1?} lie between them, so their clients and rates \
         cannot be added"
    )]
    NotTogether {
        /// From the end of one to the start of the other.
        gap: Duration,
    },
}

impl Report {
    /// Takes in the report of another machine that ran at the same time.
    ///
    /// Counts, histograms, clients and planned rates are added; the time is that of the longer. If
    /// the runs overlapped for less than nine tenths of the shorter, the report says so. Reports
    /// that do not know when they ran count as those of the same time.
    ///
    /// # Errors
    /// [`MergeError`] if adding them would mean nothing; then nothing has changed.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        let partly = self.check_together(other)?;
        self.settings.merge(&other.settings);
        self.settings.rate =
            self.settings.rate.zip(other.settings.rate).map(|(mine, theirs)| mine + theirs);
        self.settings.duration = self.settings.duration.max(other.settings.duration);
        self.measuring_began = earlier(self.measuring_began, other.measuring_began);
        self.elapsed = self.elapsed.max(other.elapsed);
        self.record.merge(&other.record);
        self.merge_rest(other, Duration::max);
        self.note_distrust(partly);
        Ok(())
    }

    /// Takes in the report of another run that came before or after. The times are added and the
    /// higher planned rate is kept; the report says that the runs were not at the same time.
    ///
    /// # Errors
    /// [`MergeError`] if adding them would mean nothing; then nothing has changed.
    pub fn merge_in_turn(&mut self, other: &Self) -> Result<(), MergeError> {
        self.check_kind(other)?;
        self.settings.merge(&other.settings);
        self.settings.rate =
            self.settings.rate.zip(other.settings.rate).map(|(mine, theirs)| mine.max(theirs));
        let durations = self.settings.duration.zip(other.settings.duration);
        self.settings.duration = durations.map(|(mine, theirs)| mine + theirs);
        // There is no one time from which the seconds of the series could be counted.
        self.measuring_began = None;
        self.elapsed += other.elapsed;
        let mut record = other.record.clone();
        let series = std::mem::take(&mut record.series);
        self.record.merge(&record);
        self.record.series.append(&series);
        self.merge_rest(other, |mine, theirs| mine + theirs);
        self.note_distrust(Some(Distrust::NotTogether));
        Ok(())
    }

    fn check_kind(&self, other: &Self) -> Result<(), MergeError> {
        if self.settings.mode != other.settings.mode {
            return Err(MergeError::Modes);
        }
        if self.walk.is_some() || other.walk.is_some() {
            return Err(MergeError::Searches);
        }
        Ok(())
    }

    /// Whether both can be merged as runs of the same time; a warning if they overlapped in part.
    ///
    /// # Errors
    /// [`MergeError`] if they cannot.
    pub fn check_together(&self, other: &Self) -> Result<Option<Distrust>, MergeError> {
        self.check_kind(other)?;
        let Some((mine, theirs)) = self.measuring_began.zip(other.measuring_began) else {
            return Ok(None);
        };
        let ended = (mine + self.elapsed).min(theirs + other.elapsed);
        let began = mine.max(theirs);
        let Some(together) = ended.checked_sub(began) else {
            return Err(MergeError::NotTogether { gap: began.saturating_sub(ended) });
        };
        let shortest = self.elapsed.min(other.elapsed);
        let partly = together < shortest.mul_f64(TOGETHER_MIN);
        Ok(partly.then_some(Distrust::PartlyTogether { together, shortest }))
    }

    fn note_distrust(&mut self, distrust: Option<Distrust>) {
        self.distrust.extend(distrust.filter(|distrust| !self.distrust.contains(distrust)));
    }

    /// Merges the parts for which it does not matter when the runs were; `add` adds their times.
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
            (Some(mine), Some(theirs)) => Some(Processor {
                user: mine.user + theirs.user,
                system: mine.system + theirs.system,
                elapsed: add(mine.elapsed, theirs.elapsed),
            }),
            // Half of a sum would say that the testers had time to spare.
            _ => None,
        };
        for distrust in &other.distrust {
            self.note_distrust(Some(distrust.clone()));
        }
    }
}

/// The earlier of two times; `None` if one is not known.
fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.zip(other).map(|(one, other)| one.min(other))
}

impl Summary {
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
    use crate::{Answer, Outcome, Percentile, Record};

    #[test]
    fn everything_is_added() {
        let mut report = sample::open();
        let mut other = sample::open();
        other.settings.targets = vec!["10.0.0.1:7".to_owned()];
        other.settings.listed[0].1 = "500/s".to_owned();
        other.elapsed = Duration::from_secs(12);
        other.started = "2026-11-23T16:59:59+01:00".to_owned();
        report.merge(&other).unwrap();
        assert!(report.record.ledger.adds_up());
        assert_eq!(report.record.ledger.ok(), 2 * 9980);
        assert_eq!(report.record.failures(Outcome::TimedOut).count(), 18);
        assert_eq!((report.settings.clients, report.settings.rate), (40, Some(2000.0)));
        assert_eq!(report.settings.targets.len(), 3);
        assert_eq!(report.settings.listed[0].1, "1000/s | 500/s");
        assert_eq!(report.settings.listed[1].1, "20");
        assert_eq!(report.elapsed, Duration::from_secs(12));
        assert_eq!(report.started, other.started);
        assert_eq!(report.distrust.len(), 1);
        assert_eq!(report.processor.unwrap().user, Duration::from_secs(1));
        let json = report.to_json();
        assert_eq!(Report::from_json(&json).unwrap().to_json(), json);
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
        assert_eq!(gap, MergeError::NotTogether { gap: seconds(5) / 2 });
        assert_eq!(later(12_500).merge(&sample::open()), Err(gap));
        assert_eq!((merged.record.ledger.ok(), merged.distrust.len()), (9980, 1));
        // Nearly together is together; a part of it is told.
        merged.merge(&later(999)).unwrap();
        assert_eq!(merged.distrust.len(), 1);
        merged.merge(&later(7000)).unwrap();
        let partly = Distrust::PartlyTogether { together: seconds(3), shortest: seconds(10) };
        assert_eq!(merged.distrust[1], partly);
        assert_eq!(merged.elapsed, seconds(10));
        let json = merged.to_json();
        assert_eq!(Report::from_json(&json).unwrap().distrust, merged.distrust);
    }

    /// Issue 11, item 30: what is merged as runs one after another is marked as that.
    #[test]
    fn regression_runs_in_turn_add_their_times_and_say_so() {
        let mut merged = sample::open();
        merged.merge_in_turn(&sample::open()).unwrap();
        assert_eq!((merged.settings.rate, merged.elapsed), (Some(1000.0), seconds(20)));
        assert_eq!((merged.settings.duration, merged.measuring_began), (Some(seconds(20)), None));
        assert_eq!(merged.record.series.slots().len(), 20);
        assert_eq!(merged.record.ledger.ok(), 2 * 9980);
        assert_eq!(merged.distrust.last(), Some(&Distrust::NotTogether));
        let text = merged.to_string();
        assert!(text.contains("do not trust this run: the merged runs did not run at"), "{text}");
        let json = merged.to_json();
        assert_eq!(Report::from_json(&json).unwrap().distrust, merged.distrust);
        assert_eq!(merged.merge_in_turn(&sample::closed()), Err(MergeError::Modes));
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_means_nothing_together_is_refused() {
        let mut open = sample::open();
        assert_eq!(open.merge(&sample::closed()), Err(MergeError::Modes));
        assert_eq!(open.merge(&sample::search()), Err(MergeError::Searches));
        assert_eq!(open.record.ledger.ok(), 9980);
    }

    /// One machine is fast and one is slow: the mean of their p99 would be half of the true one.
    #[test]
    fn a_percentile_is_that_of_all_samples() {
        let report = |latency: Duration| {
            let mut report = sample::closed();
            report.record = Record::new(1000);
            for _ in 0..1000 {
                let at = Duration::ZERO;
                report.record.answer(Answer { at, latency: None, service: latency });
            }
            report
        };
        let mut merged = report(Duration::from_millis(1));
        merged.merge(&report(Duration::from_millis(100))).unwrap();
        let [p50, p90, ..] = Percentile::SHOWN.map(|p| merged.record.service.percentile(p));
        assert_eq!(p50.map(|time| time.as_millis()), Some(1));
        assert_eq!(p90.map(|time| time.as_millis()), Some(100));
    }
}
