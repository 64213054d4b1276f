//! The report for people: the lesson's four figures, then what they leave out.

use std::fmt;
use std::time::Duration;

use super::{Report, Summary};
use crate::load::ledger::{End, Ledger, Outcome};
use crate::load::record::Record;
use crate::load::times::{Percentile, Times};
use crate::load::units;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_settings(&self.settings, f)?;
        let record = &self.record;
        writeln!(f)?;
        writeln!(f, "Successful clients: {}/{}", record.clients_ok, self.settings.clients)?;
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

fn write_settings(settings: &Summary, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "Load on {}", settings.targets.join(", "))?;
    for (name, value) in &settings.listed {
        writeln!(f, "  {name} {value}")?;
    }
    Ok(())
}

fn write_latency(record: &Record, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "Latency, from sending a message to the end of its reply:")?;
    write_times(&record.service, f)?;
    if record.latency.count() > 0 {
        writeln!(f, "Latency, from the intended time to the end of the reply:")?;
        return write_times(&record.latency, f);
    }
    writeln!(
        f,
        "A closed loop waits for each reply before it sends again, so this is service time: users \
         who\ncome whether the server is ready or not would wait longer."
    )
}

fn write_times(times: &Times, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for percentile in Percentile::SHOWN {
        writeln!(f, "  {percentile:<6}{:>12}", time(times.percentile(percentile)))?;
    }
    writeln!(f, "  {:<6}{:>12}", "max", time(times.max()))
}

fn time(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), units::time)
}

fn write_ledger(ledger: &Ledger, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (planned, sent, skipped) = (ledger.planned(), ledger.sent(), ledger.skipped());
    writeln!(f, "Planned {planned} = sent {sent} + skipped {skipped}")?;
    let counts =
        Outcome::ALL.map(|outcome| format!("{} {}", outcome.name(), ledger.count(outcome)));
    writeln!(f, "Sent {sent} = {}", counts.join(" + "))?;
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
        End::Late => "they were too late, and --when-late is skip",
        End::Overdue => "the run was over before their connection was free",
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
