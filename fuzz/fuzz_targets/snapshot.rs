//! A node either refuses a foreign snapshot or continues from it. Another node can then continue
//! from the own snapshot of the first node, and entries have their usual effects.
#![no_main]

use echoline_chat::{
    Chat, ChatSettings, ClusterOptions, ReplicatedState, StateSnapshot, StreamEntry,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let chat = open_node(9);
    let snapshot = StateSnapshot { sequence: 10, state: bytes.to_vec().into() };
    if chat.restore(&snapshot).is_err() {
        assert_eq!(chat.applied(), 0, "a refused snapshot changes nothing");
    }
    for act in [
        r#"{"enter":{"name":"zoe","address":null}}"#,
        r#"{"join":{"room":"lobby","see":{"Last":9},"pass":"nothing"}}"#,
        r#"{"say":{"room":"lobby","lines":[{"t":"tea"}]}}"#,
        r#"{"delete":{"room":"lobby","number":1,"own":true}}"#,
    ] {
        let sequence = chat.applied() + 1;
        let head = format!(r#"{{"v":1,"node":7,"session":99,"number":{sequence},"act":"#);
        let payload = [&head, act, "}"].concat().into();
        chat.apply(&[StreamEntry { sequence, time_ms: 1000 + sequence, payload }]);
    }
    let known = chat.snapshot();
    let late = open_node(8);
    late.restore(&known).expect("a node accepts the snapshot of another node");
    assert_eq!(late.snapshot(), known);
});

fn open_node(node: u32) -> std::sync::Arc<Chat> {
    let (cluster, node_name) = ("tea".to_owned(), format!("m{node}"));
    let options = ClusterOptions { cluster, node_name, node };
    Chat::clustered(ChatSettings::default(), options).0
}
