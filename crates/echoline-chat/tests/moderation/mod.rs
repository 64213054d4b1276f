//! Tests of the duration of bans and mutes, and of the lines that a flood mute refuses.

use std::time::Duration;

use echoline_chat::{ChatSettings, FloodLimits, Role};
use tokio::time::Instant;

use crate::chat_harness::{ChatHarness, settings};
use crate::operator;

/// Issue 11, item 12: a ban or a mute lasts as long as the reply says. An invalid duration is
/// refused.
#[tokio::test(start_paused = true)]
async fn regression_the_message_of_a_ban_has_its_end() {
    let chat_harness = ChatHarness::open();
    let mut oper = operator(&chat_harness, "olga").await;
    for (line, answer) in [
        ("/ban troll 1w spam", "*** You banned troll from the chat until tomorrow ***"),
        ("/ban troll for 1h 30m spam", "*** You banned troll from the chat until tomorrow ***"),
        ("/ban troll 3 days", "*** You banned troll from the chat until tomorrow ***"),
        ("/ban troll spam", "*** You banned troll from the chat for good ***"),
        ("/ban troll forever 3rd time", "*** You banned troll from the chat for good ***"),
        ("/ban 192.0.2.0/24", "*** You banned 192.0.2.0/24 from the chat for good ***"),
    ] {
        oper.ask(line, answer).await;
        if line.contains("troll") {
            oper.hear_of("The ban covers only the name").await;
        }
    }
    oper.ask("/unban troll", "*** troll may join the chat again ***").await;
    for line in ["/ban troll 10 spam", "/ban troll 10minuts", "/ban 192.0.2.9 -1d", "/mute olga 0s"]
    {
        oper.say(line).await;
        oper.hear_of("' is not a duration: type /").await;
    }
    oper.say("/kick olga 10m").await;
    oper.hear_of("A kick has no duration").await;
    oper.ask("/bans", "192.0.2.0/24, for good, by olga").await;
    let _troll = chat_harness.enter("troll").await;
    oper.hear("*** troll joined the chat ***").await;
    oper.ask("/mute troll", "*** You muted troll in lobby for good ***").await;
    oper.ask("/mute troll 10min", "*** You muted troll in lobby until tomorrow ***").await;
}

/// Returns a chat that mutes a user at the fifth line that is sent at once.
fn strict() -> ChatHarness {
    let flood = FloodLimits { burst: 3, warn_after: 1, mute_after: 2, ..FloodLimits::default() };
    ChatHarness::new(ChatSettings { flood: Some(flood), ..settings() })
}

/// Issue 11, item 9: commands of a muted user work, and lines for other users do not. When the mute
/// ends, the user is told how many lines were lost, even if they say nothing more.
#[tokio::test(start_paused = true)]
async fn regression_a_flood_mute_leaves_commands_and_counts_lines() {
    let chat_harness = strict();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    ann.send((0..5).map(|n| format!("{n}\n")).collect::<String>()).await;
    ann.hear("*** Slow down, or you will be muted ***").await;
    ann.hear("*** Not sent: you wrote too fast and are muted for 30 s ***").await;
    let muted = Instant::now();
    for number in 0..4 {
        bob.hear(&format!("ann: {number}")).await;
    }
    for line in ["lost", "/me waves", "/msg bob hi", "/reply hi", "/topic x", "/nick eve", "//x"] {
        ann.say(line).await;
    }
    ann.ask("/users", "Online: ann, bob").await;
    ann.say("/help users").await;
    ann.hear_of("/users [ROOM]").await;
    ann.hear_of("For example").await;
    ann.say("/hlep").await;
    ann.hear_of("Did you mean /help?").await;
    // Five commands pass at once, then one per second.
    for _ in 0..4 {
        ann.ask("/times off", "*** times off ***").await;
    }
    assert_eq!(muted.elapsed(), Duration::from_secs(2));
    ann.hear("*** You are no longer muted; 8 lines were not sent ***").await;
    assert_eq!(muted.elapsed().as_secs(), 30);
    ann.say("back").await;
    bob.hear("ann: back").await;
}

/// Issue 11, item 9: `/quit` works at once, and its reason is not a way around the mute.
#[tokio::test(start_paused = true)]
async fn regression_a_muted_user_can_quit() {
    let chat_harness = strict();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    ann.send((0..9).map(|n| format!("{n}\n")).collect::<String>()).await;
    ann.hear("*** Slow down, or you will be muted ***").await;
    ann.hear_of("muted for 30 s").await;
    ann.say("/quit buy pills").await;
    ann.rest().await;
    for number in 0..4 {
        bob.hear(&format!("ann: {number}")).await;
    }
    bob.hear("*** ann left the chat ***").await;
}

/// Issue 11, item 9: questions that a page asks by itself never count as lines, even during a mute.
#[tokio::test(start_paused = true)]
async fn regression_the_pings_of_a_page_do_not_count_as_lines() {
    let chat_harness = strict();
    let mut page = chat_harness.knock(Role::Web);
    page.say(r#"{"name": "pat"}"#).await;
    for kind in ["welcome", "seats", "joined"] {
        page.hear_of(&format!(r#""kind":"{kind}""#)).await;
    }
    for ping in 0..200 {
        page.say(&format!(r#"{{"ping": {ping}}}"#)).await;
        page.hear(&format!(r#"{{"kind":"pong","ping":{ping}}}"#)).await;
    }
    page.send((0..5).map(|n| format!("{{\"say\": \"{n}\"}}\n")).collect::<String>()).await;
    let mut heard = Vec::new();
    while heard.len() < 6 {
        heard.push(page.line().await);
    }
    assert!(heard.iter().any(|line| line.contains("muted for 30 s")), "{heard:?}");
    for ping in 0..50 {
        page.say(&format!(r#"{{"ping": {ping}}}"#)).await;
        page.hear(&format!(r#"{{"kind":"pong","ping":{ping}}}"#)).await;
    }
    page.say(r#"{"ask": "people"}"#).await;
    page.hear_of(r#""kind":"people""#).await;
    page.say(r#"{"say": "lost"}"#).await;
    page.hear_of("Not sent: you are muted for ").await;
    page.hear_of("You are no longer muted; 2 lines were not sent").await;
}

/// Fault 69: a user who writes too fast is delayed, then warned, then muted. Other users are not
/// affected.
#[tokio::test(start_paused = true)]
async fn floods_are_delayed_warned_and_muted() {
    let flood = FloodLimits { burst: 3, warn_after: 2, mute_after: 4, ..FloodLimits::default() };
    let chat_harness = ChatHarness::new(ChatSettings { flood: Some(flood), ..settings() });
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    let start = Instant::now();
    ann.send((0..10).map(|n| format!("{n}\n")).collect::<String>()).await;
    for number in 0..6 {
        bob.hear(&format!("ann: {number}")).await;
    }
    assert_eq!(
        start.elapsed(),
        Duration::from_millis(600),
        "three lines pass at once, then five per second"
    );
    ann.hear("*** Slow down, or you will be muted ***").await;
    ann.hear("*** Not sent: you wrote too fast and are muted for 30 s ***").await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    ann.hear("*** You are no longer muted; 4 lines were not sent ***").await;
    ann.say("calm").await;
    bob.hear("ann: calm").await;
    bob.ask("/users", "Online: ann, bob").await;
}
