//! The errors of commands, each as one sentence with the text to type instead. Pure.

use crate::command::aliases::{Alias, find_alias};
use crate::command::arguments::{CommandArguments, WrongDuration};
use crate::command::command_table::{self, CommandEntry};
use crate::text::excerpt;

/// The reason why a line is not a valid [`Command`](super::Command). It prints as one sentence with
/// the correct form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A `/` with no word after it.
    #[error("A command needs a name after the /: /help lists them, and //text says /text")]
    NoName,
    /// There is no such command, but one with a similar name.
    #[error("There is no /{name}. Did you mean /{nearest}? /help lists all.")]
    Misspelled {
        /// The name that was typed, cleaned and shortened.
        name: String,
        /// The nearest command.
        nearest: &'static str,
    },
    /// There is no such command, and no similar one.
    #[error("There is no /{0}. /help lists all.")]
    Unknown(String),
    /// A command of other chats, which this chat does not have.
    #[error("There is no /{name}. {hint}.")]
    Elsewhere {
        /// The name that was typed.
        name: String,
        /// The sentence about the command to use instead.
        hint: &'static str,
    },
    /// Too few arguments, too many, or an invalid one.
    #[error("Wrong arguments for /{name}: type {usage}, for example {example}")]
    Usage {
        /// The command.
        name: &'static str,
        /// All its arguments.
        usage: &'static str,
        /// An example of a valid use.
        example: &'static str,
    },
    /// An argument looks like a duration, but is not a valid one.
    #[error(
        "'{typed}' is not a duration: type {usage}, with 10m, 2h, 1h30m, 3 days, 1w or forever"
    )]
    Duration {
        /// The word that was typed, cleaned and shortened.
        typed: String,
        /// All arguments of the command.
        usage: &'static str,
    },
    /// A duration for a command that takes none.
    #[error("A kick has no duration: /ban NAME 10m keeps a user out for 10 minutes")]
    KickDuration,
}

/// Returns the error for a command with wrong arguments.
pub(crate) fn wrong_use(entry: &CommandEntry, arguments: &CommandArguments<'_>) -> CommandError {
    match arguments.wrong_duration() {
        Some(WrongDuration::Unreadable(typed)) => {
            CommandError::Duration { typed: excerpt(typed), usage: entry.usage }
        }
        Some(WrongDuration::NotTaken) => CommandError::KickDuration,
        None => {
            CommandError::Usage { name: entry.name, usage: entry.usage, example: entry.example }
        }
    }
}

/// Returns the error for a command that does not exist.
pub fn unknown(name: &str) -> CommandError {
    let shown = excerpt(name);
    if shown.is_empty() {
        return CommandError::NoName;
    }
    if let Some(Alias::Hint(hint)) = find_alias(name) {
        return CommandError::Elsewhere { name: shown, hint };
    }
    match command_table::nearest(name) {
        Some(entry) => CommandError::Misspelled { name: shown, nearest: entry.name },
        None => CommandError::Unknown(shown),
    }
}
