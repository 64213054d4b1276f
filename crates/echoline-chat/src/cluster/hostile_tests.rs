//! Tests with entries of the stream that no correct node sends.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::ClusterOptions;
use crate::chat::Chat;
use crate::settings::ChatSettings;
use echoline_chat_core::replication::{GONE_MAX, JUMP_MAX, NUMBER_MAX, TIME_MAX_MS};
use echoline_chat_core::text::is_clean;
use echoline_chat_core::{Key, Name, ReplicatedState, StateSnapshot, StreamEntry};

/// A text with an escape sequence, a line break and a bidirectional control character.
const RAW: &str = "\x1b[2J\r\n*** ann is an operator ***\u{202e}";

fn node(node: u32) -> Arc<Chat> {
    let (cluster, node_name) = ("tea".to_owned(), format!("m{node}"));
    let options = ClusterOptions { cluster, node_name, node };
    Chat::clustered(ChatSettings::default(), options).0
}

/// Applies a payload as the next entry.
fn apply(chat: &Chat, payload: impl Into<bytes::Bytes>) {
    let sequence = chat.applied() + 1;
    chat.apply(&[StreamEntry { sequence, time_ms: 1000 + sequence, payload: payload.into() }]);
}

/// Applies an operation of a session that node 1 serves.
fn apply_operation(chat: &Chat, session: u64, number: u64, operation: &Value) {
    let entry =
        json!({ "v": 1, "node": 1, "session": session, "number": number, "act": operation });
    apply(chat, entry.to_string());
}

/// Returns a node that has applied ann's operations 1 and 2. She is in the lobby.
fn with_ann() -> Arc<Chat> {
    let chat = node(9);
    apply_operation(&chat, 5, 1, &json!({ "enter": { "name": "ann", "address": null } }));
    apply_operation(&chat, 5, 2, &join("lobby"));
    assert_eq!(names(&chat), ["ann"]);
    chat
}

fn join(room: &str) -> Value {
    json!({ "join": { "room": room, "see": { "Last": 0 }, "pass": "nothing" } })
}

fn say(text: &str) -> Value {
    json!({ "say": { "room": "lobby", "lines": [{ "t": text }] } })
}

fn names(chat: &Chat) -> Vec<String> {
    let mut names: Vec<String> =
        chat.lock().users.values().map(|user| user.name().to_string()).collect();
    names.sort();
    names
}

/// Returns the visible contents of the lobby: its lines and its topic.
fn shown(chat: &Chat) -> Vec<String> {
    chat.lobby.with(|room| {
        let numbers = room.log.first()..room.log.next();
        let lines = numbers.filter_map(|number| room.log.line(number));
        let lines = lines.map(|line| line.shown.to_owned());
        lines.chain([room.topic.to_string()]).collect()
    })
}

fn snapshot(chat: &Chat) -> Value {
    serde_json::from_slice(&chat.snapshot().state).unwrap()
}

fn restore(chat: &Chat, state: &Value) -> Result<(), String> {
    let sequence = chat.applied() + 100;
    chat.restore(&StateSnapshot { sequence, state: state.to_string().into() })
}

/// Asserts that the node still applies correct entries.
fn works(chat: &Chat) {
    apply_operation(chat, 70, 1, &json!({ "enter": { "name": "zoe", "address": null } }));
    apply_operation(chat, 70, 2, &join("lobby"));
    apply_operation(chat, 70, 3, &say("it works"));
    assert!(shown(chat).contains(&"zoe: it works".to_owned()), "{:?}", shown(chat));
    assert!(shown(chat).iter().all(|line| is_clean(line)), "{:?}", shown(chat));
}

