//! `echoline merge`: the reports of several machines as one.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;

use super::load_output::OutputFlags;
use super::report_files::{self, Loaded};

/// The flags of `echoline merge`.
#[derive(Debug, Args)]
#[command(after_help = "\
Histograms and counts are added, so a percentile is that of all messages together and not a mean \
of percentiles. Clients and planned rates are added too, as of machines that ran at the same time; \
the time is that of the longest run. One file alone is shown, or written in another format.

Exit code: as of 'echoline load'.")]
pub(super) struct MergeFlags {
    /// Files that 'echoline load --json FILE' wrote; '-' is stdin.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    output: OutputFlags,
}

/// Merges the files and reports as a run does.
pub(super) fn run(flags: &MergeFlags) -> anyhow::Result<ExitCode> {
    flags.output.check("merge");
    let loaded = report_files::load(&flags.files)?;
    let names: Vec<_> = loaded.iter().map(|one| one.name.clone()).collect();
    let mut loaded = loaded.into_iter();
    let Loaded { name: first, report: mut merged, .. } =
        loaded.next().ok_or_else(|| anyhow!("there is no file to merge"))?;
    for Loaded { name, report, .. } in loaded {
        merged.merge(&report).map_err(|error| anyhow!("{first} and {name}: {error}"))?;
    }
    if names.len() > 1 {
        merged.settings.listed.insert(0, ("merged".to_owned(), names.join(" ")));
    }
    Ok(flags.output.write(&merged))
}
