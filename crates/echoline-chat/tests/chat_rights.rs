//! Tests of restored sessions: the current room and the rights, and their limits.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod chat_harness;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chat_harness::{ChatHarness, Guest, settings};
use echoline_chat::history::StoreOptions;
use echoline_chat::{Chat, ChatSettings, FloodLimits, Role};

/// Opens a chat that stores its history in `folder`.
fn stored(folder: &Path) -> ChatHarness {
    let chat = Chat::with_store(settings(), folder, StoreOptions::default()).unwrap();
    ChatHarness { chat, ..ChatHarness::open() }
}

/// Closes the chat after all sessions have ended. All clients must have left.
async fn close(chat_harness: ChatHarness) {
    let ChatHarness { chat, .. } = chat_harness;
    let sessions_end = async {
        while Arc::strong_count(&chat) > 1 {
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(100), sessions_end).await;
    ended.expect("every session ends");
    assert_eq!(chat.close(), 0);
}

/// Reads lines until one contains these words, and returns it.
async fn until(guest: &mut Guest, words: &str) -> String {
    loop {
        let line = guest.line().await;
        assert!(!line.is_empty(), "the stream ends before {words:?}");
        if line.contains(words) {
            return line;
        }
    }
}

/// Joins these rooms, one after the other.
async fn join(guest: &mut Guest, rooms: &[&str]) {
    for room in rooms {
        guest.say(&format!("/join {room}")).await;
        until(guest, &format!("You are now talking in {room}")).await;
    }
}

async fn token(guest: &mut Guest) -> String {
    guest.say("/token").await;
    let line = until(guest, "*** /resume ").await;
    line.split(' ').nth(2).unwrap().to_owned()
}

/// Leaves the chat, and waits for the end of the session. Returns the remaining output.
async fn quit(mut guest: Guest) -> String {
    guest.say("/quit").await;
    let heard = String::from_utf8(guest.rest().await).unwrap();
    guest.session.await.unwrap().unwrap();
    heard
}

async fn resume(chat_harness: &ChatHarness, token: &str) -> Guest {
    let mut guest = chat_harness.knock(Role::User);
    guest.say(&format!("/resume {token}")).await;
    guest
}

/// Issue 11, item 6: a restored session has the same current room as before, and names it.
#[tokio::test]
async fn regression_resume_keeps_the_current_room() {
    let chat_harness = ChatHarness::open();
    let [mut ann, bob] = chat_harness.all(["ann", "bob"]).await;
    let mut bob = bob;
    join(&mut ann, &["garden", "attic", "garden"]).await;
    join(&mut bob, &["garden"]).await;
    let token = token(&mut ann).await;
    quit(ann).await;
    let mut ann = resume(&chat_harness, &token).await;
    for words in
        ["Back in lobby", "Back in garden", "Back in attic", "You are now talking in garden"]
    {
        ann.hear_of(&format!("*** {words}")).await;
    }
    ann.say("among the beans").await;
    assert_eq!(until(&mut bob, "beans").await, "ann: among the beans");
}

/// Issue 11, item 6: the current room is kept even if the previous connection hangs and never left.
#[tokio::test]
async fn regression_resume_of_a_hanging_connection_keeps_the_current_room() {
    let chat_harness = ChatHarness::open();
    let mut ann = chat_harness.enter("ann").await;
    let token = token(&mut ann).await;
    // Changes after `/token` are saved under the token too.
    join(&mut ann, &["garden", "attic", "garden"]).await;
    let mut again = resume(&chat_harness, &token).await;
    until(&mut again, "*** You are now talking in garden ***").await;
    let mut program = chat_harness.program(r#"{"name": "ci", "rooms": ["attic", "garden"]}"#).await;
    program.say(r#"{"do": "/token", "room": "attic"}"#).await;
    let line = until(&mut program, "/resume ").await;
    let token = line.split(' ').nth(2).unwrap();
    let mut program = chat_harness.knock(Role::Bot);
    program.say(&format!(r#"{{"token": "{token}"}}"#)).await;
    until(&mut program, "*** You are now talking in attic ***").await;
}

/// Issue 11, item 6: the current room and the order of rooms are kept across a restart of the
/// server.
#[tokio::test]
async fn regression_resume_after_a_restart_keeps_the_current_room() {
    let folder = tempfile::tempdir().unwrap();
    let chat_harness = stored(folder.path());
    let mut ann = chat_harness.enter("ann").await;
    join(&mut ann, &["zoo", "attic", "zoo"]).await;
    let token = token(&mut ann).await;
    quit(ann).await;
    close(chat_harness).await;
    let chat_harness = stored(folder.path());
    let mut ann = resume(&chat_harness, &token).await;
    for words in ["Back in lobby", "Back in zoo", "Back in attic", "You are now talking in zoo"] {
        ann.hear_of(&format!("*** {words}")).await;
    }
    ann.say("/leave").await;
    until(&mut ann, "*** You left zoo and are now talking in lobby ***").await;
    quit(ann).await;
    close(chat_harness).await;
}

/// Returns settings with this operators' password.
fn with_password(password: &str) -> ChatSettings {
    ChatSettings { operator_password: Some(password.into()), ..settings() }
}

async fn become_operator(guest: &mut Guest) {
    guest.say("/oper open sesame").await;
    until(guest, "You are now an operator").await;
}

/// Issue 11, item 13: `/resume` restores the display settings, and the right of an operator of the
/// chat. This also works after a restart. The right is not restored if the password has changed.
#[tokio::test]
async fn regression_resume_restores_rights_and_choices() {
    let folder = tempfile::tempdir().unwrap();
    let chat_harness = stored(folder.path());
    let [mut ann, mut eve] = chat_harness.all(["ann", "eve"]).await;
    let first = token(&mut ann).await;
    become_operator(&mut ann).await;
    for command in ["/numbers on", "/quiet on", "/ignore eve", "/away tea"] {
        ann.say(command).await;
        ann.hear_of("***").await;
    }
    // Neither session has left, so everything was saved at the time of each change.
    let mut again = resume(&chat_harness, &first).await;
    until(&mut again, "*** Settings restored: numbers on, quiet on, you ignore eve ***").await;
    again.hear("*** You are marked as away: tea ***").await;
    again.hear("*** You are still an operator of the chat ***").await;
    eve.say("unheard").await;
    eve.say("/msg ann psst").await;
    until(&mut eve, "*** ann is away: tea ***").await;
    again.say("/audit").await;
    until(&mut again, "ann came back as an operator").await;
    let heard = quit(again).await;
    assert!(!heard.contains("unheard"), "{heard}");
    let second = heard.rsplit("/resume ").next().unwrap().split(' ').next().unwrap().to_owned();
    drop(ann);
    quit(eve).await;
    close(chat_harness).await;

    let chat_harness = stored(folder.path());
    let mut ann = resume(&chat_harness, &second).await;
    until(&mut ann, "*** Settings restored: numbers on, quiet on, you ignore eve ***").await;
    until(&mut ann, "*** You are still an operator of the chat ***").await;
    let third = token(&mut ann).await;
    chat_harness.chat.renew(&with_password("another"));
    let mut again = resume(&chat_harness, &third).await;
    until(
        &mut again,
        "*** You are no longer an operator of the chat: its password has changed ***",
    )
    .await;
    again.say("/audit").await;
    until(&mut again, "*** Only an operator can do that ***").await;
    // The right is not restored, even if the old password is set again.
    let fourth = token(&mut again).await;
    chat_harness.chat.renew(&settings());
    let mut again = resume(&chat_harness, &fourth).await;
    until(&mut again, "You are now talking in lobby").await;
    again.say("/audit").await;
    until(&mut again, "*** Only an operator can do that ***").await;
}

/// Issue 11, item 13: `/deop` by an operator of the chat revokes the right in the whole chat, and
/// in saved sessions. An operator of a room cannot do this.
#[tokio::test]
async fn regression_deop_revokes_the_right_in_saved_sessions() {
    let chat_harness = ChatHarness::open();
    let [mut olga, mut ann, mut bob] = chat_harness.all(["olga", "ann", "bob"]).await;
    become_operator(&mut olga).await;
    let token = token(&mut ann).await;
    become_operator(&mut ann).await;
    join(&mut bob, &["den"]).await;
    join(&mut ann, &["den"]).await;
    bob.say("/deop ann").await;
    until(&mut bob, "*** ann is an operator ***").await;
    olga.say("/deop ann").await;
    until(&mut olga, "*** ann is no longer an operator of the chat and of lobby ***").await;
    until(&mut ann, "*** You are no longer an operator of the chat ***").await;
    let mut again = resume(&chat_harness, &token).await;
    until(&mut again, "*** You are now talking in den ***").await;
    again.say("/audit").await;
    until(&mut again, "*** Only an operator can do that ***").await;
}

/// Issue 11, item 13: a user who creates a room is told the token with which they can return. A
/// lost connection therefore does not lock them out of a private room.
#[tokio::test]
async fn regression_the_creator_of_a_private_room_can_return() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    ann.ask("/join den", "*** You are now talking in den: no one else is here ***").await;
    let told = ann.hear_of("restores this session and your operator rights ***").await;
    let token = told.split(' ').nth(2).unwrap().to_owned();
    join(&mut bob, &["den"]).await;
    ann.say("/private on").await;
    until(&mut ann, "Only invited users").await;
    drop(ann);
    until(&mut bob, "[lobby] *** ann left the chat ***").await;
    let mut ann = resume(&chat_harness, &token).await;
    until(&mut ann, "*** You are now talking in den ***").await;
    ann.say("/kick bob").await;
    until(&mut ann, "*** You kicked bob from den ***").await;
    // A program that creates rooms gets the token in its welcome message.
    let mut program = chat_harness.knock(Role::Bot);
    program.say(r#"{"name": "ci", "rooms": ["lobby", "builds"]}"#).await;
    let welcome = program.hear_of(r#""kind":"welcome""#).await;
    assert!(welcome.contains(r#""token":""#), "{welcome}");
}

/// Issue 11, item 13: an operator who leaves a room and joins it again is its operator again, even
/// if the room was made private meanwhile. An operator who was kicked is not.
#[tokio::test]
async fn regression_leave_and_join_keep_the_operator() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    join(&mut ann, &["den"]).await;
    join(&mut bob, &["den"]).await;
    ann.say("/op bob").await;
    until(&mut ann, "bob is an operator of den").await;
    ann.say("/leave").await;
    until(&mut ann, "You left den").await;
    bob.say("/private on").await;
    until(&mut bob, "Only invited users").await;
    join(&mut ann, &["den"]).await;
    ann.say("/kick bob").await;
    until(&mut ann, "*** You kicked bob from den ***").await;
    ann.say("/private off").await;
    until(&mut ann, "All users can join").await;
    until(&mut bob, "You were kicked").await;
    join(&mut bob, &["den"]).await;
    bob.say("/kick ann").await;
    until(&mut bob, "*** Only an operator can do that ***").await;
}

/// Issue 11, item 13: a room without an operator gets one after a day, when the next line is said.
/// The lobby gets none.
#[tokio::test]
async fn regression_a_room_without_an_operator_gets_one() {
    static NOW_MS: AtomicU64 = AtomicU64::new(1_000_000);
    let clock = || NOW_MS.load(Ordering::Relaxed);
    let chat_harness = ChatHarness::new(ChatSettings { clock, ..settings() });
    let [mut ann, mut bob, mut eve] = chat_harness.all(["ann", "bob", "eve"]).await;
    for guest in [&mut ann, &mut bob, &mut eve] {
        join(guest, &["den"]).await;
    }
    ann.say("/leave").await;
    until(&mut ann, "You left den").await;
    let told = "*** bob is an operator of this room now: it had none for a day ***";
    for (hours, is_told) in [(23, false), (24, true)] {
        NOW_MS.store(1_000_000 + hours * 3_600_000, Ordering::Relaxed);
        let line = format!("after {hours} h");
        eve.say(&line).await;
        let mut heard = Vec::new();
        while heard.last() != Some(&format!("eve: {line}")) {
            heard.push(bob.line().await);
        }
        assert_eq!(heard.iter().any(|line| line == told), is_told, "{heard:?}");
    }
    bob.say("/kick eve").await;
    until(&mut bob, "*** You kicked eve from den ***").await;
    for guest in [&mut ann, &mut bob] {
        guest.say("/join lobby").await;
        until(guest, "You are now talking in lobby").await;
        guest.say("/kick eve").await;
        until(guest, "*** Only an operator can do that ***").await;
    }
}

/// Issue 11, item 3: a ban of a name also applies to its user under another name.
#[tokio::test]
async fn regression_a_ban_follows_its_user() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob, mut eve] = chat_harness.all(["ann", "bob", "eve"]).await;
    join(&mut ann, &["den"]).await;
    join(&mut bob, &["den"]).await;
    ann.say("/ban bob 1h noise").await;
    until(&mut ann, "*** You banned bob from den").await;
    ann.hear_of("The ban covers the name bob, and this user under any name").await;
    ann.hear_of("An operator of the chat can also see and ban their address").await;
    until(&mut bob, "You are banned from the room den").await;
    let token = token(&mut bob).await;
    bob.say("/nick rob").await;
    until(&mut bob, "bob is now rob").await;
    bob.say("/join den").await;
    until(&mut bob, "You are banned from the room den").await;
    quit(bob).await;
    let mut bob = resume(&chat_harness, &token).await;
    until(&mut bob, "You are now talking in lobby").await;
    bob.say("/join den").await;
    until(&mut bob, "You are banned from the room den").await;
    join(&mut eve, &["den"]).await;
    ann.say("/unban bob").await;
    until(&mut ann, "bob may join den again").await;
    join(&mut bob, &["den"]).await;
    ann.say("/ban nobody_here").await;
    until(&mut ann, "You banned nobody_here").await;
    ann.hear_of("The ban covers only the name: no user has it or had it recently").await;
}

/// Issue 11, item 3: after the password of a room has changed, a token no longer admits a user to
/// the room. An operator of the room is still admitted.
#[tokio::test]
async fn regression_a_new_room_password_invalidates_the_access_of_a_token() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    join(&mut ann, &["den"]).await;
    ann.say("/password one").await;
    until(&mut ann, "need this password").await;
    bob.say("/join den one").await;
    until(&mut bob, "You are now talking in den").await;
    let first = token(&mut bob).await;
    quit(bob).await;
    let mut bob = resume(&chat_harness, &first).await;
    until(&mut bob, "*** Back in den").await;
    until(&mut bob, "*** You are now talking in den ***").await;
    let second = token(&mut bob).await;
    quit(bob).await;
    ann.say("/password two").await;
    until(&mut ann, "need this password").await;
    let mut bob = resume(&chat_harness, &second).await;
    until(&mut bob, "*** den needs the right password: /join den PASSWORD ***").await;
    until(&mut bob, "*** You are now talking in lobby ***").await;
    let theirs = token(&mut ann).await;
    ann.say("/password three").await;
    until(&mut ann, "need this password").await;
    let mut again = resume(&chat_harness, &theirs).await;
    until(&mut again, "*** Back in den").await;
    until(&mut again, "*** You are now talking in den ***").await;
}

/// Sends lines too fast until the mute is announced. Expects a chat that mutes a user at the fifth
/// line that is sent at once.
async fn flood(guest: &mut Guest, seconds: u64) {
    guest.send((0..9).map(|n| format!("{n}\n")).collect::<String>()).await;
    until(guest, &format!("Not sent: you wrote too fast and are muted for {seconds} s")).await;
}

/// Issue 11, item 4: a mute for writing too fast does not end with the connection. It follows the
/// name and the token, and the next mute is longer.
#[tokio::test(start_paused = true)]
async fn regression_a_flood_mute_outlives_its_connection() {
    static NOW_MS: AtomicU64 = AtomicU64::new(1_000_000);
    async fn pass(seconds: u64) {
        NOW_MS.fetch_add(1000 * seconds, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    let limits = FloodLimits { burst: 3, warn_after: 1, mute_after: 2, ..FloodLimits::default() };
    let clock = || NOW_MS.load(Ordering::Relaxed);
    let chat_harness = ChatHarness::new(ChatSettings { flood: Some(limits), clock, ..settings() });
    let [mut ann, mut bob, mut eve] = chat_harness.all(["ann", "bob", "eve"]).await;
    // The mute follows the name.
    flood(&mut ann, 30).await;
    drop(ann);
    until(&mut bob, "ann left").await;
    pass(10).await;
    let mut ann = chat_harness.knock(Role::User);
    ann.say("ann").await;
    ann.hear("Enter your name: *** You wrote too fast and are muted for 20 s more ***").await;
    ann.hear("*** ann joined the chat ***").await;
    ann.say("lost").await;
    ann.ask("/users", "Online: bob, eve, ann").await;
    pass(20).await;
    ann.hear("*** You are no longer muted; 1 line was not sent ***").await;
    ann.say("calm").await;
    until(&mut eve, "ann: calm").await;
    pass(5).await;
    flood(&mut ann, 60).await;
    // The mute follows the token, even from a hanging connection and under another name.
    let token = token(&mut eve).await;
    flood(&mut eve, 30).await;
    let mut again = resume(&chat_harness, &token).await;
    until(&mut again, "*** You wrote too fast and are muted for 30 s more ***").await;
    // No other user is muted.
    let mut carl = chat_harness.enter("carl").await;
    carl.say("hello").await;
    let mut heard = Vec::new();
    while heard.last().is_none_or(|line: &String| line != "carl: hello") {
        heard.push(bob.line().await);
    }
    assert!(heard.iter().all(|line| !line.contains("lost")), "{heard:?}");
}

/// Issue 11, item 4: an operator's mute follows the token too, under another name.
#[tokio::test]
async fn regression_an_operators_mute_follows_the_token() {
    let chat_harness = ChatHarness::open();
    let [mut olga, mut bob] = chat_harness.all(["olga", "bob"]).await;
    become_operator(&mut olga).await;
    let token = token(&mut bob).await;
    olga.say("/mute bob 1h").await;
    until(&mut bob, "You were muted").await;
    bob.say("/nick rob").await;
    until(&mut bob, "bob is now rob").await;
    let mut again = resume(&chat_harness, &token).await;
    until(&mut again, "You are now talking in lobby").await;
    again.say("hello").await;
    until(&mut again, "You are muted in this room").await;
}

/// Issue 11, item 13: an ignored user stays ignored under another name, also after a resume and a
/// restart.
#[tokio::test]
async fn regression_an_ignored_user_stays_ignored_after_a_resume() {
    let folder = tempfile::tempdir().unwrap();
    let chat_harness = stored(folder.path());
    let [mut ann, mut eve] = chat_harness.all(["ann", "eve"]).await;
    ann.say("/ignore eve").await;
    until(&mut ann, "You no longer see what eve says").await;
    let (of_ann, of_eve) = (token(&mut ann).await, token(&mut eve).await);
    quit(eve).await;
    let mut eve = resume(&chat_harness, &of_eve).await;
    eve.say("/nick eva").await;
    until(&mut eve, "*** eve is now eva ***").await;
    eve.say("unheard one").await;
    eve.say("/msg ann unheard two").await;
    until(&mut eve, "[you -> ann] unheard two").await;
    let of_eva = token(&mut eve).await;
    quit(eve).await;
    until(&mut ann, "*** eva left the chat").await;
    let heard = quit(ann).await;
    assert!(!heard.contains("unheard"), "{heard}");
    close(chat_harness).await;

    let chat_harness = stored(folder.path());
    let mut ann = resume(&chat_harness, &of_ann).await;
    until(&mut ann, "*** Settings restored: you ignore eve ***").await;
    let mut eve = resume(&chat_harness, &of_eva).await;
    until(&mut eve, "You are now talking in lobby").await;
    eve.say("unheard three").await;
    eve.say("/me is heard").await;
    eve.say("/topic unheard four").await;
    eve.say("/quit unheard five").await;
    loop {
        let line = ann.line().await;
        assert!(!line.contains("heard"), "{line}");
        if line.contains("eva left the chat") {
            break;
        }
    }
}
