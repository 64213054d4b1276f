//! A chat server: its rooms, its sessions, and the dialogue with each user.
//!
//! A [`Chat`] has the rooms and the users in them, and [`serve`] runs the dialogue with one user.
//! All decisions are in the pure crate `echoline-chat-core`.
//!
//! ```
//! use std::sync::Arc;
//!
//! use echoline::{Connection, Eol, Server};
//! use echoline_chat::{self as chat, Chat, ChatSettings, Role};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let chat = Arc::new(Chat::new(ChatSettings::default()));
//! let server = Server::bind("127.0.0.1:0").await?.eol(Eol::CrLf).farewell(chat::farewell());
//! let handler = move |client: Connection| chat::serve(client, Arc::clone(&chat), Role::User);
//! server.serve_until(handler, async { /* until this is done */ }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A room is a log, and an append gives each line its number. Every member sees the lines in that
//! order. A member is a cursor in the log, so that fan-out copies nothing.
//!
//! # Reading order
//!
//! 1. [`Chat`] holds everything that the users share, and [`ChatSettings`] its options.
//! 2. [`serve`] runs the dialogue with one user; [`Role`] is the form of the connection: a
//!    terminal, a program or a page.
//! 3. The private modules `session` and `commands` contain the dialogue and the commands, and
//!    `outbound_feed` sends lines to the user.
//! 4. `cluster` connects the nodes of one chat, and [`history`] keeps the lines on disk.
//! 5. [`verify`] compares what several clients of a chat saw.
//!
//! # The way of one line
//!
//! 1. `session::dialogue` reads a line, checks the rate of its author, and parses it as a
//!    [`Command`]. Text becomes `Command::Say`.
//! 2. `Chat::say` checks the rights and appends the line to the room. In a cluster it queues the
//!    line instead, and every node appends it when it comes back from the stream.
//! 3. When the author has no more input, the sessions of the other members are woken.
//! 4. The feed of each session reads the new lines from the room, and writes them in the form that
//!    the role needs.
//!
//! # Design
//!
//! **Locks** are taken in one order: the chat's state, a room, a mailbox. No lock is held across an
//! await or a system call.
//!
//! **Wake-ups are deferred.** A line is appended at once. The members are woken when its author has
//! no more lines waiting, so a thousand lines in one packet cost one wake-up and one write for each
//! member. [`Connection::read_line_feeding`](echoline::Connection::read_line_feeding) calls the
//! session's feed whenever the peer has taken all output. Wakers are grouped by thread, because a
//! wake-up of another thread is a system call. A member whose connection is blocked is in no list
//! of wakers.
//!
//! **Answers are in order.** `/users` is answered under the room's lock, when the user has been
//! sent every earlier line. So the list agrees with the joins and leaves before it.
//!
//! **Costs are bounded.** An answer has at most a few pages, and the next question of a connection
//! is answered when its peer has read the answer. A search reads a bounded part of a room, in
//! short steps behind all other queries of the store. Passwords are hashed in a bounded queue
//! outside of the workers.
//!
//! **Rights** belong to a session and its token, not to a name. A kick takes effect in the room's
//! order at once. The session of the user notices it when it next reads its mailbox.

mod access;
mod archive;
#[cfg(test)]
mod attacks;
mod chat;
mod cluster;
mod commands;
#[cfg(feature = "web")]
mod page;
mod session;
mod settings;
mod telnet;

pub use access::password_checks::{check_hash as is_password_hash, hash as hash_password};
pub use chat::Chat;
pub use cluster::{ClusterOptions, ClusterStatus};
pub use echoline_chat_core::command::{Command, without_secrets};
pub use echoline_chat_core::room::{LogLimits, terminal_text};
pub use echoline_chat_core::telnet::Parser;
pub use echoline_chat_core::text::{clean, escape, is_clean, wrap};
pub use echoline_chat_core::transcript::{Transcript, TranscriptReport, verify};
pub use echoline_chat_core::{
    FloodLimits, Link, Name, Proposal, ReplicatedState, StateSnapshot, StreamEntry,
};
pub use echoline_chat_store as history;
#[cfg(feature = "web")]
pub use page::PAGE;
pub use session::{Role, serve};
pub use settings::ChatSettings;

use std::borrow::Cow;
use std::sync::Arc;

use echoline::{Closed, Farewell};

/// Returns the sentence for a user whose connection the chat ends.
#[must_use]
pub fn farewell() -> Farewell {
    Farewell::Custom(Arc::new(|closed| last_words(closed).map(Cow::into_owned)))
}

fn last_words(closed: Closed) -> Option<Cow<'static, str>> {
    if closed.is_refusal() {
        return Some(closed.refusal());
    }
    let words = match closed {
        Closed::IdleTimeout | Closed::LineTimeout => "Connection timeout. Goodbye!",
        Closed::Drained => "*** The server is shutting down. Goodbye! ***",
        Closed::Panicked | Closed::Application => "Server error. Goodbye!",
        _ => return None,
    };
    Some(Cow::Borrowed(words))
}