/// Issue 12, item 10: text that anyone publishes to the stream is cleaned and shortened before
/// users see it.
#[test]
fn attack_texts_of_the_stream_are_cleaned() {
    let chat = with_ann();
    apply_operation(&chat, 5, 3, &say(RAW));
    apply_operation(&chat, 5, 4, &json!({ "topic": { "room": "lobby", "words": RAW } }));
    apply_operation(&chat, 5, 5, &json!({ "away": { "words": RAW } }));
    apply_operation(
        &chat,
        5,
        6,
        &json!({ "topic": { "room": "lobby", "words": "x".repeat(100_000) } }),
    );
    let away = chat.user(5).unwrap().away().unwrap();
    assert!(is_clean(&away), "{away:?}");
    apply_operation(&chat, 5, 7, &json!({ "exit": { "reason": RAW, "keep": null } }));
    apply(
        &chat,
        format!(
            r#"{{"v":1,"node":1,"session":0,"number":0,"act":{{"gone":{{"node":1,
        "name":{0},"reason":{0}}}}}}}"#,
            json!(RAW)
        ),
    );
    let shown = shown(&chat);
    assert!(shown.iter().all(|line| is_clean(line) && line.len() < 5000), "{shown:?}");
    assert!(shown.contains(&"ann: [2J  *** ann is an operator ***".to_owned()), "{shown:?}");
}

/// Issue 12, item 10: an operation with the number 2^64-1 does not block a user or a node.
#[test]
fn attack_a_jump_of_numbers_is_refused() {
    let chat = with_ann();
    for number in [u64::MAX, NUMBER_MAX + 1, NUMBER_MAX, 2 + JUMP_MAX + 1, 0] {
        apply_operation(&chat, 5, number, &say("forged"));
        apply_operation(&chat, 0, number, &json!({ "tell": { "to": 5, "words": "forged" } }));
    }
    apply_operation(&chat, 5, 3, &say("mine"));
    let shown = shown(&chat);
    assert!(shown.contains(&"ann: mine".to_owned()) && !shown.concat().contains("forged"));
    assert_eq!(snapshot(&chat)["people"][0]["last"], 3);
}

/// Issue 12, item 10: the node refuses reserved names, a second login of a session, lines of the
/// server's kinds, and operations of the wrong author.
#[test]
fn attack_operations_that_no_node_sends_are_refused() {
    let chat = with_ann();
    let before = shown(&chat);
    let enter = |name: &str| json!({ "enter": { "name": name, "address": null } });
    for (session, forged) in [
        (6, enter("server")),
        (6, enter("SYSTEM")),
        (6, enter("a b")),
        (6, enter("\x1b[2J")),
        (0, enter("eve")),
        (5, enter("eve")),
        (5, json!({ "rename": { "name": "root" } })),
        (5, join("system")),
        (5, json!({ "say": { "room": "lobby", "lines": [] } })),
        (5, json!({ "say": { "room": "lobby", "lines": [{ "k": "Notice", "t": "tea" }] } })),
        (5, json!({ "write": { "to": 5, "words": "x", "kind": "Notice" } })),
        (5, json!({ "return": { "people": [] } })),
        (0, json!("become_operator")),
        (0, say("tea")),
    ] {
        apply_operation(&chat, session, 3, &forged);
    }
    assert_eq!((names(&chat), shown(&chat)), (vec!["ann".to_owned()], before));
    let unreadable = chat.cluster_status().unwrap().unreadable;
    assert!(unreadable >= 12, "{unreadable}");
    works(&chat);
}

/// Issue 12, item 10: an entry that was recorded and sent again changes nothing, even long after
/// its session has ended.
#[test]
fn attack_a_recorded_session_does_not_begin_again() {
    let chat = with_ann();
    let origin = 3u64 << 32;
    let visit = |session: u64| {
        let name = format!("u{session}");
        apply_operation(
            &chat,
            origin | session,
            1,
            &json!({ "enter": { "name": name, "address": null } }),
        );
        apply_operation(
            &chat,
            origin | session,
            2,
            &json!({ "exit": { "reason": null, "keep": null } }),
        );
    };
    (1..=GONE_MAX as u64 + 10).for_each(visit);
    for session in [1, 10, 500, GONE_MAX as u64 + 10] {
        let again = json!({ "enter": { "name": "ghost", "address": null } });
        apply_operation(&chat, origin | session, 1, &again);
        assert_eq!(names(&chat), ["ann"], "{session}");
    }
    // A node that starts from a snapshot refuses the old entry too.
    let late = node(8);
    restore(&late, &snapshot(&chat)).unwrap();
    apply_operation(
        &late,
        origin | 1,
        1,
        &json!({ "enter": { "name": "ghost", "address": null } }),
    );
    assert_eq!(names(&late), ["ann"]);
    visit(GONE_MAX as u64 + 11);
    works(&chat);
}

