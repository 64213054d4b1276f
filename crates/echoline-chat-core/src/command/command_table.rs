//! The table of all commands: the parser, the line in `/help` and the usage errors of each.

use crate::command::aliases::{self, find_alias};
use crate::command::arguments::number;
use crate::command::{Alias, BanTarget, Command, CommandArguments, CommandSecret, Passage, Switch};

/// The rank of a user, which decides what commands `/help` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Every user.
    Member,
    /// Operators.
    Operator,
}

/// One command.
#[derive(Debug)]
pub struct CommandEntry {
    /// The name of the command.
    pub name: &'static str,
    /// The command with its arguments.
    pub usage: &'static str,
    /// The purpose, in one line of at most 52 columns.
    pub purpose: &'static str,
    /// An example.
    pub example: &'static str,
    /// The rank that the command needs.
    pub rank: Rank,
    /// Parses the arguments; returns `None` if they are wrong. Arguments that remain afterwards are
    /// an error too.
    pub read: Read,
}

type Read = for<'a> fn(&mut CommandArguments<'a>) -> Option<Command<'a>>;

/// Returns the command with this name or alias. The case does not matter.
pub(crate) fn find(name: &str) -> Option<&'static CommandEntry> {
    let found = COMMANDS.iter().find(|entry| entry.name.eq_ignore_ascii_case(name));
    found.or_else(|| match find_alias(name)? {
        Alias::Command(command) => COMMANDS.iter().find(|entry| entry.name == command),
        Alias::Hint(_) => None,
    })
}

/// Returns the command whose name or alias is most similar to `name`. At most a third of the
/// letters may differ.
pub(crate) fn nearest(name: &str) -> Option<&'static CommandEntry> {
    // No command has such a long name. Comparing long texts would be slow.
    if name.len() > 12 {
        return None;
    }
    let name = name.to_ascii_lowercase();
    // Short aliases are similar to almost every word.
    let aliases = aliases::all().map(|(alias, _)| alias).filter(|alias| alias.len() >= ALIAS_MIN);
    let names = COMMANDS.iter().map(|entry| entry.name).chain(aliases);
    let distance = |known: &str| strsim::damerau_levenshtein(&name, known);
    let known = names.min_by_key(|known| distance(known))?;
    find(known).filter(|_| distance(known) <= known.len().div_ceil(3))
}

/// The minimum length of an alias that is suggested for a misspelled name, in letters.
const ALIAS_MIN: usize = 4;

const fn member(
    name: &'static str,
    usage: &'static str,
    purpose: &'static str,
    example: &'static str,
    read: Read,
) -> CommandEntry {
    CommandEntry { name, usage, purpose, example, rank: Rank::Member, read }
}

const fn operator(
    name: &'static str,
    usage: &'static str,
    purpose: &'static str,
    example: &'static str,
    read: Read,
) -> CommandEntry {
    CommandEntry { name, usage, purpose, example, rank: Rank::Operator, read }
}

use Command as C;

