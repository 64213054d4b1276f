//! Tests of the bytes that terminals, programs and pages send, and of the lines that result.

use echoline_chat::Role;

use crate::chat_harness::ChatHarness;

/// Issue 11, item 10: no separator of lines joins words, for any kind of client. A program can say
/// several lines at once. In all other cases, input with separators is refused.
#[tokio::test]
async fn regression_no_separator_of_lines_joins_words() {
    let chat_harness = ChatHarness::open();
    let mut ann = chat_harness.enter("ann").await;
    let mut ci = chat_harness.program(r#"{"name": "ci"}"#).await;
    ci.hear_of("joined").await;
    ann.hear("*** ci joined the chat ***").await;
    // Each separator is sent escaped and unescaped. Scripts may paste unescaped characters,
    // although JSON does not allow them.
    for separator in [
        r"\n", r"\r", r"\r\n", r"\u0085", r"\u000b", r"\f", r"\u2028", r"\u2029", "\u{85}",
        "\u{2028}", "\u{2029}", "\x0b", "\x0c",
    ] {
        ci.say(&format!(r#"{{"say": "two{separator}  lines{separator}"}}"#)).await;
        ann.hear("ci: two").await;
        ann.hear("ci:   lines").await;
        ci.hear_of(r#""text":"two""#).await;
        ci.hear_of(r#""text":"  lines""#).await;
        for command in ["/me ", "/msg ann ", "/topic ", "/away ", "/quit ", "/nick ", ""] {
            ci.say(&format!(r#"{{"do": "{command}two{separator}lines"}}"#)).await;
            ci.hear_of(r#""text":"A \"do\" has one line"#).await;
        }
    }
    let mut page = chat_harness.knock(Role::Web);
    page.say(r#"{"name": "pat"}"#).await;
    for kind in ["welcome", "seats", "joined"] {
        page.hear_of(&format!(r#""kind":"{kind}""#)).await;
    }
    ann.hear("*** pat joined the chat ***").await;
    page.say(r#"{"say": "two\nlines"}"#).await;
    page.hear_of(r#""kind":"refused""#).await;
    for separator in ["\x0b", "\x0c", "\u{85}", "\u{2028}", "\u{2029}"] {
        for command in ["", "/me ", "/msg ci ", "/topic ", "/quit "] {
            let refusal =
                "*** Not sent: the line contains a line separator; send each line separately ***";
            ann.ask(&format!("{command}two{separator}lines"), refusal).await;
        }
        let mut stranger = chat_harness.knock(Role::User);
        stranger.say(&format!("two{separator}lines")).await;
        stranger.hear_of("'two lines' has a space").await;
    }
    for hello in [r#"{"name": "two\nlines"}"#, r#"{"name": "eve", "rooms": ["two\u2028lines"]}"#] {
        let mut stranger = chat_harness.knock(Role::Bot);
        stranger.say(hello).await;
        stranger.hear_of("'two lines' has a").await;
    }
}

/// Issue 11, item 15: for a client in character mode, the line that is said is the line that the
/// user sees.
#[tokio::test]
async fn regression_a_terminal_in_character_mode_is_understood() {
    let chat_harness = ChatHarness::open();
    let mut bob = chat_harness.enter("bob").await;
    let mut ann = chat_harness.knock(Role::User);
    ann.send(b"\x08annx\x08\r\0").await;
    ann.hear("Enter your name: *** ann joined the chat ***").await;
    bob.hear("*** ann joined the chat ***").await;
    for (typed, line) in [
        (&b"helo\x7flo\r\0"[..], "hello"),
        (b"helo\x7flo\r", "hello"),
        (b"h\xd0\xb9\x7fi\r\n", "hi"),
        (b"\x7f\x7fhi\n", "hi"),
        (b"no\x15hi you\x17all\n", "hi all"),
        (b"hx\xff\xf7i\r\0", "hi"),
        (b"a\tb \t c \r\0", "a\tb \t c"),
        (b" \t indented\r\0", "indented"),
        (b"/me\twaves\x08\r\0", ""),
    ] {
        ann.send(typed).await;
        match line {
            "" => bob.hear("* ann wave").await,
            line => bob.hear(&format!("ann: {line}")).await,
        }
    }
    // The two bytes of one line end arrive in two packets.
    for _ in 0..3 {
        ann.send(b"one\r").await;
        bob.hear("ann: one").await;
        ann.send(b"\n").await;
        tokio::task::yield_now().await;
    }
    ann.send(b"\r\r\0\n").await;
    bob.hear("ann: ").await;
    bob.hear("ann: ").await;
    ann.ask("/users", "Online: bob, ann").await;
}

/// Issue 11, item 15: programs and pages keep their indentation. A terminal's indentation is
/// removed.
#[tokio::test]
async fn regression_programs_keep_their_indentation() {
    let chat_harness = ChatHarness::open();
    let mut ann = chat_harness.enter("ann").await;
    let mut ci = chat_harness.program(r#"{"name": "ci"}"#).await;
    ann.hear("*** ci joined the chat ***").await;
    for (sent, line) in [
        (r#"{"say": "\tif x:\t# y "}"#, "\tif x:\t# y"),
        (r#"{"say": "    return"}"#, "    return"),
        ("{\"say\": \"raw\ttab\"}", "raw\ttab"),
        (r#"{"do": "  no command"}"#, "  no command"),
        (r#"{"say": "  /quit"}"#, "  /quit"),
    ] {
        ci.say(sent).await;
        ann.hear(&format!("ci: {line}")).await;
    }
    ci.say(r#"{"do": "  /me waves"}"#).await;
    ann.hear("* ci waves").await;
}
