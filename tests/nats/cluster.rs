//! Three servers that keep the stream together.

use std::time::Duration;

use crate::recorder::{Machine, assert_exactly_once, wait_for};
use crate::server::Server;

/// Fault 67: the server that leads the stream dies in the middle of it.
#[test]
fn exactly_once_while_the_leader_is_killed() {
    let Some(mut servers) = Server::start_three() else { return };
    let mut options = servers[0].options();
    options.servers = servers.iter().map(Server::url).collect::<Vec<_>>().join(",");
    options.replicas = 3;
    options.start_timeout = Duration::from_secs(60);
    let machines = ["ann", "bob"].map(|name| Machine::start(name, &options));
    for round in 0..3 {
        let start = round * 300;
        machines.iter().for_each(|machine| machine.propose(start..start + 300));
        let name = servers[0].with(async |context| {
            let stream = context.get_stream("ECHOLINE_tea").await.unwrap();
            stream.cached_info().cluster.as_ref().unwrap().leader.clone().unwrap()
        });
        let leader = servers.iter_mut().find(|server| server.name() == name).unwrap();
        leader.kill();
        machines.iter().for_each(|machine| machine.propose(9000 + start..9300 + start));
        leader.start_again();
        machines.iter().for_each(|machine| machine.wait_for_ids((round + 1) * 1200));
    }
    for machine in &machines {
        wait_for("all to be settled", || machine.bus.status().pending == 0);
        assert_exactly_once(&machine.ids(), 3600);
        let record = machine.recorder.look();
        assert_eq!((record.anew, record.doubles), (0, 0));
    }
    assert_eq!(machines[0].ids(), machines[1].ids());
}
