//! Three servers that keep the stream together.

use std::time::Duration;

use echoline_chat::Link;
use echoline_chat::nats::examine;

use crate::recorder::{Machine, assert_exactly_once, wait_for};
use crate::server::Server;

/// Fault 67: the server that leads the stream dies in the middle of it, and comes back once the
/// others do without it. If it comes back at once, again and again, the replicas of NATS 2.9.10 may
/// come to differ, and no client can tell.
#[test]
fn exactly_once_while_the_leader_is_killed() {
    let Some(mut servers) = Server::start_three() else { return };
    let mut options = servers[0].options();
    options.servers = servers.iter().map(Server::url).collect::<Vec<_>>().join(",").into();
    options.replicas = 3;
    options.start_timeout = Duration::from_secs(60);
    let machines = ["ann", "bob"].map(|name| Machine::start(name, &options));
    machines.iter().for_each(|machine| machine.propose(0..300));
    let name = servers[0].with(async |context| {
        let stream = context.get_stream("ECHOLINE_tea").await.unwrap();
        stream.cached_info().cluster.as_ref().unwrap().leader.clone().unwrap()
    });
    let leader = servers.iter_mut().find(|server| server.name() == name).unwrap();
    leader.kill();
    machines.iter().for_each(|machine| machine.propose(300..600));
    machines.iter().for_each(|machine| machine.wait_for_ids(1200));
    leader.start_again();
    machines.iter().for_each(|machine| machine.propose(600..900));
    for machine in &machines {
        machine.wait_for_ids(1800);
        wait_for("all to be settled", || machine.bus.status().pending == 0);
        assert_exactly_once(&machine.ids(), 1800);
    }
    assert_eq!(machines[0].ids(), machines[1].ids());
    // Whether that can be relied on is for the servers' version to say.
    let findings = examine(&options).unwrap();
    let said = findings.iter().any(|found| found.sentence.contains("may lose what was acknow"));
    let is_old = findings.iter().any(|found| found.sentence.contains("is NATS 2.9."));
    assert_eq!(said, is_old, "{findings:?}");
}

/// Fault 67: without a majority nothing is acknowledged, and nothing is lost either.
#[test]
fn exactly_once_while_there_is_no_majority() {
    let Some(servers) = Server::start_three() else { return };
    let mut options = servers[0].options();
    options.replicas = 3;
    options.start_timeout = Duration::from_secs(60);
    let machines = ["ann", "bob"].map(|name| Machine::start(name, &options));
    machines.iter().for_each(|machine| machine.propose(0..200));
    machines.iter().for_each(|machine| machine.wait_for_ids(400));
    servers[1..].iter().for_each(|server| server.signal("-STOP"));
    machines.iter().for_each(|machine| machine.propose(200..400));
    for machine in &machines {
        wait_for("the link to go down", || machine.bus.status().link == Link::Down);
        assert!(machine.ids().len() < 800);
    }
    servers[1..].iter().for_each(|server| server.signal("-CONT"));
    for machine in &machines {
        machine.wait_for_ids(800);
        wait_for("all to be settled", || machine.bus.status().pending == 0);
        assert_exactly_once(&machine.ids(), 800);
        let record = machine.recorder.look();
        assert_eq!(record.links.last(), Some(&Link::Up));
        assert_eq!((record.anew, record.doubles), (0, 0));
    }
    assert_eq!(machines[0].ids(), machines[1].ids());
}
