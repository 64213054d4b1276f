//! The commands of users.

pub(crate) mod aliases;
pub(crate) mod arguments;
pub(crate) mod command_table;
pub(crate) mod duration;
pub(crate) mod help;
mod parse;
mod secret_words;

pub use aliases::{Alias, aliases_of};
pub use arguments::{BanTarget, CommandArguments, CommandSecret, Passage, Switch, WrongDuration};
pub use command_table::{COMMANDS, CommandEntry, Rank};
pub use help::help;
pub use parse::CommandError;
pub use secret_words::without_secrets;

use std::time::Duration;

/// A line of a user, parsed as a command. Names are as the user typed them, so they may not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'a> {
    /// Text for the room, because the line is not a command. Empty if the line is empty.
    Say(&'a str),
    /// Describes an action of the author.
    Me(&'a str),
    /// A private line to one user.
    Message {
        /// The name of the recipient.
        to: &'a str,
        /// The text.
        words: &'a str,
    },
    /// A private line to the user who wrote the last private line to the author.
    Reply(&'a str),
    /// Lists the users in this room, or in another.
    Users(Option<&'a str>),
    /// Shows the known properties of a user.
    Whois(&'a str),
    /// Lists the rooms.
    Rooms,
    /// Joins a room, or returns to it.
    Join {
        /// The name of the room, perhaps with a `#` before it.
        room: &'a str,
        /// The password, if the room has one.
        password: Option<CommandSecret<'a>>,
    },
    /// Leaves this room, or another.
    Leave(Option<&'a str>),
    /// Shows the topic, or sets it.
    Topic(Option<&'a str>),
    /// Changes the user's name.
    Nick(&'a str),
    /// Shows earlier lines. With `None`, the room chooses how many.
    History(Option<Passage>),
    /// Searches the room's history for words. An empty text continues the last search.
    Search(&'a str),
    /// Repeats the line with this number (1 or higher).
    Quote(u64),
    /// Deletes the text of the line with this number (1 or higher).
    Delete(u64),
    /// Ignores a user, or lists the ignored users.
    Ignore(Option<&'a str>),
    /// Stops ignoring a user.
    Unignore(&'a str),
    /// Sets the away text, or removes it.
    Away(Option<&'a str>),
    /// Shows lines with or without their numbers.
    Numbers(Switch),
    /// Shows lines with or without their times.
    Times(Switch),
    /// Hides or shows joins and leaves.
    Quiet(Switch),
    /// Lists the users who have not received all lines.
    Lag,
    /// Shows the state of this node in its cluster.
    Status,
    /// Shows a token that restores the session.
    Token,
    /// Restores a session with a token.
    Resume(CommandSecret<'a>),
    /// Lists all commands, or explains one.
    Help(Option<&'a str>),
    /// Leaves the chat, with an optional farewell.
    Quit(Option<&'a str>),
    /// Makes the author an operator, if the password is right.
    Oper(CommandSecret<'a>),
    /// Makes a user an operator of the room.
    Op(&'a str),
    /// Revokes the rights of an operator of the room.
    Deop(&'a str),
    /// Expels a user from the room.
    Kick {
        /// The name of the user.
        name: &'a str,
        /// The reason.
        words: Option<&'a str>,
    },
    /// Bans a name or a network.
    Ban {
        /// The name or the network.
        target: BanTarget<'a>,
        /// The duration; `None` means for ever.
        length: Option<Duration>,
        /// The reason.
        words: Option<&'a str>,
    },
    /// Lifts a ban.
    Unban(BanTarget<'a>),
    /// Lists the bans. The number is the position of the first one, counted from 1.
    Bans(Option<u64>),
    /// Mutes a user in the room.
    Mute {
        /// The name of the user.
        name: &'a str,
        /// The duration; `None` means for ever.
        length: Option<Duration>,
    },
    /// Unmutes a user.
    Unmute(&'a str),
    /// Invites a user to the room.
    Invite(&'a str),
    /// Sets whether only invited users may join.
    Private(Switch),
    /// Sets the room's password, or removes it.
    Password(Option<CommandSecret<'a>>),
    /// Removes a room and all its lines.
    Forget {
        /// The name of the room.
        room: &'a str,
        /// Whether the operator has confirmed the loss of all lines.
        is_sure: bool,
    },
    /// Shows the last entries of the audit log. The number of entries is at least 1.
    Audit(Option<u64>),
    /// Lists the sources that have a penalty, or ends the penalties of one source.
    Penalties(Option<&'a str>),
}

impl<'a> Command<'a> {
    /// Returns whether only an operator may use this command. `/oper` is not among them, because
    /// any user may try the password.
    #[must_use]
    pub fn needs_operator(&self) -> bool {
        matches!(
            self,
            Self::Op(_)
                | Self::Deop(_)
                | Self::Kick { .. }
                | Self::Ban { .. }
                | Self::Unban(_)
                | Self::Bans(_)
                | Self::Mute { .. }
                | Self::Unmute(_)
                | Self::Invite(_)
                | Self::Private(_)
                | Self::Password(_)
                | Self::Forget { .. }
                | Self::Audit(_)
                | Self::Penalties(_)
        )
    }

    /// Returns whether the command shows text of the author to other users. A muted user cannot use
    /// such commands.
    #[must_use]
    pub fn speaks(&self) -> bool {
        matches!(
            self,
            Self::Say(_)
                | Self::Me(_)
                | Self::Message { .. }
                | Self::Reply(_)
                | Self::Quote(_)
                | Self::Topic(Some(_))
                | Self::Nick(_)
        )
    }

    /// Returns whether the command is about the room in which it is typed. Such a command has no
    /// meaning in a private thread.
    pub fn concerns_current_room(&self) -> bool {
        matches!(
            self,
            Self::Users(None)
                | Self::Leave(None)
                | Self::Topic(_)
                | Self::History(_)
                | Self::Search(_)
                | Self::Quote(_)
                | Self::Delete(_)
                | Self::Lag
        ) || (self.needs_operator()
            && !matches!(self, Self::Audit(_) | Self::Forget { .. } | Self::Penalties(_)))
    }
}

#[cfg(test)]
mod tests;