/// Issue 12, item 10: tokens of an earlier version are accepted, and stored as digests from then
/// on.
#[test]
fn attack_no_snapshot_has_a_token() {
    let chat = with_ann();
    let saved = json!({ "name": "ann", "rooms": [], "until_ms": 99_999, "session": null });
    let keep = json!({ "keep": { "token": "ab2c-d3ef-gh45", "place": saved } });
    apply_operation(&chat, 5, 3, &keep);
    let state = snapshot(&chat).to_string();
    assert!(!state.contains("ab2c") && state.contains("sha256:"), "{state}");
    let mut old = snapshot(&chat);
    old["tokens"][0][0] = json!("ab2c-d3ef-gh45");
    let late = node(8);
    restore(&late, &old).unwrap();
    assert!(!snapshot(&late).to_string().contains("ab2c"));
    for chat in [chat, late] {
        apply_operation(&chat, 6, 1, &json!({ "redeem": { "token": " AB2C-d3ef-gh45" } }));
        assert_eq!(snapshot(&chat)["tokens"], json!([]), "the token was redeemed");
    }
}

/// An entry that saves a session may arrive again after the session has ended. It must not replace
/// the state that was saved last, and must not restore a redeemed token.
#[test]
fn regression_an_old_saved_session_that_is_sent_again_is_refused() {
    let keep = |token: &str, until_ms: u64| {
        let saved = json!({ "name": "ann", "rooms": [], "until_ms": until_ms, "session": null });
        json!({ "token": token, "place": saved })
    };
    let saved = |chat: &Chat| {
        let state = snapshot(chat);
        let tokens = state["tokens"].as_array().unwrap().iter();
        tokens.map(|token| token[1]["until_ms"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let redeem = json!({ "redeem": { "token": "a" } });
    let chat = with_ann();
    let old = json!({ "keep": keep("a", 99_001) });
    apply_operation(&chat, 5, 3, &old);
    apply_operation(&chat, 5, 4, &json!({ "exit": { "reason": null, "keep": keep("a", 99_002) } }));
    apply_operation(&chat, 5, 3, &old);
    assert_eq!(saved(&chat), [99_002]);
    apply_operation(&chat, 6, 1, &redeem);
    apply_operation(&chat, 5, 3, &old);
    assert!(saved(&chat).is_empty(), "the token was redeemed");
    // If a node redeems a token but cannot restore the session, it saves the session again, once.
    let back = json!({ "keep": keep("a", 99_003) });
    apply_operation(&chat, 7, 1, &back);
    assert_eq!(saved(&chat), [99_003]);
    apply_operation(&chat, 8, 1, &redeem);
    let late = node(8);
    restore(&late, &snapshot(&chat)).unwrap();
    for chat in [chat, late] {
        apply_operation(&chat, 7, 1, &back);
        assert!(saved(&chat).is_empty(), "the token was redeemed");
    }
}

/// After a node went down, its sessions can still be saved, with the node's next number. A session
/// that a token has already restored elsewhere is not saved.
#[test]
fn the_session_of_a_downed_node_can_still_be_saved() {
    let late = |chat: &Chat, number: u64, until_ms: u64| {
        let saved = json!({ "name": "ann", "rooms": [], "until_ms": until_ms, "session": 5 });
        let keep = json!({ "keep": { "token": "a", "place": saved } });
        let entry = json!({ "v": 1, "node": 2, "session": 5, "number": number, "act": keep });
        apply(chat, entry.to_string());
        let tokens = snapshot(chat)["tokens"].clone();
        tokens[0][1]["until_ms"].as_u64()
    };
    let chat = with_ann();
    let gone = json!({ "gone": { "node": 1, "name": "east", "reason": "is gone" } });
    apply_operation(&chat, 0, 0, &gone);
    assert!(names(&chat).is_empty());
    assert_eq!(late(&chat, 2, 99_001), None, "the number was already used");
    assert_eq!(late(&chat, 3, 99_002), Some(99_002));
    assert_eq!(late(&chat, 4, 99_003), Some(99_003));
    assert_eq!(late(&chat, 3, 99_002), Some(99_003));
    let redeem = json!({ "redeem": { "token": "a" } });
    let entry = json!({ "v": 1, "node": 3, "session": 6, "number": 1, "act": redeem });
    apply(&chat, entry.to_string());
    assert_eq!(late(&chat, 5, 99_004), None, "the session was restored elsewhere");
}

/// Issue 12, item 10: a forged snapshot is refused, or its texts are cleaned.
#[test]
fn attack_a_forged_snapshot_is_refused_or_cleaned() {
    let chat = with_ann();
    apply_operation(&chat, 5, 3, &say("tea"));
    let honest = snapshot(&chat);
    let line = "/rooms/0/lines/1";
    for (path, value) in [
        ("/rooms/0/next", json!(u64::MAX)),
        ("/rooms/0/next", json!(1)),
        ("/rooms/0/last_time_ms", json!(u64::MAX)),
        ("/rooms/0/name", json!("system")),
        ("/rooms/0/password", json!("x".repeat(1000))),
        (&format!("{line}/time_ms"), json!(TIME_MAX_MS + 1)),
        (&format!("{line}/name"), json!("x".repeat(300))),
        (&format!("{line}/name"), json!(RAW)),
        ("/numbers_from", json!(u64::MAX)),
        ("/people/0/name", json!("server")),
        ("/people/0/last", json!(u64::MAX)),
        ("/people/0/session", json!(0)),
        ("/nodes", json!({ "7": u64::MAX })),
        ("/version", json!(2)),
    ] {
        let mut forged = honest.clone();
        *forged.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
        let late = node(8);
        let refused = restore(&late, &forged).unwrap_err();
        assert!(!refused.is_empty() && names(&late).is_empty(), "{path}");
        works(&late);
    }
    let mut forged = honest;
    forged["rooms"][0]["topic"] = json!(RAW);
    forged["rooms"][0]["lines"][1]["text"] = json!(RAW);
    forged["rooms"][0]["members"] = json!([[5, true], [5, true], [77, true]]);
    forged["rooms"][0]["deleted"] = json!([u64::MAX]);
    forged["people"][0]["away"] = json!(RAW);
    forged["gone_sessions"] = (1..5000).map(Value::from).collect();
    let late = node(8);
    restore(&late, &forged).unwrap();
    assert_eq!(late.lobby.with(|room| room.count()), 1);
    assert!(is_clean(&late.user(5).unwrap().away().unwrap()));
    assert_eq!(snapshot(&late)["gone_sessions"].as_array().unwrap().len(), GONE_MAX);
    works(&late);
}

#[test]
fn a_key_from_the_stream_is_short() {
    let key = Name::parse("ann").unwrap().key().clone();
    assert_eq!(serde_json::from_value::<Key>(json!(key)).unwrap(), key);
    assert!(serde_json::from_value::<Key>(json!("x".repeat(10_000))).is_err());
}

/// Returns operations of every kind, with all fields.
fn operations() -> Vec<Value> {
    let saved = json!({
        "name": "ann", "until_ms": 7, "session": 5,
        "rooms": [{ "room": "den", "next": 1, "operator": true, "password": "x" }],
        "more": { "away": "tea", "operator": "$argon2id$x", "lineage": 3, "current": "den" },
    });
    let returning = json!({
        "session": 7, "lineage": 2, "since_ms": 3, "name": "ben", "address": null,
        "operator": true, "away": "tea", "rooms": [["den", true]], "last": 4,
    });
    vec![
        json!({ "enter": { "name": "ben", "address": "::1",
            "back": { "lineage": 3, "operator": true, "away": "x" } } }),
        json!({ "redeem": { "token": "ab2c-d3ef-gh45" } }),
        json!({ "exit": { "reason": "tea", "keep": { "token": "a", "place": saved } } }),
        json!({ "keep": { "token": "ab2c", "place": saved } }),
        json!({ "rename": { "name": "bea" } }),
        join("den"),
        json!({ "join": { "room": "den", "see": { "From": 1 },
            "pass": { "return": { "operator": true, "password": "x" } } } }),
        json!({ "part": { "room": "lobby" } }),
        say("tea"),
        json!({ "delete": { "room": "lobby", "number": 1, "own": true } }),
        json!({ "topic": { "room": "lobby", "words": "tea" } }),
        json!({ "away": { "words": "tea" } }),
        json!({ "write": { "to": 5, "words": "hi", "kind": "Action" } }),
        json!({ "flood_muted": { "until_ms": 7, "count": 2 } }),
        json!("become_operator"),
        json!({ "kick": { "room": "lobby", "whom": 5, "words": "x" } }),
        json!({ "ban": { "subject": { "Network": "192.0.2.0/24" }, "scope": { "Room": "den" },
            "by": "ann", "reason": "x", "until_ms": 7, "lineage": 3 } }),
        json!({ "alter": { "room": "lobby", "change": { "mute": [5, 7] } } }),
        json!({ "alter": { "room": "lobby", "change": { "password": "$argon2id$x" } } }),
        json!({ "audit": { "what": "x" } }),
        json!({ "gone": { "node": 3, "name": "west", "reason": "is gone" } }),
        json!({ "return": { "people": [returning] } }),
    ]
}

fn hostile_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(u64::MAX)),
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!(null)),
        Just(json!(RAW)),
        Just(json!("server")),
        Just(json!("x".repeat(5000))),
        Just(json!([[5, true]])),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ]
}

