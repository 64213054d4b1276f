//! The costs of lines, commands and questions: their class for the flood limit, and the charge to
//! the rates of the author's source.

use echoline::sources::SourceAction;
use echoline_chat_core::command::Command;
use echoline_chat_core::protocol::Query;

/// The class of a line for the flood limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineClass {
    /// Other users see the line.
    Speech,
    /// The line is a command that other users do not see.
    Command,
    /// The line is a question that a page asks by itself.
    Question,
}

impl LineClass {
    /// Returns the class of a typed line that is already cleaned and trimmed.
    pub(crate) fn of(line: &str) -> Self {
        match Command::parse(line) {
            Ok(command) if command.speaks() => Self::Speech,
            // An invalid command only causes an answer.
            Ok(_) | Err(_) => Self::Command,
        }
    }
}

/// A charge to the rates of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateCost {
    pub(crate) action: SourceAction,
    /// The number of actions to charge.
    pub(crate) count: u32,
}

impl From<SourceAction> for RateCost {
    fn from(action: SourceAction) -> Self {
        Self { action, count: 1 }
    }
}

/// Returns whether a command changes a room or the chat, so that it is written to the audit log.
fn is_written_down(command: &Command<'_>) -> bool {
    command.needs_operator()
        && !matches!(command, Command::Bans(_) | Command::Audit(_) | Command::Penalties(_))
}

/// Returns the charge for a command, or `None` if it is free. Commands are charged if they are
/// written to the audit log, read the history, or list users or rooms.
pub(crate) fn command_cost(command: &Command<'_>) -> Option<RateCost> {
    if is_written_down(command) {
        return Some(SourceAction::Moderation.into());
    }
    match command {
        Command::Search(_) => {
            Some(RateCost { action: SourceAction::Expensive, count: SourceAction::SEARCH_COST })
        }
        Command::History(_)
        | Command::Quote(_)
        | Command::Delete(_)
        | Command::Users(_)
        | Command::Rooms
        | Command::Whois(_)
        | Command::Lag => Some(SourceAction::Expensive.into()),
        _ => None,
    }
}

/// Returns the charge for a question, or `None` if it is free.
pub(crate) fn query_cost(query: Query) -> Option<RateCost> {
    match query {
        Query::Person => None,
        Query::People | Query::Rooms | Query::History | Query::Commands => {
            Some(SourceAction::Expensive.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_read_or_list_have_a_cost() {
        for (line, cost) in [
            ("/search bees", SourceAction::SEARCH_COST),
            ("/history 5", 1),
            ("/users", 1),
            ("/rooms", 1),
            ("/whois ann", 1),
            ("hello", 0),
            ("/me waves", 0),
            ("/help", 0),
        ] {
            let charge = command_cost(&Command::parse(line).unwrap());
            assert!(charge.is_none_or(|charge| charge.action == SourceAction::Expensive));
            assert_eq!(charge.map_or(0, |charge| charge.count), cost, "{line}");
        }
    }

    #[test]
    fn commands_that_change_something_for_others_are_written_down() {
        for (line, is_written) in [
            ("/ban ann", true),
            ("/invite ann", true),
            ("/private on", true),
            ("/bans", false),
            ("/audit", false),
            ("/penalties", false),
            ("/nick ann", false),
        ] {
            let command = Command::parse(line).unwrap();
            assert_eq!(is_written_down(&command), is_written, "{line}");
            let charge = is_written.then(|| SourceAction::Moderation.into());
            assert_eq!(command_cost(&command), charge, "{line}");
        }
    }
}
