//! `echoline chat verify`: reads transcripts from files, and turns their comparison into an exit
//! code.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::files::output::print;
use crate::values;
use echoline_chat::{Name, Transcript, TranscriptReport, verify};

/// The exit code if transcripts contradict each other.
const CONTRADICTED: u8 = 3;

/// The flags of `echoline chat verify`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit code: 0 if the transcripts agree, 3 if they contradict each other, 1 after a failure, 2 for \
wrong usage.

Examples:
  echoline chat verify ann.txt bob.txt")]
pub(crate) struct VerifyArgs {
    /// Files with the output of clients, all from one run of the chat.
    ///
    /// The clients are terminals after `/numbers on` (without `/times on` and `/quiet on`), or
    /// bots.
    #[arg(required = true, value_name = "TRANSCRIPT")]
    transcripts: Vec<PathBuf>,

    /// Room that every user joined first.
    #[arg(long, value_name = "NAME", default_value = "lobby")]
    #[arg(value_parser = values::room_name)]
    lobby: Name,
}

/// Compares the transcripts. Returns exit code 0 if they agree, else 3.
pub(crate) fn run(flags: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let read = |path: &PathBuf| {
        let text = std::fs::read(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        anyhow::Ok(Transcript::read(&path.display().to_string(), &flags.lobby, &text)?)
    };
    let transcripts = flags.transcripts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let report = verify(&transcripts);
    print(&sentences(&report, transcripts.len()))?;
    Ok(if report.found == 0 { ExitCode::SUCCESS } else { ExitCode::from(CONTRADICTED) })
}

fn sentences(report: &TranscriptReport, transcripts: usize) -> String {
    let TranscriptReport { rooms, lines, seen, contradictions, found } = report;
    let mut text = String::new();
    // Writing to memory does not fail.
    for contradiction in contradictions {
        let _ = writeln!(text, "{contradiction}");
    }
    let _ = writeln!(
        text,
        "{}, {}, {}, each seen {:.1} times",
        count(transcripts, "transcript"),
        count(*rooms, "room"),
        count(*lines, "line"),
        *seen as f64 / (*lines).max(1) as f64,
    );
    let _ = match found {
        0 => writeln!(
            text,
            "All transcripts have the same order: no gap without a notice, nothing twice, \
             increasing times, and only members of a room spoke in it."
        ),
        1 => writeln!(text, "There is 1 contradiction."),
        found if *found > contradictions.len() => {
            writeln!(text, "There are {found} contradictions; these are the first.")
        }
        found => writeln!(text, "There are {found} contradictions."),
    };
    text
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