/// The commands in the order of `/help`: talking, rooms, earlier lines, the user's own settings,
/// leaving, and then the commands of operators.
#[rustfmt::skip]
pub static COMMANDS: &[CommandEntry] = &[
    member("me", "/me WORDS", "describe what you do: * anna waves", "/me waves",
        |a| Some(C::Me(a.words()?))),
    member("msg", "/msg NAME WORDS", "send a private message", "/msg anna hello",
        |a| Some(C::Message { to: a.word()?, words: a.words()? })),
    member("reply", "/reply WORDS", "answer the last private message", "/reply see you there",
        |a| Some(C::Reply(a.words()?))),
    member("users", "/users [ROOM]", "list the users here, or in another room", "/users garden",
        |a| Some(C::Users(a.word()))),
    member("rooms", "/rooms", "list the rooms", "/rooms",
        |_| Some(C::Rooms)),
    member("join", "/join ROOM [PASSWORD]", "join a room, or create it", "/join garden",
        |a| Some(C::Join { room: a.word()?, password: a.word().map(CommandSecret::new) })),
    member("leave", "/leave [ROOM]", "leave this room, or another", "/leave garden",
        |a| Some(C::Leave(a.word()))),
    member("topic", "/topic [WORDS]", "show the topic; with words: set it", "/topic bees",
        |a| Some(C::Topic(a.words()))),
    member("history", "/history [N | FROM-TO]", "show earlier lines, by count or by number",
        "/history 120-140",
        |a| Some(C::History(match a.words() {
            Some(text) => Some(Passage::parse(text)?),
            None => None,
        }))),
    member("search", "/search [WORDS]", "find lines with these words; alone: older results",
        "/search bees",
        |a| Some(C::Search(a.words().unwrap_or_default()))),
    member("quote", "/quote N", "quote line number N", "/quote 133",
        |a| Some(C::Quote(number(a.word()?)?))),
    member("delete", "/delete N", "delete line number N: it then reads [deleted]", "/delete 133",
        |a| Some(C::Delete(number(a.word()?)?))),
    member("nick", "/nick NAME", "change your name", "/nick anna_7",
        |a| Some(C::Nick(a.word()?))),
    member("away", "/away [WORDS]", "mark yourself as away; alone: as back", "/away lunch",
        |a| Some(C::Away(a.words()))),
    member("ignore", "/ignore [NAME]", "hide a user's lines (/unignore); alone: the list",
        "/ignore mallory",
        |a| Some(C::Ignore(a.word()))),
    member("unignore", "/unignore NAME", "show a user's lines again", "/unignore mallory",
        |a| Some(C::Unignore(a.word()?))),
    member("numbers", "/numbers on|off", "show the number of each line", "/numbers on",
        |a| Some(C::Numbers(Switch::parse(a.word()?)?))),
    member("times", "/times on|off", "show the time of each line", "/times on",
        |a| Some(C::Times(Switch::parse(a.word()?)?))),
    member("quiet", "/quiet on|off", "hide joins, leaves and renames", "/quiet on",
        |a| Some(C::Quiet(Switch::parse(a.word()?)?))),
    member("lag", "/lag", "show which users are behind, and by how many lines", "/lag",
        |_| Some(C::Lag)),
    member("token", "/token", "show a token that restores your session", "/token",
        |_| Some(C::Token)),
    member("resume", "/resume TOKEN", "restore the session of a token",
        "/resume ab12-cd34",
        |a| Some(C::Resume(CommandSecret::new(a.word()?)))),
    member("help", "/help [COMMAND]", "show this list, or explain one command", "/help msg",
        |a| Some(C::Help(a.word()))),
    member("quit", "/quit [WORDS]", "leave the chat", "/quit good night",
        |a| Some(C::Quit(a.words()))),
    operator("oper", "/oper PASSWORD", "become an operator", "/oper secret",
        |a| Some(C::Oper(CommandSecret::new(a.words()?)))),
    operator("status", "/status", "show the state of this node and its cluster", "/status",
        |_| Some(C::Status)),
    operator("whois", "/whois NAME", "show a user's rooms, address and login time", "/whois anna",
        |a| Some(C::Whois(a.word()?))),
    operator("op", "/op NAME", "make a user an operator of this room", "/op anna",
        |a| Some(C::Op(a.word()?))),
    operator("deop", "/deop NAME", "take away a user's operator rights", "/deop anna",
        |a| Some(C::Deop(a.word()?))),
    operator("kick", "/kick NAME [WORDS]", "remove a user from this room",
        "/kick mallory calm down",
        |a| {
            let name = a.word()?;
            a.no_length()?;
            Some(C::Kick { name, words: a.words() })
        }),
    operator("ban", "/ban NAME|ADDRESS [DURATION] [WORDS]", "ban a user or a network",
        "/ban 192.0.2.0/24 2h spam",
        |a| Some(C::Ban {
            target: BanTarget::parse(a.word()?)?,
            length: a.length()?,
            words: a.words(),
        })),
    operator("unban", "/unban NAME|ADDRESS", "lift a ban", "/unban 192.0.2.0/24",
        |a| Some(C::Unban(BanTarget::parse(a.word()?)?))),
    operator("bans", "/bans [N]", "list the bans, from number N on", "/bans",
        |a| Some(C::Bans(match a.word() {
            Some(text) => Some(number(text)?),
            None => None,
        }))),
    operator("mute", "/mute NAME [DURATION]", "mute a user in this room", "/mute mallory 10m",
        |a| Some(C::Mute { name: a.word()?, length: a.length()? })),
    operator("unmute", "/unmute NAME", "unmute a user in this room", "/unmute mallory",
        |a| Some(C::Unmute(a.word()?))),
    operator("invite", "/invite NAME", "invite a user to this room", "/invite anna",
        |a| Some(C::Invite(a.word()?))),
    operator("private", "/private on|off", "admit only invited users to this room", "/private on",
        |a| Some(C::Private(Switch::parse(a.word()?)?))),
    operator("password", "/password WORD|off", "admit only users who know this password",
        "/password hunter2",
        |a| {
            let word = a.word()?;
            let off = word.eq_ignore_ascii_case("off");
            Some(C::Password((!off).then(|| CommandSecret::new(word))))
        }),
    operator("forget", "/forget ROOM [yes]", "show what a room has; yes: remove all of it",
        "/forget garden",
        |a| {
            let room = a.word()?;
            let is_sure = match a.word() {
                None => false,
                Some(word) => word.eq_ignore_ascii_case("yes").then_some(true)?,
            };
            Some(C::Forget { room, is_sure })
        }),
    operator("audit", "/audit [N]", "show the last N actions of operators", "/audit 50",
        |a| Some(C::Audit(match a.word() {
            Some(text) => Some(number(text)?),
            None => None,
        }))),
    operator("penalties", "/penalties [end SOURCE]", "list rate-limited sources; end: forgive one",
        "/penalties end 192.0.2.1",
        |a| Some(C::Penalties(match a.word() {
            Some("end") => Some(a.words()?),
            Some(_) => return None,
            None => None,
        }))),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_consistent() {
        for entry in COMMANDS {
            let slashed = format!("/{}", entry.name);
            assert!(entry.usage.split(' ').next() == Some(slashed.as_str()), "{slashed}");
            assert!(entry.purpose.len() <= 52, "{slashed}");
            assert!(entry.name.len() <= 12, "{slashed}: see nearest()");
            let read = Command::parse(entry.example);
            assert!(read.is_ok_and(|command| !matches!(command, C::Say(_))), "{}", entry.example);
            assert!(entry.example.starts_with(&slashed), "{slashed}");
            assert_eq!(COMMANDS.iter().filter(|other| other.name == entry.name).count(), 1);
        }
    }

    /// Issue 11, items 3 and 18: the page explains every command in Russian too.
    #[test]
    fn regression_the_page_explains_every_command_in_russian() {
        let words = include_str!("../../../echoline-chat/web/words.js");
        let (_, russian) = words.split_once("const russianCommands").unwrap();
        for CommandEntry { name, .. } in COMMANDS {
            let key = format!("{name}:");
            assert!(russian.split_whitespace().any(|word| word == key), "{name}");
        }
    }

    #[test]
    fn users_may_use_the_commands_that_help_shows_them() {
        for entry in COMMANDS.iter().filter(|e| !["oper", "status", "whois"].contains(&e.name)) {
            let command = Command::parse(entry.example).unwrap();
            assert_eq!(command.needs_operator(), entry.rank == Rank::Operator, "{}", entry.name);
        }
    }
}
