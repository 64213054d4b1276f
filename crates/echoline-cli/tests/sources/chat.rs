//! Tests of the penalties of a chat over time, and of their settings.

use std::sync::Arc;
use std::time::Duration;

use echoline::sources::{SourceLimits, Sources};
use echoline_chat::{ChatSettings, Role};
use tokio::time::advance;

use crate::chat_harness::{ChatHarness, Guest, settings};
use crate::source_harness::{Chat, FLOOD, OTHER};

fn chat_harness(limits: &str) -> ChatHarness {
    let limits: SourceLimits = limits.parse().unwrap();
    ChatHarness::new(ChatSettings { sources: Arc::new(Sources::new(limits)), ..settings() })
}

async fn guess(guest: &mut Guest) -> Option<u64> {
    guest.say("/oper wrong").await;
    let line = guest.line().await;
    let wait = line.split("try again in ").nth(1)?;
    Some(wait.split(' ').next().unwrap().parse().unwrap())
}

/// Issue 12, item 7: the penalties for wrong operator passwords grow, and decay; the right password
/// costs nothing.
#[tokio::test(start_paused = true)]
async fn penalties_for_wrong_operator_passwords_grow_and_decay() {
    let chat_harness = chat_harness("wrong-operator-passwords 1/m burst 5, exempt 192.0.2.0/24");
    let mut guest = chat_harness.enter("ann").await;
    for _ in 0..20 {
        guest.say("/oper open sesame").await;
        guest.hear_of("You are now an operator").await;
    }
    for _ in 0..5 {
        assert_eq!(guess(&mut guest).await, None);
    }
    let mut waits = Vec::new();
    for _ in 0..9 {
        let wait = guess(&mut guest).await.expect("no guess is left");
        waits.push(wait);
        advance(Duration::from_secs(wait)).await;
        assert_eq!(guess(&mut guest).await, None, "one guess after each penalty");
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300]);
    advance(Duration::from_secs(3600)).await;
    for _ in 0..5 {
        assert_eq!(guess(&mut guest).await, None);
    }
    assert_eq!(guess(&mut guest).await, Some(2), "an hour later the penalty has decayed");
}

/// Issue 12: a program gets the refusal as JSON, and the refused command works after the wait.
#[tokio::test(start_paused = true)]
async fn a_refused_program_gets_the_time_to_wait() {
    let chat_harness = chat_harness("off, rooms 1/m burst 1");
    let mut bot = chat_harness.program(r#"{"name": "ci"}"#).await;
    bot.hear_of(r#""kind":"joined""#).await;
    bot.say(r#"{"do": "/join a"}"#).await;
    while !bot.line().await.contains("You are now talking in a") {}
    bot.say(r#"{"do": "/join b"}"#).await;
    let refused = loop {
        let line = bot.line().await;
        if line.contains(r#""kind":"error""#) {
            break line;
        }
    };
    let refused: serde_json::Value = serde_json::from_str(&refused).unwrap();
    assert_eq!(refused["about"], "rate");
    assert_eq!((&refused["action"], &refused["wait_ms"]), (&"rooms".into(), &2000.into()));
    assert_eq!(refused["text"], "Too many new rooms from your address; try again in 2 s");
    advance(Duration::from_secs(2)).await;
    bot.say(r#"{"do": "/join b"}"#).await;
    while !bot.line().await.contains("You are now talking in b") {}
}

/// Issue 12: a page that gets no token because of a rate limit may still enter, and shows the
/// reason.
#[tokio::test(start_paused = true)]
async fn a_page_that_gets_no_token_comes_in() {
    let chat_harness = chat_harness("off, tokens 1/m burst 1");
    for (name, has_token) in [("ann", true), ("bob", false)] {
        let mut page = chat_harness.knock(Role::Web);
        page.say(&format!(r#"{{"name": "{name}"}}"#)).await;
        let welcome = page.line().await;
        assert_eq!(welcome.contains(r#""token":"#), has_token, "{welcome}");
        page.hear_of(r#""kind":"seats""#).await;
        if !has_token {
            page.hear_of("Too many new tokens from your address; try again in 2 s").await;
        }
    }
}

/// Issue 12: SIGHUP changes the limits, and penalties stay.
#[test]
fn a_reload_changes_the_limits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echoline.toml");
    let write = |limits: &str| {
        std::fs::write(&path, format!("[chat]\n{limits}\n")).unwrap();
    };
    write(r#"source-limit = ["logins 1/h burst 1", "longest-penalty 1h, first-penalty 1h"]"#);
    let chat = Chat::start(&["--config", path.to_str().unwrap()]);
    let _ann = chat.enter(FLOOD, "ann");
    chat.connect(FLOOD)
        .ask("bob", "Too many login attempts from your address; try again in 3600 s");
    write(r#"source-limit = "logins off""#);
    chat.program.signal("HUP");
    chat.program.wait_for_stderr("source-limit: ");
    let _bob = chat.enter(FLOOD, "bob");
    write("");
    chat.program.signal("HUP");
    crate::programs::wait_for("the second reload", || {
        chat.program.stderr().matches(" reloaded").count() == 2
    });
    chat.connect(FLOOD).ask("cat", "Too many login attempts from your address; try again in 3");
    write(r#"source-limit = "logins nonsense""#);
    chat.program.signal("HUP");
    chat.program.wait_for_stderr("is not a rate of logins; write for example");
    chat.enter(OTHER, "dan").has_met_nothing();
}
