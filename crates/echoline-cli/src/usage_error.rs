//! Reports wrong usage, and chooses the exit code of the program.
//!
//! # Exit codes
//!
//! * 2, wrong usage: the command line, a variable or a file with settings (`--config`,
//!   `--fault-file`, `--messages-from`) asks for something that can never work. Examples: an
//!   unknown flag or key, a value out of range, an unknown user or group, flags that exclude or
//!   need each other.
//! * 1, a failure: the request may work at another time or on another host. Examples: a file that
//!   cannot be read, an address in use, missing privileges, a limit of the system.
//!
//! An error of the parser, a [`UsageError`] and a [`WrongSetting`] end the program with 2, every
//! other error with 1. `send`, `load`, `compare` and `chat doctor` have more codes, which their
//! help lists.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::config::SettingOrigins;
use crate::files::output::has_colours;
use echoline_base::printable::printable_lines;

/// Wrong usage that the parser cannot find, for example flags that exclude each other. The program
/// ends as after an error of the parser: with the usage line of the command, and exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(String);

impl UsageError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// A wrong setting in a file, with file and line. The program ends with exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongSetting(pub(crate) String);

/// Returns the exit code of a program that ends with `error`.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<WrongSetting>() || error.is::<UsageError>() {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}

/// Ends the program with a usage error, or with the requested help.
pub(crate) fn exit(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    // An error quotes the command line, the configuration or a variable. The parser's own colours
    // cannot be distinguished from escape sequences in the quoted text. So all escape sequences are
    // escaped, and only `error:` gets a colour afterwards.
    let text = printable_lines(&error.render().to_string()).into_owned();
    let text = match text.strip_prefix("error:") {
        Some(rest) if has_colours() => format!("\x1b[1;31merror:\x1b[0m{rest}"),
        _ => text,
    };
    // If stderr is closed, the error cannot be reported.
    let _ = std::io::stderr().write_all(text.as_bytes());
    std::process::exit(error.exit_code())
}

/// Exits with the usage line of `command`, as the parser does, and with the origin of the settings
/// that the error names.
pub(crate) fn exit_with_usage(
    program: &mut Command,
    command: &str,
    error: &UsageError,
    origins: &SettingOrigins,
) -> ! {
    program.build();
    let mut text = error.to_string();
    for origin in origins.of_flags_in(&text) {
        text.push_str(&format!("\n\n  tip: {origin}"));
    }
    exit(&match program.find_subcommand_mut(command) {
        Some(command) => command.error(ErrorKind::ValueValidation, text),
        None => program.error(ErrorKind::ValueValidation, text),
    })
}

/// Replaces the tips of an error of the parser, if there are any new ones.
pub(crate) fn set_tips(error: &mut clap::Error, tips: Vec<String>) {
    if tips.is_empty() {
        return;
    }
    for kind in [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand] {
        error.remove(kind);
    }
    let tips = tips.into_iter().map(Into::into).collect();
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
}
