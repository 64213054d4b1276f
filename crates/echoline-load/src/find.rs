//! Finds the highest rate that holds an objective: runs again and again.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::dial::{Dialer, describe};
use super::metric::Metric;
use super::objective::{Breach, Objectives};
use super::pacer::{Pacer, Rate};
use super::report::Report;
use super::run::run;
use super::search::Search;
use super::settings::Settings;
use super::view::View;
use super::walk::{Purpose, Step, Walk};
use echoline::{Phase, Shutdown};
use echoline_base::amount::figures;

/// How long a rate is tried where the settings name no duration.
const DURATION_DEFAULT: Duration = Duration::from_secs(5);

/// The longest time that a rate is tried so that enough messages come for a percentile.
const DURATION_MAX: Duration = Duration::from_secs(600);

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
/// A rate is tried for as long as its percentiles need: a lack of samples never counts as a broken
/// objective. The search ends when nothing answers at all.
///
/// # Errors
/// As those of [`run`] and [`check_search`], and if a target takes no connection.
pub async fn find_max(
    settings: &Settings,
    goals: &Objectives,
    first: f64,
    stop: &Shutdown,
    mut watch: impl FnMut(f64, Purpose, &View),
) -> io::Result<Report> {
    check_search(goals, first)
        .map_err(|sentence| io::Error::new(io::ErrorKind::InvalidInput, sentence))?;
    probe(settings).await?;
    let mut search = Search::from(first);
    let mut steps = Vec::new();
    let mut best: Option<Report> = None;
    let mut ending = Ending::Found;
    while let Some((rate, purpose)) = search.next() {
        let mut settings = match at_rate(settings, goals, rate) {
            Ok(settings) => settings,
            Err(sentence) => {
                ending = Ending::Untold(sentence);
                break;
            }
        };
        let (report, judgement) = loop {
            let report = run(&settings, stop, |view| watch(rate, purpose, view)).await?;
            let judgement = Judgement::new(goals, &report);
            let is_told = stop.phase() != Phase::Running || judgement.untold.is_empty();
            if is_told || !judgement.broken.is_empty() || !extend(&mut settings) {
                break (report, judgement);
            }
        };
        if stop.phase() != Phase::Running {
            best.get_or_insert(report);
            ending = Ending::Stopped;
            break;
        }
        if judgement.broken.is_empty() && !judgement.untold.is_empty() {
            ending = Ending::Untold(judgement.untold.join("; "));
            best.get_or_insert(report);
            break;
        }
        let holds = judgement.broken.is_empty();
        let silence = silence(&report, search.highest().is_some());
        steps.push(Step::new(rate, purpose, &report.record, report.elapsed, judgement.sentences()));
        search.tell(rate, holds);
        if holds || search.highest().is_none() || silence.is_some() {
            best = Some(report);
        }
        if let Some(reason) = silence {
            ending = Ending::NoServer(reason);
            break;
        }
    }
    let mut report = best.ok_or_else(|| io::Error::other("no rate could be tried"))?;
    let highest = search.highest().filter(|_| !matches!(ending, Ending::NoServer(_)));
    let verdict = verdict(&search, &steps, &ending);
    report.walk = Some(Walk { objective: goals.to_string(), steps, highest, verdict });
    Ok(report)
}

/// Refuses a search whose first rate brings too few messages for its percentiles.
///
/// # Errors
/// One sentence that names the rate that would do.
pub fn check_search(goals: &Objectives, first: f64) -> Result<(), String> {
    let first = Search::from(first).next().map_or(first, |(rate, _)| rate);
    let samples = samples_needed(goals);
    if samples <= first * DURATION_MAX.as_secs_f64() {
        return Ok(());
    }
    let enough = (samples / DURATION_MAX.as_secs_f64()).ceil();
    Err(format!(
        "{goals} takes {} messages at each rate, more than come within {DURATION_MAX:?} at {}: \
         begin at --rate {enough}/s or more, or name a lower percentile",
        figures::count(samples.ceil() as u64),
        figures::rate(first),
    ))
}

/// Opens and closes a connection to each target, so that a search does not walk through all rates
/// against a server that is not there.
async fn probe(settings: &Settings) -> io::Result<()> {
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
enum Ending {
    /// There is no more to find out.
    Found,
    /// It was stopped from outside.
    Stopped,
    /// A rate could not be judged, for this reason.
    Untold(String),
    /// Nothing was answered, for this reason.
    NoServer(String),
}

/// The result of holding a run against the objectives.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Judgement {
    /// The objectives that do not hold, as sentences.
    broken: Vec<String>,
    /// The objectives that too few samples cannot tell, as sentences.
    untold: Vec<String>,
    /// The reasons why the tester may have a part in it.
    distrust: Vec<String>,
}

impl Judgement {
    fn new(goals: &Objectives, report: &Report) -> Self {
        let (record, elapsed) = (&report.record, report.elapsed);
        let breaches = goals.check(|metric| metric.of(record, elapsed));
        let (told, untold): (Vec<_>, Vec<_>) =
            breaches.iter().partition(|breach| breach.measured.is_some());
        let sentences = |breaches: Vec<&Breach>| breaches.iter().map(ToString::to_string).collect();
        let (mut broken, untold): (Vec<String>, _) = (sentences(told), sentences(untold));
        let named = goals.list().iter().any(|objective| objective.metric == Metric::Errors);
        let errors = record.error_share();
        if !named && errors > ERRORS_MAX {
            broken.push(format!("{:.1} % was not answered right in time", errors * 100.0));
        }
        let distrust = report.distrust.iter().map(ToString::to_string).collect();
        Self { broken, untold, distrust }
    }

