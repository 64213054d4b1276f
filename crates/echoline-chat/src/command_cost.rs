//! The cost of a command for the rates of its author's source. Pure.

use super::command::Command;
use echoline::SourceAction;

impl Command<'_> {
    /// Whether it changes a room or the chat and is written to the audit log.
    pub(super) fn is_written_down(&self) -> bool {
        self.needs_operator()
            && !matches!(self, Self::Bans(_) | Self::Audit(_) | Self::Penalties(_))
    }

    /// The number of expensive commands that this one counts as: it reads the history, or lists
    /// users or rooms.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Self::Search(_) => SourceAction::SEARCH_COST,
            Self::History(_)
            | Self::Quote(_)
            | Self::Delete(_)
            | Self::Users(_)
            | Self::Rooms
            | Self::Whois(_)
            | Self::Lag => 1,
            _ => 0,
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
            assert_eq!(Command::parse(line).unwrap().cost(), cost, "{line}");
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
            assert_eq!(Command::parse(line).unwrap().is_written_down(), is_written, "{line}");
        }
    }
}
