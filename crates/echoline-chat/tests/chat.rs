//! Tests of the commands of a user, and of the protection of other users.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod chat_harness;
mod typing;

use std::time::Duration;

use chat_harness::{ChatHarness, settings};
use echoline::{Closed, Limits};
use echoline_chat::{ChatSettings, LogLimits, Role};
use tokio::io::AsyncWriteExt;

#[tokio::test(start_paused = true)]
async fn asks_for_a_name_until_one_is_valid() {
    let chat_harness = ChatHarness::open();
    let _ann = chat_harness.enter("ann").await;
    let mut other = chat_harness.knock(Role::User);
    other.ask("ann", "Enter your name: *** The name ann is taken; choose another ***").await;
    other.ask("ANN", "Enter your name: *** The name ann is taken; choose another ***").await;
    other.say("\u{430}nn").await;
    other.hear_of("looks too much like ann").await;
    other.say("ann smith").await;
    other.hear_of("'ann smith' has a space").await;
    other.say("server").await;
    other.hear_of("is reserved").await;
    other.send(b"\xc3\x28\n").await;
    other.hear_of("That is not UTF-8").await;
    other.send([&[b'x'; 5000][..], b"\n"].concat()).await;
    other.hear_of("A name is 1 to 32").await;
    other.say("/resume aaaa-bbbb-cccc").await;
    other.hear_of("That token is unknown or has expired").await;
    other.ask("", "Enter your name: *** User_0 joined the chat ***").await;
}

/// Fault 69: a user cannot impersonate another user or the server.
#[tokio::test]
async fn a_name_belongs_to_one_user_while_they_are_in_the_chat() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    ann.ask("/nick BOB", "*** The name bob is taken; choose another ***").await;
    ann.ask("/nick b0b", "*** That name looks too much like bob, who is here; choose another ***")
        .await;
    ann.ask("/nick ann", "*** Your name is already ann ***").await;
    ann.ask("/nick Ann", "*** ann is now Ann ***").await;
    bob.hear("*** ann is now Ann ***").await;
    bob.ask("/nick eve", "*** bob is now eve ***").await;
    ann.hear("*** bob is now eve ***").await;
    ann.ask("/nick bob", "*** Ann is now bob ***").await;
    bob.hear("*** Ann is now bob ***").await;
    bob.ask("/users", "Online: bob, eve").await;
    // A capital i looks like a small l.
    bob.ask("/nick lan", "*** eve is now lan ***").await;
    ann.hear("*** eve is now lan ***").await;
    ann.say("/nick Ian").await;
    ann.hear_of("looks too much like lan").await;
}

/// Fault 16: a client that gives no name is disconnected at the login deadline.
#[tokio::test(start_paused = true)]
async fn a_login_has_a_deadline() {
    let chat_harness = ChatHarness::open();
    let start = tokio::time::Instant::now();
    let mut silent = chat_harness.knock(Role::User);
    assert_eq!(silent.rest().await, b"Enter your name: Connection timeout. Goodbye!\r\n");
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(silent.session.await.unwrap(), Err(Closed::IdleTimeout));
    // Single bytes do not extend the deadline, and neither do refused names.
    let start = tokio::time::Instant::now();
    let mut slow = chat_harness.knock(Role::User);
    for _ in 0..5 {
        slow.send("a b\n").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let heard = String::from_utf8(slow.rest().await).unwrap();
    assert!(heard.ends_with("Connection timeout. Goodbye!\r\n"), "{heard}");
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(chat_harness.chat.people(), 0);
}

/// Fault 25: browsers, TLS clients and SSH clients get one clear line. Then the connection ends,
/// whatever they send.
#[tokio::test]
async fn clients_of_other_protocols_get_one_line_of_advice() {
    for (hello, words) in [
        (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], "not a web server"),
        (b"POST /ann HTTP/1.1\r\n\r\nhello\r\n", "not a web server"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "without TLS"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "not an SSH server"),
    ] {
        let chat_harness = ChatHarness::open();
        let mut stranger = chat_harness.knock(Role::User);
        stranger.send(hello).await;
        let heard = String::from_utf8(stranger.rest().await).unwrap();
        assert!(heard.contains(words), "{heard}");
        assert_eq!(chat_harness.chat.people(), 0);
    }
}

/// Fault 19: a line at the limit is said. A line that is one byte longer is refused with a message,
/// and the next line works.
#[tokio::test]
async fn a_line_has_a_limit() {
    let mut chat_harness = ChatHarness::open();
    chat_harness.limits.max_line = 64;
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    for end in ["\n", "\r\n"] {
        ann.send(format!("{}{end}{}{end}next{end}", "x".repeat(63), "y".repeat(100_000))).await;
        bob.hear(&format!("ann: {}", "x".repeat(63))).await;
        bob.hear("ann: next").await;
        ann.hear_of("That line was too long (limit 64 bytes)").await;
    }
}

