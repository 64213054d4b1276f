//! Tests of a cluster with a key. Another client, the stranger, can publish to its stream.

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Config;
use echoline_chat_nats::{DriverError, NatsOptions};

use crate::recorder::{Node, assert_exactly_once, wait_for};
use crate::server::NatsServer;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

fn options(server: &NatsServer, keys: &str) -> NatsOptions {
    let mut options = server.options();
    options.keys = Some(keys.into());
    options.heartbeat_interval = std::time::Duration::from_millis(50);
    options
}

/// Starts a node, and returns the error with which the start fails.
fn refusal(options: &NatsOptions) -> DriverError {
    match Node::try_start("eve", options) {
        Ok(_) => panic!("the node started"),
        Err(error) => error,
    }
}

async fn publish(jetstream: &Context, subject: &str, payload: Vec<u8>) {
    let publish = jetstream.publish(subject.to_owned(), payload.into()).await.unwrap();
    publish.await.unwrap();
}

/// Issue 12, item 10: nodes with a key accept no entry, heartbeat or snapshot of a stranger. If a
/// stranger copies one of their own entries to another stream, they refuse it too.
#[test]
fn attack_a_stranger_without_the_key_is_ignored() {
    let Some(server) = NatsServer::start() else { return };
    let nodes = ["ann", "bob"].map(|name| Node::start(name, &options(&server, KEY)));
    nodes[0].propose(0..100);
    nodes.iter().for_each(|node| node.wait_for_ids(100));
    let recorded = server.with(async |jetstream| {
        let stream = jetstream.get_stream("ECHOLINE_tea").await.unwrap();
        let recorded = stream.get_raw_message(1).await.unwrap().payload;
        for payload in [&b"eve-1"[..], b"", b"\x01", &[1; 60], &recorded[..36]] {
            publish(&jetstream, "echoline.tea.order", payload.to_vec()).await;
        }
        jetstream.client().publish("echoline.tea.pulse", "eve".into()).await.unwrap();
        jetstream.client().publish("echoline.tea.digest", "7 1:1".into()).await.unwrap();
        jetstream.client().flush().await.unwrap();
        recorded
    });
    nodes[1].propose(100..200);
    for node in &nodes {
        node.wait_for_ids(201);
        let status = node.driver.status();
        assert_eq!((status.authentic, status.resets), (200, 0));
        wait_for("the refused messages", || node.driver.status().refused == 7);
    }
    let strangers: Vec<String> = nodes[0]
        .ids()
        .into_iter()
        .filter(|id| !id.contains("ann") && !id.contains("bob"))
        .collect();
    assert_eq!(strangers, [""], "a refused entry has no payload");
    assert!(!nodes[0].recorder.look().heard.contains("eve"));
    // Publishes the same entry in a stream that was created later.
    let info = server.info("ECHOLINE_tea");
    drop(nodes);
    server.with(async |jetstream| {
        jetstream.delete_stream(info.config.name).await.unwrap();
    });
    let late = Node::start("cat", &options(&server, KEY));
    late.propose(0..1);
    late.wait_for_ids(1);
    server.with(async |jetstream| {
        publish(&jetstream, "echoline.tea.order", recorded.to_vec()).await;
    });
    wait_for("the recorded entry", || late.driver.status().refused == 1);
    assert_eq!(late.ids(), ["cat-0", ""]);
}

/// Issue 12, item 10: a node without the key, or with a wrong key, does not take part. Its error
/// states this.
#[test]
fn attack_a_node_without_the_key_does_not_take_part() {
    let Some(server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &options(&server, KEY));
    ann.propose(0..10);
    ann.wait_for_ids(10);
    let error = refusal(&server.options());
    assert!(matches!(error, DriverError::NoKey { .. }), "{error}");
    let error = refusal(&options(&server, OTHER));
    assert!(matches!(error, DriverError::NotAuthentic { .. }), "{error}");
    let error = refusal(&options(&server, "short"));
    assert!(matches!(error, DriverError::KeyFile), "{error}");
    // The key can be replaced on one node after another.
    let bob = Node::start("bob", &options(&server, &format!("{OTHER}\n{KEY}\n")));
    assert_eq!(bob.ids(), ann.ids());
    ann.propose(10..20);
    bob.wait_for_ids(20);
    assert_exactly_once(&bob.ids(), 20);
    // A node with a key refuses a stream whose entries have no tags.
    let mut plain = server.options();
    plain.cluster = "cup".to_owned();
    let eve = Node::start("eve", &plain);
    eve.propose(0..10);
    eve.wait_for_ids(10);
    plain.keys = Some(KEY.into());
    let error = refusal(&plain).to_string();
    assert!(error.contains("give the cluster another name, or remove the stream"), "{error}");
}

/// Issue 12, item 10: no node restores a forged snapshot, and nodes still write their own
/// snapshots.
#[test]
fn attack_a_forged_snapshot_is_not_taken() {
    let Some(server) = NatsServer::start() else { return };
    let mut options = options(&server, KEY);
    options.max_entries = 1000;
    server.make(Config {
        name: "ECHOLINE_tea_SNAPSHOTS".to_owned(),
        subjects: vec!["echoline.tea.snapshot.>".to_owned()],
        ..Config::default()
    });
    let ann = Node::start("ann", &options);
    let created_ns = server.info("ECHOLINE_tea").created.unix_timestamp_nanos();
    server.with(async |jetstream| {
        for sequence in [900u64, 5000, u64::MAX] {
            let label = format!("{created_ns}.{sequence}.9.000000ab.1.00000000");
            for tag in ["", &format!(".{0}.{0}", "00".repeat(32))] {
                let subject = format!("echoline.tea.snapshot.{label}{tag}");
                publish(&jetstream, &subject, b"eve-1".to_vec()).await;
            }
        }
    });
    for start in (0..3000).step_by(100) {
        ann.propose(start..start + 100);
        ann.wait_for_ids(start + 100);
    }
    wait_for("snapshots", || ann.driver.status().snapshots >= 12);
    let bob = Node::start("bob", &options);
    assert_eq!(bob.driver.status().restores, 1);
    assert_eq!(bob.ids(), ann.ids());
    assert!(!bob.ids().contains(&"eve-1".to_owned()));
}
