//! Tests of rooms, private lines, moderation, tokens and programs, over pipes.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod chat_harness;
mod moderation;

use chat_harness::{ChatHarness, Guest};
use echoline_chat::Role;

/// Returns ann and bob, both in the room den. Ann created it, so she is its operator.
async fn ann_and_bob_in_den(chat_harness: &ChatHarness) -> [Guest; 2] {
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    ann.ask("/join den", "*** You are now talking in den: no one else is here ***").await;
    ann.hear_of("restores this session and your operator rights ***").await;
    ann.hear("*** ann joined the chat ***").await;
    bob.ask("/join den", "*** You are now talking in den: 2 users ***").await;
    bob.hear("*** bob joined the chat ***").await;
    ann.hear("*** bob joined the chat ***").await;
    [ann, bob]
}

#[tokio::test]
async fn rooms_are_created_joined_and_left() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    ann.ask("/join den", "*** You are now talking in den: no one else is here ***").await;
    ann.hear_of("restores this session and your operator rights ***").await;
    ann.hear("*** ann joined the chat ***").await;
    ann.say("alone").await;
    bob.ask("/join DEN", "*** You are now talking in den: 2 users ***").await;
    bob.hear("*** bob joined the chat ***").await;
    ann.hear("*** bob joined the chat ***").await;
    bob.say("hi").await;
    ann.hear("bob: hi").await;
    ann.ask("/join lobby", "*** You are now talking in lobby ***").await;
    bob.say("still here").await;
    ann.hear("[den] bob: still here").await;
    ann.say("both").await;
    bob.hear("[lobby] ann: both").await;
    ann.ask("/leave den", "*** You left den and are now talking in lobby ***").await;
    bob.hear("*** ann left the chat ***").await;
    ann.ask("/leave", "*** This is your only room; /quit leaves the chat ***").await;
    ann.ask("/leave attic", "*** You are not in attic ***").await;
    ann.ask("/users den", "Online in den: bob").await;
    ann.ask("/rooms", "lobby (2)").await;
    ann.hear("den (1)").await;
    ann.say("/join a!b").await;
    ann.hear_of("'a!b' has '!'").await;
    ann.ask("/users attic", "*** There is no room attic that you can see ***").await;
}

#[tokio::test]
async fn errors_of_commands_show_the_right_usage() {
    let chat_harness = ChatHarness::open();
    let mut ann = chat_harness.enter("ann").await;
    for (line, words) in [
        ("/histroy", "Did you mean /history?"),
        ("/msg", "type /msg NAME WORDS, for example /msg anna hello"),
        ("/msg eve hi", "There is no user eve"),
        ("/msg ann hi", "You cannot send a private message to yourself"),
        ("/reply hi", "You have no private message to answer"),
        ("/nick", "type /nick NAME"),
        ("/nick a*b", "'a*b' has '*'"),
        ("/numbers maybe", "type /numbers on|off"),
        ("/history 0-x", "type /history"),
        ("/history 900-950", "There are no such lines"),
        ("/quote 99", "There is no line 99"),
        ("/search nothing", "Nothing was found"),
        ("/topic", "No topic is set"),
        ("/ignore", "You ignore no one"),
        ("/ignore ann", "You cannot ignore yourself"),
        ("/unignore bob", "You do not ignore bob"),
        ("/kick bob", "Only an operator"),
        ("/ban bob", "Only an operator"),
        ("/lag", "No one is behind"),
        ("/help nonsense", "There is no /nonsense"),
        ("/resume aaaa-bbbb-cccc", "/resume works only at the start of a connection"),
        ("/op", "/op NAME"),
    ] {
        ann.say(line).await;
        let heard = ann.line().await;
        assert!(heard.contains(words), "{line}: {heard}");
    }
}

#[tokio::test]
async fn says_lines_in_all_their_forms() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
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
    bob.hear_of("You no longer see what ann says").await;
    ann.say("unheard").await;
    ann.ask("/msg bob unheard", "*** bob is away: lunch ***").await;
    ann.hear("[you -> bob] unheard").await;
    bob.ask("/users", "Online: ann, bob").await;
    ann.say("/quit see you").await;
    bob.hear("#11 09:30 *** ann left the chat ***").await;
}

