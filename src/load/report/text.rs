//! The report for people: the lesson's four figures, then what they leave out.

use std::fmt;
use std::time::Duration;

use super::Report;
use crate::load::ledger::{End, Ledger};
use crate::load::record::{Percentile, Record};
use crate::load::run::Settings;
use crate::load::units;
use crate::net::Eol;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_settings(&self.settings, f)?;
        let record = &self.record;
        writeln!(f)?;
        writeln!(f, "Successful clients: {}/{}", record.clients_ok, self.settings.plan.clients())?;
        writeln!(f, "Messages: {}", record.ledger.ok())?;
        writeln!(f, "Time: {:.2} s", self.elapsed.as_secs_f64())?;
        writeln!(f, "Messages per second: {:.0}", self.messages_per_second())?;
        writeln!(f)?;
        write_latency(record, f)?;
        writeln!(f)?;
        write_ledger(&record.ledger, f)?;
        write_reasons(record, f)
    }
}

fn write_settings(settings: &Settings, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let plan = &settings.plan;
    let eol = match plan.eol() {
        Eol::Lf => "lf",
        Eol::CrLf => "crlf",
    };
    writeln!(
        f,
        "Load on {}: clients {}, messages {} each, size {} bytes, eol {eol}, seed {}",
        settings.address,
        plan.clients(),
        plan.messages(),
        plan.size(),
        plan.seed(),
    )?;
    let connect_rate =
        settings.connects.rate().map_or_else(|| "max".to_owned(), |rate| rate.to_string());
    let pace = settings
        .messages
        .rate()
        .map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate} for each client"));
    writeln!(f, "  {pace}, connect rate {connect_rate}, timeout {:?}", settings.timeout)
}

fn write_latency(record: &Record, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "Latency, from sending a message to the end of its reply:")?;
    for percentile in Percentile::SHOWN {
        writeln!(f, "  {percentile:<6}{:>12}", time(record.latency(percentile)))?;
    }
    writeln!(f, "  {:<6}{:>12}", "max", time(record.latency_max()))?;
    writeln!(
        f,
        "A closed loop waits for each reply before it sends again, so this is service time: users \
         who\ncome whether the server is ready or not would wait longer."
    )?;
    if Percentile::SHOWN.iter().any(|&percentile| record.latency(percentile).is_none()) {
        writeln!(f, "'-' stands where fewer than ten samples lie beyond: send more messages.")?;
    }
    Ok(())
}

fn time(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), units::time)
}

fn write_ledger(ledger: &Ledger, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (planned, sent, skipped) = (ledger.planned(), ledger.sent(), ledger.skipped());
    writeln!(f, "Planned {planned} = sent {sent} + skipped {skipped}")?;
    writeln!(
        f,
        "Sent {sent} = ok {} + wrong {} + timed out {} + lost {}",
        ledger.ok(),
        ledger.wrong(),
        ledger.timed_out(),
        ledger.lost()
    )?;
    for (end, messages) in ledger.skipped_by_end() {
        writeln!(f, "Skipped {messages}: {}", words(end))?;
    }
    Ok(())
}

fn words(end: End) -> &'static str {
    match end {
        End::Finished => "nothing was left to send",
        End::NotConnected => "their clients could not connect",
        End::Wrong => "a wrong reply came before, which closes the connection",
        End::TimedOut => "no reply came before, which closes the connection",
        End::Lost => "the connection had ended",
        End::Stopped => "the run was stopped",
    }
}

fn write_reasons(record: &Record, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let reasons = record.reasons();
    if !reasons.is_empty() {
        writeln!(f, "\nFailures:")?;
    }
    for (reason, count) in &reasons {
        writeln!(f, "  {count} × {reason}")?;
    }
    record.wrong_example().map_or(Ok(()), |example| writeln!(f, "The first wrong reply: {example}"))
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;
    use crate::load::{Outcome, Pacer, Plan, Rate};

    #[test]
    fn a_report_shows_the_four_figures_the_ledger_and_the_reasons() {
        let number = |number| NonZero::new(number).unwrap();
        let timeout = Duration::from_secs(5);
        let mut record = Record::new(8, timeout);
        record.answer(Duration::from_millis(2));
        record.fail(Outcome::Lost, "it broke".to_owned());
        record.end_client(2, End::Lost);
        record.note_reason("cannot connect: connection refused".to_owned());
        record.end_client(4, End::NotConnected);
        let second = Rate::new(1000, Duration::from_secs(1)).unwrap();
        let settings = Settings {
            address: "[::1]:8080".parse().unwrap(),
            plan: Plan::new(number(2), number(4), 64, Eol::CrLf, 7).unwrap(),
            connects: Pacer::constant(second),
            messages: Pacer::closed_loop(),
            timeout,
        };
        let report = Report { settings, elapsed: Duration::from_millis(500), record };
        assert!(!report.is_clean());
        let text = report.to_string();
        for line in [
            "Load on [::1]:8080: clients 2, messages 4 each, size 64 bytes, eol crlf, seed 7",
            "  closed loop, connect rate 1000/s, timeout 5s",
            "Successful clients: 0/2",
            "Messages: 1",
            "Time: 0.50 s",
            "Messages per second: 2",
            "  p50              -",
            "  max        2.00 ms",
            "Planned 8 = sent 2 + skipped 6",
            "Sent 2 = ok 1 + wrong 0 + timed out 0 + lost 1",
            "Skipped 4: their clients could not connect",
            "Skipped 2: the connection had ended",
            "  1 × cannot connect: connection refused",
            "  1 × it broke",
        ] {
            assert!(text.lines().any(|shown| shown == line), "no line '{line}' in:\n{text}");
        }
    }
}
