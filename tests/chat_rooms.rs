//! Rooms, letters, keeping order, coming back, talking too fast, and programs: over pipes.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod flooding;
mod parlour;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use echoline::chat::{FloodLimits, Role, Settings};
use parlour::{Guest, Parlour, settings};
use tokio::time::Instant;

#[tokio::test]
async fn rooms_are_made_joined_and_left() {
    let parlour = Parlour::open();
    let [mut ann, mut bob] = parlour.all(["ann", "bob"]).await;
    ann.ask("/join den", "*** You speak in den now: nobody else is here ***").await;
    ann.hear_of("brings you back here, as an operator of this room ***").await;
    ann.hear("*** ann joined the chat ***").await;
    ann.say("alone").await;
    bob.ask("/join DEN", "*** You speak in den now: 2 people ***").await;
    bob.hear("*** bob joined the chat ***").await;
    ann.hear("*** bob joined the chat ***").await;
    bob.say("hi").await;
    ann.hear("bob: hi").await;
    ann.ask("/join lobby", "*** You speak in lobby now ***").await;
    bob.say("still here").await;
    ann.hear("[den] bob: still here").await;
    ann.say("both").await;
    bob.hear("[lobby] ann: both").await;
    ann.ask("/leave den", "*** You left den and speak in lobby now ***").await;
    bob.hear("*** ann left the chat ***").await;
    ann.ask("/leave", "*** You are in no other room; /quit leaves the chat ***").await;
    ann.ask("/leave attic", "*** You are not in attic ***").await;
    ann.ask("/users den", "Online in den: bob").await;
    ann.ask("/rooms", "lobby (2)").await;
    ann.hear("den (1)").await;
    ann.say("/join a!b").await;
    ann.hear_of("'a!b' has '!'").await;
    ann.ask("/users attic", "*** There is no room attic that you could look into ***").await;
}

#[tokio::test]
async fn commands_that_are_wrong_say_how_they_are_right() {
    let parlour = Parlour::open();
    let mut ann = parlour.enter("ann").await;
    for (line, words) in [
        ("/histroy", "Did you mean /history?"),
        ("/msg", "write /msg NAME WORDS, for example /msg anna hello"),
        ("/msg eve hi", "Nobody here is called eve"),
        ("/msg ann hi", "You need nobody"),
        ("/reply hi", "Nobody has written to you yet"),
        ("/nick", "write /nick NAME"),
        ("/nick a*b", "'a*b' has '*'"),
        ("/numbers maybe", "write /numbers on|off"),
        ("/history 0-x", "write /history"),
        ("/history 900-950", "There are no such lines"),
        ("/quote 99", "There is no line 99"),
        ("/search nothing", "Nothing was found"),
        ("/topic", "No topic is set"),
        ("/ignore", "You ignore nobody"),
        ("/ignore ann", "You cannot ignore yourself"),
        ("/unignore bob", "You do not ignore bob"),
        ("/kick bob", "Only an operator"),
        ("/ban bob", "Only an operator"),
        ("/lag", "Nobody is behind"),
        ("/help nonsense", "There is no /nonsense"),
        ("/resume aaaa-bbbb-cccc", "Say that in a new connection"),
        ("/op", "/op NAME"),
    ] {
        ann.say(line).await;
        let heard = ann.line().await;
        assert!(heard.contains(words), "{line}: {heard}");
    }
}

