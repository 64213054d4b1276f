//! Compares `docs/protocol.md` with the types of the messages.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::LineKind;

const REFERENCE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md"));

const PAGE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../echoline-chat/web/incoming.js"));

const VIEW: DisplayChoices = DisplayChoices { numbers: true, times: true, quiet: true };

/// A section of the reference: one message, or several messages with the same fields.
struct Section<'a> {
    names: BTreeSet<&'a str>,
    examples: Vec<&'a str>,
    fields: BTreeSet<String>,
}

fn sections(heading: &str) -> Vec<Section<'static>> {
    let (_, part) = REFERENCE.split_once(heading).expect("the reference has this heading");
    let part = part.split("\n## ").next().unwrap_or_default();
    part.split("\n### ").skip(1).map(section).collect()
}

fn section(text: &'static str) -> Section<'static> {
    let (names, body) = text.split_once('\n').unwrap();
    let rows = body.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let fields = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    Section {
        names: names.split(", ").collect(),
        examples: body.lines().filter(|line| line.starts_with('{')).collect(),
        fields: fields.map(str::to_owned).collect(),
    }
}

/// Collects the names of all fields of an object. The field of an object in a list gets a name such
/// as `rooms[].topic`.
fn fields_of(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    for (key, value) in value.as_object().unwrap() {
        let name = format!("{prefix}{key}");
        match value {
            Value::Object(_) => fields_of(value, &format!("{name}."), found),
            Value::Array(list) if list.iter().any(Value::is_object) => {
                list.iter().for_each(|entry| fields_of(entry, &format!("{name}[]."), found));
            }
            _ => {
                found.insert(name);
            }
        }
    }
}

fn fields_of_text(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    fields_of(&serde_json::from_str(text).unwrap(), "", &mut found);
    found.remove("kind");
    found
}

/// Returns every message of the server with every field.
fn complete_server_messages() -> Vec<ServerMessage<'static>> {
    let line = RoomLine {
        room: "r".into(),
        number: 1,
        time_ms: 1,
        name: "n".into(),
        text: "t".into(),
        own: true,
        deleted: Some(1),
        ignored: true,
    };
    let lines = LineKind::ALL.iter().map(|kind| ServerMessage::of_line(*kind, line.clone()));
    lines.chain(complete_lists()).chain(complete_answers()).chain(complete_news()).collect()
}

/// Returns the messages that contain lists.
fn complete_lists() -> [ServerMessage<'static>; 5] {
    let (room, topic) = (|| "r".into(), || "t".into());
    let joined = JoinedRoom { room: room(), next: 1, topic: topic(), operator: true };
    let member = ListedMember {
        name: "n".into(),
        person: "1".into(),
        operator: true,
        away: Some("a".into()),
    };
    let listed = ListedRoom { room: room(), count: 1, topic: topic(), password: true, is_in: true };
    let earlier = EarlierLine {
        kind: LineKind::Said,
        number: 1,
        time_ms: 1,
        name: "n".into(),
        text: "t".into(),
    };
    let command = ListedCommand {
        name: "n".into(),
        usage: "u".into(),
        purpose: "p".into(),
        operator: true,
        aliases: vec!["a".into()],
    };
    [
        ServerMessage::Seats { current: Some(room()), rooms: vec![joined] },
        ServerMessage::People {
            room: room(),
            topic: topic(),
            number: 1,
            count: 1,
            people: vec![member],
            more: true,
            from: Some(1),
            after: Some(1),
        },
        ServerMessage::Rooms { rooms: vec![listed], more: true, from: Some(1), after: Some(1) },
        ServerMessage::History { room: room(), lines: vec![earlier], more: true },
        ServerMessage::Commands { commands: vec![command] },
    ]
}

/// Returns the messages that answer a message of the client.
fn complete_answers() -> [ServerMessage<'static>; 7] {
    let thread = || Thread { room: Some("r".into()), person: Some("1".into()) };
    [
        ServerMessage::Welcome {
            name: "n".into(),
            token: Some("t".into()),
            max_line: Some(1),
            view: Some(VIEW),
        },
        ServerMessage::Reply { text: "t".into(), thread: thread() },
        ServerMessage::Error {
            text: "t".into(),
            about: Some(ErrorTopic::Hello),
            action: Some("a".into()),
            wait_ms: Some(1),
            thread: thread(),
        },
        ServerMessage::Refused {
            of: LineKind::Said,
            text: "t".into(),
            reason: "r".into(),
            thread: thread(),
        },
        ServerMessage::Person {
            here: true,
            person: Some("1".into()),
            name: Some("n".into()),
            away: Some("a".into()),
        },
        ServerMessage::View { view: VIEW },
        ServerMessage::Pong { ping: 1, held: true },
    ]
}