    /// All of it, if the rate does not hold.
    fn sentences(self) -> Vec<String> {
        let Self { broken, untold, distrust } = self;
        if broken.is_empty() { broken } else { [broken, untold, distrust].concat() }
    }
}

/// Why there is no sense in another rate: nothing was answered, and either nothing has been before
/// or no client has a server any more.
fn silence(report: &Report, held_before: bool) -> Option<String> {
    let record = &report.record;
    let warm_up = report.warm_up.as_ref().map_or(0, |warm_up| warm_up.ledger.ok());
    let gone = record.outage.clients == report.settings.clients;
    let never = !held_before && record.ledger.ok() + warm_up == 0;
    (gone || never).then(|| match record.reasons().first() {
        Some((reason, _)) => (*reason).to_owned(),
        None => "no message was answered".to_owned(),
    })
}

/// The settings of one run.
///
/// # Errors
/// A sentence for a rate that cannot be judged in the longest time there is.
fn at_rate(settings: &Settings, goals: &Objectives, rate: f64) -> Result<Settings, String> {
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
        return Err(format!("{shown} brings too few messages within {DURATION_MAX:?} to tell"));
    }
    settings.duration = Some(wanted.max(enough));
    settings.grace = settings.grace.min(GRACE_MAX);
    settings.reconnect = true;
    settings.stop_if = None;
    Ok(settings)
}

/// Lets the next run last twice as long, if there is time for it.
fn extend(settings: &mut Settings) -> bool {
    let longer = settings.duration.map(|duration| 2 * duration);
    let fits = longer.is_some_and(|longer| longer <= DURATION_MAX);
    if fits {
        settings.duration = longer;
    }
    fits
}

/// Returns the number of answers that make the percentiles of the goals more than chance.
fn samples_needed(goals: &Objectives) -> f64 {
    let needed = goals.list().iter().map(|objective| match objective.metric {
        Metric::Percentile(percentile) => percentile.samples_min() as f64,
        _ => 0.0,
    });
    needed.fold(0.0, f64::max) * SAMPLES_SPARE
}

fn verdict(search: &Search, steps: &[Step], ending: &Ending) -> String {
    let prefix = match ending {
        Ending::Found => String::new(),
        Ending::Stopped => "stopped before the end of the search: ".to_owned(),
        Ending::Untold(sentence) => format!("the search ended because {sentence}: "),
        Ending::NoServer(reason) => format!("the search ended without a server ({reason}): "),
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
    use super::super::report::sample;
    use super::*;
    use crate::{End, Outcome, Record};

    fn settings() -> Settings {
        let plan = crate::Plan::new(std::num::NonZero::<u32>::MIN, None, 64, echoline::Eol::Lf, 1);
        Settings::new("127.0.0.1:1".parse().unwrap(), plan.unwrap())
    }

    /// Issue 11, item 35: a rate is tried for as long as its percentiles need, or not at all.
    #[test]
    fn regression_a_rate_is_tried_until_its_percentiles_are_no_chance() {
        let seconds = |goals: &str, rate| {
            let goals = Objectives::goals(goals).unwrap();
            at_rate(&settings(), &goals, rate).map(|settings| settings.duration.unwrap().as_secs())
        };
        let goals = "p99.9<5ms,errors<0.1%";
        assert_eq!(seconds(goals, 1000.0), Ok(12));
        assert_eq!(seconds(goals, 100_000.0), Ok(5));
        assert_eq!(seconds(goals, 20.0), Ok(600));
        assert!(seconds(goals, 1.0).unwrap_err().starts_with("1.00/s brings too few messages"));
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
            "p99.999<50ms takes 1,200,000 messages at each rate, more than come within 600s at \
             1,000/s: begin at --rate 2000/s or more, or name a lower percentile"
        );
        assert_eq!(check("p99.999<50ms", 2000.0), Ok(()));
        assert_eq!(check("max<1s,errors<1%", 0.0), Ok(()));
    }

    /// Issue 11, item 35: a lack of samples is no broken objective.
    #[test]
    fn regression_too_few_samples_break_no_objective() {
        let goals = Objectives::goals("p99.9<5ms,max<1s,errors<50%").unwrap();
        let mut report = sample::closed();
        let judgement = Judgement::new(&goals, &report);
        assert_eq!((judgement.broken.len(), judgement.untold.len()), (0, 1), "{judgement:?}");
        report.record.fail(Outcome::TimedOut, Duration::ZERO, Duration::from_secs(2));
        let judgement = Judgement::new(&goals, &report);
        assert_eq!((judgement.broken.len(), judgement.untold.len()), (1, 1), "{judgement:?}");
        assert_eq!(judgement.sentences().len(), 2);
        let mut longer = settings();
        longer.duration = Some(Duration::from_secs(200));
        assert!(extend(&mut longer));
        assert_eq!(longer.duration, Some(Duration::from_secs(400)));
        assert!(!extend(&mut longer));
    }

    /// Issue 11, item 35: the search ends when there is no server, and says why.
    #[test]
    fn regression_a_search_ends_without_a_server() {
        let mut report = sample::closed();
        assert_eq!(silence(&report, false), None);
        report.record.outage.clients = 1;
        report.record.note_reason("cannot connect: connection refused");
        assert_eq!(silence(&report, true).unwrap(), "cannot connect: connection refused");
        let mut silent = sample::closed();
        silent.record = Record::new(5);
        silent.record.end_client(5, End::TimedOut);
        assert_eq!(silence(&silent, false).unwrap(), "no message was answered");
        // A rate that is too high may leave nothing answered, although a lower one held.
        assert_eq!(silence(&silent, true), None);
        let ending = Ending::NoServer("connection refused".to_owned());
        let text = verdict(&Search::from(9.0), &[], &ending);
        assert!(text.contains("without a server (connection refused): no rate"), "{text}");
    }
}