async fn operator(chat_harness: &ChatHarness, name: &str) -> Guest {
    let mut guest = chat_harness.enter(name).await;
    guest.say("/oper open sesame").await;
    guest.hear_of("You are now an operator").await;
    guest
}

#[tokio::test(start_paused = true)]
async fn operators_moderate_their_room() {
    let chat_harness = ChatHarness::open();
    let mut oper = operator(&chat_harness, "olga").await;
    let mut bob = chat_harness.enter("bob").await;
    oper.hear("*** bob joined the chat ***").await;
    oper.ask("/mute bob 1m", "*** You muted bob in lobby until tomorrow ***").await;
    bob.hear("*** You were muted in lobby ***").await;
    bob.ask("hi", "*** You are muted in this room until tomorrow ***").await;
    bob.say("/topic x").await;
    bob.hear_of("You are muted in this room").await;
    bob.ask("/nick rob", "*** bob is now rob ***").await;
    oper.hear("*** bob is now rob ***").await;
    bob.say("under another name").await;
    bob.hear_of("You are muted in this room").await;
    oper.ask("/unmute rob", "*** You unmuted rob in lobby ***").await;
    bob.hear("*** You were unmuted in lobby ***").await;
    bob.say("hi").await;
    oper.hear("rob: hi").await;
    oper.ask("/kick rob calm down", "*** You kicked rob from lobby ***").await;
    oper.hear("*** rob left the chat (kicked by olga: calm down) ***").await;
    let last = String::from_utf8(bob.rest().await).unwrap();
    assert!(last.contains("You were kicked from lobby by olga: calm down"), "{last}");
    oper.say("/ban mallory 2h spam").await;
    oper.hear_of("You banned mallory from the chat").await;
    oper.hear_of("The ban covers only the name").await;
    let mut mallory = chat_harness.knock(Role::User);
    mallory.say("Mallory").await;
    mallory.hear_of("You are banned from this chat").await;
    oper.say("/bans").await;
    oper.hear_of("mallory, until tomorrow, by olga: spam").await;
    oper.say("/unban mallory").await;
    oper.hear_of("may join the chat again").await;
    oper.say("/audit 3").await;
    oper.hear_of("olga kicked rob from lobby: calm down").await;
    oper.hear_of("olga banned mallory from the chat until tomorrow: spam").await;
    oper.hear_of("lifted the ban").await;
    mallory.ask("mallory", "Enter your name: *** mallory joined the chat ***").await;
    mallory.say("/oper open sesamE").await;
    mallory.hear_of("Wrong operator password").await;
}

/// A user who was expelled from a room receives no more of its lines and cannot act in it.
#[tokio::test]
async fn an_expelled_user_is_out_at_once() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = ann_and_bob_in_den(&chat_harness).await;
    ann.ask("/op bob", "*** bob is an operator of den ***").await;
    bob.hear("*** You are an operator of den ***").await;
    // Both users act before either session notices the other's action.
    ann.send("/kick bob\n/users\n").await;
    ann.hear("*** You kicked bob from den ***").await;
    ann.hear("*** bob left the chat (kicked by ann) ***").await;
    ann.hear("Online: ann").await;
    bob.hear("*** You were kicked from den by ann ***").await;
    bob.ask("/kick ann", "*** Only an operator can do that ***").await;
    ann.say("in private").await;
    bob.ask("/users", "Online: ann, bob").await;
    bob.ask("/join den", "*** You are now talking in den: 2 users ***").await;
}

#[tokio::test]
async fn a_closed_room_admits_invited_users_or_the_password() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    ann.ask("/join den", "*** You are now talking in den: no one else is here ***").await;
    ann.hear_of("restores this session and your operator rights ***").await;
    ann.hear("*** ann joined the chat ***").await;
    ann.say("/private on").await;
    ann.hear_of("Only invited users").await;
    bob.ask("/join den", "*** den is private: only invited users can join ***").await;
    bob.ask("/rooms", "lobby (2)").await;
    let mut program = chat_harness.knock(Role::Bot);
    program.say(r#"{"name": "spy", "rooms": ["den"]}"#).await;
    program.hear_of("welcome").await;
    let told = program.line().await;
    assert!(!told.contains("\"room\":\"den\""), "{told}");
    bob.hear("*** spy joined the chat ***").await;
    ann.hear("[lobby] *** spy joined the chat ***").await;
    ann.ask("/invite bob", "*** You invited bob to den ***").await;
    bob.hear("*** ann invites you: /join den ***").await;
    bob.ask("/join den", "*** You are now talking in den: 2 users ***").await;
    bob.hear("*** bob joined the chat ***").await;
    ann.hear("*** bob joined the chat ***").await;
    ann.say("/private off").await;
    ann.hear_of("All users can join").await;
    ann.say("/password hunter22").await;
    ann.hear_of("need this password").await;
    let mut eve = chat_harness.enter("eve").await;
    eve.ask("/join den", "*** den needs the right password: /join den PASSWORD ***").await;
    eve.ask("/join den hunter2", "*** den needs the right password: /join den PASSWORD ***").await;
    eve.ask("/join den hunter22", "*** You are now talking in den: 3 users ***").await;
}

