//! The report as text of about a hundred columns: settings, warnings, the four figures of the
//! lesson's load test, times and ledger.

use std::fmt;
use std::time::Duration;

use super::{LoadReport, LoopMode, RunSummary};
use crate::report::{SearchStep, SearchTrace, TrialPurpose};
use crate::statistics::{
    DurationHistogram, Ledger, MessageOutcome, Percentile, RunRecord, ServerOutage, SkipReason,
};
use crate::verdict::lag;
use echoline_base::amount::figures;
use echoline_base::printable::printable;

/// The column at which lines are wrapped.
const COLUMNS: usize = 96;

/// The row of the latency without the tester's own lag.
const WITHOUT_LAG: &str = "latency without lag";

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = &self.record;
        if self.is_without_connection() {
            return write_without_connection(self, f);
        }
        write_settings(self, f)?;
        write_warnings(self, f)?;
        if let Some(search) = &self.search {
            write_search(search, f)?;
        }
        writeln!(f)?;
        writeln!(f, "Successful clients: {}/{}", record.clients_ok, self.settings.clients)?;
        writeln!(f, "Messages: {}", record.ledger.ok())?;
        writeln!(f, "Time: {:.2} s", self.elapsed.as_secs_f64())?;
        writeln!(f, "Messages per second: {}", figures::per_second(self.messages_per_second()))?;
        writeln!(f)?;
        write_times(self, f)?;
        writeln!(f)?;
        write_ledger(&record.ledger, f)?;
        if let Some(outage) = outage(&record.outage) {
            writeln!(f, "Without a server: {outage}")?;
        }
        if let Some(datagrams) = datagrams(self) {
            writeln!(
                f,
                "Datagrams: {}",
                datagrams.map(|(n, count)| format!("{n} {count}")).join(", ")
            )?;
        }
        write_tester(self, f)?;
        if !record.reasons().is_empty() {
            writeln!(f, "\nFailures:")?;
        }
        write_reasons(record, f)
    }
}

/// Writes the report of a run in which no client could connect. It begins with the cause, and has
/// no figures, because nothing was measured.
fn write_without_connection(report: &LoadReport, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let record = &report.record;
    let targets = targets(&report.settings);
    writeln!(f, "No client could connect to {targets}, so nothing was measured:")?;
    match &report.warm_up {
        // All clients gave up during the warm-up, so its record has the reasons.
        Some(warm_up) if record.reasons().is_empty() => write_reasons(warm_up, f)?,
        _ => write_reasons(record, f)?,
    }
    writeln!(f)?;
    write_settings(report, f)?;
    write_warnings(report, f)?;
    writeln!(f)?;
    write_ledger(&record.ledger, f)?;
    outage(&record.outage).map_or(Ok(()), |outage| writeln!(f, "Without a server: {outage}"))
}

fn write_settings(report: &LoadReport, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let settings = &report.settings;
    writeln!(f, "Load on {}: {}", targets(settings), headline(settings))?;
    let mut line = String::from(" ");
    for (name, value) in &settings.listed {
        let setting = printable(&format!(" {name} {value},")).into_owned();
        if line.chars().count() + setting.chars().count() > COLUMNS {
            writeln!(f, "{line}")?;
            line = String::from(" ");
        }
        line.push_str(&setting);
    }
    if !line.trim().is_empty() {
        writeln!(f, "{}", line.trim_end_matches(','))?;
    }
    if !report.started.is_empty() {
        writeln!(f, "  started {}", printable(&report.started))?;
    }
    Ok(())
}

fn targets(settings: &RunSummary) -> String {
    printable(&settings.targets.join(", ")).into_owned()
}

/// Returns the load in one line: `open loop, 5,000/s for 10s, 100 clients`.
pub(super) fn headline(settings: &RunSummary) -> String {
    let pace = match (settings.mode, settings.rate) {
        (LoopMode::Closed, _) => "closed loop (service time only)".to_owned(),
        (LoopMode::Open, None) => "open loop".to_owned(),
        (LoopMode::Open, Some(rate)) => format!("open loop, {}", figures::rate(rate)),
    };
    let length = settings.duration.map_or_else(String::new, |length| format!(" for {length:?}"));
    let clients = match settings.clients {
        1 => "1 client".to_owned(),
        clients => format!("{} clients", figures::count(clients.into())),
    };
    format!("{pace}{length}, {clients}")
}

fn write_warnings(report: &LoadReport, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !report.warnings.is_empty() {
        writeln!(f)?;
    }
    for reason in &report.warnings {
        write_wrapped(&format!("do not trust this run: {reason}"), f)?;
    }
    Ok(())
}

/// Writes a text, wrapped between words.
fn write_wrapped(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            writeln!(f, "{line}")?;
            line = String::from("   ");
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(f, "{line}")
}

