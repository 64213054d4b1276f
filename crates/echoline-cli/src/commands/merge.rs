//! `echoline merge`: merges the reports of several hosts.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;

use crate::commands::load_output::OutputArgs;
use crate::commands::report_files::{self, LoadedReport};
use echoline_load::report::MergeError;

/// The flags of `echoline merge`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Histograms and counts are added, so that a percentile covers all messages and is not a mean of \
percentiles. Clients and planned rates are added as well, and the duration is that of the longest \
run. Runs that did not take place at the same time are refused without --not-at-once. With a \
single FILE, 'merge' prints the report or writes it in another format.

Exit code: as for 'echoline load'.

Examples:
  echoline merge host1.json host2.json --html all.html")]
pub(crate) struct MergeArgs {
    /// Reports written by 'echoline load --json FILE'; '-' is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Merge runs that took place one after another.
    ///
    /// Their durations are added, and the report warns that they were several runs.
    #[arg(long, help_heading = "Reports")]
    not_at_once: bool,

    #[command(flatten)]
    output: OutputArgs,
}

/// Returns an error if two of the runs did not overlap in time.
fn check_concurrent(loaded: &[LoadedReport]) -> anyhow::Result<()> {
    for (index, one) in loaded.iter().enumerate() {
        for other in &loaded[index + 1..] {
            let together = one.report.check_concurrent(&other.report);
            together.map_err(|error| {
                let names = format!("{} and {}", one.name, other.name);
                match error {
                    MergeError::NotConcurrent { .. } => {
                        anyhow!("{names}: {error}; --not-at-once merges them anyway")
                    }
                    _ => anyhow!("{names}: {error}"),
                }
            })?;
        }
    }
    Ok(())
}

/// Merges the files and writes the report.
pub(crate) fn run(flags: &MergeArgs) -> anyhow::Result<ExitCode> {
    flags.output.check()?;
    let loaded = report_files::load(&flags.files)?;
    if !flags.not_at_once {
        check_concurrent(&loaded)?;
    }
    let names: Vec<_> = loaded.iter().map(|one| one.name.clone()).collect();
    let mut loaded = loaded.into_iter();
    let LoadedReport { name: first, report: mut merged, .. } =
        loaded.next().ok_or_else(|| anyhow!("there is no file to merge"))?;
    for LoadedReport { name, report, .. } in loaded {
        let result = match flags.not_at_once {
            true => merged.merge_sequential(&report),
            false => merged.merge(&report),
        };
        result.map_err(|error| anyhow!("{first} and {name}: {error}"))?;
    }
    if names.len() > 1 {
        merged.settings.listed.insert(0, ("merged".to_owned(), names.join(" ")));
    }
    Ok(flags.output.write(merged))
}
