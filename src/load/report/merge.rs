//! Reports of several machines as one. Pure, and exact: histograms and counts are added, never
//! percentiles averaged.

use super::{Report, Summary};
use crate::load::trust::Processor;

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
}

impl Report {
    /// Takes in the report of another machine that ran at the same time, or of another run.
    ///
    /// Counts, histograms, clients and planned rates are added; the time is that of the longer.
    ///
    /// # Errors
    /// Where adding them would mean nothing; then nothing has changed.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        if self.settings.mode != other.settings.mode {
            return Err(MergeError::Modes);
        }
        if self.walk.is_some() || other.walk.is_some() {
            return Err(MergeError::Searches);
        }
        self.settings.merge(&other.settings);
        if self.started.is_empty() || (!other.started.is_empty() && other.started < self.started) {
            self.started.clone_from(&other.started);
        }
        self.elapsed = self.elapsed.max(other.elapsed);
        self.record.merge(&other.record);
        match (&mut self.warm_up, &other.warm_up) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, theirs) => mine.clone_from(theirs),
            (Some(_), None) => {}
        }
        self.processor = match (self.processor, other.processor) {
            (Some(mine), Some(theirs)) => Some(Processor {
                user: mine.user + theirs.user,
                system: mine.system + theirs.system,
                elapsed: mine.elapsed.max(theirs.elapsed),
            }),
            // Half of a sum would say that the testers had time to spare.
            _ => None,
        };
        for distrust in &other.distrust {
            if !self.distrust.contains(distrust) {
                self.distrust.push(distrust.clone());
            }
        }
        Ok(())
    }
}

impl Summary {
    fn merge(&mut self, other: &Self) {
        self.clients += other.clients;
        self.rate = self.rate.zip(other.rate).map(|(mine, theirs)| mine + theirs);
        self.duration = self.duration.max(other.duration);
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
#[cfg(feature = "report")]
mod tests {
    use std::time::Duration;

    use super::super::sample;
    use super::*;
    use crate::load::{Answer, Outcome, Percentile, Record};

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
