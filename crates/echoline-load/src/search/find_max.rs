//! Finds the highest rate that meets objectives, by repeated runs.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use crate::exchange::dial::{Dialer, describe};
use crate::report::{LoadReport, SearchStep, SearchTrace, TrialPurpose};
use crate::run::{RunProgress, run};
use crate::schedule::{Pacer, Rate};
use crate::search::strategy::RateSearch;
use crate::settings::LoadSettings;
use crate::verdict::{Breach, Metric, Objectives};
use echoline::{Phase, Shutdown};
use echoline_base::amount::figures;

/// The duration of a trial if the settings contain none.
const DURATION_DEFAULT: Duration = Duration::from_secs(5);

/// The longest trial that provides enough samples for a percentile.
const DURATION_MAX: Duration = Duration::from_secs(600);

/// The warm-up of a trial, in which connections settle.
const WARM_UP_DEFAULT: Duration = Duration::from_millis(500);

/// The longest grace period. The messages that are in flight after a rate did not hold provide no
/// information.
const GRACE_MAX: Duration = Duration::from_secs(1);

/// The largest share of errors if the objectives do not limit it.
const ERRORS_MAX: f64 = 0.01;

/// The factor by which a trial has more messages than a percentile needs, because some of them fail
/// or are in the warm-up.
const SAMPLES_SPARE: f64 = 1.2;

/// Searches for the highest rate of an open loop, in messages per second, that meets `goals`. The
/// search begins at `first`, and ends early when `stop` drains.
///
/// Returns the report of the last run at the found rate, or else of the last run. It contains the
/// [`SearchTrace`]. `on_progress` receives the rate that is being tried.
///
/// A trial lasts as long as its percentiles need, so that an objective never fails because of too
/// few samples. The search ends when no message is answered.
///
/// # Errors
/// Those of [`run`] and [`check_search`], and a target that refuses connections.
pub async fn find_max(
    settings: &LoadSettings,
    goals: &Objectives,
    first: f64,
    stop: &Shutdown,
    mut on_progress: impl FnMut(f64, TrialPurpose, &RunProgress),
) -> io::Result<LoadReport> {
    check_search(goals, first)
        .map_err(|sentence| io::Error::new(io::ErrorKind::InvalidInput, sentence))?;
    probe(settings).await?;
    let mut search = RateSearch::from(first);
    let mut steps = Vec::new();
    let mut best: Option<LoadReport> = None;
    let mut end = SearchEnd::Found;
    while let Some((rate, purpose)) = search.next() {
        let mut settings = match trial_settings(settings, goals, rate) {
            Ok(settings) => settings,
            Err(sentence) => {
                end = SearchEnd::Inconclusive(sentence);
                break;
            }
        };
        let (report, result) = loop {
            let report =
                run(&settings, stop, |progress| on_progress(rate, purpose, progress)).await?;
            let result = TrialResult::new(goals, &report);
            let is_conclusive = stop.phase() != Phase::Running || result.inconclusive.is_empty();
            if is_conclusive || !result.broken.is_empty() || !double_duration(&mut settings) {
                break (report, result);
            }
        };
        if stop.phase() != Phase::Running {
            best.get_or_insert(report);
            end = SearchEnd::Stopped;
            break;
        }
        if result.broken.is_empty() && !result.inconclusive.is_empty() {
            end = SearchEnd::Inconclusive(result.inconclusive.join("; "));
            best.get_or_insert(report);
            break;
        }
        let holds = result.broken.is_empty();
        let no_server_reason = no_server_reason(&report, search.highest().is_some());
        steps.push(SearchStep::new(
            rate,
            purpose,
            &report.record,
            report.elapsed,
            result.sentences(),
        ));
        search.record(rate, holds);
        if holds || search.highest().is_none() || no_server_reason.is_some() {
            best = Some(report);
        }
        if let Some(reason) = no_server_reason {
            end = SearchEnd::NoServer(reason);
            break;
        }
    }
    let mut report = best.ok_or_else(|| io::Error::other("no rate could be tried"))?;
    let highest = search.highest().filter(|_| !matches!(end, SearchEnd::NoServer(_)));
    let verdict = verdict(&search, &steps, &end);
    report.search = Some(SearchTrace { objective: goals.to_string(), steps, highest, verdict });
    Ok(report)
}

