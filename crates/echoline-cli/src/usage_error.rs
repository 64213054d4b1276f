//! Usage errors: how they are printed, and the exit that follows.

use std::ffi::OsString;
use std::io::Write as _;
use std::sync::OnceLock;

use clap::Command;
use clap::error::ErrorKind;

use crate::files::output::has_colours;
use echoline_base::printable::{is_harmful, printable_lines};

/// The definition of the command line, for the usage line of an error.
static PROGRAM: OnceLock<Command> = OnceLock::new();

/// Sets the definition of the command line. The first call wins.
pub(crate) fn set_program(program: Command) {
    let _ = PROGRAM.set(program);
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
        Some(rest) if has_colours() => format!("\x1b[1;31merror:\x1b[0m{rest}"),
        _ => text,
    };
    // Without the stream there is no place for the error.
    let _ = match error.use_stderr() {
        true => std::io::stderr().write_all(text.as_bytes()),
        false => std::io::stdout().write_all(text.as_bytes()),
    };
    std::process::exit(error.exit_code())
}

/// Ends the program for a wrong use that only the command itself can see, in the words and with
/// the usage line of every other wrong use.
pub(crate) fn wrong_use(command: &str, kind: ErrorKind, text: &str) -> ! {
    let mut program = PROGRAM.get().cloned().unwrap_or_default();
    program.build();
    exit(&match program.find_subcommand_mut(command) {
        Some(command) => command.error(kind, text),
        None => program.error(kind, text),
    })
}
