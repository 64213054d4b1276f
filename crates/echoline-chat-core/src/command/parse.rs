//! Parsing of a line into a command, by the table of all commands. Pure.

use crate::command::arguments::CommandArguments;
use crate::command::command_error::{CommandError, unknown, wrong_use};
use crate::command::{Command, command_table};

impl<'a> Command<'a> {
    /// Parses a line that is clean (see `clean`) and trimmed. The case of a command does not
    /// matter, and `//x` says `/x`. The result borrows the line.
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