/// Returns an error if the first rate of a search provides too few messages for its percentiles.
///
/// # Errors
/// A sentence with the rate that would suffice.
pub fn check_search(goals: &Objectives, first: f64) -> Result<(), String> {
    let first = RateSearch::from(first).next().map_or(first, |(rate, _)| rate);
    let samples = samples_needed(goals);
    if samples <= first * DURATION_MAX.as_secs_f64() {
        return Ok(());
    }
    let enough = (samples / DURATION_MAX.as_secs_f64()).ceil();
    Err(format!(
        "{goals} needs {} messages at each rate, more than fit in {DURATION_MAX:?} at {}: start at \
         --rate {enough}/s or more, or use a lower percentile",
        figures::count(samples.ceil() as u64),
        figures::rate(first),
    ))
}

/// Opens and closes a connection to each target. Without this check, a search would try all rates
/// although no server is there.
async fn probe(settings: &LoadSettings) -> io::Result<()> {
    let dialer = Dialer::new(&settings.targets).await?;
    for (client, address) in (0..).zip(&settings.targets.addresses) {
        let refused = |reason: String| {
            let kind = io::ErrorKind::ConnectionRefused;
            io::Error::new(kind, format!("cannot connect to {address}: {reason}"))
        };
        match timeout(settings.timeout(), dialer.connect(client, 0)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(refused(describe(&error))),
            Err(_) => return Err(refused(format!("no answer within {:?}", settings.timeout()))),
        }
    }
    Ok(())
}

/// The reason why a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SearchEnd {
    /// The rate was found.
    Found,
    /// The search was stopped.
    Stopped,
    /// A trial was inconclusive, for this reason.
    Inconclusive(String),
    /// No message was answered, for this reason.
    NoServer(String),
}

/// The result of checking a run against the objectives.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TrialResult {
    /// The objectives that were not met, as sentences.
    broken: Vec<String>,
    /// The objectives with too few samples, as sentences.
    inconclusive: Vec<String>,
    /// The warnings that the tester, and not the server, may have caused the result.
    warnings: Vec<String>,
}

impl TrialResult {
    fn new(goals: &Objectives, report: &LoadReport) -> Self {
        let (record, elapsed) = (&report.record, report.elapsed);
        let breaches = goals.check(|metric| metric.of(record, elapsed));
        let (told, inconclusive): (Vec<_>, Vec<_>) =
            breaches.iter().partition(|breach| breach.measured.is_some());
        let sentences = |breaches: Vec<&Breach>| breaches.iter().map(ToString::to_string).collect();
        let (mut broken, inconclusive): (Vec<String>, _) =
            (sentences(told), sentences(inconclusive));
        let named = goals.list().iter().any(|objective| objective.metric == Metric::Errors);
        let errors = record.error_share();
        if !named && errors > ERRORS_MAX {
            broken.push(format!(
                "{:.1} % of the messages were not answered correctly in time",
                errors * 100.0
            ));
        }
        let warnings = report.warnings.iter().map(ToString::to_string).collect();
        Self { broken, inconclusive, warnings }
    }

    /// Returns all sentences if the rate does not hold, else none.
    fn sentences(self) -> Vec<String> {
        let Self { broken, inconclusive, warnings } = self;
        if broken.is_empty() { broken } else { [broken, inconclusive, warnings].concat() }
    }
}

