//! The command line: the commands and the functions that run them.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::{cert, chat, check, compare, echo, generate, load, merge, send};
use crate::config::{ConfigError, EffectiveSettings};
use crate::process::reload::Reload;
use crate::process::{hangup, resources};
use crate::server::args::ServerCommand;
use crate::{config, usage_error};
use echoline_base::printable::printable_lines;

/// Line-protocol servers one can trust: an echo server, a chat, a client and a load tester.
#[derive(Debug, Parser)]
#[command(name = "echoline", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Serves an echo: of bytes (RFC 862), of lines, or with commands.
    Echo(Box<echo::EchoArgs>),

    /// Serves a chat for nc, Telnet and programs.
    Chat(Box<chat::ChatArgs>),

    /// Sends lines to a server and prints what it answers.
    Send(send::SendArgs),

    /// Tests a server with many clients at once, and checks every reply.
    Load(Box<load::LoadArgs>),

    /// Compares runs of load before and after a change, and says whether it made them worse.
    Compare(compare::CompareArgs),

    /// Says whether a server would start: its configuration, flags, files and addresses.
    Check(check::CheckArgs),

    /// Makes a certificate and its key for tests of TLS.
    Cert(cert::CertArgs),

    /// Merges the reports of load on several machines into one, exactly.
    Merge(merge::MergeArgs),

    /// Writes pages for man(1) and completions for shells.
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
}

/// Runs the command that the program's arguments name; the first argument is the program's name.
/// Ends the process if the arguments are wrong or ask for help.
///
/// # Errors
/// One sentence for the user: what was tried, what failed, and what to do.
pub(crate) fn run(typed: &[OsString]) -> anyhow::Result<ExitCode> {
    // Reading files may take time, and a server must survive a SIGHUP that arrives meanwhile.
    hangup::hold();
    let (arguments, settings) = config::read::<Cli>(typed).map_err(ConfigError::into_error)?;
    if !matches!(arguments.command, CliCommand::Echo(_) | CliCommand::Chat(_)) {
        hangup::release();
    }
    let ended = match arguments.command {
        CliCommand::Echo(flags) => {
            echo::run(*flags, Reload::new(reader(typed, echo_args), settings, echo::APPLIED_BY))
        }
        CliCommand::Chat(flags) => {
            chat::run(*flags, Reload::new(reader(typed, chat_args), settings, chat::APPLIED_BY))
        }
        CliCommand::Send(flags) => send::run(flags),
        CliCommand::Load(flags) => load::run(&flags),
        CliCommand::Compare(flags) => compare::run(&flags),
        CliCommand::Check(flags) => check::run(&flags, &Cli::command(), read_server),
        CliCommand::Cert(flags) => cert::run(&flags),
        CliCommand::Merge(flags) => merge::run(&flags),
        CliCommand::Generate(flags) => generate::run(&flags, Cli::command()),
    };
    ended.map_err(|error| match error.downcast() {
        Ok(error) => usage_error::exit_with_usage(&mut Cli::command(), &error),
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
        let (arguments, settings) = read.map_err(|error| anyhow!("{}", error.sentence()))?;
        let args = args(arguments.command).ok_or_else(|| anyhow!("no server"))?;
        match args.mistake() {
            Some(mistake) => Err(anyhow!(mistake)),
            None => Ok((args, settings)),
        }
    }
}

/// Reads the flags of a server for `echoline check`; `None` for a client.
fn read_server(typed: &[OsString]) -> Result<Option<Box<dyn ServerCommand>>, ConfigError> {
    let (arguments, _) = config::read::<Cli>(typed)?;
    Ok(match arguments.command {
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
