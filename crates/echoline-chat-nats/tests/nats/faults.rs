//! Tests with servers that are killed, stopped or rolled back, and with states that panic.

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use echoline_chat::Link;

use crate::recorder::{Node, assert_exactly_once, wait_for};
use crate::server::NatsServer;

/// Runs two nodes that propose all the time, and calls `harm` on their server meanwhile.
fn under_traffic(server: &mut NatsServer, harm: impl Fn(&mut NatsServer)) {
    let nodes = ["ann", "bob"].map(|name| Node::start(name, &server.options()));
    for round in 0..3 {
        for step in 0..10 {
            let start = (round * 10 + step) * 50;
            nodes.iter().for_each(|node| node.propose(start..start + 50));
            sleep(Duration::from_millis(2));
            if step == 5 {
                harm(server);
            }
        }
    }
    for node in &nodes {
        node.wait_for_ids(3000);
        wait_for("all proposals to be settled", || node.driver.status().pending == 0);
    }
    assert_exactly_once(&nodes[0].ids(), 3000);
    assert_eq!(nodes[0].ids(), nodes[1].ids());
    for node in &nodes {
        assert_eq!(node.recorder.look().anew, 0);
        assert_eq!(node.recorder.look().doubles, 0);
    }
}

/// Fault 67: the server is killed during traffic.
#[test]
fn exactly_once_while_the_server_is_killed() {
    let Some(mut server) = NatsServer::start() else { return };
    under_traffic(&mut server, |server| {
        server.kill();
        server.start_again();
    });
}

/// Fault 67: the server does not answer for a while, so acknowledgements are late or lost.
#[test]
fn exactly_once_while_the_server_is_stopped() {
    let Some(mut server) = NatsServer::start() else { return };
    under_traffic(&mut server, |server| {
        server.signal("-STOP");
        // This is longer than a publish waits for its acknowledgement.
        sleep(Duration::from_millis(2500));
        server.signal("-CONT");
    });
}

#[test]
fn the_link_is_down_while_there_is_no_server() {
    let Some(mut server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &server.options());
    server.kill();
    wait_for("the link to go down", || ann.driver.status().link == Link::Down);
    ann.propose(0..10);
    server.start_again();
    ann.wait_for_ids(10);
    wait_for("the link to come up", || ann.driver.status().link == Link::Up);
    assert_eq!(ann.recorder.look().links, [Link::Up, Link::Down, Link::Up]);
    assert_eq!(ann.driver.status().reconnects, 1);
}

#[test]
fn a_stream_that_is_created_again_resets_the_nodes() {
    let Some(server) = NatsServer::start() else { return };
    let nodes = ["ann", "bob"].map(|name| Node::start(name, &server.options()));
    nodes[0].propose(0..100);
    nodes.iter().for_each(|node| node.wait_for_ids(100));
    server.with(async |context| context.delete_stream("ECHOLINE_tea").await.unwrap());
    for node in &nodes {
        wait_for("a reset", || node.recorder.look().anew == 1);
    }
    nodes[1].propose(0..50);
    for node in &nodes {
        node.wait_for_ids(50);
        assert_eq!(node.ids().len(), 50);
        assert_eq!(node.recorder.look().anew, 1);
    }
    assert_eq!(nodes[0].ids(), nodes[1].ids());
}

#[test]
fn a_lost_acknowledged_entry_is_published_again() {
    let Some(server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &server.options());
    ann.recorder.forgets.store(true, Ordering::Relaxed);
    ann.propose(0..10);
    wait_for("all entries", || ann.recorder.look().applied >= 10);
    ann.recorder.forgets.store(false, Ordering::Relaxed);
    // The server does not treat the new messages as duplicates.
    ann.wait_for_ids(10);
    assert_exactly_once(&ann.ids(), 10);
    assert_eq!(ann.recorder.look().doubles, 0);
    wait_for("all proposals to be settled", || ann.driver.status().pending == 0);
}

/// Fault 67: a power failure may lose acknowledged entries.
#[test]
fn nodes_notice_that_a_server_has_lost_entries() {
    let Some(mut server) = NatsServer::start() else { return };
    let nodes = ["ann", "bob"].map(|name| Node::start(name, &server.options()));
    nodes[0].propose(0..10);
    nodes.iter().for_each(|node| node.wait_for_ids(10));
    for more in [0, 50] {
        server.kill();
        let kept = server.keep();
        server.start_again();
        let ids = nodes[0].ids().len();
        nodes[0].propose(100 + more..110 + more);
        nodes.iter().for_each(|node| node.wait_for_ids(ids + 10));
        server.kill();
        server.roll_back(&kept);
        // At first the stream is shorter than before. Later it has different entries.
        nodes[1].propose(0..more);
        server.start_again();
        for node in &nodes {
            wait_for("a reset", || node.recorder.look().anew == 1 + usize::from(more > 0));
            node.wait_for_ids(10 + more);
            assert_exactly_once(&node.ids(), 10 + more);
        }
        assert_eq!(nodes[0].ids(), nodes[1].ids());
    }
}

/// Fault 55: after a panic, the driver must not leave a thread that only seems to work.
#[test]
fn the_driver_continues_after_a_panic() {
    let Some(server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &server.options());
    let bob = Node::start("bob", &server.options());
    ann.recorder.panics.store(true, Ordering::Relaxed);
    bob.propose(0..10);
    ann.propose(0..10);
    wait_for("two restarts", || ann.driver.status().restarts >= 2);
    wait_for("the link to go down", || ann.driver.status().link == Link::Down);
    assert!(ann.driver.status().last_error.unwrap().contains("panicked"));
    ann.recorder.panics.store(false, Ordering::Relaxed);
    ann.wait_for_ids(20);
    bob.wait_for_ids(20);
    wait_for("the link to come up", || ann.driver.status().link == Link::Up);
    assert_exactly_once(&ann.ids(), 20);
    assert_eq!(ann.ids(), bob.ids());
    ann.driver.close();
}
