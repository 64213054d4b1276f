//! The error of a wrong use that only the command itself can detect.

use clap::error::ErrorKind;

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
