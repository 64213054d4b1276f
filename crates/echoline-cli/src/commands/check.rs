//! `echoline check`: checks whether a server would start, without starting it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Command};

use crate::config::{self, ConfigError};
use crate::files::output;
use crate::server::args::ServerCommand;
use crate::server::check_report::CheckReport;
use crate::usage_error::UsageError;

/// Reads the flags of a server from a command line; `None` for another command.
type ReadServer = fn(&[OsString]) -> Result<Option<Box<dyn ServerCommand>>, ConfigError>;

/// The flags of `echoline check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  echoline check --config /etc/echoline/echoline.toml
  echoline check echo --listen 0.0.0.0:7 --max-connections 500

Nothing is listened on. The environment counts, as it does for a server. Exit code: 0 all is \
right, 1 something is wrong, 2 wrong usage.")]
pub(crate) struct CheckArgs {
    /// The configuration file; with no COMMAND each of its tables is checked.
    #[arg(long = "config", env = "ECHOLINE_CONFIG", value_name = "PATH")]
    file: Option<PathBuf>,

    /// Print a configuration file with every key there is, what it means, and its default.
    #[arg(long)]
    example: bool,

    /// A server's command and its flags, as it would be started.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs the check. Returns exit code 0 if there is no error.
pub(crate) fn run(
    flags: &CheckArgs,
    program: &Command,
    read_server: ReadServer,
) -> anyhow::Result<ExitCode> {
    if flags.example {
        output::print(&config::example(program))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut findings = CheckReport::default();
    match (&flags.command[..], &flags.file) {
        ([name, rest @ ..], file) => {
            let words = words(name, file.as_deref(), rest);
            let server = read_server(&words).map_err(ConfigError::into_error)?;
            findings.about(name.to_string_lossy().into_owned());
            check_server(server.as_deref(), &mut findings)?;
        }
        ([], Some(file)) => check_file(program, file, read_server, &mut findings)?,
        ([], None) => {
            let text = "nothing to check: give --config PATH, or a command and its flags";
            return Err(UsageError::new("check", ErrorKind::MissingRequiredArgument, text).into());
        }
    }
    findings.report()
}

/// Returns the command line that would start the server.
fn words(name: &OsString, file: Option<&Path>, rest: &[OsString]) -> Vec<OsString> {
    let file = file.map(|path| [OsString::from("--config"), path.into()]);
    let words = [OsString::from("echoline"), name.clone()].into_iter();
    words.chain(file.into_iter().flatten()).chain(rest.iter().cloned()).collect()
}

/// Checks each server that the file configures. Settings of client commands are checked only as
/// far as possible without their other arguments.
fn check_file(
    program: &Command,
    path: &Path,
    read_server: ReadServer,
    findings: &mut CheckReport,
) -> anyhow::Result<()> {
    let tables = config::tables(program, path)?;
    findings.about(path.display().to_string());
    let names: Vec<String> = tables.iter().map(|name| format!("[{name}]")).collect();
    match names.len() {
        0 => findings.note("it configures nothing".to_owned()),
        _ => findings.right(format!("every key and value of {} is known", names.join(", "))),
    }
    for name in tables {
        let words = ["echoline", &name, "--config"].map(OsString::from);
        let words: Vec<OsString> = words.into_iter().chain([path.into()]).collect();
        findings.about(name);
        match read_server(&words) {
            Ok(server) => check_server(server.as_deref(), findings)?,
            Err(ConfigError::Usage(error))
                if error.kind() == ErrorKind::MissingRequiredArgument =>
            {
                findings.right("the rest is said on its command line".to_owned());
            }
            Err(error) => findings.wrong(error.sentence()),
        }
    }
    Ok(())
}

fn check_server(
    server: Option<&dyn ServerCommand>,
    findings: &mut CheckReport,
) -> anyhow::Result<()> {
    match server {
        Some(server) => server.check(findings),
        None => {
            findings.right("its flags are right; it is no server".to_owned());
            Ok(())
        }
    }
}