fn write_times(report: &LoadReport, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let percentiles = &report.settings.percentiles;
    let time_rows = time_rows(&report.record, percentiles);
    write!(f, "{:<24}{:>11}", "", "samples")?;
    for percentile in percentiles {
        write!(f, "{percentile:>10}")?;
    }
    writeln!(f, "{:>10}", "max")?;
    for (name, times) in &time_rows {
        write_row(name, times, percentiles, f)?;
    }
    if let Some(warm_up) = &report.warm_up {
        writeln!(f, "The {} messages of the warm-up are not included.", warm_up.ledger.sent())?;
    }
    match report.settings.mode {
        LoopMode::Closed => writeln!(
            f,
            "Closed loop: each client waits for a reply before it sends again, so these are \
             service times.\nUsers who arrive independently of the server would wait longer: \
             measure that with --rate."
        )?,
        LoopMode::Open => writeln!(
            f,
            "Latency is measured from the intended send time of a message, service time from the \
             actual one."
        )?,
    }
    if time_rows.iter().any(|(name, _)| name == WITHOUT_LAG) {
        writeln!(
            f,
            "The tester's own lag changes a percentile by more than a tenth, so both are shown."
        )?;
    }
    if time_rows.iter().any(|(_, times)| lacks_samples(times, percentiles)) {
        writeln!(f, "'-' means that fewer than ten samples lie beyond the percentile.")?;
    }
    Ok(())
}

/// Returns the histograms to show, with their names.
pub(super) fn time_rows(
    record: &RunRecord,
    percentiles: &[Percentile],
) -> Vec<(String, DurationHistogram)> {
    let row = |name: &str, times: &DurationHistogram| (name.to_owned(), times.clone());
    let users = if record.latency.count() > 0 { "latency" } else { "service time" };
    let mut time_rows = Vec::new();
    if record.latency.count() > 0 {
        time_rows.push(row("latency", &record.latency));
    }
    if lag::is_visible(record, percentiles) {
        time_rows.push(row(WITHOUT_LAG, &record.latency_without_lag));
    }
    if record.failures(MessageOutcome::TimedOut).count() > 0 {
        time_rows.push((format!("{users} + time-outs"), record.response_times()));
    }
    time_rows.push(row("service time", &record.service));
    time_rows.push(row("connect", &record.connect));
    time_rows.push(row("handshake", &record.handshake));
    time_rows.push(row("tester's lag", &record.lag));
    for outcome in MessageOutcome::ALL {
        time_rows.push((format!("{} after", outcome.name()), record.failures(outcome).clone()));
    }
    time_rows.retain(|(name, times)| times.count() > 0 || name == "service time");
    time_rows
}

fn write_row(
    name: &str,
    times: &DurationHistogram,
    percentiles: &[Percentile],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    write!(f, "  {name:<22}{:>11}", figures::count(times.count()))?;
    for &percentile in percentiles {
        write!(f, "{:>10}", time(times.percentile(percentile)))?;
    }
    writeln!(f, "{:>10}", time(times.max()))
}

fn lacks_samples(times: &DurationHistogram, percentiles: &[Percentile]) -> bool {
    percentiles.iter().any(|&percentile| times.percentile(percentile).is_none())
}

/// Formats a time: `7.31 ms`, or `-` for none.
pub(super) fn time(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), figures::time)
}

fn write_ledger(ledger: &Ledger, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (planned, sent, skipped) = (ledger.planned(), ledger.sent(), ledger.skipped());
    let stopped = match ledger.stopped() {
        0 => String::new(),
        stopped => format!(" + stopped {stopped}"),
    };
    writeln!(f, "Planned {planned} = sent {sent} + skipped {skipped}{stopped}")?;
    let counts =
        MessageOutcome::ALL.map(|outcome| format!("{} {}", outcome.name(), ledger.count(outcome)));
    writeln!(f, "Sent {sent} = {}", counts.join(" + "))?;
    for (end, messages) in ledger.skipped_by_reason() {
        let name = if end == SkipReason::Stopped { "Stopped" } else { "Skipped" };
        writeln!(f, "{name} {messages}: {}", skip_reason_text(end))?;
    }
    Ok(())
}

/// Returns a text such as `5 clients at the end of the run, 75.0 % of all client time`, or `None`
/// if there was always a server.
pub(super) fn outage(outage: &ServerOutage) -> Option<String> {
    let clients = match outage.clients {
        1 => "1 client at the end of the run".to_owned(),
        clients => format!("{} clients at the end of the run", figures::count(clients.into())),
    };
    let share = figures::percent(outage.share());
    match (outage.clients, outage.time.is_zero()) {
        (0, true) => None,
        (_, true) => Some(clients),
        (_, false) => Some(format!("{clients}, {share} of all client time, counted as errors")),
    }
}

