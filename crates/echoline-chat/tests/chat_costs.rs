//! Tests of the limits on the processor time and the memory that one user can cost.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod chat_harness;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chat_harness::{ChatHarness, Guest, settings};
use echoline_chat::{ChatSettings, LogLimits, Role};
use tokio::time::Instant;

/// Issue 12, item 13: one search reads a limited number of lines, and the next one continues.
#[tokio::test]
async fn attack_a_search_in_memory_reads_a_bounded_number_of_lines() {
    let log = LogLimits { lines: 50_000, bytes: 16 << 20 };
    let mut chat_harness = ChatHarness::new(ChatSettings { log, ..settings() });
    chat_harness.limits.max_line = 1 << 20;
    let mut ann = chat_harness.enter("ann").await;
    ann.say("Needle").await;
    let mut bot = chat_harness.program(r#"{"name": "bot"}"#).await;
    let hay = "hay\\n".repeat(41_000);
    bot.say(&format!("{{\"say\": \"{hay}\"}}")).await;
    for (command, answer) in [
        ("/search needle", "Nothing was found back to line 21004: /search without words continues"),
        ("/search", "Nothing was found back to line 1004: /search without words continues"),
        ("/search", "#2 09:30 ann: Needle"),
        ("/search", "There is no search to continue in this room: /search WORDS starts one"),
        ("/search hay", "#40954 09:30 bot: hay"),
        ("/search", "#40904 09:30 bot: hay"),
    ] {
        bot.say(&format!("{{\"do\": \"{command}\"}}")).await;
        until(&mut bot, answer).await;
    }
}

/// Reads lines until one contains these words.
async fn until(guest: &mut Guest, words: &str) {
    while !guest.line().await.contains(words) {}
}

/// Issue 12, item 13: a wrong password of a room costs its user a second. A connection has only one
/// attempt at a time.
#[tokio::test(start_paused = true)]
async fn attack_a_wrong_room_password_is_refused_after_a_pause() {
    let chat_harness = ChatHarness::open();
    let mut ann = chat_harness.enter("ann").await;
    ann.say("/join den").await;
    ann.hear_of("You are now talking in den").await;
    ann.hear_of("restores this session").await;
    ann.hear_of("ann joined").await;
    ann.say("/password hunter2").await;
    ann.hear_of("/join ROOM PASSWORD").await;
    let mut eve = chat_harness.enter("eve").await;
    let start = Instant::now();
    eve.send("/join den a\r\n/join den b\r\n/join den c\r\n").await;
    for number in 1..=3 {
        eve.hear("*** den needs the right password: /join den PASSWORD ***").await;
        assert!(start.elapsed() >= Duration::from_secs(number), "{:?}", start.elapsed());
    }
    eve.say("/join den hunter2").await;
    eve.hear_of("You are now talking in den").await;
}

/// Sends a line of a program. Returns the size of all lines before the answer to a ping, in bytes.
async fn cost(bot: &mut Guest, line: &str) -> usize {
    bot.say(line).await;
    bot.say(r#"{"ping": 7}"#).await;
    let mut bytes = 0;
    loop {
        let heard = bot.line().await;
        if heard.contains(r#""kind":"pong""#) {
            return bytes;
        }
        bytes += heard.len();
    }
}

/// Issue 12, item 12: a page of a room's members is small, however long the names and away texts
/// are. All pages together contain all members.
#[tokio::test]
async fn attack_a_query_of_the_members_has_a_small_answer() {
    let chat_harness = ChatHarness::open();
    let mut guests = Vec::new();
    for number in 0..300 {
        let mut guest = chat_harness.knock(Role::User);
        guest.say(&format!("{}{number}", "ж".repeat(28))).await;
        guest.say(&format!("/away {}", "ж".repeat(201))).await;
        until(&mut guest, "*** An away message can have at most 200 characters ***").await;
        guest.say(&format!("/away {}", "ж".repeat(200))).await;
        until(&mut guest, "You are marked as away").await;
        guests.push(guest);
    }
    let mut bot = chat_harness.program(r#"{"name": "bot"}"#).await;
    let (mut people, mut after) = (Vec::new(), String::new());
    for page in 0.. {
        bot.say(&format!(r#"{{"ask": "people"{after}}}"#)).await;
        let answer = loop {
            let line = bot.line().await;
            if line.contains(r#""kind":"people""#) {
                break line;
            }
        };
        assert!(answer.len() < 20 * 1024, "{} bytes", answer.len());
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["count"], 301);
        assert_eq!(answer["from"].is_null(), page == 0);
        people.extend(answer["people"].as_array().unwrap().clone());
        if answer["more"] == false {
            break;
        }
        after = format!(r#", "after": {}"#, answer["after"]);
    }
    let names: BTreeSet<&str> = people.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!((people.len(), names.len()), (301, 301));
    let away = people[0]["away"].as_str().unwrap();
    assert_eq!(away.chars().count(), 200);
}

/// Issue 12, item 12: the answer to a list or a query of earlier lines has at most a few pages.
#[tokio::test]
async fn attack_no_command_has_a_large_answer() {
    let mut chat_harness = ChatHarness::open();
    chat_harness.limits.max_line = 8192;
    let long = "\u{e9}".repeat(2000);
    let mut bots = Vec::new();
    for number in 0..12 {
        let mut bot = chat_harness.program(&format!(r#"{{"name": "bot{number}"}}"#)).await;
        for room in 0..9 {
            cost(&mut bot, &format!(r#"{{"do": "/join r{number}-{room}"}}"#)).await;
            cost(&mut bot, &format!(r#"{{"do": "/topic {long}"}}"#)).await;
        }
        bots.push(bot);
    }
    let bot = &mut bots[0];
    cost(bot, r#"{"do": "/oper open sesame"}"#).await;
    for number in 0..120 {
        cost(bot, &format!(r#"{{"say": "needle {long}", "room": "lobby"}}"#)).await;
        cost(bot, &format!(r#"{{"do": "/ban b{number} {}"}}"#, "\u{e9}".repeat(200))).await;
    }
    for (line, most) in [
        (r#"{"ask": "rooms"}"#, 24),
        (r#"{"do": "/rooms"}"#, 24),
        (r#"{"do": "/users"}"#, 1),
        (r#"{"ask": "people"}"#, 24),
        (r#"{"do": "/bans"}"#, 24),
        (r#"{"do": "/history 500"}"#, 80),
        (r#"{"do": "/history 1-500"}"#, 80),
        (r#"{"ask": "history", "room": "lobby"}"#, 80),
        (r#"{"do": "/search needle"}"#, 80),
        (r#"{"do": "/audit 500"}"#, 80),
        (r#"{"do": "/help"}"#, 6),
        (r#"{"ask": "commands"}"#, 10),
        (r#"{"do": "/whois bot0"}"#, 2),
        (r#"{"do": "/lag"}"#, 1),
    ] {
        let bytes = cost(bot, line).await;
        assert!((20..most * 1024).contains(&bytes), "{line} costs {bytes} bytes");
    }
}

/// Issue 12, item 21: on a server that is nearly full, silent users are disconnected with a
/// message. Operators and users who spoke recently stay.
#[tokio::test]
async fn attack_idle_users_leave_a_full_chat_and_active_users_stay() {
    static SECONDS: AtomicU64 = AtomicU64::new(1);
    let clock = || SECONDS.load(Ordering::Relaxed) * 1000;
    let chat_harness = ChatHarness::new(ChatSettings { clock, ..settings() });
    let [mut ann, mut bob, mut eve, mut oper] =
        chat_harness.all(["ann", "bob", "eve", "olga"]).await;
    oper.say("/oper open sesame").await;
    until(&mut oper, "You are now an operator").await;
    assert_eq!(chat_harness.chat.end_idle_users(4), 0, "no user has been silent for long");
    SECONDS.store(600, Ordering::Relaxed);
    ann.say("hello").await;
    until(&mut eve, "ann: hello").await;
    bob.say("/msg ann hi").await;
    until(&mut bob, "[you -> ann] hi").await;
    SECONDS.store(899, Ordering::Relaxed);
    assert_eq!(chat_harness.chat.end_idle_users(0), 0, "the server is not nearly full");
    assert_eq!(chat_harness.chat.end_idle_users(4), 1);
    assert_eq!(chat_harness.chat.end_idle_users(1), 0, "the session that was ended counts");
    let words =
        "*** The server is nearly full, and you have been silent for 14 minutes. Goodbye! ***";
    let rest = String::from_utf8(eve.rest().await).unwrap();
    assert!(rest.contains(words), "{rest}");
    until(&mut ann, "eve left the chat").await;
    SECONDS.store(2000, Ordering::Relaxed);
    chat_harness.chat.renew(&ChatSettings { idle_when_full: None, clock, ..settings() });
    assert_eq!(chat_harness.chat.end_idle_users(4), 0, "evictions are switched off");
    chat_harness.chat.renew(&ChatSettings { clock, ..settings() });
    assert_eq!(chat_harness.chat.end_idle_users(4), 1, "two users of a source always stay");
    until(&mut oper, "left the chat").await;
    oper.say("/users").await;
    until(&mut oper, "Online: ").await;
}
