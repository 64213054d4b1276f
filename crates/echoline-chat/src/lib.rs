//! Policy: what a chat says.
//!
//! A [`Chat`] is a chat: rooms, and people in them; [`serve`] holds the dialogue with one of them.
//! Everything that decides is pure: names ([`Name`]), what may reach a terminal ([`clean`]), what
//! somebody wants ([`Command`]), a room and its log, how fast one may write.
//!
//! ```
//! use std::sync::Arc;
//!
//! use echoline_chat::{self, Hall, Role, Settings};
//! use echoline::{Connection, Eol, Server};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let hall = Arc::new(Hall::new(Settings::default()));
//! let server = Server::bind("127.0.0.1:0").await?.eol(Eol::CrLf).farewell(chat::farewell());
//! let guest = move |client: Connection| chat::serve(client, Arc::clone(&hall), Role::User);
//! server.serve_until(guest, async { /* until this is done */ }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! One order: a room is a log, and an append gives the line its number. Every member sees the
//! lines in that order; a member is a cursor in the log, so that fan-out copies nothing.

mod aliases;
mod answer_limits;
mod apply_operation;
mod archive;
mod arguments;
#[cfg(test)]
mod attacks;
mod audit_log;
mod authority;
mod bans;
mod batch;
mod bot;
mod character;
mod clock;
mod cluster;
mod command;
mod command_cost;
mod command_error;
mod command_table;
mod commands;
mod days;
mod deletion;
mod duration;
mod echo_suppression;
mod entrance;
mod erase;
mod evictions;
mod exclusion;
mod flood;
mod flood_mutes;
mod former_users;
mod help;
mod idle_policy;
mod key;
mod line;
mod line_end;
mod log;
mod log_limits;
mod login;
mod mailbox;
mod misdirected_protocol;
mod muted;
mod name;
mod name_error;
mod operation;
mod operator_password;
mod outbound_feed;
#[cfg(feature = "web")]
mod page;
mod password_checks;
mod people;
mod persistence;
mod position;
mod protocol;
mod replay;
mod room;
mod room_operators;
mod room_origin;
mod room_record;
mod room_removal;
mod rules;
mod secret_words;
mod separators;
mod session;
mod settings;
mod shared_room;
mod source;
mod source_gates;
mod state;
mod telnet;
mod telnet_stream;
mod text;
mod tokens;
mod transcript;
mod user;
mod user_table;
mod verify;
mod view;
mod wake_batcher;
mod wrap;

pub use arguments::{Passage, Secret, Switch, Target};
pub use cluster::{ClusterOptions, ClusterStatus};
pub use command::Command;
pub use command_error::CommandError;
pub use command_table::Rank;
pub use echoline_chat_core::{Link, Proposal, ReplicatedState, StateSnapshot, StreamEntry};
pub use echoline_chat_store as history;
pub use flood::{Flood, FloodLimits, Verdict};
pub use help::help;
pub use key::Key;
pub use line::terminal_text;
pub use log::LogLimits;
pub use misdirected_protocol::MisdirectedProtocol;
pub use name::Name;
pub use name_error::{NameError, NameFault};
#[cfg(feature = "web")]
pub use page::PAGE;
pub use password_checks::{hash as hash_password, is_hash as is_password_hash};
pub use secret_words::without_secrets;
pub use session::{Role, serve};
pub use settings::Settings;
pub use state::Chat;
pub use telnet::Parser;
pub use telnet_stream::Telnet;
pub use text::{NotText, clean, escape, excerpt, is_clean};
pub use transcript::{NotNumbered, Transcript};
pub use verify::{Contradiction, Report, verify};
pub use wrap::wrap;

use std::borrow::Cow;
use std::sync::Arc;

use echoline::{Closed, Farewell};

/// The sentence for a user whose connection the chat ends.
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
        Closed::Panicked => "Server error. Goodbye!",
        _ => return None,
    };
    Some(Cow::Borrowed(words))
}