/// Faults 20 and 35: the last line needs no line end, and a half-closed client receives all output.
#[tokio::test]
async fn a_half_closed_stream_is_answered_to_the_end() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    ann.send("/users\r\nlast words").await;
    ann.stream.shutdown().await.unwrap();
    bob.hear("ann: last words").await;
    bob.hear("*** ann left the chat ***").await;
    assert_eq!(ann.rest().await, b"Online: ann, bob\r\n");
    assert_eq!(ann.session.await.unwrap(), Ok(()));
}

/// Faults 21, 22 and 23: users send every byte and every control sequence in everything that other
/// users see. Only printable text arrives (`Guest::line` checks each line).
#[tokio::test]
async fn only_printable_text_arrives() {
    let mut settings = settings();
    settings.log = LogLimits { lines: 10_000, ..LogLimits::default() };
    let chat_harness = ChatHarness::new(settings);
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    let mut attacks: Vec<Vec<u8>> = (0..=255).map(|byte| vec![b'a', byte, b'z']).collect();
    for text in [
        "\x1b]52;c;cm0gLXJm\x07",
        "\x1b]8;;http://x\x1b\\l\x1b]8;;\x1b\\",
        "\u{9b}2J",
        "\u{85}x",
        "\u{202e}x\u{2066}y\u{2069}",
        "a\u{2028}*** bob left the chat ***\u{2029}x",
        "\u{feff}x",
        "x\rbob: forged",
        "\u{200b}x\u{200d}",
        "\u{e0041}x",
        "x\u{b}\u{c}y",
        "\u{fff9}x",
    ] {
        attacks.push(text.as_bytes().to_vec());
    }
    for bytes in [
        &b"\xed\xa0\x80"[..],
        b"\xed\xbf\xbf",
        b"\xc0\x8a",
        b"\xe0\x80\x8a",
        b"\xf0\x80\x80\x8a",
        b"\xf4\x90\x80\x80",
        b"\xff\xfb\x1fx",
        b"\xff\xff",
        b"\xff\xf9",
        b"\xff\xfax\xff\xf0",
    ] {
        attacks.push(bytes.to_vec());
    }
    for (number, attack) in attacks.iter().enumerate() {
        for command in ["", "/me ", "/msg bob ", "/topic ", "/quit-", "/nick "] {
            ann.send([command.as_bytes(), attack, b"\n"].concat()).await;
            ann.send("/nick ann\n").await;
        }
        let end = format!("end {number}");
        ann.say(&end).await;
        while bob.line().await != format!("ann: {end}") {}
        ann.say("/history 3").await;
        // Replies to Telnet offers are Telnet commands, not text.
        let marker = format!("marker{number}");
        ann.ask_past_telnet(&format!("/users {marker}"), &marker).await;
    }
    for attack in &attacks {
        let mut stranger = chat_harness.knock(Role::User);
        stranger.send([attack.as_slice(), b"\n\n"].concat()).await;
        stranger.stream.shutdown().await.unwrap();
        stranger.ask_past_telnet("", "").await;
    }
}

/// Fault 23: no text of a user looks like a notice of the server or like a line of another user.
#[tokio::test]
async fn no_user_can_speak_for_others() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    for text in ["*** bob left the chat ***", "bob: hi", "[den] #4 bob: hi", "Online: nobody"] {
        ann.say(text).await;
        bob.hear(&format!("ann: {text}")).await;
        ann.say(&format!("/me {text}")).await;
        bob.hear(&format!("* ann {text}")).await;
        ann.ask(&format!("/msg bob {text}"), &format!("[you -> bob] {text}")).await;
        bob.hear(&format!("[ann -> you] {text}")).await;
    }
    ann.send("one\rbob: two\r\r\n").await;
    for line in ["ann: one", "ann: bob: two", "ann: "] {
        bob.hear(line).await;
    }
}

