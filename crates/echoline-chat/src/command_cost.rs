//! The cost of lines, commands and questions: their class for the flood limit, and the charge to
//! the rates of their author's source. Pure.

use super::command::Command;
use super::protocol::Query;
use echoline::sources::SourceAction;

/// The class of a line for the flood limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineClass {
    /// Other users see it.
    Speech,
    /// A command that other users do not see.
    Command,
    /// A question that a page asks by itself.
    Question,
}

impl LineClass {
    /// The class of a typed line that is clean and trimmed.
    pub(super) fn of(line: &str) -> Self {
        match Command::parse(line) {
            Ok(command) if command.speaks() => Self::Speech,
            // The answer to a wrong command is all that it causes.
            Ok(_) | Err(_) => Self::Command,
        }
    }
}

/// A charge to the rates of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RateCost {
    pub(super) action: SourceAction,
    /// The number of usual actions that it counts as.
    pub(super) count: u32,
}

impl From<SourceAction> for RateCost {
    fn from(action: SourceAction) -> Self {
        Self { action, count: 1 }
    }
}

impl Command<'_> {
    /// Whether it changes a room or the chat and is written to the audit log.
    fn is_written_down(&self) -> bool {
        self.needs_operator()
            && !matches!(self, Self::Bans(_) | Self::Audit(_) | Self::Penalties(_))
    }

    /// The charge for the command; `None` if it is free. Commands that are written to the audit log,
    /// read the history, or list users or rooms have one.
    pub(super) fn cost(&self) -> Option<RateCost> {
        if self.is_written_down() {
            return Some(SourceAction::Moderation.into());
        }
        match self {
            Self::Search(_) => {
                Some(RateCost { action: SourceAction::Expensive, count: SourceAction::SEARCH_COST })
            }
            Self::History(_)
            | Self::Quote(_)
            | Self::Delete(_)
            | Self::Users(_)
            | Self::Rooms
            | Self::Whois(_)
            | Self::Lag => Some(SourceAction::Expensive.into()),
            _ => None,
        }
    }
}

impl Query {
    /// The charge for the question; `None` if it is free.
    pub(super) fn cost(self) -> Option<RateCost> {
        match self {
            Self::Person => None,
            Self::People | Self::Rooms | Self::History | Self::Commands => {
                Some(SourceAction::Expensive.into())
            }
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
            let charge = Command::parse(line).unwrap().cost();
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
            assert_eq!(command.is_written_down(), is_written, "{line}");
            let charge = is_written.then(|| SourceAction::Moderation.into());
            assert_eq!(command.cost(), charge, "{line}");
        }
    }
}