#[tokio::test]
async fn words_have_all_their_forms() {
    let parlour = Parlour::open();
    let [mut ann, mut bob] = parlour.all(["ann", "bob"]).await;
    ann.say("/me waves").await;
    bob.hear("* ann waves").await;
    ann.ask("/topic bees", "*** ann set the topic: bees ***").await;
    bob.hear("*** ann set the topic: bees ***").await;
    bob.ask("/topic", "*** Topic: bees ***").await;
    bob.ask("/topic -", "*** bob removed the topic ***").await;
    ann.hear("*** bob removed the topic ***").await;
    ann.ask("/msg bob psst", "[you -> bob] psst").await;
    bob.hear("[ann -> you] psst").await;
    bob.ask("/reply what?", "[you -> ann] what?").await;
    ann.hear("[bob -> you] what?").await;
    bob.say("/away lunch").await;
    bob.hear_of("lunch").await;
    ann.ask("/msg bob hey", "*** bob is away: lunch ***").await;
    ann.hear("[you -> bob] hey").await;
    bob.hear("[ann -> you] hey").await;
    bob.ask("/numbers on", "*** numbers on ***").await;
    ann.say("six").await;
    bob.hear("#6 ann: six").await;
    bob.say("own").await;
    bob.hear("#7 bob: own").await;
    ann.hear("bob: own").await;
    ann.ask("/quote 6", "> #6 ann: six").await;
    bob.hear("#8 ann: > #6 ann: six").await;
    bob.ask("/history 6-7", "#6 09:30 ann: six").await;
    bob.hear("#7 09:30 bob: own").await;
    bob.ask("/search SIX", "#6 09:30 ann: six").await;
    bob.hear("#8 09:30 ann: > #6 ann: six").await;
    bob.ask("/times on", "*** times on ***").await;
    ann.say("when").await;
    bob.hear("#9 09:30 ann: when").await;
    bob.say("/ignore ann").await;
    bob.hear_of("You do not see what ann says").await;
    ann.say("unheard").await;
    ann.ask("/msg bob unheard", "*** bob is away: lunch ***").await;
    ann.hear("[you -> bob] unheard").await;
    bob.ask("/users", "Online: ann, bob").await;
    ann.say("/quit see you").await;
    bob.hear("#11 09:30 *** ann left the chat (see you) ***").await;
}

