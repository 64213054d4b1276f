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
#[command(after_long_help = "\
The check uses the environment as a server does, and does not open any port.

Exit code: 0 if the server would start, 1 if it would not, 2 for wrong usage.

Examples:
  echoline check --config /etc/echoline/echoline.toml
  echoline check echo --listen 0.0.0.0:7 --max-connections 500
  echoline check --example > echoline.toml")]
pub(crate) struct CheckArgs {
    /// Configuration file to check.
    ///
    /// Without COMMAND every table of the file is checked.
    #[arg(long = "config", env = "ECHOLINE_CONFIG", value_name = "FILE")]
    file: Option<PathBuf>,

    /// Print a configuration file with all keys and their defaults.
    #[arg(long)]
    example: bool,

    /// Command of a server with its flags.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Checks settings. Returns exit code 0 if a server would start.
pub(crate) fn run(
    flags: &CheckArgs,
    program: &Command,
    read_server: ReadServer,
) -> anyhow::Result<ExitCode> {
    if let Some(text) = flags.usage_error() {
        return Err(UsageError::new(text).into());
    }
    if flags.example {
        output::print(&config::example(program))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut findings = CheckReport::default();
    match (&flags.command[..], &flags.file) {
        ([name, rest @ ..], file) => {
            let words = words(name, file.as_deref(), rest);
            let server = read_server(&words).map_err(|error| not_a_server(name, error))?;
            findings.about(name.to_string_lossy().into_owned());
            check_server(server.as_deref(), &mut findings)?;
        }
        ([], Some(file)) => check_file(program, file, read_server, &mut findings)?,
        ([], None) => {
            let text = "nothing to check: add --config FILE, or a command with its flags";
            return Err(UsageError::new(text).into());
        }
    }
    findings.report()
}

impl CheckArgs {
    /// Returns the error message for flags that do not fit together.
    fn usage_error(&self) -> Option<String> {
        let [name, rest @ ..] = &self.command[..] else {
            // The variable may be meant for the servers in the same environment.
            let ignored = self.example && self.file.is_some() && !config::may_set("config");
            return ignored.then(|| "--example reads no --config: remove one of them".to_owned());
        };
        if self.example {
            let name = name.display();
            return Some(format!("--example prints the keys of all commands: remove '{name}'"));
        }
        let below = rest.first().filter(|word| name == "chat" && !is_flag(word))?;
        let known = "verify doctor backup restore export erase hash-password";
        let is_tool = known.split(' ').any(|tool| *below == tool);
        is_tool.then(|| {
            let below = below.display();
            format!("'chat {below}' is not a server, and 'check' is for servers: write check chat")
        })
    }
}

fn is_flag(word: &OsString) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

/// Returns the error of the command `name`. If an argument is missing, the command is a client.
fn not_a_server(name: &OsString, error: ConfigError) -> anyhow::Error {
    match &error {
        ConfigError::Usage(usage) if usage.kind() == ErrorKind::MissingRequiredArgument => {
            UsageError::new(format!(
                "'{name}' is not a server, and 'check' is for servers (echo, chat): to check the \
                 flags of {name} too, add its required arguments",
                name = name.display()
            ))
            .into()
        }
        _ => error.into_error(),
    }
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
        0 => findings.note("the file has no settings".to_owned()),
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
                findings
                    .right("the settings are valid; the rest is on the command line".to_owned());
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
            findings.right("the settings are valid; this command is not a server".to_owned());
            Ok(())
        }
    }
}