/// Returns the reason to end the search, if no message was answered and either no rate held before,
/// or no client has a server any more.
fn no_server_reason(report: &LoadReport, held_before: bool) -> Option<String> {
    let record = &report.record;
    let warm_up = report.warm_up.as_ref().map_or(0, |warm_up| warm_up.ledger.ok());
    let gone = record.outage.clients == report.settings.clients;
    let never = !held_before && record.ledger.ok() + warm_up == 0;
    (gone || never).then(|| match record.reasons().first() {
        Some((reason, _)) => (*reason).to_owned(),
        None => "no message was answered".to_owned(),
    })
}

/// Returns the settings of a trial.
///
/// # Errors
/// A sentence, if even the longest trial at this rate provides too few messages.
fn trial_settings(
    settings: &LoadSettings,
    goals: &Objectives,
    rate: f64,
) -> Result<LoadSettings, String> {
    let mut settings = settings.clone();
    let shown = figures::rate(rate);
    let pacer = Pacer::constant(Rate::per_second(rate).ok_or(format!("there is no rate {shown}"))?);
    settings.messages = match settings.messages.seed() {
        Some(seed) => pacer.poisson(seed),
        None => pacer,
    };
    if settings.warm_up.is_zero() {
        settings.warm_up = WARM_UP_DEFAULT;
    }
    let wanted = settings.duration.unwrap_or(DURATION_DEFAULT);
    let samples = samples_needed(goals) / rate;
    let enough = Duration::try_from_secs_f64(samples).unwrap_or(Duration::MAX);
    if enough > DURATION_MAX {
        return Err(format!("{shown} has too few messages within {DURATION_MAX:?} for a decision"));
    }
    settings.duration = Some(wanted.max(enough));
    settings.grace = settings.grace.min(GRACE_MAX);
    settings.reconnect = true;
    settings.stop_if = None;
    Ok(settings)
}

/// Doubles the duration of the next trial, up to the longest.
fn double_duration(settings: &mut LoadSettings) -> bool {
    let longer = settings.duration.map(|duration| 2 * duration);
    let fits = longer.is_some_and(|longer| longer <= DURATION_MAX);
    if fits {
        settings.duration = longer;
    }
    fits
}

/// Returns the number of replies that the percentiles of the goals need.
fn samples_needed(goals: &Objectives) -> f64 {
    let needed = goals.list().iter().map(|objective| match objective.metric {
        Metric::Percentile(percentile) => percentile.samples_min() as f64,
        _ => 0.0,
    });
    needed.fold(0.0, f64::max) * SAMPLES_SPARE
}

