//! `echoline compare`: compares runs before and after a change.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, error::ErrorKind};

use crate::commands::load_output::EXIT_CHECK_FAILED;
use crate::commands::report_files::{self, LoadedReport};
use crate::files::output;
use crate::usage_error::UsageError;
use crate::values::{self, Share};
use echoline_base::printable::printable;
use echoline_load::report::{ChangeVerdict, Difference};
use echoline_load::{LoadReport, Metric, RunComparison};

/// The flags of `echoline compare`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each figure of each run counts once. With five runs or more on each side they are put to the \
Mann-Whitney U test (exact, two-sided), corrected for the number of figures (Holm): a difference \
is claimed where chance alone would make one like it in at most 5 % of comparisons, and where the \
medians differ by more than --tolerance. With fewer runs the figures are shown and nothing is \
claimed.

Exit code: 0 no worse, or too few runs to tell; 3 worse; 1 files that cannot be compared; 2 wrong \
usage.")]
pub(crate) struct CompareArgs {
    /// Two files written by 'echoline load --json FILE'.
    #[arg(value_names = ["BEFORE", "AFTER"], num_args = 2)]
    files: Vec<PathBuf>,

    /// Files of runs before the change.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "after")]
    #[arg(conflicts_with = "files")]
    before: Vec<PathBuf>,

    /// Files of runs after the change.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "before")]
    after: Vec<PathBuf>,

    /// Difference of the medians that does not matter.
    #[arg(long, env = "ECHOLINE_TOLERANCE", value_name = "PERCENT", default_value = "5%")]
    #[arg(value_parser = values::share)]
    tolerance: Share,

    /// End with exit code 3 if the median of a metric is worse by more than this, even if there are
    /// too few runs for a verdict.
    #[arg(long, env = "ECHOLINE_MAX_WORSE", value_name = "PERCENT", value_parser = values::share)]
    max_worse: Option<Share>,
}

/// Compares the files. Returns exit code 0 if nothing is worse, else 3.
pub(crate) fn run(flags: &CompareArgs) -> anyhow::Result<ExitCode> {
    let (before, after) = flags.sides()?;
    let all = report_files::load(&[before, after].concat())?;
    let (before, after) = all.split_at(before.len());
    let reports = |side: &[LoadedReport]| -> Vec<LoadReport> {
        side.iter().map(|loaded| loaded.report.clone()).collect()
    };
    let (runs_before, runs_after) = (reports(before), reports(after));
    let comparison = RunComparison::new(&runs_before, &runs_after, flags.tolerance.0)?;
    let worse = flags.over_the_limit(&comparison);
    let mut text = String::new();
    write_comparison(&comparison, before, after, &mut text)?;
    for difference in &worse {
        let metric = difference.metric;
        writeln!(text, "--max-worse is exceeded: {metric} {}", change(difference))?;
    }
    output::print(&text).context("cannot write the comparison to stdout")?;
    let is_worse =
        !worse.is_empty() || comparison.with_verdict(ChangeVerdict::Worse).next().is_some();
    Ok(if is_worse { ExitCode::from(EXIT_CHECK_FAILED) } else { ExitCode::SUCCESS })
}

impl CompareArgs {
    fn sides(&self) -> Result<(&[PathBuf], &[PathBuf]), UsageError> {
        Ok(match &self.files[..] {
            [] if self.before.is_empty() => {
                return Err(UsageError::new(
                    "compare",
                    ErrorKind::MissingRequiredArgument,
                    "two files are missing: write 'compare before.json after.json', or name \
                     several with --before and --after",
                ));
            }
            [] => (&self.before, &self.after),
            files => files.split_at(1),
        })
    }

    fn over_the_limit<'a>(&self, comparison: &'a RunComparison) -> Vec<&'a Difference> {
        let Some(Share(limit)) = self.max_worse else { return Vec::new() };
        let is_over = |difference: &&Difference| {
            difference.worsening().is_some_and(|worsening| worsening > limit)
        };
        comparison.differences.iter().filter(is_over).collect()
    }
}

fn write_comparison(
    comparison: &RunComparison,
    before: &[LoadedReport],
    after: &[LoadedReport],
    text: &mut String,
) -> std::fmt::Result {
    for (side, loaded) in [("before", before), ("after", after)] {
        let names: Vec<_> = loaded.iter().map(|run| run.name.as_str()).collect();
        let runs = if names.len() == 1 { "run" } else { "runs" };
        writeln!(text, "{side}: {} {runs}: {}", names.len(), names.join(", "))?;
    }
    for (name, one, other) in &comparison.settings {
        let setting = format!("{name} is {one} before, {other} after");
        writeln!(text, "not the same setting: {}", printable(&setting))?;
    }
    for run in before.iter().chain(after) {
        for warning in &run.report.warnings {
            writeln!(text, "{}: do not trust this run: {warning}", run.name)?;
        }
    }
    writeln!(text, "\n{:<8}{:>22}{:>22}{:>12}{:>9}", "", "before", "after", "change", "p")?;
    for difference in &comparison.differences {
        write_difference(difference, text)?;
    }
    writeln!(text, "\n{}", verdict(comparison))
}

fn write_difference(difference: &Difference, text: &mut String) -> std::fmt::Result {
    let Difference { metric, before, after, p_value, verdict } = difference;
    let (one, other) = difference.medians().map_or_else(
        || ("-".to_owned(), "-".to_owned()),
        |medians| (side(*metric, before, medians.0), side(*metric, after, medians.1)),
    );
    let p_value = p_value.map_or_else(|| "-".to_owned(), |p_value| format!("{p_value:.3}"));
    let verdict = match verdict {
        ChangeVerdict::Worse => "worse",
        ChangeVerdict::Better => "better",
        ChangeVerdict::Same => "no difference",
        ChangeVerdict::Unknown => "",
    };
    let line =
        format!("{metric:<8}{one:>22}{other:>22}{:>12}{p_value:>9}  {verdict}", change(difference));
    writeln!(text, "{}", line.trim_end())
}

/// Returns the median and the spread of the runs around it: `1.20 ms ±3 %`.
fn side(metric: Metric, figures: &[f64], median: f64) -> String {
    let shown = metric.show(median);
    let distance = figures.iter().map(|figure| (figure - median).abs()).fold(0.0, f64::max);
    match distance / median {
        _ if figures.len() == 1 => shown,
        share if share.is_finite() => format!("{shown} ±{:.0} %", share * 100.0),
        _ => shown,
    }
}

fn change(difference: &Difference) -> String {
    match difference.change() {
        None => "-".to_owned(),
        Some(change) if change.is_infinite() => "from none".to_owned(),
        Some(change) => format!("{:+.1} %", change * 100.0),
    }
}

fn verdict(comparison: &RunComparison) -> String {
    let names = |verdict| {
        let found = comparison.with_verdict(verdict);
        let names: Vec<_> = found.map(|difference| difference.metric.to_string()).collect();
        names.join(", ")
    };
    let (worse, better) = (names(ChangeVerdict::Worse), names(ChangeVerdict::Better));
    match comparison.runs_needed {
        Some(runs) => format!(
            "Verdict: cannot tell. So few runs do not tell a difference from chance: it takes \
             {runs}\non each side (--before, --after)."
        ),
        None if !worse.is_empty() && !better.is_empty() => {
            format!("Verdict: worse in {worse}, better in {better}.")
        }
        None if !worse.is_empty() => format!("Verdict: worse in {worse}."),
        None if !better.is_empty() => format!("Verdict: no worse, better in {better}."),
        None => "Verdict: no worse.".to_owned(),
    }
}
