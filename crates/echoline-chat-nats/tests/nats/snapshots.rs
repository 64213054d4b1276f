//! Tests of nodes that cannot read the stream from its beginning.

use echoline_chat_nats::NatsOptions;

use crate::recorder::{Node, wait_for};
use crate::server::NatsServer;

/// Returns options for a stream with so few entries that snapshots are needed often.
fn options(server: &NatsServer) -> NatsOptions {
    let mut options = server.options();
    options.max_entries = 100;
    options
}

/// Proposes in small portions that the stream can hold, so that other nodes can follow.
fn propose(node: &Node, count: usize) {
    for start in (0..count).step_by(20) {
        node.propose(start..start + 20);
        node.wait_for_ids(start + 20);
    }
}

#[test]
fn a_node_starts_from_the_oldest_snapshot_that_reaches_the_stream() {
    let Some(server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &options(&server));
    propose(&ann, 1000);
    wait_for("the last snapshot", || {
        let subject = server.with(async |context| {
            let stream = context.get_stream("ECHOLINE_tea_SNAPSHOTS").await.unwrap();
            let last = stream.cached_info().state.last_sequence;
            stream.get_raw_message(last).await.map(|message| message.subject.to_string())
        });
        subject.is_ok_and(|subject| subject.contains(".1000."))
    });
    let bob = Node::start("bob", &options(&server));
    assert_eq!(bob.ids(), ann.ids());
    // The stream begins with entry 901. There is a snapshot after about every 25th entry.
    let restored = bob.recorder.look().restored.clone();
    assert!(restored.len() == 1 && (900..=925).contains(&restored[0]), "{restored:?}");
    assert!(server.info("ECHOLINE_tea_SNAPSHOTS").state.messages < 20, "old snapshots are removed");
}

#[test]
fn a_snapshot_of_many_parts() {
    let Some(server) = NatsServer::start() else { return };
    let mut options = options(&server);
    options.max_entries = 40_000;
    let ann = Node::start("ann", &options);
    ann.propose(0..60_000);
    ann.wait_for_ids(60_000);
    wait_for("snapshots", || ann.driver.status().snapshots >= 6);
    let bob = Node::start("bob", &options);
    assert_eq!(bob.recorder.look().restored, [20_000]);
    assert_eq!(bob.ids(), ann.ids());
}

#[test]
fn another_node_takes_an_overdue_snapshot() {
    let Some(server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &options(&server));
    // Entries that no node has proposed.
    server.with(async |context| {
        for number in 0..60 {
            let payload = format!("stranger-{number}").into();
            context.publish("echoline.tea.order", payload).await.unwrap().await.unwrap();
        }
    });
    ann.wait_for_ids(60);
    wait_for("a snapshot", || ann.driver.status().snapshots > 0);
}

#[test]
fn a_node_that_lags_continues_from_the_newest_snapshot() {
    let Some(server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &options(&server));
    let bob = Node::start("bob", &options(&server));
    propose(&ann, 40);
    bob.wait_for_ids(40);
    // While this lock is held, bob's driver cannot apply entries.
    let held = bob.recorder.look();
    propose(&ann, 1000);
    // Removes the consumers, so that bob loses the entries that he has not read yet.
    server.with(async |context| {
        let stream = context.get_stream("ECHOLINE_tea").await.unwrap();
        let consumers = stream.consumer_names();
        let names: Vec<String> = futures_util::TryStreamExt::try_collect(consumers).await.unwrap();
        for name in names {
            stream.delete_consumer(&name).await.unwrap();
        }
    });
    drop(held);
    propose_more(&ann);
    wait_for("bob to apply all entries", || {
        bob.recorder.look().applied == ann.recorder.look().applied
    });
    assert_eq!(bob.ids(), ann.ids());
}

/// Proposes further ids, after the first thousand.
fn propose_more(node: &Node) {
    node.propose(1000..1010);
    node.wait_for_ids(1010);
}

#[test]
fn refuses_a_start_without_a_needed_snapshot() {
    let Some(server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &options(&server));
    propose(&ann, 200);
    ann.driver.close();
    server.with(async |context| context.delete_stream("ECHOLINE_tea_SNAPSHOTS").await.unwrap());
    let Err(error) = Node::try_start("bob", &options(&server)) else { panic!("it started") };
    let sentence = error.to_string();
    assert!(sentence.contains("entry 101") && sentence.contains("nats stream rm"), "{sentence}");
}

#[test]
fn a_node_closes_a_gap_with_a_snapshot() {
    let Some(server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &options(&server));
    propose(&ann, 60);
    wait_for("snapshots", || ann.driver.status().snapshots >= 2);
    server.with(async |context| {
        let stream = context.get_stream("ECHOLINE_tea").await.unwrap();
        stream.delete_message(10).await.unwrap();
    });
    let bob = Node::start("bob", &options(&server));
    assert_eq!(bob.ids(), ann.ids());
    assert_eq!(bob.recorder.look().restored, [50]);
}

/// A snapshot may contain entries that the server has lost. No node may restore it.
#[test]
fn a_snapshot_of_lost_entries_is_not_used() {
    let Some(mut server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &options(&server));
    propose(&ann, 40);
    wait_for("a snapshot", || ann.driver.status().snapshots >= 1);
    server.kill();
    let kept = server.keep();
    server.start_again();
    ann.propose(40..60);
    ann.wait_for_ids(60);
    wait_for("another snapshot", || ann.driver.status().snapshots >= 2);
    ann.driver.close();
    server.kill();
    // The stream is rolled back to entry 40, but the snapshots stay.
    server.roll_back_stream(&kept, "ECHOLINE_tea");
    server.start_again();
    let bob = Node::start("bob", &options(&server));
    assert_eq!(bob.ids().len(), 40);
    bob.propose(0..20);
    bob.wait_for_ids(60);
    wait_for("bob's snapshot", || bob.driver.status().snapshots >= 1);
    server.with(async |context| {
        let stream = context.get_stream("ECHOLINE_tea").await.unwrap();
        stream.purge().sequence(45).await.unwrap();
    });
    // Now there are two snapshots after entry 50.
    let cid = Node::start("cid", &options(&server));
    assert_eq!(cid.recorder.look().restored, [50]);
    assert_eq!(cid.ids(), bob.ids());
}
