//! `echoline chat doctor`: examines the NATS servers and the stream of a cluster.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use crate::commands::chat::cluster::{StreamArgs, command_line_warning};
use crate::files::output::print;
use crate::files::shared_files::SharedFilesArgs;
use crate::usage_error::UsageError;
use echoline_base::SecretText;
use echoline_base::secret::without_login;
use echoline_chat_nats::{Severity, examine};

/// The exit code if there is a problem.
const PROBLEMS: u8 = 3;

/// The flags of `echoline chat doctor`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit code: 0 without a problem, 3 with a problem, 1 after a failure, 2 for wrong usage.

Examples:
  echoline chat doctor --bus nats://10.0.0.1:4222 --cluster chat")]
pub(crate) struct DoctorArgs {
    /// NATS servers: nats://HOST:PORT, separated by commas.
    #[arg(long, env = "ECHOLINE_BUS", value_name = "URL", hide_env_values = true)]
    #[arg(default_value = "nats://127.0.0.1:4222", help_heading = "Clustering (--bus)")]
    bus: SecretText,

    #[command(flatten)]
    stream: StreamArgs,

    #[command(flatten)]
    shared_files: SharedFilesArgs,
}

/// Prints the findings, and changes nothing. Returns exit code 0, or 3 if there is a problem.
pub(crate) fn run(flags: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let findings = examine(&flags.stream.options(&flags.bus, &flags.shared_files)?);
    let cannot = || format!("cannot examine --bus {}", without_login(flags.bus.reveal()));
    let findings = findings.map_err(|error| {
        let error = flags.stream.name_flag(error);
        if error.is::<UsageError>() { error } else { error.context(cannot()) }
    })?;
    let mut text = String::new();
    if let Some(warning) = command_line_warning(&flags.bus) {
        let _ = writeln!(text, "{:>7}  {warning}", "note");
    }
    for finding in &findings {
        let mark = match finding.severity {
            Severity::Fine => "ok",
            Severity::Note => "note",
            Severity::Problem => "PROBLEM",
        };
        // Writing to memory does not fail.
        let _ = writeln!(text, "{mark:>7}  {}", finding.sentence);
    }
    let problems = findings.iter().filter(|f| f.severity == Severity::Problem).count();
    let _ = match problems {
        0 => writeln!(text, "No problem was found."),
        1 => writeln!(text, "1 problem was found."),
        _ => writeln!(text, "{problems} problems were found."),
    };
    print(&text)?;
    Ok(if problems == 0 { ExitCode::SUCCESS } else { ExitCode::from(PROBLEMS) })
}