/// Returns the messages that the server sends without being asked.
fn complete_news() -> [ServerMessage<'static>; 6] {
    [
        ServerMessage::Private {
            name: "n".into(),
            to: Some("n".into()),
            time_ms: 1,
            text: "t".into(),
            person: "1".into(),
            action: true,
            own: true,
        },
        ServerMessage::Missed { room: "r".into(), count: 1 },
        ServerMessage::Undelivered {
            of: LineKind::Said,
            room: "r".into(),
            text: "t".into(),
            reason: "r".into(),
        },
        ServerMessage::Link { lost: true, text: "t".into() },
        ServerMessage::Renewed { room: "r".into() },
        ServerMessage::End { text: "t".into(), is_final: true },
    ]
}

/// Returns every message of the client with every field.
fn complete_client_messages() -> [ClientMessage; 5] {
    let text = || Some("t".to_owned());
    [
        ClientMessage::Ask {
            ask: Query::People,
            room: text(),
            before: Some(1),
            count: Some(1),
            after: Some(1),
            person: text(),
            name: text(),
        },
        ClientMessage::Ping { ping: 1 },
        ClientMessage::Say { say: "t".to_owned(), room: text(), to: text() },
        ClientMessage::Do { line: "t".to_owned(), room: text(), to: text() },
        ClientMessage::Hello(Hello {
            name: text(),
            token: Some("t".into()),
            rooms: vec!["r".to_owned()],
            after: [("r".to_owned(), LastSeen::Number(1))].into(),
        }),
    ]
}

fn name_of(message: &ClientMessage) -> &'static str {
    match message {
        ClientMessage::Ask { .. } => "ask",
        ClientMessage::Ping { .. } => "ping",
        ClientMessage::Say { .. } => "say",
        ClientMessage::Do { .. } => "do",
        ClientMessage::Hello(_) => "hello",
    }
}

fn kind_of(text: &str) -> String {
    serde_json::from_str::<Value>(text).unwrap()["kind"].as_str().unwrap().to_owned()
}

/// Returns the kinds of all server messages, which serde lists in the error for an unknown kind.
fn kinds() -> BTreeSet<String> {
    let error = serde_json::from_str::<ServerMessage<'_>>(r#"{"kind":"?"}"#).unwrap_err();
    let error = error.to_string();
    let (_, kinds) = error.split_once("one of ").unwrap();
    kinds.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_page_handles_every_server_message() {
    let (_, lists) = PAGE.split_once("const HANDLED").unwrap();
    let (lists, _) = lists.split_once("export class").unwrap();
    let handled: BTreeSet<String> =
        lists.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert_eq!(handled, kinds());
}

#[test]
fn the_reference_has_every_server_message_with_its_fields() {
    let sections = sections("## What the server sends");
    let variants = kinds();
    let documented: BTreeSet<&str> =
        sections.iter().flat_map(|section| section.names.iter().copied()).collect();
    assert!(documented.iter().eq(variants.iter()), "{documented:?}, {variants:?}");
    let complete: Vec<String> =
        complete_server_messages().iter().map(ToString::to_string).collect();
    let sampled: BTreeSet<String> = complete.iter().map(|text| kind_of(text)).collect();
    assert!(sampled.iter().eq(variants.iter()), "a variant is not in the list of this test");
    for Section { names, fields, .. } in &sections {
        for text in complete.iter().filter(|text| names.contains(kind_of(text).as_str())) {
            assert_eq!(fields_of_text(text), *fields, "fields of {names:?}");
        }
    }
}

#[test]
fn every_example_of_the_reference_is_written_by_the_server() {
    for Section { names, examples, fields } in sections("## What the server sends") {
        let kinds: BTreeSet<String> = examples.iter().map(|text| kind_of(text)).collect();
        assert!(kinds.iter().eq(names.iter()), "examples of {names:?}: {kinds:?}");
        let shown: BTreeSet<String> =
            examples.iter().flat_map(|text| fields_of_text(text)).collect();
        assert_eq!(shown, fields, "fields in the examples of {names:?}");
        for example in examples {
            let message: ServerMessage<'_> = serde_json::from_str(example).unwrap();
            assert_eq!(message.to_string(), example);
        }
    }
}

#[test]
fn the_reference_has_every_client_message_with_its_fields_and_examples() {
    let sections = sections("## What a client sends");
    let complete = complete_client_messages();
    assert_eq!(sections.len(), complete.len());
    for Section { names, examples, fields } in sections {
        let is_meant = |message: &&ClientMessage| names.contains(name_of(message));
        let complete = serde_json::to_value(complete.iter().find(is_meant).unwrap()).unwrap();
        let keys: BTreeSet<String> = complete.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, fields, "fields of {names:?}");
        let mut shown = BTreeSet::new();
        for example in examples {
            let message: ClientMessage = serde_json::from_str(example).unwrap();
            assert!(is_meant(&&message), "{example} is a {}", name_of(&message));
            assert_eq!(serde_json::to_string(&message).unwrap(), example);
            let value: Value = serde_json::from_str(example).unwrap();
            shown.extend(value.as_object().unwrap().keys().cloned());
        }
        assert_eq!(shown, fields, "fields in the examples of {names:?}");
    }
}
