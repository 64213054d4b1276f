//! The command line: the commands and the functions that run them.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::{cert, chat, check, compare, echo, generate, load, merge, send};
use crate::config::{ConfigError, EffectiveSettings, Settings};
use crate::process::reload::Reload;
use crate::process::{hangup, resources};
use crate::server::args::ServerCommand;
use crate::{config, help, usage_error};
use echoline_base::printable::printable_lines;

/// Echo server, chat server, client and load tester for line protocols.
#[derive(Debug, Parser)]
#[command(name = "echoline", version, max_term_width = 80)]
#[command(mut_subcommands = help::finish)]
#[command(after_help = "\
Examples:
  echoline echo --listen 127.0.0.1:9000
  echoline send 127.0.0.1:9000 hello
  echoline load 127.0.0.1:9000 --clients 50 --duration 10s
  echoline chat --listen 127.0.0.1:9001 --web 127.0.0.1:8081

'echoline COMMAND -h' shows the most used flags, 'echoline COMMAND --help' all of them.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Run an echo server, for tests of clients, proxies and networks.
    Echo(Box<echo::EchoArgs>),

    /// Run a chat server for browsers, terminals (nc, Telnet) and bots.
    Chat(Box<chat::ChatArgs>),

    /// Send lines to a server and print its replies.
    Send(send::SendArgs),

    /// Test a server under load, and check every reply.
    Load(Box<load::LoadArgs>),

    /// Compare load runs before and after a change.
    Compare(compare::CompareArgs),

    /// Merge the reports of load runs on several hosts into one.
    Merge(merge::MergeArgs),

    /// Check whether a server would start, without starting it.
    Check(check::CheckArgs),

    /// Make a certificate and a private key for tests of TLS.
    Cert(cert::CertArgs),

    /// Write man pages and shell completions.
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
}

impl CliCommand {
    /// Returns the name of the command, as a user types it.
    fn name(&self) -> &'static str {
        match self {
            Self::Echo(_) => "echo",
            Self::Chat(_) => "chat",
            Self::Send(_) => "send",
            Self::Load(_) => "load",
            Self::Compare(_) => "compare",
            Self::Merge(_) => "merge",
            Self::Check(_) => "check",
            Self::Cert(_) => "cert",
            Self::Generate(_) => "generate",
        }
    }
}

/// Runs the command that the program's arguments name; the first argument is the program's name.
/// Ends the process if the arguments are wrong or ask for help.
///
/// # Errors
/// One sentence for the user. It names the attempt, the failure and the remedy.
pub(crate) fn run(typed: &[OsString]) -> anyhow::Result<ExitCode> {
    // Reading files may take time, and a server must survive a SIGHUP that arrives meanwhile.
    hangup::hold();
    let Settings { arguments, effective, origins } =
        config::read::<Cli>(typed).map_err(ConfigError::into_error)?;
    let name = arguments.command.name();
    if !matches!(arguments.command, CliCommand::Echo(_) | CliCommand::Chat(_)) {
        hangup::release();
    }
    let ended = match arguments.command {
        CliCommand::Echo(flags) => {
            echo::run(*flags, Reload::new(reader(typed, echo_args), effective, echo::APPLIED_BY))
        }
        CliCommand::Chat(flags) => {
            chat::run(*flags, Reload::new(reader(typed, chat_args), effective, chat::APPLIED_BY))
        }
        CliCommand::Send(flags) => send::run(flags),
        CliCommand::Load(flags) => load::run(&flags),
        CliCommand::Compare(flags) => compare::run(&flags),
        CliCommand::Merge(flags) => merge::run(&flags),
        CliCommand::Check(flags) => check::run(&flags, &Cli::command(), read_server),
        CliCommand::Cert(flags) => cert::run(&flags),
        CliCommand::Generate(flags) => generate::run(&flags, Cli::command()),
    };
    ended.map_err(|error| match error.downcast() {
        Ok(error) => usage_error::exit_with_usage(&mut Cli::command(), name, &error, &origins),
        Err(error) => resources::explain(error),
    })
}

fn echo_args(command: CliCommand) -> Option<echo::EchoArgs> {
    if let CliCommand::Echo(args) = command { Some(*args) } else { None }
}

fn chat_args(command: CliCommand) -> Option<chat::ChatArgs> {
    if let CliCommand::Chat(args) = command { Some(*args) } else { None }
}

/// Reads the settings of a server again, and checks that its flags fit together.
fn reader<F: ServerCommand>(
    typed: &[OsString],
    args: fn(CliCommand) -> Option<F>,
) -> impl FnMut() -> anyhow::Result<(F, EffectiveSettings)> + Send + 'static {
    let typed = typed.to_vec();
    move || {
        let read = config::read::<Cli>(&typed);
        let Settings { arguments, effective, .. } =
            read.map_err(|error| anyhow!("{}", error.sentence()))?;
        let args = args(arguments.command).ok_or_else(|| anyhow!("no server"))?;
        match args.mistake() {
            Some(mistake) => Err(anyhow!(mistake)),
            None => Ok((args, effective)),
        }
    }
}

/// Reads the flags of a server for `echoline check`; `None` for a client.
fn read_server(typed: &[OsString]) -> Result<Option<Box<dyn ServerCommand>>, ConfigError> {
    let read = config::read::<Cli>(typed)?;
    Ok(match read.arguments.command {
        CliCommand::Echo(args) => Some(args),
        CliCommand::Chat(args) => Some(args),
        _ => None,
    })
}

/// Returns the error for a terminal, with control characters in quoted text escaped.
#[must_use]
pub(crate) fn shown(error: &anyhow::Error) -> String {
    printable_lines(&format!("{error:#}")).into_owned()
}
