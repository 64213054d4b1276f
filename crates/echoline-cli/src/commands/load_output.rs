//! Writes a report to its files, and derives the exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::files::destination::Destination;
use crate::files::output;
use crate::usage_error::UsageError;
use echoline_load::{LoadReport, Metric, Objectives, Percentile};

/// The exit code if a condition of `--fail-if` was met, or if a comparison found a metric worse.
pub(crate) const EXIT_CHECK_FAILED: u8 = 3;

/// The maximum number of percentiles that fit into the columns of a report.
const PERCENTILES_MAX: usize = 12;

/// Flags of the commands that make a report.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reports")]
pub(crate) struct OutputArgs {
    /// Write the report as JSON ('-': stdout).
    ///
    /// 'echoline compare' and 'echoline merge' read it. With '-' the text report goes to stderr.
    #[arg(long, env = "ECHOLINE_JSON", value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the figures of each second as CSV.
    #[arg(long, env = "ECHOLINE_CSV", value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Write the histograms as an HdrHistogram interval log (V2).
    #[arg(long, env = "ECHOLINE_HDR", value_name = "FILE")]
    hdr: Option<PathBuf>,

    /// Write the report as an HTML page with charts.
    ///
    /// The page needs no network access and no scripts.
    #[arg(long, env = "ECHOLINE_HTML", value_name = "FILE")]
    html: Option<PathBuf>,

    /// Percentiles to show, at most 12 [default: 50,90,99,99.9].
    ///
    /// They are also in the JSON and CSV files.
    #[arg(long, env = "ECHOLINE_PERCENTILES", value_name = "LIST", value_delimiter = ',')]
    #[arg(value_parser = percentile)]
    percentiles: Vec<Percentile>,

    /// Conditions for exit code 3, such as 'p99>5ms'.
    ///
    /// Several are separated by commas: 'p99>5ms,errors>0.1%'. Metrics: percentiles (p50, p99.9),
    /// max, mean, errors, skipped, lost, late, duplicated, reordered, rate. With this flag failed
    /// messages alone do not cause exit code 1. A load run stops as soon as a condition is certain
    /// to be met.
    #[arg(long, env = "ECHOLINE_FAIL_IF", value_name = "CONDITIONS")]
    #[arg(value_parser = Objectives::alarms)]
    fail_if: Option<Objectives>,
}

/// Parses `99.9` or `p99.9`.
fn percentile(text: &str) -> Result<Percentile, String> {
    let number = text.trim();
    let number = number.strip_prefix('p').unwrap_or(number);
    match format!("p{number}").parse() {
        Ok(Metric::Percentile(percentile)) => Ok(percentile),
        _ => Err(format!(
            "'{text}' is not a percentile: write numbers above 0 and below 100 with up to three \
             decimals, for example 50,95,99.9"
        )),
    }
}

/// A file of the report: its flag, its destination and its content.
struct OutputFile {
    flag: &'static str,
    to: Destination,
    content: fn(&LoadReport) -> String,
}

impl OutputArgs {
    /// Returns the conditions that decide the exit code.
    pub(crate) fn fail_if(&self) -> Option<&Objectives> {
        self.fail_if.as_ref()
    }

    /// Returns a usage error if two files have the same destination. Warns about a file that cannot
    /// be written, before the run starts, so that the user can still stop it.
    pub(crate) fn check(&self) -> Result<(), UsageError> {
        if self.percentiles.len() > PERCENTILES_MAX {
            let text = format!("--percentiles takes at most {PERCENTILES_MAX} values: remove some");
            return Err(UsageError::new(text));
        }
        let outputs = self.outputs();
        for (index, output) in outputs.iter().enumerate() {
            if let Some(other) = outputs[..index].iter().find(|other| other.to == output.to) {
                let text = format!(
                    "{} and {} both write to {}: name another file for one of them",
                    other.flag, output.flag, output.to
                );
                return Err(UsageError::new(text));
            }
            if let Err(error) = output.to.probe() {
                let OutputFile { flag, to, .. } = output;
                output::tell(&format!("{flag} {to} will not be written: {error}"));
            }
        }
        Ok(())
    }

    /// Writes the report to stdout and to the files, and returns the exit code.
    ///
    /// Each file is written even if others fail. A failure is printed at once.
    pub(crate) fn write(&self, mut report: LoadReport) -> ExitCode {
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
        for OutputFile { flag, to, content } in outputs {
            if let Err(error) = to.write(&content(report)) {
                output::tell(&format!("{flag}: cannot write {to}: {error}"));
                is_written = false;
            }
        }
        self.exit_code(report, is_written)
    }

    fn exit_code(&self, report: &LoadReport, is_written: bool) -> ExitCode {
        let figure = |metric: Metric| metric.of(&report.record, report.elapsed);
        let breaches = self.fail_if.as_ref().map(|alarms| alarms.check(figure));
        for breach in breaches.iter().flatten() {
            output::tell(&format!("--fail-if {breach}"));
        }
        match breaches {
            Some(breaches) if !breaches.is_empty() => ExitCode::from(EXIT_CHECK_FAILED),
            _ if !is_written => ExitCode::FAILURE,
            Some(_) if self.overlooks_outage(report) => {
                output::tell(
                    "clients had no connection at the end, and --fail-if does not cover errors: \
                     add for example errors>0.1%",
                );
                ExitCode::FAILURE
            }
            None if report.search.is_some() => {
                let found = report.search.as_ref().is_some_and(|search| search.highest.is_some());
                if found { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            None if !report.is_clean() || report.record.ledger.ok() == 0 => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        }
    }

    /// Returns whether clients had no server at the end of the run, and no condition of `--fail-if`
    /// covers this failure.
    fn overlooks_outage(&self, report: &LoadReport) -> bool {
        let judges = |metric| matches!(metric, Metric::Errors | Metric::Skipped);
        let named = self
            .fail_if
            .as_ref()
            .is_some_and(|alarms| alarms.list().iter().any(|objective| judges(objective.metric)));
        report.record.outage.clients > 0 && !named
    }

    fn outputs(&self) -> Vec<OutputFile> {
        let output = |flag, path: &Option<PathBuf>, content| {
            let to = Destination::from(path.clone()?);
            Some(OutputFile { flag, to, content })
        };
        [
            output("--json", &self.json, LoadReport::to_json as fn(&LoadReport) -> String),
            output("--csv", &self.csv, LoadReport::to_csv),
            output("--hdr", &self.hdr, LoadReport::to_hdr_log),
            output("--html", &self.html, LoadReport::to_html),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
