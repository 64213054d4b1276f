//! What one user can make a chat do: the processor time and the memory of a question are bounded.
#![cfg(feature = "chat")]
#![allow(clippy::unwrap_used, reason = "a test may")]

mod parlour;

use std::time::Duration;

use echoline::chat::{LogLimits, Settings};
use parlour::{Guest, Parlour, settings};
use tokio::time::Instant;

/// Issue 12, item 13: one search looks at a bounded number of lines, and the next one goes on.
#[tokio::test]
async fn attack_a_search_in_memory_looks_at_a_bounded_number_of_lines() {
    let log = LogLimits { lines: 50_000, bytes: 16 << 20 };
    let mut parlour = Parlour::new(Settings { log, ..settings() });
    parlour.limits.max_line = 1 << 20;
    let mut ann = parlour.enter("ann").await;
    ann.say("Needle").await;
    let mut bot = parlour.program(r#"{"name": "bot"}"#).await;
    let hay = "hay\\n".repeat(41_000);
    bot.say(&format!("{{\"say\": \"{hay}\"}}")).await;
    for (command, answer) in [
        ("/search needle", "Nothing was found back to line 21004: /search alone goes on"),
        ("/search", "Nothing was found back to line 1004: /search alone goes on"),
        ("/search", "#2 09:30 ann: Needle"),
        ("/search", "No search can go on in this room: /search WORDS"),
        ("/search hay", "#40954 09:30 bot: hay"),
        ("/search", "#40904 09:30 bot: hay"),
    ] {
        bot.say(&format!("{{\"do\": \"{command}\"}}")).await;
        until(&mut bot, answer).await;
    }
}

/// Reads on to a line with these words.
async fn until(guest: &mut Guest, words: &str) {
    while !guest.line().await.contains(words) {}
}

/// Issue 12, item 13: a wrong password of a room costs its user a second, and a connection has one
/// attempt at a time.
#[tokio::test(start_paused = true)]
async fn attack_a_wrong_room_password_has_a_pause() {
    let parlour = Parlour::open();
    let mut ann = parlour.enter("ann").await;
    ann.say("/join den").await;
    ann.hear_of("You speak in den now").await;
    ann.hear_of("brings you back").await;
    ann.hear_of("ann joined").await;
    ann.say("/password hunter2").await;
    ann.hear_of("/join ROOM PASSWORD").await;
    let mut eve = parlour.enter("eve").await;
    let start = Instant::now();
    eve.send("/join den a\r\n/join den b\r\n/join den c\r\n").await;
    for number in 1..=3 {
        eve.hear("*** den has a password: /join den PASSWORD ***").await;
        assert!(start.elapsed() >= Duration::from_secs(number), "{:?}", start.elapsed());
    }
    eve.say("/join den hunter2").await;
    eve.hear_of("You speak in den now").await;
}