/// Fault 24: Telnet commands are not text, and each offer is refused once.
#[tokio::test]
async fn telnet_commands_are_not_text() {
    let chat_harness = ChatHarness::open();
    let mut bob = chat_harness.enter("bob").await;
    let mut ann = chat_harness.knock(Role::User);
    ann.send(b"\xff\xfb\x1fa\xff\xfd\x01nn\r\0\n").await;
    bob.hear("*** ann joined the chat ***").await;
    ann.send(b"h\xff\xf1i\xff\xfa\x18\0xterm\xff\xf0!\r\n/quit\r\n").await;
    bob.hear("ann: hi!").await;
    let heard = ann.rest().await;
    let refusals: Vec<u8> = heard.iter().copied().filter(|&byte| byte >= 0xf0).collect();
    assert_eq!(refusals, [0xff, 0xfe, 0xff, 0xfc], "each offer is refused once: {heard:x?}");
    // On a telnet:// address, the server first asks for the width of the window. Its Telnet
    // commands are in the first line, with the prompt, which is therefore skipped below.
    let mut telnet = chat_harness.knock(Role::Telnet);
    telnet.send(b"\xff\xfb\x1f\xff\xfa\x1f\0\x14\0\x18\xff\xf0eve\r\n").await;
    bob.hear("*** ann left the chat ***").await;
    bob.hear("*** eve joined the chat ***").await;
    bob.say("a line that is longer than that window is wide").await;
    telnet.send("/quit\r\n").await;
    let heard = telnet.rest().await;
    assert!(heard.starts_with(b"\xff\xfd\x1f"), "{heard:x?}");
    let text = String::from_utf8_lossy(&heard);
    assert!(text.lines().skip(1).all(|line| line.len() <= 20), "{text}");
}

/// Fault 33: a user who does not read is told how many lines they missed, and is then disconnected.
/// The other users see the reason.
#[tokio::test(start_paused = true)]
async fn a_user_who_reads_nothing_misses_lines_and_leaves() {
    let mut chat_harness = ChatHarness::new(ChatSettings {
        log: LogLimits { lines: 10, ..LogLimits::default() },
        ..settings()
    });
    chat_harness.limits =
        Limits { stall_timeout: Some(Duration::from_secs(10)), ..chat_harness.limits };
    let mut ann = chat_harness.enter("ann").await;
    chat_harness.pipe = 64;
    let mut bob = chat_harness.enter("bob").await;
    ann.hear("*** bob joined the chat ***").await;
    for number in 0..100 {
        ann.say(&format!("line number {number}")).await;
    }
    // All lines were said while bob did not read. Then bob reads again.
    ann.ask("/users", "Online: ann, bob").await;
    let mut heard = Vec::new();
    while heard.last().is_none_or(|line| line != "ann: line number 99") {
        heard.push(bob.line().await);
    }
    let missed = heard.iter().find_map(|line| {
        let count = line.strip_prefix("*** ")?.strip_suffix(" lines missed ***")?;
        count.parse::<usize>().ok()
    });
    assert_eq!(missed.unwrap() + heard.len() - 1, 100, "{heard:?}");
    for number in 0..100 {
        ann.say(&format!("line number {number}")).await;
    }
    ann.hear("*** bob left the chat (read nothing for 10 s) ***").await;
    ann.ask("/users", "Online: ann").await;
}

