//! The text of `/help`.

use crate::command::command_table::find;
use crate::command::parse::unknown;
use crate::command::{COMMANDS, CommandEntry, Rank};

/// Returns the lines of `/help` for a user of that rank, or those of `/help topic`. The topic is
/// the name of a command in any case, with or without its `/`.
///
/// For a member, the list fits a terminal of 24 lines and 80 columns, with one line left for
/// typing.
pub fn help(topic: Option<&str>, rank: Rank) -> impl Iterator<Item = String> {
    let name = topic.map(|topic| topic.strip_prefix('/').unwrap_or(topic));
    let lines = match name.map(|name| find(name).ok_or_else(|| unknown(name))) {
        None => list(rank),
        Some(Ok(entry)) => one(entry),
        Some(Err(error)) => vec![error.to_string()],
    };
    lines.into_iter()
}

/// Commands that the line of another command mentions. Leaving them out keeps the list short
/// enough.
const IN_ANOTHER_LINE: &[&str] = &["unignore"];

fn list(rank: Rank) -> Vec<String> {
    let listed = || COMMANDS.iter().filter(|entry| !IN_ANOTHER_LINE.contains(&entry.name));
    let shown = || listed().filter(|entry| rank == Rank::Operator || entry.rank == rank);
    // The column is wide enough for the usage of every member's command. The usage of an operator's
    // command may be longer.
    let members = COMMANDS.iter().filter(|entry| entry.rank == Rank::Member);
    let width = members.map(|entry| entry.usage.len()).max().unwrap_or(0);
    shown().map(|entry| format!("{:<width$}  {}", entry.usage, entry.purpose)).collect()
}

fn one(entry: &CommandEntry) -> Vec<String> {
    let rank = if entry.rank == Rank::Operator { " (for operators)" } else { "" };
    vec![
        format!("{}: {}{rank}", entry.usage, entry.purpose),
        format!("For example: {}", entry.example),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_fits_a_terminal() {
        let lines: Vec<_> = help(None, Rank::Member).collect();
        assert!(lines.len() < 24, "{} lines leave none for typing", lines.len());
        assert!(lines.iter().all(|line| line.len() <= 76), "a line exceeds 76 columns");
        assert!(!lines.iter().any(|line| line.contains("/ban")));
        let all: Vec<_> = help(None, Rank::Operator).collect();
        assert_eq!(all.len(), COMMANDS.len() - IN_ANOTHER_LINE.len());
        for name in IN_ANOTHER_LINE {
            assert!(lines.iter().any(|line| line.contains(&format!("/{name}"))), "/{name}");
        }
        assert!(all.iter().all(|line| line.len() <= 80));
    }

    #[test]
    fn one_command_is_explained() {
        let lines: Vec<_> = help(Some("/MSG"), Rank::Member).collect();
        assert_eq!(
            lines,
            ["/msg NAME WORDS: send a private message", "For example: /msg anna hello"]
        );
        // Issue 11, item 19: an alias has the same help as its command.
        assert_eq!(help(Some("tell"), Rank::Member).collect::<Vec<_>>(), lines);
        let lines: Vec<_> = help(Some("kick"), Rank::Member).collect();
        assert!(lines[0].ends_with("(for operators)"));
    }

    #[test]
    fn an_unknown_topic_names_the_nearest() {
        let lines: Vec<_> = help(Some("joim"), Rank::Member).collect();
        assert_eq!(lines, ["There is no /joim. Did you mean /join? /help lists all."]);
    }
}
