//! Tests of the messages between a page and the chat: private threads, refused lines, limits.

use serde_json::{Value, json};

use super::text;
use super::web_harness::{Socket, WebChat};
use crate::programs::write_secret;

/// Line ends in a message, inside JSON strings or bare, cannot forge a line of another user.
#[test]
fn no_line_can_be_forged() {
    let chat = WebChat::start(&[]);
    let mut ben = chat.terminal("ben");
    let mut ann = chat.page("ann");
    ben.hear("*** ann joined the chat ***");
    ann.send(&json!({ "say": "one\r\nben: forged\u{1b}[2J" }));
    assert_eq!(ann.until_kind("refused")["reason"], "send each line in its own message");
    ann.send(&json!({ "say": "one\u{1b}[2J" }));
    let line = ann.until_kind("said");
    assert!(!text(&line).contains(['\u{1b}', '\r', '\n']), "{line}");
    assert_eq!(ben.line(), format!("ann: {}", text(&line)));
    let two = "{\"say\": \"two\"}\n{\"say\": \"three\"}";
    ann.0.send(tungstenite::Message::text(two)).unwrap();
    ben.hear("ann: two");
    ben.hear("ann: three");
}

/// Asks the chat for the user with this id. Returns the answer.
fn ask_person(page: &mut Socket, id: &Value) -> Value {
    page.send(&json!({ "ask": "person", "person": id }));
    page.until_kind("person")
}

/// Returns the kind and the text of each message up to the answer to a ping.
fn heard(page: &mut Socket) -> Vec<(String, String)> {
    page.send(&json!({ "ping": 4711 }));
    let mut heard = Vec::new();
    loop {
        let message = page.next();
        if message["kind"] == "pong" {
            return heard;
        }
        let word = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        heard.push((word("kind"), word("text")));
    }
}

/// Issue 11, item 7: a private thread stays with one user, also after a resume. It never passes to
/// the next user with the same name.
#[test]
fn regression_an_id_is_one_person_and_not_one_name() {
    let chat = WebChat::start(&[]);
    let mut ann = chat.page("ann");
    let mut ben = chat.socket();
    ben.send(&json!({ "name": "ben" }));
    let token = ben.until_kind("welcome")["token"].clone();
    ben.send(&json!({ "do": "/msg ann psst" }));
    let psst = ann.until_kind("private");
    let id = psst["person"].clone();
    assert!(id.is_string(), "{psst}");
    // The member list and a request by name return the same id.
    ann.send(&json!({ "ask": "people", "room": "lobby" }));
    let people = ann.until_kind("people")["people"].clone();
    let of_ben = people.as_array().unwrap().iter().find(|person| person["name"] == "ben").unwrap();
    assert_eq!(of_ben["person"], id);
    ann.send(&json!({ "ask": "person", "name": "ben" }));
    assert_eq!(ann.until_kind("person")["person"], id);
    // The user returns with the token, on another connection and under another name.
    let mut again = chat.socket();
    again.send(&json!({ "token": token }));
    again.until_kind("welcome");
    drop(ben);
    again.send(&json!({ "do": "/nick benjamin" }));
    again.until_kind("renamed");
    let here = ask_person(&mut ann, &id);
    assert_eq!((&here["here"], &here["name"]), (&json!(true), &json!("benjamin")));
    ann.send(&json!({ "say": "/etc/hosts", "to": id }));
    let sent = ann.until_kind("private");
    assert_eq!((&sent["person"], &sent["to"]), (&id, &json!("benjamin")));
    assert_eq!(again.until_kind("private")["text"], "/etc/hosts");
    again.send(&json!({ "do": "/quit" }));
    ann.until_kind("left");
    // Another user takes the name.
    let mut stranger = chat.page("benjamin");
    let gone = ask_person(&mut ann, &id);
    assert_eq!(gone["here"], false, "{gone}");
    ann.send(&json!({ "say": "secret", "to": id }));
    let refused = ann.until_kind("refused");
    assert_eq!((&refused["person"], text(&refused)), (&id, "secret"));
    assert_eq!(refused["reason"], "That user has left");
    let heard = heard(&mut stranger);
    assert!(heard.iter().all(|(kind, _)| kind != "private"), "{heard:?}");
    for wrong in ["", "1-2", "benjamin", "-"] {
        assert_eq!(ask_person(&mut ann, &json!(wrong))["here"], false, "{wrong}");
    }
}

