//! Parses a line as a command, and explains why a line is not a valid one.

use crate::command::aliases::find_alias;
use crate::command::{
    Alias, Command, CommandArguments, CommandEntry, WrongDuration, command_table,
};
use crate::text::excerpt;

impl<'a> Command<'a> {
    /// Parses a trimmed line that [`clean`](crate::text::clean) has cleaned. The case of a command
    /// does not matter. `//x` is the text `/x`, not a command. The result borrows the line.
    ///
    /// ```
    /// use echoline_chat_core::command::Command;
    ///
    /// assert_eq!(Command::parse("hello"), Ok(Command::Say("hello")));
    /// assert_eq!(Command::parse("/Nick anna"), Ok(Command::Nick("anna")));
    /// let error = Command::parse("/joim garden").unwrap_err().to_string();
    /// assert_eq!(error, "There is no /joim. Did you mean /join? /help lists all.");
    /// ```
    ///
    /// # Errors
    /// [`CommandError`], whose message tells the user what to type instead.
    pub fn parse(line: &'a str) -> Result<Self, CommandError> {
        let Some(rest) = line.strip_prefix('/') else { return Ok(Self::Say(line)) };
        if rest.starts_with('/') {
            return Ok(Self::Say(rest));
        }
        let (name, arguments) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let entry = command_table::find(name).ok_or_else(|| unknown(name))?;
        let mut arguments = CommandArguments::new(arguments);
        let command = (entry.read)(&mut arguments).filter(|_| arguments.is_empty());
        command.ok_or_else(|| wrong_use(entry, &arguments))
    }
}

/// The reason why a line is not a valid [`Command`]. `Display` prints one sentence with the correct
/// form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A `/` with no word after it.
    #[error("A command needs a name after the /: /help lists them, and //text says /text")]
    NoName,
    /// The command does not exist, but one with a similar name does.
    #[error("There is no /{name}. Did you mean /{nearest}? /help lists all.")]
    Misspelled {
        /// The name as the user typed it, cleaned and shortened.
        name: String,
        /// The most similar command.
        nearest: &'static str,
    },
    /// Neither the command nor a similar one exists.
    #[error("There is no /{0}. /help lists all.")]
    Unknown(String),
    /// The command exists in other chats, but not in this chat.
    #[error("There is no /{name}. {hint}.")]
    Elsewhere {
        /// The name as the user typed it.
        name: String,
        /// A sentence that names the command to use instead.
        hint: &'static str,
    },
    /// There are too few or too many arguments, or one is invalid.
    #[error("Wrong arguments for /{name}: type {usage}, for example {example}")]
    Usage {
        /// The command.
        name: &'static str,
        /// The command with all its arguments.
        usage: &'static str,
        /// An example of a valid use.
        example: &'static str,
    },
    /// An argument looks like a duration, but is not a valid one.
    #[error(
        "'{typed}' is not a duration: type {usage}, with 10m, 2h, 1h30m, 3 days, 1w or forever"
    )]
    Duration {
        /// The word as the user typed it, cleaned and shortened.
        typed: String,
        /// The command with all its arguments.
        usage: &'static str,
    },
    /// The command takes no duration, but the line has one.
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
pub(crate) fn unknown(name: &str) -> CommandError {
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