/// Issue 11, item 14: the author deletes a line; the others and programs are told, and whoever
/// looks at it later reads `[deleted]` under its number.
#[tokio::test]
async fn regression_a_line_is_deleted_by_its_author() {
    let parlour = Parlour::open();
    let [mut ann, mut bob] = parlour.all(["ann", "bob"]).await;
    let mut bot = parlour.program(r#"{"name": "bot"}"#).await;
    bot.hear_of("bot").await;
    for guest in [&mut ann, &mut bob] {
        guest.hear("*** bot joined the chat ***").await;
    }
    ann.say("my secret").await;
    bob.hear("ann: my secret").await;
    bot.hear_of(r#""number":4"#).await;
    bob.ask("/delete 4", "*** Line 4 is not yours: only an operator can delete it ***").await;
    bob.ask("/delete 1", "*** Line 1 has no words that could be deleted ***").await;
    bob.ask("/delete 44", "*** There is no line 44 ***").await;
    bob.ask(
        "/delete",
        "*** That is not how /delete works: write /delete N, for example /delete \
        133 ***",
    )
    .await;
    ann.ask("/delete 4", "*** Line 4 was deleted by ann ***").await;
    bob.hear("*** Line 4 was deleted by ann ***").await;
    let told = bot.hear_of("Line 4 was deleted by ann").await;
    assert!(told.contains(r#""deleted":4"#) && told.contains(r#""kind":"notice""#), "{told}");
    ann.ask("/delete 4", "*** Line 4 is deleted already ***").await;
    bob.ask("/history 4-5", "#4 09:30 ann: [deleted]").await;
    bob.hear("#5 09:30 *** Line 4 was deleted by ann ***").await;
    bob.ask("/search secret", "*** Nothing was found ***").await;
    bob.ask("/quote 4", "> #4 ann: [deleted]").await;
    ann.hear("bob: > #4 ann: [deleted]").await;
    bot.hear_of("bob").await;
    bot.say(r#"{"ask": "history", "before": 5, "count": 1}"#).await;
    bot.hear_of(r#""kind":"said","name":"ann","number":4,"text":"[deleted]""#).await;
}

/// Issue 11, item 14: an operator deletes any line, which is written down without its words. Who
/// came back with a token still has the lines of the connection before.
#[tokio::test(start_paused = true)]
async fn regression_a_line_is_deleted_by_an_operator_or_after_a_resume() {
    let parlour = Parlour::new(Settings { replay: 10, ..settings() });
    let (mut ann, _) = enter_past_replay(&parlour, "ann").await;
    let (mut bob, _) = enter_past_replay(&parlour, "bob").await;
    ann.hear("*** bob joined the chat ***").await;
    bob.say("something bad").await;
    bob.say("something else").await;
    ann.hear("bob: something bad").await;
    ann.hear("bob: something else").await;
    ann.say("/oper open sesame").await;
    ann.hear_of("You are an operator").await;
    ann.ask("/delete 3", "*** Line 3 was deleted by ann ***").await;
    bob.hear("*** Line 3 was deleted by ann ***").await;
    ann.ask("/audit", "tomorrow ann became an operator").await;
    ann.hear("tomorrow ann deleted line 3 of lobby").await;
    bob.say("/token").await;
    let token = loop {
        let line = bob.line().await;
        if line.contains("brings you back here") {
            break line;
        }
    };
    let token = token.split(' ').nth(2).unwrap().to_owned();
    let mut again = parlour.knock(Role::Person);
    again.say(&format!("/resume {token}")).await;
    loop {
        let line = again.line().await;
        if line.contains("bob joined the chat") {
            break;
        }
    }
    again.ask("/delete 4", "*** Line 4 was deleted by bob ***").await;
    let (_cat, heard) = enter_past_replay(&parlour, "cat").await;
    assert_eq!(heard.iter().filter(|line| *line == "bob: [deleted]").count(), 2, "{heard:?}");
}

/// Issue 11, item 16: `/history`, `/search` and the lines that a newcomer is shown say of which day
/// they are; what is said now has nothing before it.
#[tokio::test]
async fn regression_lines_of_other_days_show_their_date() {
    static DAY: AtomicU64 = AtomicU64::new(1);
    let clock = || DAY.load(Ordering::Relaxed) * 86_400_000;
    let date = |time_ms| format!("day {}", time_ms / 86_400_000);
    let parlour = Parlour::new(Settings { replay: 10, clock, date, ..settings() });
    let (mut ann, heard) = enter_past_replay(&parlour, "ann").await;
    assert_eq!(heard, ["Enter your name: *** ann joined the chat ***"]);
    ann.ask("/topic bees", "*** ann set the topic: bees ***").await;
    DAY.store(3, Ordering::Relaxed);
    ann.ask("/topic wasps", "*** ann set the topic: wasps ***").await;
    DAY.store(4, Ordering::Relaxed);
    let (mut bob, heard) = enter_past_replay(&parlour, "bob").await;
    let expected = [
        "Enter your name: --- the 3 lines before ---",
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

/// Somebody comes in; what they are shown of the past.
async fn enter_past_replay(parlour: &Parlour, name: &str) -> (Guest, Vec<String>) {
    let mut guest = parlour.knock(Role::Person);
    guest.say(name).await;
    let mut heard = vec![guest.line().await];
    while !heard.iter().any(|line| line.contains(&format!("{name} joined the chat"))) {
        heard.push(guest.line().await);
    }
    (guest, heard)
}

async fn operator(parlour: &Parlour, name: &str) -> Guest {
    let mut guest = parlour.enter(name).await;
    guest.say("/oper open sesame").await;
    guest.hear_of("You are an operator").await;
    guest
}

#[tokio::test(start_paused = true)]
async fn operators_keep_order() {
    let parlour = Parlour::open();
    let mut oper = operator(&parlour, "olga").await;
    let mut bob = parlour.enter("bob").await;
    oper.hear("*** bob joined the chat ***").await;
    oper.ask("/mute bob 1m", "*** You muted bob in lobby until tomorrow ***").await;
    bob.hear("*** You were muted in lobby ***").await;
    bob.ask("hi", "*** You may not speak in this room until tomorrow ***").await;
    bob.say("/topic x").await;
    bob.hear_of("You may not speak").await;
    bob.ask("/nick rob", "*** bob is now rob ***").await;
    oper.hear("*** bob is now rob ***").await;
    bob.say("under another name").await;
    bob.hear_of("You may not speak in this room").await;
    oper.ask("/unmute rob", "*** You unmuted rob in lobby ***").await;
    bob.hear("*** You were unmuted in lobby ***").await;
    bob.say("hi").await;
    oper.hear("rob: hi").await;
    oper.ask("/kick rob calm down", "*** rob is out of lobby ***").await;
    oper.hear("*** rob left the chat (kicked by olga: calm down) ***").await;
    let last = String::from_utf8(bob.rest().await).unwrap();
    assert!(last.contains("You were kicked from lobby by olga: calm down"), "{last}");
    oper.say("/ban mallory 2h spam").await;
    oper.hear_of("You banned mallory from the chat").await;
    oper.hear_of("That holds for the name only").await;
    let mut mallory = parlour.knock(Role::Person);
    mallory.say("Mallory").await;
    mallory.hear_of("You are banned from this chat").await;
    oper.say("/bans").await;
    oper.hear_of("mallory, until tomorrow, by olga spam").await;
    oper.say("/unban mallory").await;
    oper.hear_of("may come to the chat again").await;
    oper.say("/audit 3").await;
    oper.hear_of("olga kicked rob from lobby: calm down").await;
    oper.hear_of("olga banned mallory from the chat until tomorrow spam").await;
    oper.hear_of("lifted the ban").await;
    mallory.ask("mallory", "Enter your name: *** mallory joined the chat ***").await;
    mallory.say("/oper open sesamE").await;
    mallory.hear_of("That is not the operators' password").await;
}

/// Who was sent out hears nothing more of the room, and can do nothing more in it.
#[tokio::test]
async fn who_is_out_is_out_at_once() {
    let parlour = Parlour::open();
    let [mut ann, mut bob] = parlour.all(["ann", "bob"]).await;
    ann.ask("/join den", "*** You speak in den now: nobody else is here ***").await;
    ann.hear_of("brings you back here, as an operator of this room ***").await;
    ann.hear("*** ann joined the chat ***").await;
    bob.ask("/join den", "*** You speak in den now: 2 people ***").await;
    bob.hear("*** bob joined the chat ***").await;
    ann.hear("*** bob joined the chat ***").await;
    ann.ask("/op bob", "*** bob is an operator of den ***").await;
    bob.hear("*** You are an operator of den ***").await;
    // Both act before either session has heard of the other's doing.
    ann.send("/kick bob\n/users\n").await;
    ann.hear("*** bob is out of den ***").await;
    ann.hear("*** bob left the chat (kicked by ann) ***").await;
    ann.hear("Online: ann").await;
    bob.hear("*** You were kicked from den by ann ***").await;
    bob.ask("/kick ann", "*** Only an operator can do that ***").await;
    ann.say("in private").await;
    bob.ask("/users", "Online: ann, bob").await;
    bob.ask("/join den", "*** You speak in den now: 2 people ***").await;
}

#[tokio::test]
async fn rooms_can_be_closed() {
    let parlour = Parlour::open();
    let [mut ann, mut bob] = parlour.all(["ann", "bob"]).await;
    ann.ask("/join den", "*** You speak in den now: nobody else is here ***").await;
    ann.hear_of("brings you back here, as an operator of this room ***").await;
    ann.hear("*** ann joined the chat ***").await;
    ann.say("/private on").await;
    ann.hear_of("Only who is invited").await;
    bob.ask("/join den", "*** Only who is invited can join den ***").await;
    bob.ask("/rooms", "lobby (2)").await;
    let mut program = parlour.knock(Role::Bot);
    program.say(r#"{"name": "spy", "rooms": ["den"]}"#).await;
    program.hear_of("welcome").await;
    let told = program.line().await;
    assert!(!told.contains("\"room\":\"den\""), "{told}");
    bob.hear("*** spy joined the chat ***").await;
    ann.hear("[lobby] *** spy joined the chat ***").await;
    ann.ask("/invite bob", "*** bob may join den ***").await;
    bob.hear("*** ann invites you: /join den ***").await;
    bob.ask("/join den", "*** You speak in den now: 2 people ***").await;
    bob.hear("*** bob joined the chat ***").await;
    ann.hear("*** bob joined the chat ***").await;
    ann.say("/private off").await;
    ann.hear_of("Everybody can join").await;
    ann.say("/password hunter22").await;
    ann.hear_of("is how to get in now").await;
    let mut eve = parlour.enter("eve").await;
    eve.ask("/join den", "*** den has a password: /join den PASSWORD ***").await;
    eve.ask("/join den hunter2", "*** den has a password: /join den PASSWORD ***").await;
    eve.ask("/join den hunter22", "*** You speak in den now: 3 people ***").await;
}

/// The operator of a room keeps people out of that room, and of no other.
/// Issue 11, item 11: a newcomer sees what was said, however many came and went. Who sees numbers
/// sees all of them.
#[tokio::test]
async fn regression_a_newcomer_sees_what_was_said() {
    let parlour = Parlour::new(Settings { replay: 2, ..settings() });
    let mut ann = parlour.enter("ann").await;
    ann.say("one").await;
    for visit in 0..30 {
        if visit == 15 {
            ann.say("/me counts").await;
        }
        let mut guest = parlour.knock(Role::Person);
        guest.say(&format!("guest{visit}")).await;
        ann.hear(&format!("*** guest{visit} joined the chat ***")).await;
        guest.say("/quit").await;
        guest.rest().await;
        ann.hear(&format!("*** guest{visit} left the chat ***")).await;
    }
    let mut bob = parlour.knock(Role::Person);
    bob.ask("bob", "Enter your name: --- the 2 lines before ---").await;
    for line in ["ann: one", "* ann counts", "*** bob joined the chat ***"] {
        bob.hear(line).await;
    }
    bob.say("three").await;
    ann.hear("*** bob joined the chat ***").await;
    ann.hear("bob: three").await;
    bob.ask("/users", "Online: ann, bob").await;
    // The same lines with their numbers: none is left out, so that none is missed without a word.
    ann.ask("/numbers on", "*** numbers on ***").await;
    ann.ask("/join den", "*** You speak in den now: nobody else is here ***").await;
    ann.hear_of("brings you back here, as an operator of this room ***").await;
    ann.hear("#1 *** ann joined the chat ***").await;
    ann.ask("/leave lobby", "*** You left lobby and speak in den now ***").await;
    ann.ask("/join lobby", "*** You speak in lobby now: 2 people ***").await;
    ann.hear("--- the 49 lines before ---").await;
    for number in 17..=66 {
        ann.hear_of(&format!("#{number} ")).await;
    }
    ann.ask("/users", "Online: bob, ann").await;
}

/// Issue 11, item 12: a ban or a mute lasts as long as its answer says, and a duration that cannot
/// be read bans and mutes nobody.
#[tokio::test(start_paused = true)]
async fn regression_a_ban_says_until_when_it_holds() {
    let parlour = Parlour::open();
    let mut oper = operator(&parlour, "olga").await;
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
            oper.hear_of("That holds for the name only").await;
        }
    }
    oper.ask("/unban troll", "*** troll may come to the chat again ***").await;
    for line in ["/ban troll 10 spam", "/ban troll 10minuts", "/ban 192.0.2.9 -1d", "/mute olga 0s"]
    {
        oper.say(line).await;
        oper.hear_of("' is no duration: write /").await;
    }
    oper.say("/kick olga 10m").await;
    oper.hear_of("A kick has no duration").await;
    oper.ask("/bans", "192.0.2.0/24, for good, by olga ").await;
    let _troll = parlour.enter("troll").await;
    oper.hear("*** troll joined the chat ***").await;
    oper.ask("/mute troll", "*** You muted troll in lobby for good ***").await;
    oper.ask("/mute troll 10min", "*** You muted troll in lobby until tomorrow ***").await;
}

#[tokio::test]
async fn a_room_can_keep_people_out() {
    let parlour = Parlour::open();
    let [mut ann, mut bob] = parlour.all(["ann", "bob"]).await;
    ann.ask("/join den", "*** You speak in den now: nobody else is here ***").await;
    ann.hear_of("brings you back here, as an operator of this room ***").await;
    ann.hear("*** ann joined the chat ***").await;
    bob.ask("/join den", "*** You speak in den now: 2 people ***").await;
    bob.hear("*** bob joined the chat ***").await;
    ann.hear("*** bob joined the chat ***").await;
    ann.say("/ban bob 1h noise").await;
    ann.hear_of("You banned bob from den until tomorrow").await;
    ann.hear_of("That holds for the name bob, and for this user under any name").await;
    ann.hear_of("An operator of the chat can see and ban their address too").await;
    ann.hear("*** bob left the chat (banned) ***").await;
    bob.hear_of("You are banned from the room den").await;
    bob.say("/join den").await;
    bob.hear_of("You are banned from the room den").await;
    bob.ask("/users", "Online: ann, bob").await;
    ann.say("/unban bob").await;
    ann.hear_of("bob may come to den again").await;
    bob.ask("/join den", "*** You speak in den now: 2 people ***").await;
}

fn token(line: &str) -> &str {
    line.strip_prefix("*** /resume ").unwrap().split(' ').next().unwrap()
}

/// P3: a token brings name, rooms and place back, once; what was missed comes, nothing twice.
#[tokio::test(start_paused = true)]
async fn a_token_brings_one_back() {
    let parlour = Parlour::open();
    let [mut ann, mut bob] = parlour.all(["ann", "bob"]).await;
    bob.ask("/join den", "*** You speak in den now: nobody else is here ***").await;
    bob.hear_of("brings you back here, as an operator of this room ***").await;
    bob.hear("*** bob joined the chat ***").await;
    bob.say("/quit").await;
    let last = String::from_utf8(bob.rest().await).unwrap();
    let token = token(last.lines().last().unwrap()).to_owned();
    ann.hear("*** bob left the chat ***").await;
    ann.say("while you were away").await;
    let mut back = parlour.knock(Role::Person);
    back.ask(&format!("/resume {token}"), "Enter your name: *** Back in lobby, from line 3 on ***")
        .await;
    back.hear_of("*** Back in den, from line ").await;
    back.hear("*** You speak in den now ***").await;
    back.hear("[lobby] *** bob left the chat ***").await;
    back.hear("[lobby] ann: while you were away").await;
    back.hear("[lobby] *** bob joined the chat ***").await;
    let mut thief = parlour.knock(Role::Person);
    thief.say(&format!("/resume {token}")).await;
    thief.hear_of("That token brings nobody back").await;
}

/// A token takes a live connection over: the old one hears so and ends, and nobody is twice in.
#[tokio::test(start_paused = true)]
async fn a_token_takes_over() {
    let parlour = Parlour::open();
    let [mut ann, mut bob] = parlour.all(["ann", "bob"]).await;
    bob.say("/token").await;
    let line = bob.line().await;
    let token = token(&line).to_owned();
    let mut again = parlour.knock(Role::Person);
    // The old connection has more to say than it may.
    bob.send("/join den\n".repeat(3)).await;
    again.say(&format!("/resume {token}")).await;
    again.hear_of("*** Back in lobby, from line 3 on ***").await;
    let last = String::from_utf8(bob.rest().await).unwrap();
    assert!(last.ends_with("*** You go on in another connection ***\r\n"), "{last}");
    ann.hear("*** bob left the chat (goes on elsewhere) ***").await;
    ann.hear("*** bob joined the chat ***").await;
    ann.ask("/users", "Online: ann, bob").await;
    let mut third = parlour.knock(Role::Person);
    third.say(&format!("/resume {token}")).await;
    third.hear_of("That token brings nobody back").await;
}

/// Fault 69: whoever talks too fast is slowed down, then warned, then muted; others are not.
#[tokio::test(start_paused = true)]
async fn floods_are_slowed_warned_and_muted() {
    let flood = FloodLimits { burst: 3, warn_after: 2, mute_after: 4, ..FloodLimits::default() };
    let parlour = Parlour::new(Settings { flood: Some(flood), ..settings() });
    let [mut ann, mut bob] = parlour.all(["ann", "bob"]).await;
    let start = Instant::now();
    ann.send((0..10).map(|n| format!("{n}\n")).collect::<String>()).await;
    for number in 0..6 {
        bob.hear(&format!("ann: {number}")).await;
    }
    assert_eq!(start.elapsed(), Duration::from_millis(600), "three at once, then five a second");
    ann.hear("*** Slow down, or you will be muted ***").await;
    ann.hear("*** You wrote too fast and are muted for 30 s: that was not sent ***").await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    ann.hear("*** You may speak again; 4 lines were not sent ***").await;
    ann.say("calm").await;
    bob.hear("ann: calm").await;
    bob.ask("/users", "Online: ann, bob").await;
}

#[tokio::test]
async fn programs_speak_json() {
    let parlour = Parlour::open();
    let mut ann = parlour.enter("ann").await;
    let mut program = parlour.knock(Role::Bot);
    for (line, words) in [
        ("hello", "The first line is to be"),
        (r#"{"name": "a b"}"#, "has a space"),
        (r#"{"name": "ann"}"#, "is taken"),
        ("{\"\u{202e}\u{9b}\": 1}", "unknown field"),
    ] {
        program.say(line).await;
        let heard = program.line().await;
        assert!(heard.contains("\"kind\":\"error\"") && heard.contains(words), "{line}: {heard}");
    }
    program.say(r#"{"name": "ci"}"#).await;
    program.hear(r#"{"kind":"welcome","name":"ci"}"#).await;
    program.hear_of(r#""kind":"joined","name":"ci","number":2,"own":true"#).await;
    ann.hear("*** ci joined the chat ***").await;
    program.say(r#"{"say": "a\nb\u001b[31m"}"#).await;
    for line in ["a", "b[31m"] {
        ann.hear(&format!("ci: {line}")).await;
        program.hear_of(&format!(r#""own":true,"room":"lobby","text":"{line}""#)).await;
    }
    program.say(r#"{"say": "/quit"}"#).await;
    ann.hear("ci: /quit").await;
    program.hear_of("/quit").await;
    program.say(r#"{"do": "/me builds"}"#).await;
    ann.hear("* ci builds").await;
    program.hear_of(r#""kind":"action""#).await;
    program.say(r#"{"do": "/users"}"#).await;
    program.hear(r#"{"kind":"reply","text":"Online: ann, ci"}"#).await;
    program.say(r#"{"say": "x", "room": "den"}"#).await;
    program.hear_of("You are not in that room").await;
    program.say(r#"{"say": "\ud800"}"#).await;
    program.hear_of("\"kind\":\"error\"").await;
    ann.ask("/msg ci hello", "[you -> ci] hello").await;
    program.hear_of(r#""kind":"private","name":"ann","person":""#).await;
    drop(program.stream);
    ann.hear("*** ci left the chat ***").await;
    ann.say("unseen").await;
    let mut again = parlour.program(r#"{"name": "ci", "after": {"lobby": 5}}"#).await;
    for words in ["* builds", "left", "unseen", "joined"] {
        let words = words.trim_start_matches("* ");
        again.hear_of(words).await;
    }
}

/// P5: `/users` is answered at one's own place in the order, however far behind that is.
#[tokio::test]
async fn who_is_behind_hears_who_is_here_at_the_end() {
    let mut parlour = Parlour::open();
    let mut bob = parlour.enter("bob").await;
    parlour.pipe = 64;
    let mut ann = parlour.enter("ann").await;
    bob.hear("*** ann joined the chat ***").await;
    // Own lines lie between the others', so that there is much to be put together.
    for number in 0..100 {
        bob.say(&format!("bob {number}")).await;
        ann.say(&format!("ann {number}")).await;
        bob.hear(&format!("ann: ann {number}")).await;
    }
    bob.say("/quit").await;
    assert_eq!(bob.rest().await, b"");
    ann.say("/users").await;
    for number in 0..100 {
        ann.hear(&format!("bob: bob {number}")).await;
    }
    ann.hear("*** bob left the chat ***").await;
    ann.hear("Online: ann").await;
}