fn verdict(search: &RateSearch, steps: &[SearchStep], end: &SearchEnd) -> String {
    let prefix = match end {
        SearchEnd::Found => String::new(),
        SearchEnd::Stopped => "stopped before the end of the search: ".to_owned(),
        SearchEnd::Inconclusive(sentence) => format!("the search ended because {sentence}: "),
        SearchEnd::NoServer(reason) => format!("the search ended without a server ({reason}): "),
    };
    let Some(highest) = search.highest() else {
        let lowest = steps.iter().map(|step| step.rate).fold(f64::INFINITY, f64::min);
        return match steps.last() {
            Some(step) => {
                let lowest = figures::per_second(lowest);
                format!("{prefix}no rate held, not even {lowest}/s: {}", step.broken.join("; "))
            }
            None => format!("{prefix}no rate was tried to its end"),
        };
    };
    let times = search.times();
    let rate = figures::per_second(highest);
    let held = format!("{prefix}{rate}/s held in {times} of {times} runs");
    let breaking = search
        .broke()
        .and_then(|broke| steps.iter().rev().find(|step| step.rate == broke && !step.held()));
    match breaking {
        Some(step) => {
            let rate = figures::per_second(step.rate);
            format!("{held}; {rate}/s did not: {}", step.broken.join("; "))
        }
        None => format!("{held}; no higher rate was tried"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::statistics::{MessageOutcome, RunRecord, SkipReason};

    fn settings() -> LoadSettings {
        let plan = crate::Plan::new(std::num::NonZero::<u32>::MIN, None, 64, echoline::Eol::Lf, 1);
        LoadSettings::new("127.0.0.1:1".parse().unwrap(), plan.unwrap())
    }

    /// Issue 11, item 35: a trial lasts as long as its percentiles need. A rate that would need too
    /// long is not tried.
    #[test]
    fn regression_a_rate_is_tried_until_its_percentiles_are_certain() {
        let seconds = |goals: &str, rate| {
            let goals = Objectives::goals(goals).unwrap();
            trial_settings(&settings(), &goals, rate)
                .map(|settings| settings.duration.unwrap().as_secs())
        };
        let goals = "p99.9<5ms,errors<0.1%";
        assert_eq!(seconds(goals, 1000.0), Ok(12));
        assert_eq!(seconds(goals, 100_000.0), Ok(5));
        assert_eq!(seconds(goals, 20.0), Ok(600));
        assert!(seconds(goals, 1.0).unwrap_err().starts_with("1.00/s has too few messages"));
        assert_eq!(seconds("p99.99<50ms", 1000.0), Ok(120));
        assert_eq!(seconds("max<50ms", 1.0), Ok(5));
    }

    /// Issue 11, item 35: a search that could not be judged is refused before it begins.
    #[test]
    fn regression_a_search_with_too_few_messages_is_refused_up_front() {
        let check = |goals: &str, rate| check_search(&Objectives::goals(goals).unwrap(), rate);
        assert_eq!(check("p99.99<50ms", 1000.0), Ok(()));
        let sentence = check("p99.999<50ms", 1000.0).unwrap_err();
        assert_eq!(
            sentence,
            "p99.999<50ms needs 1,200,000 messages at each rate, more than fit in 600s at 1,000/s: \
             start at --rate 2000/s or more, or use a lower percentile"
        );
        assert_eq!(check("p99.999<50ms", 2000.0), Ok(()));
        assert_eq!(check("max<1s,errors<1%", 0.0), Ok(()));
    }

    /// Issue 11, item 35: an objective with too few samples does not count as missed.
    #[test]
    fn regression_too_few_samples_break_no_objective() {
        let goals = Objectives::goals("p99.9<5ms,max<1s,errors<50%").unwrap();
        let mut report = sample::closed();
        let result = TrialResult::new(&goals, &report);
        assert_eq!((result.broken.len(), result.inconclusive.len()), (0, 1), "{result:?}");
        report.record.fail(MessageOutcome::TimedOut, Duration::ZERO, Duration::from_secs(2));
        let result = TrialResult::new(&goals, &report);
        assert_eq!((result.broken.len(), result.inconclusive.len()), (1, 1), "{result:?}");
        assert_eq!(result.sentences().len(), 2);
        let mut longer = settings();
        longer.duration = Some(Duration::from_secs(200));
        assert!(double_duration(&mut longer));
        assert_eq!(longer.duration, Some(Duration::from_secs(400)));
        assert!(!double_duration(&mut longer));
    }

    /// Issue 11, item 35: the search ends when there is no server, and reports the reason.
    #[test]
    fn regression_a_search_ends_without_a_server() {
        let mut report = sample::closed();
        assert_eq!(no_server_reason(&report, false), None);
        report.record.outage.clients = 1;
        report.record.note_reason("cannot connect: connection refused");
        assert_eq!(no_server_reason(&report, true).unwrap(), "cannot connect: connection refused");
        let mut silent = sample::closed();
        silent.record = RunRecord::new(5);
        silent.record.end_client(5, SkipReason::TimedOut);
        assert_eq!(no_server_reason(&silent, false).unwrap(), "no message was answered");
        // At a rate that is too high, the server may answer no message, although a lower rate held.
        assert_eq!(no_server_reason(&silent, true), None);
        let end = SearchEnd::NoServer("connection refused".to_owned());
        let text = verdict(&RateSearch::from(9.0), &[], &end);
        assert!(text.contains("without a server (connection refused): no rate"), "{text}");
    }
}
