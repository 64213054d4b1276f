//! Tests of all forms of each command.

use proptest::prelude::*;

use super::*;
use crate::command::CommandError;
use crate::text::is_clean;

fn error(line: &str) -> String {
    Command::parse(line).unwrap_err().to_string()
}

#[test]
fn text_without_a_command_is_said() {
    for line in ["", "hello /me", "привет", "1 / 2"] {
        assert_eq!(Command::parse(line), Ok(Command::Say(line)));
    }
    assert_eq!(Command::parse("//etc/hosts"), Ok(Command::Say("/etc/hosts")));
    assert_eq!(Command::parse("//"), Ok(Command::Say("/")));
}

#[test]
fn parses_every_form_of_every_command() {
    use Command as C;
    let minutes = |count: u64| Some(Duration::from_secs(60 * count));
    let network = BanTarget::Network("192.0.2.0/24".parse().unwrap());
    for (line, command) in [
        ("/me waves", C::Me("waves")),
        ("/MSG anna  hi  there", C::Message { to: "anna", words: "hi  there" }),
        ("/reply yes", C::Reply("yes")),
        ("/users", C::Users(None)),
        ("/Users garden", C::Users(Some("garden"))),
        ("/whois anna", C::Whois("anna")),
        ("/rooms", C::Rooms),
        ("/join #garden", C::Join { room: "#garden", password: None }),
        ("/join a b", C::Join { room: "a", password: Some(CommandSecret::new("b")) }),
        ("/leave", C::Leave(None)),
        ("/leave a", C::Leave(Some("a"))),
        ("/topic", C::Topic(None)),
        ("/topic a b", C::Topic(Some("a b"))),
        ("/nick bob", C::Nick("bob")),
        ("/history", C::History(None)),
        ("/history 5", C::History(Some(Passage::Last(5)))),
        ("/history 2-5", C::History(Some(Passage::Between { from: 2, to: 5 }))),
        ("/search a b", C::Search("a b")),
        ("/quote 133", C::Quote(133)),
        ("/delete 133", C::Delete(133)),
        ("/ignore", C::Ignore(None)),
        ("/ignore bob", C::Ignore(Some("bob"))),
        ("/unignore bob", C::Unignore("bob")),
        ("/away", C::Away(None)),
        ("/away at lunch", C::Away(Some("at lunch"))),
        ("/numbers ON", C::Numbers(Switch::On)),
        ("/times off", C::Times(Switch::Off)),
        ("/quiet on", C::Quiet(Switch::On)),
        ("/lag", C::Lag),
        ("/token", C::Token),
        ("/resume ab12-cd34", C::Resume(CommandSecret::new("ab12-cd34"))),
        ("/help", C::Help(None)),
        ("/help msg", C::Help(Some("msg"))),
        ("/quit", C::Quit(None)),
        ("/quit good bye", C::Quit(Some("good bye"))),
        ("/oper long pass word", C::Oper(CommandSecret::new("long pass word"))),
        ("/op a", C::Op("a")),
        ("/deop a", C::Deop("a")),
        ("/kick a", C::Kick { name: "a", words: None }),
        ("/kick a b c", C::Kick { name: "a", words: Some("b c") }),
        ("/ban a", C::Ban { target: BanTarget::Name("a"), length: None, words: None }),
        (
            "/ban 192.0.2.9/24 10m too loud",
            C::Ban { target: network, length: minutes(10), words: Some("too loud") },
        ),
        (
            "/ban a too loud",
            C::Ban { target: BanTarget::Name("a"), length: None, words: Some("too loud") },
        ),
        ("/unban 192.0.2.0/24", C::Unban(network)),
        ("/bans", C::Bans(None)),
        ("/bans 51", C::Bans(Some(51))),
        ("/mute a", C::Mute { name: "a", length: None }),
        ("/mute a 2h", C::Mute { name: "a", length: minutes(120) }),
        ("/unmute a", C::Unmute("a")),
        ("/invite a", C::Invite("a")),
        ("/private on", C::Private(Switch::On)),
        ("/password off", C::Password(None)),
        ("/password hunter2", C::Password(Some(CommandSecret::new("hunter2")))),
        ("/forget a", C::Forget { room: "a", is_sure: false }),
        ("/forget #a YES", C::Forget { room: "#a", is_sure: true }),
        ("/audit", C::Audit(None)),
        ("/audit 50", C::Audit(Some(50))),
    ] {
        assert_eq!(Command::parse(line), Ok(command), "{line}");
    }
}

