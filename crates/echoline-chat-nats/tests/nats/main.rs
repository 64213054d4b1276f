//! Tests of the NATS driver with real servers. The replicated states of the nodes record the calls
//! of the driver. If `nats-server` is not installed, the tests print that they are skipped.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

mod cluster;
mod divergence;
mod doctor;
mod faults;
mod key;
mod permissions;
mod recorder;
mod refusals;
mod server;
mod snapshots;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use echoline_chat::Link;

use recorder::{Node, PATIENCE, assert_exactly_once, wait_for};
use server::NatsServer;

#[test]
fn all_nodes_apply_the_same_entries() {
    let Some(server) = NatsServer::start() else { return };
    let nodes = ["ann", "bob"].map(|name| Node::start(name, &server.options()));
    for numbers in [0..500, 500..1000] {
        for node in &nodes {
            node.propose(numbers.clone());
        }
    }
    for node in &nodes {
        node.wait_for_ids(2000);
        assert!(node.times_are_in_order());
    }
    assert_exactly_once(&nodes[0].ids(), 2000);
    assert_eq!(nodes[0].ids(), nodes[1].ids());
    for node in nodes {
        wait_for("the last proposal to be settled", || node.driver.status().pending == 0);
        let status = node.driver.status();
        assert_eq!((status.link, status.applied, status.settled), (Link::Up, 2000, 1000));
        assert_eq!((status.retries, status.restarts, status.gaps), (0, 0, 0));
        assert_eq!(node.recorder.look().links, [Link::Up]);
        node.driver.close();
        assert_eq!(node.recorder.look().links, [Link::Up, Link::Down]);
    }
}

#[test]
fn a_later_node_applies_all_entries() {
    let Some(server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &server.options());
    ann.propose(0..3000);
    ann.wait_for_ids(3000);
    // `start` returns after all entries were applied.
    let bob = Node::start("bob", &server.options());
    assert_eq!(bob.ids(), ann.ids());
    assert!(bob.recorder.look().batches < 1000, "entries are applied in batches");
    bob.propose(0..1);
    ann.wait_for_ids(3001);
}

#[test]
fn nodes_exchange_heartbeats_outside_of_the_stream() {
    let Some(server) = NatsServer::start() else { return };
    let mut options = server.options();
    options.heartbeat_interval = Duration::from_millis(50);
    let nodes = ["ann", "bob"].map(|name| Node::start(name, &options));
    for node in &nodes {
        wait_for("both heartbeats", || node.recorder.look().heard.len() == 2);
        wait_for("a tick", || node.recorder.look().ticks > 0);
    }
}

#[test]
fn publishes_the_last_proposals_before_it_closes() {
    let Some(server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &server.options());
    let bob = Node::start("bob", &server.options());
    ann.propose(0..100);
    ann.driver.close();
    bob.wait_for_ids(100);
}

/// Issue 11, item 46: the measured run also has the right result. Every id is there once. If a node
/// proposes one id after another, its ids are in order. A node that starts later has the same ids.
///
/// Run it with `cargo nextest run --release -p echoline-chat-nats --run-ignored only --no-capture`.
#[test]
#[ignore = "measures, which needs a release build on an idle machine"]
fn regression_a_measured_run_has_all_entries_in_order() {
    const ONE_BY_ONE: usize = 2000;
    const ALL: usize = 102_000;
    let server = NatsServer::start().unwrap();
    let ann = Node::start("ann", &server.options());
    let mut trips: Vec<_> = (0..ONE_BY_ONE)
        .map(|number| {
            let since = Instant::now();
            ann.propose([number]);
            while ann.recorder.look().ids.len() <= number {
                assert!(since.elapsed() < PATIENCE, "ann-{number} does not arrive");
                std::hint::spin_loop();
            }
            since.elapsed()
        })
        .collect();
    trips.sort();
    println!("propose to apply: p50 {:?}, p99 {:?}", trips[1000], trips[1980]);
    let since = Instant::now();
    ann.propose(ONE_BY_ONE..ALL);
    ann.wait_for_ids(ALL);
    println!("100,000 proposed at once: {:.0}/s", 100_000.0 / since.elapsed().as_secs_f64());
    println!("{:?}", ann.driver.status());
    let since = Instant::now();
    let bob = Node::start("bob", &server.options());
    let taken = since.elapsed();
    println!("replay: {:.0}/s", bob.ids().len() as f64 / taken.as_secs_f64());
    let (ids, wanted) = (ann.ids(), (0..ALL).map(|number| format!("ann-{number}")));
    assert!(ids.iter().take(ONE_BY_ONE).cloned().eq(wanted.clone().take(ONE_BY_ONE)));
    assert_exactly_once(&ids, ALL);
    assert!(ids.iter().cloned().collect::<HashSet<_>>() == wanted.collect(), "an id is wrong");
    assert!(bob.ids() == ids, "a later node has another order");
    for node in [&ann, &bob] {
        assert_eq!(node.recorder.look().doubles, 0, "an id was stored twice");
        assert!(node.times_are_in_order());
        assert_eq!(node.driver.status().gaps, 0);
    }
    wait_for("all proposals to be settled", || ann.driver.status().pending == 0);
}
