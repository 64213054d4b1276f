//! Tests with a cluster of three servers.

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use echoline_chat::Link;
use echoline_chat_nats::{Severity, examine};

use crate::recorder::{Node, assert_exactly_once, wait_for};
use crate::server::{NatsServer, installed_version};

/// Fault 67: the leader of the stream is killed during traffic. It starts again after the other
/// servers have elected a new leader.
#[test]
fn exactly_once_while_the_leader_is_killed() {
    let Some(mut servers) = NatsServer::start_three() else { return };
    let mut options = servers[0].options();
    options.servers = servers.iter().map(NatsServer::url).collect::<Vec<_>>().join(",").into();
    options.replicas = 3;
    options.start_timeout = Duration::from_secs(60);
    let nodes = ["ann", "bob"].map(|name| Node::start(name, &options));
    nodes.iter().for_each(|node| node.propose(0..300));
    let name = servers[0].with(async |context| {
        let stream = context.get_stream("ECHOLINE_tea").await.unwrap();
        stream.cached_info().cluster.as_ref().unwrap().leader.clone().unwrap()
    });
    let leader = servers.iter_mut().find(|server| server.name() == name).unwrap();
    leader.kill();
    nodes.iter().for_each(|node| node.propose(300..600));
    nodes.iter().for_each(|node| node.wait_for_ids(1200));
    leader.start_again();
    nodes.iter().for_each(|node| node.propose(600..900));
    for node in &nodes {
        node.wait_for_ids(1800);
        wait_for("all proposals to be settled", || node.driver.status().pending == 0);
        assert_exactly_once(&node.ids(), 1800);
    }
    assert_eq!(nodes[0].ids(), nodes[1].ids());
    let findings = examine(&options).unwrap();
    assert!(findings.iter().all(|found| found.severity < Severity::Problem), "{findings:?}");
}

/// Servers older than 2.10.26 accept a stream with several replicas, but a node does not use it.
#[test]
fn refuses_an_existing_stream_with_three_replicas_on_old_servers() {
    let Some([2, minor @ ..=9, _]) = installed_version() else { return };
    let servers = NatsServer::start_cluster();
    let mut options = servers[0].options();
    options.start_timeout = Duration::from_secs(60);
    servers[0].with(async |context| {
        let config = Config {
            name: "ECHOLINE_tea".to_owned(),
            subjects: vec!["echoline.tea.order".to_owned()],
            num_replicas: 3,
            duplicate_window: Duration::from_secs(120),
            ..Config::default()
        };
        while context.create_stream(config.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let Err(error) = Node::try_start("ann", &options) else { panic!("it started") };
    let sentence = error.to_string();
    for words in ["3 replicas", &format!("NATS 2.{minor}."), "nats stream edit ECHOLINE_tea"] {
        assert!(sentence.contains(words), "{words}: {sentence}");
    }
    let findings = examine(&options).unwrap();
    let problem = findings.iter().find(|found| found.severity == Severity::Problem);
    assert_eq!(problem.map(|found| &found.sentence), Some(&sentence));
}

/// Fault 67: without a majority of servers nothing is acknowledged, and nothing is lost.
#[test]
fn applies_each_proposal_once_after_the_majority_was_lost() {
    let Some(servers) = NatsServer::start_three() else { return };
    let mut options = servers[0].options();
    options.replicas = 3;
    options.start_timeout = Duration::from_secs(60);
    let nodes = ["ann", "bob"].map(|name| Node::start(name, &options));
    nodes.iter().for_each(|node| node.propose(0..200));
    nodes.iter().for_each(|node| node.wait_for_ids(400));
    servers[1..].iter().for_each(|server| server.signal("-STOP"));
    nodes.iter().for_each(|node| node.propose(200..400));
    for node in &nodes {
        wait_for("the link to go down", || node.driver.status().link == Link::Down);
        assert!(node.ids().len() < 800);
    }
    servers[1..].iter().for_each(|server| server.signal("-CONT"));
    for node in &nodes {
        node.wait_for_ids(800);
        wait_for("all proposals to be settled", || node.driver.status().pending == 0);
        assert_exactly_once(&node.ids(), 800);
        let record = node.recorder.look();
        assert_eq!(record.links.last(), Some(&Link::Up));
        assert_eq!((record.anew, record.doubles), (0, 0));
    }
    assert_eq!(nodes[0].ids(), nodes[1].ids());
}
