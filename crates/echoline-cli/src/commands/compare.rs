//! `echoline compare`: compares runs before and after a change.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::slice;

use anyhow::Context;
use clap::Args;

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
#[command(override_usage = "\
echoline compare [OPTIONS] <BEFORE> <AFTER>
       echoline compare [OPTIONS] --before <FILE>... --after <FILE>...")]
#[command(after_long_help = "\
With five runs or more on each side, compare applies the Mann-Whitney U test (exact, two-sided) \
to each metric, with Holm's correction for the number of metrics. It reports a difference if \
chance causes such a difference in at most 5% of comparisons, and if the medians differ by more \
than --tolerance. With fewer runs it shows the figures without a verdict.

Exit code: 0 if no metric is found to be worse; 3 if one is, or if a median is worse by more than \
--max-worse; 1 if the files cannot be compared; 2 for wrong usage.

Examples:
  echoline compare before.json after.json --max-worse 10%
  echoline compare --before old-*.json --after new-*.json")]
pub(crate) struct CompareArgs {
    /// Report of the run before the change, from 'echoline load --json'.
    #[arg(value_name = "BEFORE", conflicts_with_all = ["before", "after"])]
    before_file: Option<PathBuf>,

    /// Report of the run after the change.
    #[arg(value_name = "AFTER")]
    after_file: Option<PathBuf>,

    /// Reports of several runs before the change.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "after")]
    before: Vec<PathBuf>,

    /// Reports of several runs after the change.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "before")]
    after: Vec<PathBuf>,

    /// Difference of the medians to ignore.
    #[arg(long, env = "ECHOLINE_TOLERANCE", value_name = "PERCENT", default_value = "5%")]
    #[arg(value_parser = values::share)]
    tolerance: Share,

    /// Exit with code 3 if the median of a metric is worse by more than this.
    ///
    /// It also applies if there are too few runs for a verdict.
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
        match (&self.before_file, &self.after_file) {
            (Some(before), Some(after)) => Ok((slice::from_ref(before), slice::from_ref(after))),
            (Some(before), None) => {
                let before = before.display();
                Err(UsageError::new(format!(
                    "the report after the change is missing: write 'compare {before} AFTER'"
                )))
            }
            (None, _) if self.before.is_empty() => Err(UsageError::new(
                "two reports are missing: write 'compare BEFORE AFTER', or give several with \
                 --before and --after",
            )),
            (None, _) => Ok((&self.before, &self.after)),
        }
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
        writeln!(text, "different setting: {}", printable(&setting))?;
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

/// Returns the median of the runs and the largest distance from it: `1.20 ms ±3 %`.
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
            "Verdict: none. A verdict needs at least {runs} runs on each side (--before, --after), \
             because\nfewer runs cannot be told from chance."
        ),
        None if !worse.is_empty() && !better.is_empty() => {
            format!("Verdict: worse in {worse}, better in {better}.")
        }
        None if !worse.is_empty() => format!("Verdict: worse in {worse}."),
        None if !better.is_empty() => format!("Verdict: no worse, better in {better}."),
        None => "Verdict: no worse.".to_owned(),
    }
}
