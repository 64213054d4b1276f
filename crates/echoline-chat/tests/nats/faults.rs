//! Servers that are killed, stopped or emptied, and chats that panic.

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use echoline_chat::Link;

use crate::recorder::{Machine, assert_exactly_once, wait_for};
use crate::server::Server;

/// Two machines that propose all the time, while something is done to their server.
fn under_traffic(server: &mut Server, harm: impl Fn(&mut Server)) {
    let machines = ["ann", "bob"].map(|name| Machine::start(name, &server.options()));
    for round in 0..3 {
        for step in 0..10 {
            let start = (round * 10 + step) * 50;
            machines.iter().for_each(|machine| machine.propose(start..start + 50));
            sleep(Duration::from_millis(2));
            if step == 5 {
                harm(server);
            }
        }
    }
    for machine in &machines {
        machine.wait_for_ids(3000);
        wait_for("all to be settled", || machine.bus.status().pending == 0);
    }
    assert_exactly_once(&machines[0].ids(), 3000);
    assert_eq!(machines[0].ids(), machines[1].ids());
    for machine in &machines {
        assert_eq!(machine.recorder.look().anew, 0);
        assert_eq!(machine.recorder.look().doubles, 0);
    }
}

/// Fault 67: a server that dies in the middle of it.
#[test]
fn exactly_once_while_the_server_is_killed() {
    let Some(mut server) = Server::start() else { return };
    under_traffic(&mut server, |server| {
        server.kill();
        server.start_again();
    });
}

/// Fault 67: one that does not answer for a while, so that acknowledgements are late or lost.
#[test]
fn exactly_once_while_the_server_stands_still() {
    let Some(mut server) = Server::start() else { return };
    under_traffic(&mut server, |server| {
        server.signal("-STOP");
        // Longer than a publish waits for its acknowledgement.
        sleep(Duration::from_millis(2500));
        server.signal("-CONT");
    });
}

#[test]
fn the_link_is_down_while_there_is_no_server() {
    let Some(mut server) = Server::start() else { return };
    let ann = Machine::start("ann", &server.options());
    server.kill();
    wait_for("the link to go down", || ann.bus.status().link == Link::Down);
    ann.propose(0..10);
    server.start_again();
    ann.wait_for_ids(10);
    wait_for("the link to come up", || ann.bus.status().link == Link::Up);
    assert_eq!(ann.recorder.look().links, [Link::Up, Link::Down, Link::Up]);
    assert_eq!(ann.bus.status().reconnects, 1);
}

#[test]
fn a_stream_that_is_made_anew_is_noticed() {
    let Some(server) = Server::start() else { return };
    let machines = ["ann", "bob"].map(|name| Machine::start(name, &server.options()));
    machines[0].propose(0..100);
    machines.iter().for_each(|machine| machine.wait_for_ids(100));
    server.with(async |context| context.delete_stream("ECHOLINE_tea").await.unwrap());
    for machine in &machines {
        wait_for("a new beginning", || machine.recorder.look().anew == 1);
    }
    machines[1].propose(0..50);
    for machine in &machines {
        machine.wait_for_ids(50);
        assert_eq!(machine.ids().len(), 50);
        assert_eq!(machine.recorder.look().anew, 1);
    }
    assert_eq!(machines[0].ids(), machines[1].ids());
}

#[test]
fn what_was_acknowledged_and_is_lost_is_sent_again() {
    let Some(server) = Server::start() else { return };
    let ann = Machine::start("ann", &server.options());
    ann.recorder.forgets.store(true, Ordering::Relaxed);
    ann.propose(0..10);
    wait_for("all entries", || ann.recorder.look().applied >= 10);
    ann.recorder.forgets.store(false, Ordering::Relaxed);
    // The server takes none of them for a duplicate.
    ann.wait_for_ids(10);
    assert_exactly_once(&ann.ids(), 10);
    assert_eq!(ann.recorder.look().doubles, 0);
    wait_for("all to be settled", || ann.bus.status().pending == 0);
}

/// Fault 67: a power failure may take acknowledged entries with it.
#[test]
fn a_server_that_lost_entries_is_noticed() {
    let Some(mut server) = Server::start() else { return };
    let machines = ["ann", "bob"].map(|name| Machine::start(name, &server.options()));
    machines[0].propose(0..10);
    machines.iter().for_each(|machine| machine.wait_for_ids(10));
    for more in [0, 50] {
        server.kill();
        let kept = server.keep();
        server.start_again();
        let ids = machines[0].ids().len();
        machines[0].propose(100 + more..110 + more);
        machines.iter().for_each(|machine| machine.wait_for_ids(ids + 10));
        server.kill();
        server.roll_back(&kept);
        // At first the stream ends before where we are; then other entries stand there.
        machines[1].propose(0..more);
        server.start_again();
        for machine in &machines {
            wait_for("a new beginning", || {
                machine.recorder.look().anew == 1 + usize::from(more > 0)
            });
            machine.wait_for_ids(10 + more);
            assert_exactly_once(&machine.ids(), 10 + more);
        }
        assert_eq!(machines[0].ids(), machines[1].ids());
    }
}

/// Fault 55: a panic must not leave a thread that looks alive.
#[test]
fn a_chat_that_panics_is_driven_on() {
    let Some(server) = Server::start() else { return };
    let ann = Machine::start("ann", &server.options());
    let bob = Machine::start("bob", &server.options());
    ann.recorder.panics.store(true, Ordering::Relaxed);
    bob.propose(0..10);
    ann.propose(0..10);
    wait_for("two restarts", || ann.bus.status().restarts >= 2);
    wait_for("the link to go down", || ann.bus.status().link == Link::Down);
    assert!(ann.bus.status().last_error.unwrap().contains("panicked"));
    ann.recorder.panics.store(false, Ordering::Relaxed);
    ann.wait_for_ids(20);
    bob.wait_for_ids(20);
    wait_for("the link to come up", || ann.bus.status().link == Link::Up);
    assert_exactly_once(&ann.ids(), 20);
    assert_eq!(ann.ids(), bob.ids());
    ann.bus.close();
}
