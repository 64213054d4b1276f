//! No foreign entry makes a node panic or show text that is not clean. Another node can continue
//! from the snapshot of this node. Each line of the input is one entry: an operation as JSON or,
//! after a `!`, the whole payload.
#![no_main]

use echoline_chat::{Chat, ChatSettings, ClusterOptions, ReplicatedState, StreamEntry, is_clean};
use libfuzzer_sys::fuzz_target;

/// The maximum number of entries in one input.
const ENTRIES_MAX: usize = 40;

fuzz_target!(|bytes: &[u8]| {
    let ann = chat(9);
    for line in [
        &br#"{"enter":{"name":"ann","address":null}}"#[..],
        br#"{"join":{"room":"lobby","see":{"Last":0},"pass":"nothing"}}"#,
    ]
    .into_iter()
    .chain(bytes.split(|&byte| byte == b'\n').take(ENTRIES_MAX))
    {
        apply(&ann, line);
    }
    let snapshot = ann.snapshot();
    shows_clean_words(&snapshot.state);
    let late = chat(8);
    late.restore(&snapshot).expect("a node accepts the snapshot of another node");
    assert_eq!(late.applied(), ann.applied());
});

fn chat(node: u32) -> std::sync::Arc<Chat> {
    let (cluster, node_name) = ("tea".to_owned(), format!("m{node}"));
    let options = ClusterOptions { cluster, node_name, node };
    Chat::clustered(ChatSettings::default(), options).0
}

/// Applies the next entry, which comes from session 1 to 4 or from the node itself.
fn apply(chat: &Chat, line: &[u8]) {
    let sequence = chat.applied() + 1;
    let payload = match line.strip_prefix(b"!") {
        Some(payload) => payload.to_vec(),
        None => {
            let (session, act) = match line {
                [digit @ b'0'..=b'4', act @ ..] => (u32::from(digit - b'0'), act),
                act => (1, act),
            };
            let author = format!(r#"{{"v":1,"node":1,"session":{session}"#);
            let head = format!(r#"{author},"number":{sequence},"act":"#);
            [head.as_bytes(), act, b"}"].concat()
        }
    };
    chat.apply(&[StreamEntry { sequence, time_ms: 1000 + sequence, payload: payload.into() }]);
}

/// Checks the names, lines, topics and other texts in a snapshot, which users see.
fn shows_clean_words(state: &[u8]) {
    let text = std::str::from_utf8(state).expect("a snapshot is JSON");
    assert!(is_clean(text), "{text:?}");
    // JSON escapes the characters of a string that are not clean.
    assert!(!text.contains("\\u00") && !text.contains("\\n") && !text.contains("\\r"), "{text:?}");
}
