//! The messages between the chat and its programs and pages: one JSON object per line.
//!
//! A program or a page sends [`ClientMessage`] and receives [`ServerMessage`]. `docs/protocol.md`
//! is the reference; a test compares it with these types.

mod client;
#[cfg(test)]
mod reference_tests;
mod server;

pub use client::{ClientMessage, Hello, LastSeen, Query};
pub use server::{
    DisplayChoices, EarlierLine, ErrorTopic, JoinedRoom, ListedCommand, ListedMember, ListedRoom,
    RoomLine, ServerMessage, Thread,
};

use serde::Serializer;

use echoline_base::SecretText;

/// Serializes a token in plain text. [`SecretText`] itself never prints its content.
fn reveal<S: Serializer>(secret: &Option<SecretText>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_some(secret.reveal()),
        None => serializer.serialize_none(),
    }
}

/// Returns whether a flag is `false`, so that its field is left out.
fn is_off(flag: &bool) -> bool {
    !flag
}