/// Fault 58: if the clock is set back, the order of lines is unchanged.
#[tokio::test]
async fn a_clock_that_jumps_does_not_change_the_order() {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NOW: AtomicU64 = AtomicU64::new(5_000);
    let clock = || NOW.load(Ordering::Relaxed);
    let chat_harness = ChatHarness::new(ChatSettings { clock, ..settings() });
    let mut program = chat_harness.program(r#"{"name": "ci"}"#).await;
    let mut times = vec![time_of(&program.line().await)];
    for now in [9_000, 1_000, 0, u64::MAX / 2, 7] {
        NOW.store(now, Ordering::Relaxed);
        program.say(r#"{"say": "tick"}"#).await;
        times.push(time_of(&program.line().await));
    }
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
}

fn time_of(line: &str) -> u64 {
    serde_json::from_str::<serde_json::Value>(line).unwrap()["time_ms"].as_u64().unwrap()
}

/// Fault 60: after a user has left, nothing of their state remains.
#[tokio::test(start_paused = true)]
async fn no_state_of_a_user_is_left_over() {
    let chat_harness = ChatHarness::open();
    let mut stayed = chat_harness.enter("stayed").await;
    for round in 0..200 {
        let mut guest = chat_harness.knock(Role::User);
        guest.send(&b"ann\nhello\n/join den\nthere\n"[..[0, 2, 4, 9, 25][round % 5]]).await;
        tokio::task::yield_now().await;
        drop(guest.stream);
        let _ = guest.session.await.unwrap();
    }
    assert_eq!(chat_harness.chat.people(), 1);
    stayed.say("/rooms").await;
    while stayed.line().await != "lobby (1)" {}
}

/// Issue 11, item 11: a new member sees the said lines, even if many users came and left. A
/// terminal that shows numbers shows every line.
#[tokio::test]
async fn regression_a_newcomer_sees_the_said_lines() {
    let chat_harness = ChatHarness::new(ChatSettings { replay: 2, ..settings() });
    let mut ann = chat_harness.enter("ann").await;
    ann.say("one").await;
    for visit in 0..30 {
        if visit == 15 {
            ann.say("/me counts").await;
        }
        let mut guest = chat_harness.knock(Role::User);
        guest.say(&format!("guest{visit}")).await;
        ann.hear(&format!("*** guest{visit} joined the chat ***")).await;
        guest.say("/quit").await;
        guest.rest().await;
        ann.hear(&format!("*** guest{visit} left the chat ***")).await;
    }
    let mut bob = chat_harness.knock(Role::User);
    bob.ask("bob", "Enter your name: --- 2 earlier lines ---").await;
    for line in ["ann: one", "* ann counts", "*** bob joined the chat ***"] {
        bob.hear(line).await;
    }
    bob.say("three").await;
    ann.hear("*** bob joined the chat ***").await;
    ann.hear("bob: three").await;
    bob.ask("/users", "Online: ann, bob").await;
    // With numbers, no line is left out: a gap in the numbers would look like a missed line.
    ann.ask("/numbers on", "*** numbers on ***").await;
    ann.ask("/join den", "*** You are now talking in den: no one else is here ***").await;
    ann.hear_of("restores this session and your operator rights ***").await;
    ann.hear("#1 *** ann joined the chat ***").await;
    ann.ask("/leave lobby", "*** You left lobby and are now talking in den ***").await;
    ann.ask("/join lobby", "*** You are now talking in lobby: 2 users ***").await;
    ann.hear("--- 34 earlier lines ---").await;
    for number in 33..=67 {
        ann.hear_of(&format!("#{number} ")).await;
    }
    ann.ask("/users", "Online: bob, ann").await;
}

/// If a user types `/quit` right after the name or after `/join`, the user still sees the earlier
/// lines that were announced.
#[tokio::test]
async fn shows_the_earlier_lines_to_a_user_who_quits_at_once() {
    let chat_harness = ChatHarness::new(ChatSettings { replay: 2, ..settings() });
    let mut ann = chat_harness.enter("ann").await;
    ann.say("one").await;
    ann.say("two").await;
    let mut bob = chat_harness.knock(Role::User);
    bob.send("bob\r\n/quit\r\n").await;
    bob.hear("Enter your name: --- 2 earlier lines ---").await;
    bob.hear("ann: one").await;
    bob.hear("ann: two").await;
    bob.hear("*** bob joined the chat ***").await;
    assert_eq!(bob.rest().await, b"");

    ann.hear("*** bob joined the chat ***").await;
    ann.hear("*** bob left the chat ***").await;
    ann.ask("/join den", "*** You are now talking in den: no one else is here ***").await;
    ann.hear_of("restores this session").await;
    ann.hear("*** ann joined the chat ***").await;
    ann.say("three").await;
    let mut bob = chat_harness.knock(Role::User);
    bob.send("bob\r\n/join den\r\n/quit\r\n").await;
    bob.hear("Enter your name: --- 2 earlier lines ---").await;
    for line in ["ann: one", "ann: two", "*** bob joined the chat ***"] {
        bob.hear(line).await;
    }
    bob.hear("*** You are now talking in den: 2 users ***").await;
    bob.hear("--- 2 earlier lines ---").await;
    for line in ["*** ann joined the chat ***", "ann: three", "*** bob joined the chat ***"] {
        bob.hear(line).await;
    }
    bob.hear_of("restores your session").await;
    assert_eq!(bob.rest().await, b"");
}

/// Fault 54: a panic ends only its own session. The user is told, and the name becomes free.
#[tokio::test]
async fn a_panic_ends_one_session() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static BROKEN: AtomicBool = AtomicBool::new(false);
    let clock = || match BROKEN.swap(false, Ordering::Relaxed) {
        false => 1_000_000,
        true => panic!("this test lets the clock panic once"),
    };
    let chat_harness = ChatHarness::new(ChatSettings { clock, ..settings() });
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    for round in 0..20 {
        BROKEN.store(true, Ordering::Relaxed);
        bob.say("boom").await;
        assert_eq!(bob.rest().await, b"Server error. Goodbye!\r\n");
        assert!(bob.session.await.unwrap_err().is_panic(), "round {round}");
        ann.hear("*** bob left the chat ***").await;
        ann.ask("/users", "Online: ann").await;
        bob = chat_harness.enter("bob").await;
        ann.hear("*** bob joined the chat ***").await;
    }
    assert_eq!(chat_harness.chat.people(), 2);
}