#[test]
fn an_error_shows_the_right_usage() {
    assert_eq!(
        error("/msg anna"),
        "Wrong arguments for /msg: type /msg NAME WORDS, for example /msg anna hello"
    );
    for line in [
        "/me",
        "/msg",
        "/reply",
        "/join",
        "/join a b c",
        "/nick",
        "/nick a b",
        "/rooms all",
        "/history x",
        "/history 3-2",
        "/quote",
        "/quote 0",
        "/delete",
        "/delete 0",
        "/delete 1 2",
        "/numbers",
        "/numbers maybe",
        "/quiet on off",
        "/lag 1",
        "/resume",
        "/oper",
        "/kick",
        "/ban",
        "/ban 1.2.3.4/40",
        "/mute a soon",
        "/mute a 10m x",
        "/password",
        "/password a b",
        "/audit 0",
        "/forget",
        "/forget a no",
        "/bans 0",
    ] {
        let parsed = Command::parse(line);
        assert!(matches!(parsed, Err(CommandError::Usage { .. })), "{line}: {parsed:?}");
    }
}

/// Issue 11, item 12: an invalid duration never bans or mutes for ever.
#[test]
fn regression_a_wrong_duration_is_refused_with_usage() {
    assert_eq!(
        error("/ban troll 10 spam"),
        "'10' is not a duration: type /ban NAME|ADDRESS [DURATION] [WORDS], \
         with 10m, 2h, 1h30m, 3 days, 1w or forever"
    );
    for line in [
        "/ban a 0m",
        "/ban a 9999d",
        "/ban a 10",
        "/ban a -1d",
        "/ban a 1h30 spam",
        "/ban 192.0.2.0/24 10 spam",
        "/ban 2001:db8::/64 1.5h",
        "/mute a 10",
        "/mute a 10minuts",
        "/mute a 99999999999999999999w",
    ] {
        let parsed = Command::parse(line);
        assert!(matches!(parsed, Err(CommandError::Duration { .. })), "{line}: {parsed:?}");
    }
    let seconds = |line| match Command::parse(line) {
        Ok(Command::Ban { length, .. } | Command::Mute { length, .. }) => {
            length.map(|length| length.as_secs())
        }
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(seconds("/ban troll 1w spam"), Some(7 * 86400));
    assert_eq!(seconds("/ban 192.0.2.0/24 10min spam"), Some(600));
    assert_eq!(seconds("/mute troll 3 days"), Some(3 * 86400));
    assert_eq!(seconds("/ban troll forever 3 times warned"), None);
    assert_eq!(error("/kick a 10m"), CommandError::KickDuration.to_string());
    assert!(Command::parse("/kick a 3 times warned").is_ok());
}

#[test]
fn an_unknown_command_names_the_nearest() {
    for (line, nearest) in [
        ("/joim", "join"),
        ("/hlep", "help"),
        ("/user", "users"),
        ("/QIUT", "quit"),
        ("/mgs anna x", "msg"),
        ("/histroy", "history"),
        ("/unbann x", "unban"),
    ] {
        let sentence = error(line);
        assert!(sentence.contains(&format!("Did you mean /{nearest}?")), "{sentence}");
    }
    assert_eq!(error("/etc/passwd"), "There is no /etc/passwd. /help lists all.");
    assert_eq!(error("/xyzzy"), "There is no /xyzzy. /help lists all.");
    let no_name = "A command needs a name after the /: /help lists them, and //text says /text";
    assert_eq!((error("/").as_str(), error("/ me").as_str()), (no_name, no_name));
}

/// Issue 11, item 19: command names of other chats work, or their error names the right command.
#[test]
fn regression_command_names_of_other_chats_work() {
    for (word, command) in [
        ("/part garden", "/leave garden"),
        ("/PART", "/leave"),
        ("/who", "/users"),
        ("/names garden", "/users garden"),
        ("/list", "/rooms"),
        ("/tell bob hi there", "/msg bob hi there"),
        ("/w bob hi", "/msg bob hi"),
        ("/pm bob hi", "/msg bob hi"),
        ("/r yes", "/reply yes"),
        ("/j garden", "/join garden"),
        ("/bye good night", "/quit good night"),
        ("/exit", "/quit"),
        ("/q", "/quit"),
        ("/?", "/help"),
        ("/name eve", "/nick eve"),
        ("/afk lunch", "/away lunch"),
    ] {
        assert_eq!(Command::parse(word), Command::parse(command), "{word}");
        assert!(Command::parse(word).is_ok(), "{word}");
    }
    for (word, hint) in [
        ("/clear", "There is no /clear. Clear the screen with your terminal"),
        ("/back", "/away without words"),
        ("/say hi", "Type your message without /say"),
        ("/login ann secret", "There are no accounts: /token"),
        ("/tell bob", "type /msg NAME WORDS"),
        ("/nmaes", "Did you mean /users?"),
        ("/whispr bob hi", "Did you mean /msg?"),
        ("/x", "There is no /x. /help lists all."),
    ] {
        let sentence = error(word);
        assert!(sentence.contains(hint), "{word}: {sentence}");
    }
}

/// Issue 11, item 9: a flood mute refuses every command that shows text to other users, including
/// `/quote`. It refuses no other command.
#[test]
fn regression_a_muted_user_cannot_quote() {
    for line in ["hi", "//x", "/me x", "/msg a x", "/reply x", "/quote 3", "/topic x", "/nick x"] {
        assert!(Command::parse(line).unwrap().speaks(), "{line}");
    }
    for line in ["/topic", "/help", "/history", "/users", "/join a", "/leave", "/delete 3"] {
        assert!(!Command::parse(line).unwrap().speaks(), "{line}");
    }
}

#[test]
fn operators_have_commands_of_their_own() {
    assert!(Command::parse("/kick a").unwrap().needs_operator());
    assert!(!Command::parse("/oper secret").unwrap().needs_operator());
    assert!(!Command::parse("/me waves").unwrap().needs_operator());
}

#[test]
fn no_secret_is_printed() {
    for line in ["/oper hunter2", "/join a hunter2", "/password hunter2", "/resume hunter2"] {
        assert!(!format!("{:?}", Command::parse(line)).contains("hunter2"), "{line}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics_and_errors_are_short(line in "/?\\PC{0,300}") {
        if let Err(error) = Command::parse(&line) {
            let sentence = error.to_string();
            prop_assert!(is_clean(&sentence) && sentence.chars().count() < 160, "{}", sentence);
        }
    }

    /// Issue 11, item G: a shortened word is clean, even if joiners connect its characters.
    #[test]
    fn regression_a_sentence_with_a_cut_word_is_clean(
        line in "/(ban a )?[0aی\u{200c}\u{200d}क\u{94d}👩]{20,60}",
    ) {
        if let Err(error) = Command::parse(&line) {
            prop_assert!(is_clean(&error.to_string()), "{}", error);
        }
    }

    #[test]
    fn a_line_without_a_slash_is_said(line in "[^/]\\PC{0,80}") {
        prop_assert_eq!(Command::parse(&line), Ok(Command::Say(&line)));
    }
}
