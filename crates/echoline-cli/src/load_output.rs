//! What becomes of a report: the files it is written to, and the exit code that it earns.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, error::ErrorKind};

use super::destination::Destination;
use super::output;
use echoline_load::{Metric, Objectives, Percentile, Report};

/// The exit code where a condition of `--fail-if` came true, or a comparison found something
/// worse.
pub(super) const BROKEN: u8 = 3;

/// Percentiles that the columns of a report have room for.
const PERCENTILES_MAX: usize = 12;

/// Flags of the commands that make a report.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reports")]
pub(super) struct OutputFlags {
    /// Write everything that was measured to this file, to be compared, merged or read by
    /// programs; '-' is stdout, and the report for people then goes to stderr.
    #[arg(long, env = "ECHOLINE_JSON", value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the run second by second to this file.
    #[arg(long, env = "ECHOLINE_CSV", value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Write the histograms to this file, for the tools of HdrHistogram (interval log, V2).
    #[arg(long, env = "ECHOLINE_HDR", value_name = "FILE")]
    hdr: Option<PathBuf>,

    /// Write a page with charts to this file; it needs no network and no script.
    #[arg(long, env = "ECHOLINE_HTML", value_name = "FILE")]
    html: Option<PathBuf>,

    /// Percentiles to show, at most 12; those that JSON and CSV do not have anyway are added there
    /// [default: 50,90,99,99.9].
    #[arg(long, env = "ECHOLINE_PERCENTILES", value_name = "LIST", value_delimiter = ',')]
    #[arg(value_parser = percentile)]
    percentiles: Vec<Percentile>,

    /// End with exit code 3 when one of these comes true, 'p99>5ms,errors>0.1%'; then failed
    /// messages alone are no reason for exit code 1. There are p50, p99.9 … max, mean, errors,
    /// skipped and rate. A run stops as soon as one is certain to come true.
    #[arg(long, env = "ECHOLINE_FAIL_IF", value_name = "CONDITIONS")]
    #[arg(value_parser = Objectives::alarms)]
    fail_if: Option<Objectives>,
}

/// Reads `99.9`, also with the letter of a report before it.
fn percentile(text: &str) -> Result<Percentile, String> {
    let number = text.trim();
    let number = number.strip_prefix('p').unwrap_or(number);
    match format!("p{number}").parse() {
        Ok(Metric::Percentile(percentile)) => Ok(percentile),
        _ => Err(format!(
            "'{text}' is no percentile: write numbers above 0 and below 100 with up to three \
             decimals, for example 50,95,99.9"
        )),
    }
}

/// One of the files: its flag, where it goes, and what is in it.
struct Output {
    flag: &'static str,
    to: Destination,
    content: fn(&Report) -> String,
}

impl OutputFlags {
    /// The conditions that decide the exit code.
    pub(super) fn fail_if(&self) -> Option<&Objectives> {
        self.fail_if.as_ref()
    }

    /// Ends the program where two reports would go to the same place; warns where one could not
    /// be written, while there is time to stop the run.
    pub(super) fn check(&self, command: &str) {
        if self.percentiles.len() > PERCENTILES_MAX {
            let text = format!("--percentiles shows at most {PERCENTILES_MAX}: leave some out");
            super::wrong_use(command, ErrorKind::ValueValidation, &text);
        }
        let outputs = self.outputs();
        for (index, output) in outputs.iter().enumerate() {
            if let Some(other) = outputs[..index].iter().find(|other| other.to == output.to) {
                let text = format!(
                    "{} and {} both write to {}: name another file for one of them",
                    other.flag, output.flag, output.to
                );
                super::wrong_use(command, ErrorKind::ArgumentConflict, &text);
            }
            if let Err(error) = output.to.probe() {
                let Output { flag, to, .. } = output;
                output::tell(&format!("{flag} {to} will not be written: {error}"));
            }
        }
    }

    /// Writes the report, for people too, and says in the exit code what became of it.
    ///
    /// Each output is written whatever becomes of the others: one that cannot be written is told at
    /// once.
    pub(super) fn write(&self, mut report: Report) -> ExitCode {
        if !self.percentiles.is_empty() {
            report.settings.percentiles.clone_from(&self.percentiles);
        }
        let report = &report;
        let outputs = self.outputs();
        let text = report.to_string();
        let mut is_written = true;
        if outputs.iter().any(|output| output.to == Destination::Stdout) {
            output::tell_plainly(&text);
        } else if let Err(error) = output::print(&text) {
            output::tell(&format!("cannot write the report to stdout: {error}"));
            is_written = false;
        }
        for Output { flag, to, content } in outputs {
            if let Err(error) = to.write(&content(report)) {
                output::tell(&format!("{flag}: cannot write {to}: {error}"));
                is_written = false;
            }
        }
        self.exit_code(report, is_written)
    }

    fn exit_code(&self, report: &Report, is_written: bool) -> ExitCode {
        let figure = |metric: Metric| metric.of(&report.record, report.elapsed);
        let breaches = self.fail_if.as_ref().map(|alarms| alarms.check(figure));
        for breach in breaches.iter().flatten() {
            output::tell(&format!("--fail-if {breach}"));
        }
        match breaches {
            Some(breaches) if !breaches.is_empty() => ExitCode::from(BROKEN),
            _ if !is_written => ExitCode::FAILURE,
            Some(_) if self.overlooks_outage(report) => {
                output::tell(
                    "clients had no server at the end, and --fail-if does not name errors: add for \
                     example errors>0.1%",
                );
                ExitCode::FAILURE
            }
            None if report.walk.is_some() => {
                let found = report.walk.as_ref().is_some_and(|walk| walk.highest.is_some());
                if found { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            None if !report.is_clean() || report.record.ledger.ok() == 0 => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        }
    }

    /// Whether the conditions say nothing of clients that had no server at the end.
    fn overlooks_outage(&self, report: &Report) -> bool {
        let judges = |metric| matches!(metric, Metric::Errors | Metric::Skipped);
        let named = self
            .fail_if
            .as_ref()
            .is_some_and(|alarms| alarms.list().iter().any(|objective| judges(objective.metric)));
        report.record.outage.clients > 0 && !named
    }

    fn outputs(&self) -> Vec<Output> {
        let output = |flag, path: &Option<PathBuf>, content| {
            let to = Destination::from(path.clone()?);
            Some(Output { flag, to, content })
        };
        [
            output("--json", &self.json, Report::to_json as fn(&Report) -> String),
            output("--csv", &self.csv, Report::to_csv),
            output("--hdr", &self.hdr, Report::to_hdr_log),
            output("--html", &self.html, Report::to_html),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
