//! Tests of floods against whole chats with the default limits. Each flood is refused within
//! seconds, and other sources are not affected.

use std::thread;
use std::time::{Duration, Instant};

use crate::source_harness::{Chat, Client, FLOOD, OTHER, PASSWORD};

/// The time limit for the refusal of a flood.
const STOPPED_WITHIN: Duration = Duration::from_secs(3);

/// Repeats `attempt`, which returns whether it was refused, until it is refused, but at most `most`
/// times. Returns the number of attempts that were not refused.
#[track_caller]
fn flood(most: usize, mut attempt: impl FnMut(usize) -> bool) -> usize {
    let start = Instant::now();
    let passed = (0..most).take_while(|&number| !attempt(number)).count();
    assert!(passed < most, "{most} attempts were not refused");
    assert!(start.elapsed() < STOPPED_WITHIN, "{passed} in {:?}", start.elapsed());
    passed
}

/// Returns whether the chat refuses a command of a program because of a rate limit. If not, the
/// answer must contain `words`.
fn is_refused(program: &mut Client, command: &str, words: &str) -> bool {
    program.say(&format!(r#"{{"do": "{command}"}}"#));
    let heard = program.hear_any(&[words, "wait_ms"]).expect("an answer");
    heard.contains("wait_ms")
}

/// Issue 12, item 4: clients that connect, give a name and leave again and again are refused after
/// the burst of names: first with a sentence, and later when they connect.
#[test]
fn attack_a_flood_of_logins_is_refused() {
    let chat = Chat::start(&[]);
    let mut resident = chat.enter(OTHER, "resident");
    let refused = ["Too many login attempts from your address; try again in"];
    let passed = flood(5100, |number| {
        let mut client = chat.connect(FLOOD);
        client.say(&format!("guest{number}"));
        client.say("/quit");
        client.hear_any(&refused).is_some()
    });
    assert!((300..330).contains(&passed), "{passed}");
    let connected = flood(2000, |_| {
        let mut client = chat.connect(FLOOD);
        client.say("guest");
        let heard = client.hear_any(&["Enter your name", "Too many connections"]);
        heard.is_none_or(|line| line.contains("Too many connections"))
    });
    assert!((250..400).contains(&connected), "{connected}");
    resident.say("still here");
    resident.ask("/users", "Online: ");
    let mut newcomer = chat.enter(OTHER, "newcomer");
    newcomer.ask("/users", "Online: ");
    resident.has_met_nothing();
    newcomer.has_met_nothing();
    assert!(chat.metric("echoline_source_refusals_total{action=\"logins\"}") > 0);
    assert!(chat.metric("echoline_source_refusals_total{action=\"connections\"}") > 0);
    assert_eq!(chat.metric("echoline_sources"), 2);
    assert_eq!(chat.metric("echoline_sources_penalised"), 1);
    assert!(chat.metric("echoline_closed_total{reason=\"source_rate\"}") > 0);
    // Each penalty is one line of the log.
    chat.program.wait_for_stderr("exceeded the rate of logins and is refused for ");
    chat.program.wait_for_stderr("exceeded the rate of connections and is refused for ");
    let log = chat.program.stderr();
    let penalties = log.lines().filter(|line| line.contains("exceeded the rate of")).count();
    assert!((2..10).contains(&penalties), "{log}");
    assert!(log.lines().filter(|line| line.contains("192.0.2.1")).count() < 2000, "{log}");
}

/// Issue 12, item 5: joining new rooms again and again is refused, while another source can create
/// a room.
#[test]
fn attack_a_flood_of_rooms_is_refused() {
    let chat = Chat::start(&[]);
    let mut program = chat.program(FLOOD, r#"{"name": "flood"}"#);
    let passed = flood(1000, |number| {
        let refused =
            is_refused(&mut program, &format!("/join r{number}"), "You are now talking in r");
        refused || is_refused(&mut program, "/leave", "and are now talking in lobby")
    });
    assert!((60..65).contains(&passed), "{passed}");
    let hello = format!(r#"{{"name": "more", "rooms": [{:?}]}}"#, "never");
    let mut more = chat.programs(FLOOD);
    more.say(&hello);
    more.hear("Too many new rooms from your address");
    let mut other = chat.enter(OTHER, "other");
    other.ask("/join garden", "You are now talking in garden");
    other.ask("/join never", "no one else is here");
    other.has_met_nothing();
}

/// Issue 12, item 6: trying a taken name again and again is refused, and the connection is closed.
#[test]
fn attack_a_flood_of_logins_with_a_taken_name_is_refused() {
    let chat = Chat::start(&[]);
    let _ann = chat.enter(OTHER, "ann");
    let mut client = chat.connect(FLOOD);
    let passed = flood(5000, |_| {
        client.say("ann");
        let heard =
            client.hear_any(&["is taken; choose another", "Too many login attempts"]).unwrap();
        heard.contains("Too many login attempts")
    });
    assert!((300..330).contains(&passed), "{passed}");
    for _ in 0..4 {
        client.say("ann");
    }
    let all: Vec<String> = std::iter::from_fn(|| client.line()).collect();
    assert!(all.last().unwrap().ends_with(" s. Goodbye! ***"), "{all:?}");
    let mut program = chat.programs(FLOOD);
    for _ in 0..5 {
        program.say(r#"{"name": "ann"}"#);
        let heard = program.hear("Too many login attempts from your address");
        assert!(heard.contains(r#""about":"wait""#) && heard.contains("wait_ms"), "{heard}");
    }
    program.hear(r#""kind":"end""#);
    assert_eq!(program.line(), None);
    chat.enter(OTHER, "bob").has_met_nothing();
}

/// Issue 12, item 7: of many guesses of the operators' password over many connections at once, five
/// are checked and the others refused. An operator at another address is not affected.
#[test]
fn attack_guesses_of_the_operator_password_are_refused() {
    let chat = Chat::start(&[]);
    let mut operator = chat.enter(OTHER, "oona");
    let wrong = "Wrong operator password";
    let refused = "Too many wrong operator passwords from your address";
    let start = Instant::now();
    let heard: Vec<String> = thread::scope(|scope| {
        let guess = |number: usize| {
            let mut client = chat.enter(FLOOD, &format!("guess{number}"));
            client.say(&format!("/oper guess number {number}"));
            client.hear_any(&[wrong, refused]).unwrap()
        };
        // All guesses are sent before the test waits for the first answer.
        #[expect(clippy::needless_collect, reason = "they run at the same time")]
        let guesses: Vec<_> = (0..20).map(|number| scope.spawn(move || guess(number))).collect();
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    assert!(start.elapsed() < STOPPED_WITHIN, "{:?}", start.elapsed());
    let checked = heard.iter().filter(|line| line.contains(wrong)).count();
    assert!((5..=6).contains(&checked), "{heard:?}");
    // During a penalty even the right password is refused, so that a guesser cannot recognise it.
    let mut right = chat.enter(FLOOD, "right");
    right.ask(&format!("/oper {PASSWORD}"), refused);
    operator.ask(&format!("/oper {PASSWORD}"), "You are now an operator");
    operator.has_met_nothing();
}

/// Issue 12: operators of the chat list the penalties and lift them, which the audit log records.
#[test]
fn operators_see_and_end_penalties() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let chat = Chat::start(&["--data", data, "--source-limit", "first-penalty 5m"]);
    let refused = "Too many wrong operator passwords from your address";
    let mut operator = chat.enter(OTHER, "oona");
    let mut right = chat.enter(FLOOD, "right");
    for _ in 0..5 {
        right.ask("/oper guessed wrong", "Wrong operator password");
    }
    right.ask(&format!("/oper {PASSWORD}"), refused);
    operator.ask("/penalties", "Only an operator can do that");
    operator.ask(&format!("/oper {PASSWORD}"), "You are now an operator");
    let listed = operator.ask("/penalties", "192.0.2.1: wrong-operator-passwords refused for ");
    assert!(listed.contains(" s more, level "), "{listed}");
    operator.ask("/penalties end 192.0.2.1", "*** 192.0.2.1 no longer has a penalty ***");
    operator.ask("/penalties", "No source has a penalty");
    operator.ask("/audit 5", "oona ended the penalties of 192.0.2.1");
    right.ask(&format!("/oper {PASSWORD}"), "You are now an operator");
    right.ask("/penalties end somewhere", "is not a source: write an address, an IPv6 network /64");
}

/// Issue 12, item 9: creating and guessing resume tokens again and again is refused. A user at
/// another source can still restore a session with a token.
#[test]
fn attack_a_flood_of_tokens_is_refused() {
    let chat = Chat::start(&[]);
    let mut other = chat.enter(OTHER, "other");
    let told = other.ask("/token", "/resume ");
    let token = told.split("/resume ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let passed = flood(5000, |number| {
        let mut client = chat.connect(FLOOD);
        client.say(&format!("guest{number}"));
        client.say("/token");
        client.say("/quit");
        client.hear_any(&["Too many"]).is_some()
    });
    assert!((290..330).contains(&passed), "{passed}");
    drop(other);
    let mut back = chat.connect(OTHER);
    back.say(&format!("/resume {token}"));
    back.hear("Back in lobby");
    back.has_met_nothing();
}

/// Issue 12, item 9: guessed resume tokens are refused before they are looked up.
#[test]
fn attack_guessed_tokens_are_refused() {
    let chat = Chat::start(&[]);
    let refused = "Too many wrong passwords or tokens from your address";
    let start = Instant::now();
    let heard: Vec<String> = thread::scope(|scope| {
        let guess = |number: usize| {
            let mut client = chat.programs(FLOOD);
            client.say(&format!(r#"{{"token": "abcd-efgh-{number:04}"}}"#));
            client.hear_any(&["is unknown or has expired", refused]).unwrap()
        };
        #[expect(clippy::needless_collect, reason = "they run at the same time")]
        let guesses: Vec<_> = (0..140).map(|number| scope.spawn(move || guess(number))).collect();
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    assert!(start.elapsed() < STOPPED_WITHIN, "{:?}", start.elapsed());
    let looked_up = heard.iter().filter(|line| line.contains("is unknown or has expired")).count();
    assert!((120..=121).contains(&looked_up), "{looked_up}");
}

/// Issue 12, item 3: the founder of a room who bans thousands is refused after the burst; another
/// founder can still ban.
#[test]
fn attack_a_flood_of_bans_is_refused() {
    let chat = Chat::start(&[]);
    let mut founder = chat.program(FLOOD, r#"{"name": "founder", "rooms": ["own"]}"#);
    let passed =
        flood(10_000, |number| is_refused(&mut founder, &format!("/ban b{number}"), "You banned"));
    assert!((120..125).contains(&passed), "{passed}");
    assert!(is_refused(&mut founder, "/invite founder", "may join"), "/invite is limited too");
    let mut other = chat.enter(OTHER, "other");
    other.ask("/join garden", "You are now talking in garden");
    other.ask("/ban mallory", "You banned mallory from garden");
    other.has_met_nothing();
}

/// Issue 12, item 13: a wrong password of a room costs 20 ms of a processor. Many of them over many
/// connections at the same time are refused.
#[test]
fn attack_guesses_of_a_room_password_are_refused() {
    let chat = Chat::start(&[]);
    let mut owner = chat.enter(OTHER, "owner");
    owner.ask("/join secret", "You are now talking in secret");
    owner.ask("/password sesame", "/join ROOM PASSWORD");
    let refused = "Too many wrong passwords or tokens from your address";
    let programs = (0..130).map(|number| format!(r#"{{"name": "guess{number}"}}"#));
    let mut programs: Vec<Client> = programs.map(|hello| chat.program(FLOOD, &hello)).collect();
    let start = Instant::now();
    for program in &mut programs {
        program.say(r#"{"do": "/join secret wrong"}"#);
    }
    let refusals = "echoline_source_refusals_total{action=\"wrong-passwords\"}";
    crate::programs::wait_for("refusals", || chat.metric(refusals) >= 9);
    assert!(start.elapsed() < STOPPED_WITHIN, "{:?}", start.elapsed());
    let mut late = chat.program(FLOOD, r#"{"name": "late"}"#);
    late.say(r#"{"do": "/join secret sesame"}"#);
    late.hear(refused);
    let mut guest = chat.enter(OTHER, "guest");
    guest.ask("/join secret sesame", "You are now talking in secret");
    guest.has_met_nothing();
}

/// Issue 12, item 13: searches, each of which reads the whole history, are refused after the burst.
/// Searches and lists that a page requests count too.
#[test]
fn attack_a_flood_of_searches_is_refused() {
    let chat = Chat::start(&[]);
    let mut program = chat.program(FLOOD, r#"{"name": "searcher"}"#);
    let passed = flood(1000, |_| is_refused(&mut program, "/search bees", "Nothing was found"));
    assert!((90..105).contains(&passed), "{passed}");
    for asked in ["people", "rooms", "history", "commands"] {
        program.say(&format!(r#"{{"ask": "{asked}"}}"#));
        let heard = program.hear("Too many searches and lists from your address; try again in");
        assert!(heard.contains(r#""about":"rate""#), "{heard}");
    }
    let mut other = chat.enter(OTHER, "other");
    other.ask("/search bees", "Nothing was found");
    other.ask("/rooms", "lobby (2)");
    other.has_met_nothing();
}
