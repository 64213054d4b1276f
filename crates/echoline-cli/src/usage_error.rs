//! Usage errors: how they are printed, and the exit that follows.

use std::ffi::OsString;
use std::io::Write as _;

use clap::Command;
use clap::error::ErrorKind;

use crate::files::output::has_colours;
use echoline_base::printable::{is_harmful, printable_lines};

/// A wrong use of a command. It ends the program like every other usage error, with the usage line
/// of the command.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct UsageError {
    pub(crate) command: &'static str,
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
}

impl UsageError {
    pub(crate) fn new(command: &'static str, kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { command, kind, text: text.into() }
    }
}

/// Ends the program with a usage error, or with the requested help.
pub(crate) fn exit(error: &clap::Error) -> ! {
    // The help shows the values of variables.
    let is_foreign =
        |(_, value): (OsString, OsString)| value.to_string_lossy().contains(is_harmful);
    if !error.use_stderr() && !std::env::vars_os().any(is_foreign) {
        error.exit();
    }
    // An error quotes the command line, the configuration or a variable. The colours of the parser
    // cannot be distinguished from escape sequences in these texts. So all of them are escaped, and
    // only one colour is added.
    let text = printable_lines(&error.render().to_string()).into_owned();
    let text = match text.strip_prefix("error:") {
        Some(rest) if has_colours() => format!("\x1b[1;31merror:\x1b[0m{rest}"),
        _ => text,
    };
    // If the stream is closed, the error cannot be reported.
    let _ = match error.use_stderr() {
        true => std::io::stderr().write_all(text.as_bytes()),
        false => std::io::stdout().write_all(text.as_bytes()),
    };
    std::process::exit(error.exit_code())
}

/// Exits with the usage line of the command, as the parser does.
pub(crate) fn exit_with_usage(program: &mut Command, error: &UsageError) -> ! {
    program.build();
    exit(&match program.find_subcommand_mut(error.command) {
        Some(command) => command.error(error.kind, &error.text),
        None => program.error(error.kind, &error.text),
    })
}
