//! A chat server: its rooms, its sessions, and the dialogue with each user.
//!
//! A [`Chat`] contains the rooms and the users in them, and [`serve`] runs the dialogue with one
//! user. The rules of the chat are in the pure crate `echoline-chat-core`.
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
//! order. A member is a cursor in the log, so sending a line to all members copies nothing.
//!
//! # Reading order
//!
//! 1. [`Chat`] contains everything that the users share, and [`ChatSettings`] its options.
//! 2. [`serve`] runs the dialogue with one user. [`Role`] is the kind of client: a terminal, a
//!    program or a page.
//! 3. The private modules `session` and `commands` contain the dialogue and the commands, and
//!    `outbound_feed` sends lines to the user.
//! 4. `cluster` connects the nodes of one chat, and [`history`] stores the lines on disk.
//! 5. [`verify`] compares the output that several clients of a chat received.
//!
//! # How a line travels
//!
//! 1. `session::dialogue` reads a line, checks the rate of its author, and parses it as a
//!    [`Command`]. Text becomes `Command::Say`.
//! 2. `Chat::say` checks the rights and appends the line to the room. In a cluster it queues the
//!    line instead, and every node appends it when the stream delivers it.
//! 3. When the author has no more input, the sessions of the other members are woken.
//! 4. The feed of each session reads the new lines from the room, and writes them in the format
//!    that the client needs.
//!
//! # Design
//!
//! **Locks** are taken in a fixed order: the chat's state, a room, a mailbox. No lock is held
//! across an await or a system call.
//!
//! **Wake-ups are deferred.** A line is appended at once, but the members are woken only when its
//! author has no more lines waiting. A thousand lines in one packet therefore cost one wake-up and
//! one write for each member.
//! [`Connection::read_line_feeding`](echoline::Connection::read_line_feeding) calls the session's
//! feed whenever the peer has taken all output. Wakers are grouped by thread, because waking
//! another thread is a system call. A member whose connection is blocked has no waker.
//!
//! **Answers are in order.** `/users` is answered under the room's lock, after the user has been
//! sent every earlier line. The list therefore agrees with the joins and leaves before it.
//!
//! **Costs are bounded.** An answer has at most a few pages, and the next question of a connection
//! is answered only after its peer has read the answer. A search reads a limited part of a room, in
//! short steps, after all other queries of the store. Passwords are hashed in a bounded queue
//! outside of the connections' threads.
//!
//! **Rights** belong to a session and its token, not to a name. A kick takes effect at its position
//! in the room's order. The user's session notices it when it next reads its mailbox.

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

/// Returns the farewell messages: one sentence for each way in which the chat ends a connection.
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