/// Returns the counts of irregular replies; `None` for a run without UDP.
pub(super) fn datagrams(report: &LoadReport) -> Option<[(&'static str, u64); 5]> {
    let record = &report.record;
    let anomalies = record.anomalies;
    let counts = [
        ("never answered", record.unanswered()),
        ("answered late", anomalies.late),
        ("answered twice", anomalies.duplicated),
        ("out of order", anomalies.reordered),
        ("not asked for", anomalies.unasked),
    ];
    let is_udp = |target: &String| target.starts_with("udp://");
    report.settings.targets.iter().any(is_udp).then_some(counts)
}

/// Returns the text of a skip reason.
pub(super) fn skip_reason_text(end: SkipReason) -> &'static str {
    match end {
        SkipReason::Finished => "nothing was left to send",
        SkipReason::NotConnected => "their clients could not connect",
        SkipReason::Wrong => "an earlier wrong reply closed the connection",
        SkipReason::TimedOut => "an earlier time-out closed the connection",
        SkipReason::Lost => "the connection had closed",
        SkipReason::Stopped => {
            "the run was stopped before they were sent: neither correct nor an error"
        }
        SkipReason::Late => "they were late, and --when-late is skip",
        SkipReason::Overdue => "the run ended before their connection was free",
    }
}

fn write_tester(report: &LoadReport, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    report.processor.map_or(Ok(()), |processor| writeln!(f, "Tester: {processor}"))
}

fn write_reasons(record: &RunRecord, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let reasons = record.reasons();
    for (reason, count) in &reasons {
        writeln!(f, "  {count} × {}", printable(reason))?;
    }
    record
        .wrong_example()
        .map_or(Ok(()), |example| writeln!(f, "The first wrong reply: {}", printable(example)))
}

fn write_search(search: &SearchTrace, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let objective = printable(&search.objective);
    let highest = search.highest.map_or_else(|| "none".to_owned(), figures::rate);
    writeln!(f, "\nHighest rate that holds {objective}: {highest}")?;
    writeln!(
        f,
        "  {:>11}{:>11}{:>10}{:>10}{:>10}{:>9}",
        "rate", "answered", "p50", "p99", "p99.9", "errors"
    )?;
    for step in &search.steps {
        let SearchStep { rate, achieved, purpose, p50, p99, p999, errors, .. } = step;
        let figures = [*p50, *p99, *p999].map(|figure| format!("{:>10}", time(figure))).concat();
        writeln!(
            f,
            "  {:>11}{:>11}{figures}{:>9}  {} ({})",
            figures::rate(*rate),
            figures::rate(*achieved),
            figures::percent(*errors),
            if step.held() { "held" } else { "broken" },
            purpose_name(*purpose),
        )?;
    }
    write_wrapped(&printable(&search.verdict), f)?;
    writeln!(f, "The figures below are from the last run at that rate.")
}