/// The operator of a room can ban users from that room, and from no other.
#[tokio::test]
async fn a_ban_from_a_room_applies_to_that_room_only() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = ann_and_bob_in_den(&chat_harness).await;
    ann.say("/ban bob 1h noise").await;
    ann.hear_of("You banned bob from den until tomorrow").await;
    ann.hear_of("The ban covers the name bob, and this user under any name").await;
    ann.hear_of("An operator of the chat can also see and ban their address").await;
    ann.hear("*** bob left the chat (banned) ***").await;
    bob.hear_of("You are banned from the room den").await;
    bob.say("/join den").await;
    bob.hear_of("You are banned from the room den").await;
    bob.ask("/users", "Online: ann, bob").await;
    ann.say("/unban bob").await;
    ann.hear_of("bob may join den again").await;
    bob.ask("/join den", "*** You are now talking in den: 2 users ***").await;
}

fn token(line: &str) -> &str {
    line.strip_prefix("*** /resume ").unwrap().split(' ').next().unwrap()
}

/// Promise P3: a token restores the name, the rooms and the positions, once. Lines that were missed
/// meanwhile are shown, and no line is shown twice.
#[tokio::test(start_paused = true)]
async fn a_token_restores_a_session_once() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    bob.ask("/join den", "*** You are now talking in den: no one else is here ***").await;
    bob.hear_of("restores this session and your operator rights ***").await;
    bob.hear("*** bob joined the chat ***").await;
    bob.say("/quit").await;
    let last = String::from_utf8(bob.rest().await).unwrap();
    let token = token(last.lines().last().unwrap()).to_owned();
    ann.hear("*** bob left the chat ***").await;
    ann.say("while you were away").await;
    let mut back = chat_harness.knock(Role::User);
    back.ask(&format!("/resume {token}"), "Enter your name: *** Back in lobby, from line 3 on ***")
        .await;
    back.hear_of("*** Back in den, from line ").await;
    back.hear("*** You are now talking in den ***").await;
    back.hear("[lobby] *** bob left the chat ***").await;
    back.hear("[lobby] ann: while you were away").await;
    back.hear("[lobby] *** bob joined the chat ***").await;
    let mut thief = chat_harness.knock(Role::User);
    thief.say(&format!("/resume {token}")).await;
    thief.hear_of("That token is unknown or has expired").await;
}

/// A token takes over a live session. The old session gets a notice and ends. The user is in the
/// room only once.
#[tokio::test(start_paused = true)]
async fn a_token_takes_over_a_live_session() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    bob.say("/token").await;
    let line = bob.line().await;
    let token = token(&line).to_owned();
    let mut again = chat_harness.knock(Role::User);
    // The old connection sends more lines than its rate limit allows.
    bob.send("/join den\n".repeat(3)).await;
    again.say(&format!("/resume {token}")).await;
    again.hear_of("*** Back in lobby, from line 3 on ***").await;
    let last = String::from_utf8(bob.rest().await).unwrap();
    assert!(last.ends_with("*** You continue in another connection ***\r\n"), "{last}");
    ann.hear("*** bob left the chat (goes on elsewhere) ***").await;
    ann.hear("*** bob joined the chat ***").await;
    ann.ask("/users", "Online: ann, bob").await;
    let mut third = chat_harness.knock(Role::User);
    third.say(&format!("/resume {token}")).await;
    third.hear_of("That token is unknown or has expired").await;
}

