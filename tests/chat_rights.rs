//! Sessions that come back: the room they speak in, their rights, and the limits set on them.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod parlour;

use std::path::Path;
use std::sync::Arc;

use echoline::chat::history::StoreOptions;
use echoline::chat::{Hall, Role};
use parlour::{Guest, Parlour, settings};

/// A chat that keeps its history in `folder`.
fn stored(folder: &Path) -> Parlour {
    let hall = Hall::with_store(settings(), folder, StoreOptions::default()).unwrap();
    Parlour { hall, ..Parlour::open() }
}

/// Ends the chat, whose sessions have ended.
fn close(parlour: Parlour) {
    let Parlour { hall, .. } = parlour;
    assert_eq!(Arc::strong_count(&hall), 1, "a session goes on");
    assert_eq!(hall.close(), 0);
}

/// Reads on to a line that has these words, and returns it.
async fn until(guest: &mut Guest, words: &str) -> String {
    loop {
        let line = guest.line().await;
        assert!(!line.is_empty(), "the stream ends before {words:?}");
        if line.contains(words) {
            return line;
        }
    }
}

/// Enters these rooms, one after the other.
async fn join(guest: &mut Guest, rooms: &[&str]) {
    for room in rooms {
        guest.say(&format!("/join {room}")).await;
        until(guest, &format!("You speak in {room} now")).await;
    }
}

async fn token(guest: &mut Guest) -> String {
    guest.say("/token").await;
    let line = until(guest, "*** /resume ").await;
    line.split(' ').nth(2).unwrap().to_owned()
}

/// Leaves the chat and waits for the end of the session.
async fn quit(mut guest: Guest) -> String {
    guest.say("/quit").await;
    let heard = String::from_utf8(guest.rest().await).unwrap();
    guest.session.await.unwrap().unwrap();
    heard
}

async fn resume(parlour: &Parlour, token: &str) -> Guest {
    let mut guest = parlour.knock(Role::Person);
    guest.say(&format!("/resume {token}")).await;
    guest
}

/// Issue 11, item 6: a user who comes back speaks in the room in which they spoke before, and
/// hears so.
#[tokio::test]
async fn regression_resume_keeps_the_current_room() {
    let parlour = Parlour::open();
    let [mut ann, bob] = parlour.all(["ann", "bob"]).await;
    let mut bob = bob;
    join(&mut ann, &["garden", "attic", "garden"]).await;
    join(&mut bob, &["garden"]).await;
    let token = token(&mut ann).await;
    quit(ann).await;
    let mut ann = resume(&parlour, &token).await;
    for words in ["Back in lobby", "Back in garden", "Back in attic", "You speak in garden now"] {
        ann.hear_of(&format!("*** {words}")).await;
    }
    ann.say("among the beans").await;
    assert_eq!(until(&mut bob, "beans").await, "ann: among the beans");
}

/// Issue 11, item 6: also if the connection before hangs and never said goodbye.
#[tokio::test]
async fn regression_resume_of_a_hanging_connection_keeps_the_current_room() {
    let parlour = Parlour::open();
    let mut ann = parlour.enter("ann").await;
    let token = token(&mut ann).await;
    // What changes after the token was given belongs to the session too.
    join(&mut ann, &["garden", "attic", "garden"]).await;
    let mut again = resume(&parlour, &token).await;
    until(&mut again, "*** You speak in garden now ***").await;
    let mut program = parlour.program(r#"{"name": "ci", "rooms": ["attic", "garden"]}"#).await;
    program.say(r#"{"do": "/token", "room": "attic"}"#).await;
    let line = until(&mut program, "/resume ").await;
    let token = line.split(' ').nth(2).unwrap();
    let mut program = parlour.knock(Role::Bot);
    program.say(&format!(r#"{{"token": "{token}"}}"#)).await;
    until(&mut program, "*** You speak in attic now ***").await;
}

/// Issue 11, item 6: and if the server was started again in between, in the old order of rooms.
#[tokio::test]
async fn regression_resume_after_a_restart_keeps_the_current_room() {
    let folder = tempfile::tempdir().unwrap();
    let parlour = stored(folder.path());
    let mut ann = parlour.enter("ann").await;
    join(&mut ann, &["zoo", "attic", "zoo"]).await;
    let token = token(&mut ann).await;
    quit(ann).await;
    close(parlour);
    let parlour = stored(folder.path());
    let mut ann = resume(&parlour, &token).await;
    for words in ["Back in lobby", "Back in zoo", "Back in attic", "You speak in zoo now"] {
        ann.hear_of(&format!("*** {words}")).await;
    }
    ann.say("/leave").await;
    until(&mut ann, "*** You left zoo and speak in lobby now ***").await;
    quit(ann).await;
    close(parlour);
}