/// Collects the paths of this value and all values below it.
fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, below)| {
            paths(below, &format!("{at}/{key}"), found);
        }),
        Value::Array(list) => list.iter().enumerate().for_each(|(index, below)| {
            paths(below, &format!("{at}/{index}"), found);
        }),
        _ => {}
    }
}

fn replace_one(value: &mut Value, which: prop::sample::Index, by: Value) {
    let mut found = Vec::new();
    paths(value, "", &mut found);
    let path = which.get(&found);
    if let Some(part) = value.pointer_mut(path) {
        *part = by;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Issue 12, item 10: no entry makes a node panic, stop, or show unclean text.
    #[test]
    fn attack_no_entry_harms_a_node(
        forged in prop::collection::vec(
            (0..operations().len(), any::<prop::sample::Index>(), hostile_value(), 0u64..8),
            1..12,
        ),
        raw in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (chat, operations) = (with_ann(), operations());
        for (step, (which, index, value, session)) in forged.into_iter().enumerate() {
            let number = 3 + step as u64;
            let mut entry = json!({ "v": 1, "node": 1, "session": session, "number": number,
                "act": operations[which] });
            replace_one(&mut entry, index, value);
            apply(&chat, entry.to_string());
        }
        apply(&chat, raw);
        prop_assert!(shown(&chat).iter().all(|line| is_clean(line)), "{:?}", shown(&chat));
        let late = node(8);
        restore(&late, &snapshot(&chat)).unwrap();
    }

    /// Issue 12, item 10: no snapshot makes a node panic, stop, or show unclean text.
    #[test]
    fn attack_no_snapshot_harms_a_node(
        forged in prop::collection::vec((any::<prop::sample::Index>(), hostile_value()), 1..4),
    ) {
        let chat = with_ann();
        for (number, forged) in (3..).zip(operations()) {
            apply_operation(&chat, 5, number, &forged);
        }
        let mut state = snapshot(&chat);
        forged.into_iter().for_each(|(index, value)| replace_one(&mut state, index, value));
        let late = node(8);
        let _ = restore(&late, &state);
        apply_operation(&late, 71, 1, &json!({ "enter": { "name": "yan", "address": null } }));
        apply_operation(&late, 71, 2, &join("den"));
        let said = json!({ "say": { "room": "den", "lines": [{ "t": "hi" }] } });
        apply_operation(&late, 71, 3, &said);
        prop_assert!(shown(&late).iter().all(|line| is_clean(line)), "{:?}", shown(&late));
    }
}
