//! Finds the highest rate that holds an objective: runs again and again.

use std::io;
use std::time::Duration;

use super::metric::Metric;
use super::objective::Objectives;
use super::pacer::{Pacer, Rate};
use super::report::Report;
use super::run::run;
use super::search::Search;
use super::settings::Settings;
use super::units;
use super::view::View;
use super::walk::{Purpose, Step, Walk};
use crate::net::{Phase, Shutdown};

/// How long a rate is tried where the settings name no duration.
const DURATION_DEFAULT: Duration = Duration::from_secs(5);

/// The longest time that a rate is tried so that enough messages come for a percentile.
const DURATION_MAX: Duration = Duration::from_secs(60);

/// Connections have settled by then.
const WARM_UP_DEFAULT: Duration = Duration::from_millis(500);

/// A rate that breaks leaves much in flight, which says no more.
const GRACE_MAX: Duration = Duration::from_secs(1);

/// Where the objectives name no share of errors, this is too much.
const ERRORS_MAX: f64 = 0.01;

/// Samples that a percentile takes, beside the ten beyond it: some are warm-up or fail.
const SAMPLES_SPARE: f64 = 1.2;

/// Tries rates, `first` first, as messages per second of an open loop, until the highest is found
/// that keeps to `goals`, or until `stop` is drained. The report is that of the last run at the
/// rate that was found (else of the last run), with the [`Walk`]. `watch` hears which rate is
/// tried.
///
/// # Errors
/// As those of [`run`].
pub async fn find_max(
    settings: &Settings,
    goals: &Objectives,
    first: f64,
    stop: &Shutdown,
    mut watch: impl FnMut(f64, Purpose, &View),
) -> io::Result<Report> {
    let mut search = Search::from(first);
    let mut steps = Vec::new();
    let mut best: Option<Report> = None;
    while let Some((rate, purpose)) = search.next() {
        let Some(settings) = at_rate(settings, goals, rate) else { break };
        let report = run(&settings, stop, |view| watch(rate, purpose, view)).await?;
        if stop.phase() != Phase::Running {
            best.get_or_insert(report);
            break;
        }
        let broken = breaches(goals, &report);
        let holds = broken.is_empty();
        steps.push(Step::new(rate, purpose, &report.record, report.elapsed, broken));
        search.tell(rate, holds);
        if holds || search.highest().is_none() {
            best = Some(report);
        }
    }
    let mut report = best.ok_or_else(|| io::Error::other("no rate could be tried"))?;
    let stopped = stop.phase() != Phase::Running;
    let verdict = verdict(&search, &steps, stopped);
    let objective = goals.to_string();
    report.walk = Some(Walk { objective, steps, highest: search.highest(), verdict });
    Ok(report)
}

/// The settings of one run; `None` for a rate that cannot be written.
fn at_rate(settings: &Settings, goals: &Objectives, rate: f64) -> Option<Settings> {
    let mut settings = settings.clone();
    let pacer = Pacer::constant(Rate::per_second(rate)?);
    settings.messages = match settings.messages.seed() {
        Some(seed) => pacer.poisson(seed),
        None => pacer,
    };
    if settings.warm_up.is_zero() {
        settings.warm_up = WARM_UP_DEFAULT;
    }
    let wanted = settings.duration.unwrap_or(DURATION_DEFAULT);
    let samples = samples_needed(goals) / rate;
    let enough = Duration::try_from_secs_f64(samples).unwrap_or(DURATION_MAX);
    settings.duration = Some(wanted.max(enough.min(DURATION_MAX)));
    settings.grace = settings.grace.min(GRACE_MAX);
    settings.reconnect = true;
    Some(settings)
}

/// How many answers it takes before the percentiles of the goals are more than chance.
fn samples_needed(goals: &Objectives) -> f64 {
    let needed = goals.list().iter().map(|objective| match objective.metric {
        Metric::Percentile(percentile) => 10.0 / (1.0 - percentile.quantile()).max(1e-6),
        _ => 0.0,
    });
    needed.fold(0.0, f64::max) * SAMPLES_SPARE
}

/// What the run broke, as sentences, and whether the tester has a part in it.
fn breaches(goals: &Objectives, report: &Report) -> Vec<String> {
    let (record, elapsed) = (&report.record, report.elapsed);
    let breaches = goals.check(|metric| metric.of(record, elapsed));
    let mut broken: Vec<_> = breaches.iter().map(ToString::to_string).collect();
    let named = goals.list().iter().any(|objective| objective.metric == Metric::Errors);
    let errors = record.error_share();
    if !named && errors > ERRORS_MAX {
        broken.push(format!("{:.1} % was not answered right in time", errors * 100.0));
    }
    if !broken.is_empty() {
        broken.extend(report.distrust.iter().map(ToString::to_string));
    }
    broken
}

fn verdict(search: &Search, steps: &[Step], stopped: bool) -> String {
    let prefix = if stopped { "stopped before the end of the search: " } else { "" };
    let Some(highest) = search.highest() else {
        let lowest = steps.iter().map(|step| step.rate).fold(f64::INFINITY, f64::min);
        return match steps.last() {
            Some(step) => {
                let lowest = units::per_second(lowest);
                format!("{prefix}no rate held, not even {lowest}/s: {}", step.broken.join("; "))
            }
            None => format!("{prefix}no rate was tried to its end"),
        };
    };
    let times = search.times();
    let held = format!("{prefix}{}/s held in {times} of {times} runs", units::per_second(highest));
    let breaking = search
        .broke()
        .and_then(|broke| steps.iter().rev().find(|step| step.rate == broke && !step.held()));
    match breaking {
        Some(step) => {
            let rate = units::per_second(step.rate);
            format!("{held}; {rate}/s did not: {}", step.broken.join("; "))
        }
        None => format!("{held}; no higher rate was tried"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_tried_until_its_percentiles_are_no_chance() {
        let plan =
            crate::load::Plan::new(std::num::NonZero::<u32>::MIN, None, 64, crate::net::Eol::Lf, 1);
        let settings = Settings::new("127.0.0.1:1".parse().unwrap(), plan.unwrap());
        let goals = Objectives::goals("p99.9<5ms,errors<0.1%").unwrap();
        let seconds = |rate| at_rate(&settings, &goals, rate).unwrap().duration.unwrap().as_secs();
        assert_eq!(seconds(1000.0), 12);
        assert_eq!(seconds(100_000.0), 5);
        assert_eq!(seconds(1.0), 60);
    }
}