/// Returns the name of a purpose.
pub(super) fn purpose_name(purpose: TrialPurpose) -> &'static str {
    match purpose {
        TrialPurpose::Bracket => "bracket",
        TrialPurpose::Bisect => "bisect",
        TrialPurpose::Confirm => "confirm",
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn assert_lines(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|shown| shown == *line), "no line '{line}' in:\n{text}");
        }
    }

    #[test]
    fn an_open_loop_shows_latency_beside_service_time() {
        let report = sample::open();
        let text = report.to_string();
        assert_lines(
            &text,
            &[
                "Load on 127.0.0.1:8080, [::1]:8080: open loop, 1,000/s for 10s, 20 clients",
                "do not trust this run: at most 19 of 20 connections were open at the same time: \
                 check the limits",
                "Messages: 9980",
                "Planned 10000 = sent 9990 + skipped 10",
                "Sent 9990 = ok 9980 + wrong 1 + timed out 9 + reset 0 + lost 0 + in flight 0",
                "Skipped 10: they were late, and --when-late is skip",
                "Tester: 0.25 cores (user 0.50 s, system 2.00 s)",
                "  9 × no reply within 500ms",
                "Latency is measured from the intended send time of a message, service time from \
                 the actual one.",
            ],
        );
        let first = text.lines().position(|line| line.starts_with("  latency ")).unwrap();
        assert!(text.lines().nth(first + 1).unwrap().starts_with("  latency + time-outs"));
        assert!(text.lines().nth(first + 2).unwrap().starts_with("  service time"));
        assert!(!text.contains('\x1b') && text.contains("\\u{1b}[31m"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn the_report_of_a_closed_loop_says_that_it_shows_service_time() {
        let text = sample::closed().to_string();
        assert_lines(
            &text,
            &[
                "Load on 127.0.0.1:8080: closed loop (service time only), 1 client",
                "Successful clients: 1/1",
                "Messages: 30",
                "Time: 0.50 s",
                "Messages per second: 60",
                "'-' means that fewer than ten samples lie beyond the percentile.",
            ],
        );
        assert!(!text.contains("  latency"), "{text}");
        assert!(!text.contains("do not trust"), "{text}");
    }

    /// Issue 14, item 0: without a connection the report begins with the cause, and has no figures.
    #[test]
    fn a_run_without_a_connection_begins_with_the_cause() {
        let mut report = sample::closed();
        report.record = RunRecord::new(100);
        report.record.ledger.skip(100, SkipReason::NotConnected);
        report.record.note_reason("cannot connect: connection refused");
        let text = report.to_string();
        let start = "No client could connect to 127.0.0.1:8080, so nothing was measured:\n  1 × \
                     cannot connect: connection refused\n\nLoad on 127.0.0.1:8080: ";
        assert!(text.starts_with(start), "{text}");
        assert_lines(&text, &["Planned 100 = sent 0 + skipped 100"]);
        assert!(!text.contains("Messages per second") && !text.contains("p99"), "{text}");
        assert!(text.lines().count() < 15, "{text}");
    }

    /// Issue 11, items 33 and 36: the report has a line about a stop and a line about a missing
    /// server.
    #[test]
    fn regression_a_stop_and_an_outage_are_shown() {
        let mut report = sample::closed();
        report.record.ledger.plan(907);
        report.record.ledger.skip(7, SkipReason::NotConnected);
        report.record.ledger.skip(900, SkipReason::Stopped);
        let seconds = Duration::from_secs;
        report.record.outage =
            ServerOutage { clients: 2, time: seconds(3), client_time: seconds(4) };
        report.elapsed = Duration::from_secs(20);
        let lines = [
            "Messages per second: 1.50",
            "Planned 937 = sent 30 + skipped 7 + stopped 900",
            "Skipped 7: their clients could not connect",
            "Stopped 900: the run was stopped before they were sent: neither correct nor an error",
            "Without a server: 2 clients at the end of the run, 75.0 % of all client time, counted \
             as errors",
        ];
        assert_lines(&report.to_string(), &lines);
        let page = report.to_html();
        assert!(page.contains("<th>stopped</th><td class=\"number\">900</td>"), "{page}");
        assert!(
            page.contains("Without a server: 2 clients at the end of the run, 75.0 %"),
            "{page}"
        );
        assert!(!page.contains("no sign of a measurement problem"), "{page}");
        assert!(sample::closed().to_html().contains("no sign of a measurement problem"));
        // 30 of 37 messages got a correct reply, and there was a server for a quarter of the time.
        let errors = report.record.error_share();
        assert!((errors - (1.0 - 30.0 / 37.0 / 4.0)).abs() < 1e-9, "{errors}");
    }

    /// Issue 11, item 44: the requested percentiles are in the report and in the files.
    #[test]
    fn regression_percentiles_can_be_chosen() {
        let mut report = sample::open();
        let chosen = [50.0, 95.0, 99.95].map(|percent| Percentile::new(percent).unwrap());
        report.settings.percentiles = chosen.into();
        let text = report.to_string();
        let header = text.lines().find(|line| line.contains("samples")).unwrap();
        let names: Vec<_> = header.split_whitespace().collect();
        assert_eq!(names, ["samples", "p50", "p95", "p99.95", "max"]);
        // Of 9,980 samples only 4 lie beyond p99.95.
        let latency = text.lines().find(|line| line.starts_with("  latency ")).unwrap();
        assert!(latency.contains(" ms         -"), "{latency}");
        assert!(report.to_html().contains("<th class=\"number\">p95</th>"));
        let csv = report.to_csv();
        assert!(csv.lines().next().unwrap().ends_with(",unasked,began,p95_ns,p99.95_ns"), "{csv}");
        let fields = csv.lines().map(|line| line.split(',').count());
        assert!(fields.into_iter().all(|count| count == 17), "{csv}");
        let json = report.to_json();
        assert!(json.contains("\"p95_ns\"") && json.contains("\"p90_ns\""), "{json}");
        assert_eq!(LoadReport::from_json(&json).unwrap().to_string(), text);
    }

    #[test]
    fn a_search_shows_the_rates_that_it_tried() {
        let text = sample::search().to_string();
        assert_lines(
            &text,
            &[
                "Highest rate that holds p99<5ms,errors<0.1%: 18,000/s",
                "     20,000/s   19,400/s   2.73 ms   9.10 ms         -   0.40 %  broken (bisect)",
                "held three times",
            ],
        );
    }
}
