//! The command line: the commands, and what each of them runs.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use echoline_base::printable::{is_harmful, printable_lines};

use crate::reload::Reload;
use crate::usage_error::UsageError;
use crate::{
    cert, chat, check, compare, config, echo, generate, hangup, load, log, merge, resources, send,
};

/// Line-protocol servers one can trust: an echo server, a chat, a client and a load tester.
#[derive(Debug, Parser)]
#[command(name = "echoline", version, about, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves an echo: of bytes (RFC 862), of lines, or with commands.
    Echo(Box<echo::EchoFlags>),

    /// Serves a chat for nc, Telnet and programs.
    Chat(Box<chat::ChatFlags>),

    /// Sends lines to a server and prints what it answers.
    Send(send::SendFlags),

    /// Tests a server with many clients at once, and checks every reply.
    Load(Box<load::LoadFlags>),

    /// Compares runs of load before and after a change, and says whether it made them worse.
    Compare(compare::CompareFlags),

    /// Says whether a server would start: its configuration, flags, files and addresses.
    Check(check::CheckFlags),

    /// Makes a certificate and its key for tests of TLS.
    Cert(cert::CertFlags),

    /// Merges the reports of load on several machines into one, exactly.
    Merge(merge::MergeFlags),

    /// Writes pages for man(1) and completions for shells.
    #[command(hide = true)]
    Generate(generate::GenerateFlags),
}

/// Runs what is asked for by the program's arguments, its name first. Ends the process where they
/// are wrong, or ask for help.
///
/// # Errors
/// One sentence for the user: what was tried, what went wrong, what to do.
pub(crate) fn run(typed: &[OsString]) -> anyhow::Result<ExitCode> {
    // Files may take their time; a server that is told meanwhile to reload must live to do so.
    hangup::hold();
    let (arguments, settings) = config::read(typed).map_err(config::Refusal::into_error)?;
    let reload = || Reload::new(typed, settings);
    if !matches!(arguments.command, Command::Echo(_) | Command::Chat(_)) {
        hangup::release();
    }
    let ended = match arguments.command {
        Command::Echo(flags) => echo::run(*flags, reload()),
        Command::Chat(flags) => chat::run(*flags, reload()),
        Command::Send(flags) => send::run(flags),
        Command::Load(flags) => load::run(&flags),
        Command::Compare(flags) => compare::run(&flags),
        Command::Check(flags) => check::run(&flags),
        Command::Cert(flags) => cert::run(&flags),
        Command::Merge(flags) => merge::run(&flags),
        Command::Generate(flags) => generate::run(&flags),
    };
    ended.map_err(|error| match error.downcast() {
        Ok(error) => exit_with_usage(&error),
        Err(error) => resources::explain(error),
    })
}

/// The sentence of an error for a terminal: what it quotes of files and peers gives no orders.
#[must_use]
pub(crate) fn shown(error: &anyhow::Error) -> String {
    printable_lines(&format!("{error:#}")).into_owned()
}

/// Ends the program with the error of its usage, or the help that was asked for.
pub(crate) fn exit(error: &clap::Error) -> ! {
    // The help shows the values of variables.
    let is_foreign =
        |(_, value): (OsString, OsString)| value.to_string_lossy().contains(is_harmful);
    if !error.use_stderr() && !std::env::vars_os().any(is_foreign) {
        error.exit();
    }
    // An error quotes the command line, the configuration or a variable. The colours of the parser
    // cannot be told from escape sequences in these, so there is one of ours.
    let text = printable_lines(&error.render().to_string()).into_owned();
    let text = match text.strip_prefix("error:") {
        Some(rest) if log::has_colours() => format!("\x1b[1;31merror:\x1b[0m{rest}"),
        _ => text,
    };
    // Without the stream there is no place for the error.
    let _ = match error.use_stderr() {
        true => std::io::stderr().write_all(text.as_bytes()),
        false => std::io::stdout().write_all(text.as_bytes()),
    };
    std::process::exit(error.exit_code())
}

/// Exits with the usage line of the command, as the parser does.
fn exit_with_usage(error: &UsageError) -> ! {
    let mut program = Arguments::command();
    program.build();
    exit(&match program.find_subcommand_mut(error.command) {
        Some(command) => command.error(error.kind, &error.text),
        None => program.error(error.kind, &error.text),
    })
}
