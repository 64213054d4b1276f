//! The program: one file per command, each a list of flags and what they are turned into.

mod admin;
mod binding;
mod chat;
mod compare;
mod descriptors;
mod destination;
mod echo;
mod holder;
mod life;
mod load;
mod load_output;
mod log;
mod merge;
mod newest_lines;
mod output;
mod report_files;
mod send;
mod serving;
mod values;
mod verify;
mod web;
mod wires;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

/// Line-protocol servers one can trust: an echo server, a chat, a client and a load tester.
#[derive(Debug, Parser)]
#[command(name = "echoline", version, about, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves an echo: of bytes (RFC 862), of lines, or with commands.
    Echo(echo::EchoFlags),

    /// Serves a chat for nc, Telnet and programs.
    Chat(chat::ChatFlags),

    /// Sends lines to a server and prints what it answers.
    Send(send::SendFlags),

    /// Tests a server with many clients at once, and checks every reply.
    Load(Box<load::LoadFlags>),

    /// Compares runs of load before and after a change, and says whether it made them worse.
    Compare(compare::CompareFlags),

    /// Merges the reports of load on several machines into one, exactly.
    Merge(merge::MergeFlags),
}

/// Runs what was asked for.
///
/// # Errors
/// One sentence for the user: what was tried, what went wrong, what to do.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Echo(flags) => echo::run(flags),
        Command::Chat(flags) => chat::run(flags),
        Command::Send(flags) => send::run(flags),
        Command::Load(flags) => load::run(&flags),
        Command::Compare(flags) => compare::run(&flags),
        Command::Merge(flags) => merge::run(&flags),
    }
}

/// Ends the program for a wrong use that only the command itself can see, in the words and with
/// the usage line of every other wrong use.
fn wrong_use(command: &str, kind: ErrorKind, text: &str) -> ! {
    let mut program = Arguments::command();
    program.build();
    match program.find_subcommand_mut(command) {
        Some(command) => command.error(kind, text).exit(),
        None => program.error(kind, text).exit(),
    }
}
