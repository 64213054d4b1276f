//! `echoline merge`: the reports of several machines as one.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;

use super::load_output::OutputFlags;
use super::report_files::{self, Loaded};
use echoline_load::MergeError;

/// The flags of `echoline merge`.
#[derive(Debug, Args)]
#[command(after_help = "\
Histograms and counts are added, so a percentile is that of all messages together and not a mean \
of percentiles. Clients and planned rates are added too, as of machines that ran at the same time; \
the time is that of the longest run. Runs that did not run at the same time are refused without \
--not-at-once. One file alone is shown, or written in another format.

Exit code: as of 'echoline load'.")]
pub(super) struct MergeFlags {
    /// Files that 'echoline load --json FILE' wrote; '-' is stdin.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Merges runs that came one after another: their times are added, and the report says that it
    /// is not to be trusted as one run.
    #[arg(long)]
    not_at_once: bool,

    #[command(flatten)]
    output: OutputFlags,
}

/// Refuses runs of which two never ran at the same time.
fn check_together(loaded: &[Loaded]) -> anyhow::Result<()> {
    for (index, one) in loaded.iter().enumerate() {
        for other in &loaded[index + 1..] {
            let together = one.report.check_together(&other.report);
            together.map_err(|error| {
                let names = format!("{} and {}", one.name, other.name);
                match error {
                    MergeError::NotTogether { .. } => {
                        anyhow!("{names}: {error}; --not-at-once merges them as one after another")
                    }
                    _ => anyhow!("{names}: {error}"),
                }
            })?;
        }
    }
    Ok(())
}

/// Merges the files and reports as a run does.
pub(super) fn run(flags: &MergeFlags) -> anyhow::Result<ExitCode> {
    flags.output.check("merge");
    let loaded = report_files::load(&flags.files)?;
    if !flags.not_at_once {
        check_together(&loaded)?;
    }
    let names: Vec<_> = loaded.iter().map(|one| one.name.clone()).collect();
    let mut loaded = loaded.into_iter();
    let Loaded { name: first, report: mut merged, .. } =
        loaded.next().ok_or_else(|| anyhow!("there is no file to merge"))?;
    for Loaded { name, report, .. } in loaded {
        let result = match flags.not_at_once {
            true => merged.merge_in_turn(&report),
            false => merged.merge(&report),
        };
        result.map_err(|error| anyhow!("{first} and {name}: {error}"))?;
    }
    if names.len() > 1 {
        merged.settings.listed.insert(0, ("merged".to_owned(), names.join(" ")));
    }
    Ok(flags.output.write(merged))
}
