//! Command names that other chats use. Some are aliases of a command, others only get a hint.

/// The meaning of a command name of another chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alias {
    /// The name of the equivalent command.
    Command(&'static str),
    /// A sentence with the alternative, because there is no equivalent command.
    Hint(&'static str),
}

/// Looks up a command name of another chat. The case does not matter.
pub(crate) fn find_alias(name: &str) -> Option<Alias> {
    let (_, alias) = all().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(alias)
}

/// Returns all names with their meanings.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, Alias)> {
    ALIASES.iter().flat_map(|(names, alias)| names.split(' ').map(|name| (name, *alias)))
}

/// Returns the names that other chats use for a command.
pub fn aliases_of(command: &'static str) -> impl Iterator<Item = &'static str> {
    all().filter(move |(_, alias)| *alias == Command(command)).map(|(name, _)| name)
}

use Alias::{Command, Hint};

/// Names from IRC clients, Discord, Slack, Twitch and games. None of them is the name of one of our
/// commands.
#[rustfmt::skip]
static ALIASES: &[(&str, Alias)] = &[
    ("action em emote", Command("me")),
    ("dm m pm privmsg query tell w whisper", Command("msg")),
    ("r re", Command("reply")),
    ("here members names online people who", Command("users")),
    ("channels list ls", Command("rooms")),
    ("channel create enter go goto j switch", Command("join")),
    ("part", Command("leave")),
    ("backlog lastlog log scrollback", Command("history")),
    ("find grep", Command("search")),
    ("alias name nickname rename", Command("nick")),
    ("afk brb", Command("away")),
    ("block", Command("ignore")),
    ("unblock", Command("unignore")),
    ("? commands h man", Command("help")),
    ("bye disconnect exit logoff logout q signoff", Command("quit")),
    ("banlist", Command("bans")),
    ("subject", Command("topic")),
    ("back", Hint("Type /away without words when you are back")),
    ("say", Hint("Type your message without /say")),
    ("clear cls", Hint("Clear the screen with your terminal, usually with Ctrl-L")),
    ("ping", Hint("/lag shows which users are behind, and by how many lines")),
    ("date time timestamps", Hint("/times on shows the time of each line")),
    ("auth identify login msgserv nickserv register",
        Hint("There are no accounts: /token shows a token, /resume TOKEN restores your session")),
    ("chanserv mode", Hint("/private, /password and /op change a room; /help lists all commands")),
    ("kickban", Hint("/ban NAME 10m removes a user, and keeps them out for 10 minutes")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::COMMANDS;
    use crate::text::is_clean;

    #[test]
    fn no_alias_occurs_twice_or_is_a_command() {
        let names: Vec<_> = all().map(|(name, _)| name).collect();
        for name in &names {
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name}");
            assert!(!COMMANDS.iter().any(|entry| entry.name == *name), "{name}");
            assert!(!name.is_empty() && *name == name.to_ascii_lowercase(), "{name}");
        }
    }

    #[test]
    fn every_alias_means_or_names_a_command() {
        for (name, alias) in all() {
            match alias {
                Command(command) => {
                    assert!(COMMANDS.iter().any(|entry| entry.name == command), "{name}");
                }
                Hint(sentence) => {
                    assert!(is_clean(sentence) && sentence.len() < 90, "{name}");
                    let commands =
                        sentence.split([' ', ',', ':']).filter_map(|w| w.strip_prefix('/'));
                    for word in commands.filter(|word| *word != name) {
                        assert!(COMMANDS.iter().any(|entry| entry.name == word), "{sentence}");
                    }
                }
            }
        }
    }
}