/// Issue 11, item 7: in a private thread an action reaches only the other user, and a command about
/// a room is refused with a sentence.
#[test]
fn regression_commands_of_a_private_thread_do_not_reach_the_room() {
    let chat = WebChat::start(&["--flood", "off"]);
    let mut ben = chat.terminal("ben");
    let mut carl = chat.page("carl");
    let mut ann = chat.page("ann");
    ann.send(&json!({ "ask": "person", "name": "ben" }));
    let id = ann.until_kind("person")["person"].clone();
    ann.send(&json!({ "do": "/me waves", "to": id }));
    let own = ann.until_kind("private");
    assert_eq!((&own["action"], text(&own)), (&json!(true), "waves"));
    ben.hear("[ann -> you] * ann waves");
    ann.send(&json!({ "do": "/ME nods", "to": id }));
    ben.hear("[ann -> you] * ann nods");
    let about_a_room = [
        "/topic x",
        "/delete 1",
        "/topic",
        "/users",
        "/history",
        "/search x",
        "/quote 1",
        "/leave",
        "/lag",
        "/kick carl",
        "/ban carl",
        "/mute carl",
        "/op carl",
        "/private on",
        "/invite carl",
        "/password x",
        "/bans",
    ];
    for command in about_a_room {
        ann.send(&json!({ "do": command, "to": id }));
        let reply = ann.until_kind("reply");
        assert!(text(&reply).contains("works only in a room"), "{command}: {reply}");
        assert_eq!((&reply["person"], reply.get("room")), (&id, None), "{command}");
    }
    // Other commands also work in a private thread, and their answers appear in it.
    ann.send(&json!({ "do": "/away lunch", "to": id }));
    assert_eq!(ann.until_kind("reply")["person"], id);
    ann.send(&json!({ "say": "for all", "room": "lobby" }));
    carl.until_said("for all");
    let past = heard(&mut carl);
    assert!(past.iter().all(|(kind, _)| kind != "action" && kind != "topic"), "{past:?}");
    carl.send(&json!({ "ask": "history", "room": "lobby" }));
    let past = carl.until_kind("history");
    let kinds: Vec<_> = past["lines"].as_array().unwrap().iter().map(|l| &l["kind"]).collect();
    assert!(kinds.iter().all(|kind| **kind != "action" && **kind != "topic"), "{past}");
}

/// Issue 11, item 8: the page gets the exact maximum length of a message in bytes.
#[test]
fn regression_a_page_gets_the_maximum_length() {
    let chat = WebChat::start(&["--max-line", "200B"]);
    let mut ann = chat.socket();
    ann.send(&json!({ "name": "ann" }));
    let max = ann.until_kind("welcome")["max_line"].as_u64().unwrap() as usize;
    assert_eq!(max, 200);
    let frame = json!({ "say": "" }).to_string().len();
    let words = "x".repeat(max - frame);
    ann.send(&json!({ "say": words }));
    ann.until_said(&words);
    ann.send(&json!({ "say": format!("{words}x") }));
    assert!(text(&ann.until_kind("reply")).contains("too long (limit 200 bytes)"));
}

