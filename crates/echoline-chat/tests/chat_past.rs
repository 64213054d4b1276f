//! Tests of earlier lines: deleted lines, and lines of earlier days.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod chat_harness;

use std::sync::atomic::{AtomicU64, Ordering};

use chat_harness::{ChatHarness, Guest, settings};
use echoline_chat::{ChatSettings, LogLimits, Role};

/// Issue 11, item 14: an author deletes a line. The other users and programs are told, and later
/// readers see `[deleted]` for its number.
#[tokio::test]
async fn regression_a_line_is_deleted_by_its_author() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    let mut bot = chat_harness.program(r#"{"name": "bot"}"#).await;
    bot.hear_of("bot").await;
    for guest in [&mut ann, &mut bob] {
        guest.hear("*** bot joined the chat ***").await;
    }
    ann.say("my secret").await;
    bob.hear("ann: my secret").await;
    bot.hear_of(r#""number":4"#).await;
    bob.ask("/delete 4", "*** Line 4 is not yours: only an operator can delete it ***").await;
    bob.ask("/delete 1", "*** Line 1 has no text to delete ***").await;
    bob.ask("/delete 44", "*** There is no line 44 ***").await;
    bob.ask(
        "/delete",
        "*** Wrong arguments for /delete: type /delete N, for example /delete \
        133 ***",
    )
    .await;
    ann.ask("/delete 4", "*** Line 4 was deleted by ann ***").await;
    bob.hear("*** Line 4 was deleted by ann ***").await;
    let told = bot.hear_of("Line 4 was deleted by ann").await;
    assert!(told.contains(r#""deleted":4"#) && told.contains(r#""kind":"notice""#), "{told}");
    ann.ask("/delete 4", "*** Line 4 is already deleted ***").await;
    bob.ask("/history 4-5", "#4 09:30 ann: [deleted]").await;
    bob.hear("#5 09:30 *** Line 4 was deleted by ann ***").await;
    bob.ask("/search secret", "*** Nothing was found ***").await;
    bob.ask("/quote 4", "> #4 ann: [deleted]").await;
    ann.hear("bob: > #4 ann: [deleted]").await;
    bot.hear_of("bob").await;
    bot.say(r#"{"ask": "history", "before": 5, "count": 1}"#).await;
    bot.hear_of(r#""kind":"said","name":"ann","number":4,"text":"[deleted]""#).await;
}

/// Issue 11, item 14: if the line that set the topic is deleted, the topic is removed.
#[tokio::test]
async fn regression_a_deleted_topic_is_removed() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    ann.say("/topic my secret").await;
    ann.hear("*** ann set the topic: my secret ***").await;
    bob.hear("*** ann set the topic: my secret ***").await;
    ann.say("/delete 3").await;
    for guest in [&mut ann, &mut bob] {
        guest.hear("*** Line 3 was deleted by ann ***").await;
        guest.hear("*** ann removed the topic ***").await;
    }
    bob.ask("/topic", "*** No topic is set ***").await;
    // Deleting a line that set an earlier topic does not remove the current topic.
    for topic in ["first", "second"] {
        let words = format!("*** ann set the topic: {topic} ***");
        ann.ask(&format!("/topic {topic}"), &words).await;
        bob.hear(&words).await;
    }
    ann.ask("/delete 6", "*** Line 6 was deleted by ann ***").await;
    bob.hear("*** Line 6 was deleted by ann ***").await;
    bob.ask("/topic", "*** Topic: second ***").await;
}

/// Issue 11, item 14: an operator can delete any line, and the audit log records it without the
/// text. A user who returned with a token still owns the lines of the previous connection.
#[tokio::test(start_paused = true)]
async fn regression_a_line_is_deleted_by_an_operator_or_after_a_resume() {
    let chat_harness = ChatHarness::new(ChatSettings { replay: 10, ..settings() });
    let (mut ann, _) = enter_past_replay(&chat_harness, "ann").await;
    let (mut bob, _) = enter_past_replay(&chat_harness, "bob").await;
    ann.hear("*** bob joined the chat ***").await;
    bob.say("something bad").await;
    bob.say("something else").await;
    ann.hear("bob: something bad").await;
    ann.hear("bob: something else").await;
    ann.say("/oper open sesame").await;
    ann.hear_of("You are now an operator").await;
    ann.ask("/delete 3", "*** Line 3 was deleted by ann ***").await;
    bob.hear("*** Line 3 was deleted by ann ***").await;
    ann.ask("/audit", "tomorrow ann became an operator").await;
    ann.hear("tomorrow ann deleted line 3 of lobby").await;
    bob.say("/token").await;
    let token = loop {
        let line = bob.line().await;
        if line.contains("restores this session") {
            break line;
        }
    };
    let token = token.split(' ').nth(2).unwrap().to_owned();
    let mut again = chat_harness.knock(Role::User);
    again.say(&format!("/resume {token}")).await;
    loop {
        let line = again.line().await;
        if line.contains("bob joined the chat") {
            break;
        }
    }
    again.ask("/delete 4", "*** Line 4 was deleted by bob ***").await;
    let (_cat, heard) = enter_past_replay(&chat_harness, "cat").await;
    assert_eq!(heard.iter().filter(|line| *line == "bob: [deleted]").count(), 2, "{heard:?}");
}

/// Issue 11, item 16: `/history`, `/search` and the replay show the date of lines of earlier days.
/// New lines have no date.
#[tokio::test]
async fn regression_lines_of_other_days_show_their_date() {
    static DAY: AtomicU64 = AtomicU64::new(1);
    let clock = || DAY.load(Ordering::Relaxed) * 86_400_000;
    let date = |time_ms| format!("day {}", time_ms / 86_400_000);
    let chat_harness = ChatHarness::new(ChatSettings { replay: 10, clock, date, ..settings() });
    let (mut ann, heard) = enter_past_replay(&chat_harness, "ann").await;
    assert_eq!(heard, ["Enter your name: *** ann joined the chat ***"]);
    ann.ask("/topic bees", "*** ann set the topic: bees ***").await;
    DAY.store(3, Ordering::Relaxed);
    ann.ask("/topic wasps", "*** ann set the topic: wasps ***").await;
    DAY.store(4, Ordering::Relaxed);
    let (mut bob, heard) = enter_past_replay(&chat_harness, "bob").await;
    let expected = [
        "Enter your name: --- 3 earlier lines ---",
        "--- day 1 ---",
        "*** ann joined the chat ***",
        "*** ann set the topic: bees ***",
        "--- day 3 ---",
        "*** ann set the topic: wasps ***",
        "--- day 4 ---",
        "*** bob joined the chat ***",
    ];
    assert_eq!(heard, expected);
    ann.hear("*** bob joined the chat ***").await;
    bob.ask("/history 2-4", "--- day 1 ---").await;
    bob.hear("#2 09:30 *** ann set the topic: bees ***").await;
    bob.hear("--- day 3 ---").await;
    bob.hear("#3 09:30 *** ann set the topic: wasps ***").await;
    bob.hear("--- day 4 ---").await;
    bob.hear("#4 09:30 *** bob joined the chat ***").await;
    bob.ask("/search wasps", "--- day 3 ---").await;
    bob.hear("#3 09:30 *** ann set the topic: wasps ***").await;
    DAY.store(5, Ordering::Relaxed);
    bob.say("a new day").await;
    ann.hear("bob: a new day").await;
    bob.ask("/history 1", "#5 09:30 bob: a new day").await;
}

/// Logs a user in. Also returns the earlier lines that were shown.
async fn enter_past_replay(chat_harness: &ChatHarness, name: &str) -> (Guest, Vec<String>) {
    let mut guest = chat_harness.knock(Role::User);
    guest.say(name).await;
    let mut heard = vec![guest.line().await];
    while !heard.iter().any(|line| line.contains(&format!("{name} joined the chat"))) {
        heard.push(guest.line().await);
    }
    (guest, heard)
}

/// Issue 12, item 4: visits displace no said line, however many there are. New members see the
/// line, and `/history` and `/search` find it. A program is told how many lines are missing in
/// between.
#[tokio::test]
async fn attack_visits_displace_no_said_line() {
    const VISITS: u64 = 150;
    let log = LogLimits { lines: 100, ..LogLimits::default() };
    let chat_harness = ChatHarness::new(ChatSettings { replay: 5, log, ..settings() });
    let mut ann = chat_harness.enter("ann").await;
    ann.say("first").await;
    ann.say("/me waves").await;
    ann.ask("/times off", "*** times off ***").await;
    for _ in 0..VISITS {
        let mut eve = chat_harness.knock(Role::User);
        eve.say("eve").await;
        eve.say("/quit").await;
        eve.rest().await;
    }
    let (bob, heard) = enter_past_replay(&chat_harness, "bob").await;
    let said = ["ann: first", "* ann waves"];
    assert!(said.iter().all(|line| heard.iter().any(|heard| heard.contains(line))), "{heard:?}");
    drop(bob);
    let (mut cat, _) = enter_past_replay(&chat_harness, "cat").await;
    cat.ask("/history 1-3", "#2 09:30 ann: first").await;
    cat.hear("#3 09:30 * ann waves").await;
    cat.ask("/search first", "#2 09:30 ann: first").await;
    // The numbers have no gaps, except those that the program is told about.
    let mut bot =
        chat_harness.program(r#"{"name": "bot", "rooms": ["lobby"], "after": {"lobby": 1}}"#).await;
    let (mut next, mut missed, mut texts) = (2, 0, Vec::new());
    loop {
        let line = bot.line().await;
        let number = |field: &str| {
            let (_, rest) = line.split_once(&format!("\"{field}\":")).unwrap();
            rest.split([',', '}']).next().unwrap().parse::<u64>().unwrap()
        };
        if line.contains(r#""kind":"missed""#) {
            next += number("count");
            missed += number("count");
            continue;
        }
        assert_eq!(number("number"), next, "{line}");
        next += 1;
        texts.extend(line.contains(r#""name":"ann""#).then(|| line.clone()));
        if line.contains(r#""name":"bot""#) {
            break;
        }
    }
    assert!(missed > VISITS && texts.len() == 2, "{missed}: {texts:?}");
    // All lines in between were joins and leaves. A page that scrolls back gets the said lines.
    bot.say(r#"{"ask": "history", "before": 50, "count": 100}"#).await;
    let history = bot.hear_of(r#""kind":"history""#).await;
    assert!(history.contains("first") && history.contains(r#""more":false"#), "{history}");
}