#[tokio::test]
async fn programs_speak_json() {
    let chat_harness = ChatHarness::open();
    let mut ann = chat_harness.enter("ann").await;
    let mut program = chat_harness.knock(Role::Bot);
    for (line, words) in [
        ("hello", "The first message must be"),
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
    let private = program.hear_of(r#""kind":"private","name":"ann""#).await;
    assert!(private.contains(r#""text":"hello""#), "{private}");
    drop(program.stream);
    ann.hear("*** ci left the chat ***").await;
    ann.say("unseen").await;
    let mut again = chat_harness.program(r#"{"name": "ci", "after": {"lobby": 5}}"#).await;
    for words in ["* builds", "left", "unseen", "joined"] {
        let words = words.trim_start_matches("* ");
        again.hear_of(words).await;
    }
}

/// Promise P5: `/users` is answered at the user's own position among the lines, even if the user
/// lags far behind.
#[tokio::test]
async fn a_user_who_lags_gets_the_list_of_users_in_order() {
    let mut chat_harness = ChatHarness::open();
    let mut bob = chat_harness.enter("bob").await;
    chat_harness.pipe = 64;
    let mut ann = chat_harness.enter("ann").await;
    bob.hear("*** ann joined the chat ***").await;
    // Bob's own lines are between ann's lines, so that batches for bob consist of many pieces.
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

/// Issue 12, item 8: an invitation is for a user. Another user who takes the name is not invited,
/// the user is invited under every name, and only users in the chat can be invited.
#[tokio::test]
async fn attack_a_stranger_with_the_name_of_an_invited_user_stays_out() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob, mut cat] = chat_harness.all(["ann", "bob", "cat"]).await;
    ann.ask("/join den", "*** You are now talking in den: no one else is here ***").await;
    ann.hear_of("restores this session").await;
    ann.hear("*** ann joined the chat ***").await;
    ann.say("/private on").await;
    ann.hear_of("Only invited users").await;
    for guest in ["bob", "cat"] {
        ann.ask(&format!("/invite {guest}"), &format!("*** You invited {guest} to den ***")).await;
    }
    ann.ask("/invite dan", "*** There is no user dan; /users lists the users here ***").await;
    bob.hear("*** ann invites you: /join den ***").await;
    cat.hear("*** ann invites you: /join den ***").await;
    drop(bob);
    cat.hear_of("bob left the chat").await;
    let mut thief = chat_harness.enter("bob").await;
    cat.hear("*** bob joined the chat ***").await;
    thief.ask("/join den", "*** den is private: only invited users can join ***").await;
    thief.ask("/users den", "*** There is no room den that you can see ***").await;
    cat.ask("/nick carl", "*** cat is now carl ***").await;
    cat.ask("/join den", "*** You are now talking in den: 2 users ***").await;
}

/// Issue 12, item 20: no invitation, away text, topic or name of an ignored user reaches the users
/// who ignore them. A name that looks alike is ignored too.
#[tokio::test]
async fn attack_an_ignored_user_cannot_reach_users_by_an_invitation() {
    let chat_harness = ChatHarness::open();
    let [mut ann, mut bob] = chat_harness.all(["ann", "bob"]).await;
    bob.ask("/ignore ann", "*** You no longer see what ann says; /unignore ann undoes that ***")
        .await;
    ann.ask("/join den", "*** You are now talking in den: no one else is here ***").await;
    ann.hear_of("restores this session").await;
    ann.hear("*** ann joined the chat ***").await;
    ann.ask("/invite bob", "*** You invited bob to den ***").await;
    ann.ask("/join lobby", "*** You are now talking in lobby ***").await;
    ann.ask("/topic unheard", "*** ann set the topic: unheard ***").await;
    ann.ask("/away unheard", "*** You are marked as away: unheard ***").await;
    bob.ask("/msg ann hello", "*** ann is away ***").await;
    bob.hear("[you -> ann] hello").await;
    ann.hear_of("[bob -> you] hello").await;
    bob.say("/history 9").await;
    bob.hear("#1 09:30 *** ann joined the chat ***").await;
    bob.hear("#2 09:30 *** bob joined the chat ***").await;
    ann.say("/quit unheard").await;
    bob.hear("*** ann left the chat ***").await;
    let mut again = chat_harness.enter("ANN").await;
    bob.hear("*** ANN joined the chat ***").await;
    again.say("unheard").await;
    again.ask("/msg bob unheard", "[you -> bob] unheard").await;
    bob.ask("/ignore", "Ignored: ann").await;
}