/// Issue 11, item 8: the server returns a refused line with the reason: the author is muted, sends
/// too fast, or is not in the room.
#[test]
fn regression_a_refused_line_comes_back_with_its_reason() {
    let chat = WebChat::start(&["--flood", "5/s", "--burst", "5"]);
    let mut ben = chat.terminal("ben");
    ben.say("/join garden");
    ben.hear("*** ben joined the chat ***");
    let mut ann = chat.page("ann");
    ann.send(&json!({ "do": "/join garden" }));
    ann.until("the room", |m| m["kind"] == "seats" && m["current"] == "garden");
    ben.hear("*** ann joined the chat ***");
    ben.say("/mute ann");
    ben.hear("*** You muted ann in garden for good ***");
    for (message, of, words) in [
        (json!({ "say": "/hello", "room": "garden" }), "said", "/hello"),
        (json!({ "do": "/me waves", "room": "garden" }), "action", "waves"),
    ] {
        ann.send(&message);
        let refused = ann.until_kind("refused");
        assert_eq!((&refused["of"], text(&refused)), (&json!(of), words));
        assert_eq!(refused["room"], "garden");
        let reason = refused["reason"].as_str().unwrap();
        assert!(reason == "You are muted in this room for good", "{reason}");
    }
    for message in
        [json!({ "say": "x", "room": "nowhere" }), json!({ "do": "/me x", "room": "nowhere" })]
    {
        ann.send(&message);
        let refused = ann.until_kind("refused");
        assert_eq!((text(&refused), &refused["reason"]), ("x", &json!("You are not in that room")));
    }
    for count in 0..100 {
        ann.send(&json!({ "say": format!("line {count}"), "room": "lobby" }));
    }
    let refused = ann.until_kind("refused");
    assert!(text(&refused).starts_with("line "), "{refused}");
    assert_eq!(refused["room"], "lobby");
    assert!(refused["reason"].as_str().unwrap().contains("muted for 30 s"), "{refused}");
    let next = ann.until_kind("refused");
    assert!(next["reason"].as_str().unwrap().starts_with("Not sent: you are muted for "), "{next}");
}

/// Issue 11, item 18: the page gets the room before the answers to `/join`, and each answer names
/// the room. `/quiet` does not hide changes of the member list from the page.
#[test]
fn regression_answers_name_their_room_and_quiet_hides_nothing_from_a_page() {
    let chat = WebChat::start(&[]);
    let mut ann = chat.socket();
    ann.send(&json!({ "name": "ann" }));
    let view = ann.until_kind("welcome")["view"].clone();
    assert_eq!(view, json!({ "numbers": false, "times": false, "quiet": false }));
    ann.until_kind("joined");
    ann.send(&json!({ "do": "/join garden", "room": "lobby" }));
    let first = ann.until("an answer", |m| m["kind"] == "seats" || m["kind"] == "reply");
    assert_eq!((&first["kind"], &first["current"]), (&json!("seats"), &json!("garden")));
    let reply = ann.until_kind("reply");
    assert_eq!(reply["room"], "garden", "{reply}");
    assert!(text(&reply).contains("You are now talking in garden"), "{reply}");
    ann.send(&json!({ "do": "/quiet on", "room": "lobby" }));
    let view = ann.until_kind("view")["view"].clone();
    assert_eq!(view, json!({ "numbers": false, "times": false, "quiet": true }));
    let ben = chat.terminal("ben");
    assert_eq!(ann.until_kind("joined")["name"], "ben");
    drop(ben);
    assert_eq!(ann.until_kind("left")["name"], "ben");
}

/// Issue 11, item 8: a page that is banned while it is disconnected gets one notice, and does not
/// retry forever.
#[test]
fn regression_a_banned_page_that_returns_gets_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    write_secret(&file, "correct horse\n");
    let chat = WebChat::start(&["--operator-password-file", file.to_str().unwrap()]);
    let mut ben = chat.terminal("ben");
    let mut ann = chat.socket();
    ann.send(&json!({ "name": "ann" }));
    let token = ann.until_kind("welcome")["token"].clone();
    ben.say("/oper correct horse");
    ben.hear("*** You are now an operator: /help lists your commands ***");
    ben.say("/ban 127.0.0.1 1h spam");
    let end = ann.until_kind("end");
    assert_eq!(end["final"], true, "{end}");
    assert!(text(&end).starts_with("You are banned from this chat until "), "{end}");
    let mut again = chat.socket();
    again.send(&json!({ "token": token }));
    let end = again.until_kind("end");
    assert_eq!(end["final"], true, "{end}");
    assert!(text(&end).ends_with(": spam"), "{end}");
}
