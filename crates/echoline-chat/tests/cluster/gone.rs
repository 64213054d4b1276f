//! Tests of nodes whose lease expires, of nodes that shut down or fall behind, and of a lost
//! stream.

use std::sync::Arc;
use std::time::Duration;

use echoline_chat::Role;
use tokio::time::sleep;

use super::bus::Trouble;
use super::cluster_harness::{A_MOMENT, ClusterHarness, until};

/// Fault 68: two nodes that cannot reach each other both give the same name to a user. The user
/// whose operation comes first in the stream gets the name, and the other user is told.
#[tokio::test(start_paused = true)]
async fn the_first_user_in_the_order_gets_the_name() {
    let cluster = ClusterHarness::new(3);
    let [mut ann, mut ben, mut cat] = cluster.all([("ann", 0), ("ben", 1), ("cat", 2)]).await;
    cluster.begin(0, Trouble::Cut);
    cluster.begin(1, Trouble::Cut);
    ann.say("/nick eve").await;
    ben.say("/nick Eve").await;
    let mut dan = cluster.harnesses[0].knock(Role::User);
    dan.say("\u{435}ve").await;
    sleep(A_MOMENT).await;
    cluster.begin(1, Trouble::None);
    until(&mut cat, "*** ben is now Eve ***").await;
    cluster.begin(0, Trouble::None);
    until(&mut ann, "*** The name Eve is taken; choose another ***").await;
    until(&mut dan, "That name looks too much like Eve").await;
    cat.ask("/users", "Online: ann, Eve, cat").await;
    drop(dan);
    cluster.settle().await;
}

/// Fault 68: a silent node goes down, with one line in each room, and its users' names become free.
/// When the node rejoins, so do its users, under another name if theirs is taken.
#[tokio::test(start_paused = true)]
async fn a_silent_node_goes_down_and_rejoins() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben, mut dan] = cluster.all([("ann", 0), ("ben", 1), ("dan", 1)]).await;
    ben.say("/join den").await;
    until(&mut ben, "ben joined").await;
    cluster.begin(1, Trouble::Cut);
    ann.hear("*** m1 is gone, and with it ben, dan ***").await;
    ann.ask("/users den", "No one is in den").await;
    let mut other = cluster.harnesses[0].enter("ben").await;
    ann.hear("*** ben joined the chat ***").await;
    cluster.begin(1, Trouble::None);
    ann.hear("*** ben_2 joined the chat ***").await;
    ann.hear("*** dan joined the chat ***").await;
    until(&mut ben, "*** Your name is taken; you are now ben_2 ***").await;
    until(&mut ben, "[lobby] *** m1 is gone, and with it ben, dan ***").await;
    ben.say("here").await;
    ben.ask("/users", "[lobby] *** ben joined the chat ***").await;
    until(&mut dan, "*** ben_2 joined the chat ***").await;
    until(&mut ben, "Online: ben_2").await;
    dan.say("hi").await;
    until(&mut other, "dan: hi").await;
    cluster.settle().await;
    assert_eq!((cluster.status(1).returns, cluster.status(0).returns), (1, 0));
}

/// Fault 68: a user who was kicked or banned does not rejoin the room with their node.
#[tokio::test(start_paused = true)]
async fn an_expelled_user_does_not_rejoin_the_room() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben, mut dan] = cluster.all([("ann", 0), ("ben", 1), ("dan", 1)]).await;
    ann.say("/join den").await;
    until(&mut ann, "ann joined").await;
    for guest in [&mut ben, &mut dan] {
        guest.say("/join den").await;
        until(guest, "joined").await;
    }
    cluster.begin(1, Trouble::Cut);
    sleep(A_MOMENT).await;
    ann.say("/kick ben enough").await;
    until(&mut ann, "You kicked ben from den").await;
    until(&mut ann, "m1 is gone, and with it dan").await;
    ann.say("/ban dan").await;
    until(&mut ann, "You banned dan from den").await;
    // Node 1 applies all entries at once, so its users learn about all of them together.
    cluster.bus.apply(&cluster.nodes[1].chat, cluster.bus.entries().len() as u64);
    cluster.begin(1, Trouble::None);
    until(&mut ben, "*** You were kicked from den by ann: enough ***").await;
    until(&mut dan, "*** You are banned from the room den ***").await;
    until(&mut ann, "[lobby] *** dan joined the chat ***").await;
    ann.say("/users den").await;
    until(&mut ann, "Online in den: ann").await;
    dan.say("in the lobby").await;
    until(&mut ben, "dan: in the lobby").await;
    cluster.settle().await;
}

/// Fault 68: a user who left after their node's lease had expired does not rejoin with the node.
#[tokio::test(start_paused = true)]
async fn a_user_who_left_does_not_rejoin() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, ben, mut dan] = cluster.all([("ann", 0), ("ben", 1), ("dan", 1)]).await;
    cluster.begin(1, Trouble::Stopped);
    drop(ben);
    dan.say("/token").await;
    dan.say("/quit").await;
    until(&mut ann, "m1 is gone").await;
    cluster.begin(1, Trouble::None);
    sleep(Duration::from_secs(2)).await;
    until(&mut ann, "dan left").await;
    ann.ask("/users", "Online: ann").await;
    cluster.settle().await;
    drop(ann);
    cluster.settle().await;
    assert_eq!((cluster.nodes[0].chat.people(), cluster.nodes[1].chat.people()), (0, 0));
}

/// Fault 68: no lease expires on a node that receives nothing, not even its own heartbeats.
#[tokio::test(start_paused = true)]
async fn a_node_that_receives_nothing_expires_no_lease() {
    let cluster = ClusterHarness::new(3);
    let [mut ann, mut ben, _cat] = cluster.all([("ann", 0), ("ben", 1), ("cat", 2)]).await;
    cluster.begin(0, Trouble::Frozen);
    until(&mut ben, "m0 is gone, and with it ann").await;
    sleep(Duration::from_secs(20)).await;
    cluster.begin(0, Trouble::None);
    ben.hear("*** ann joined the chat ***").await;
    sleep(Duration::from_secs(20)).await;
    ben.ask("/users", "Online: ben, cat, ann").await;
    until(&mut ann, "m0 is gone").await;
    cluster.settle().await;
}

/// Fault 68: a node that shuts down announces it, and its users leave at once.
#[tokio::test(start_paused = true)]
async fn a_node_that_shuts_down_leaves_at_once() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, _ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    let chat = Arc::clone(&cluster.nodes[1].chat);
    let leave = std::thread::spawn(move || chat.take_leave(Duration::from_secs(20)));
    while !leave.is_finished() {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(leave.join().unwrap());
    ann.hear("*** m1 is shut down, and with it ben ***").await;
    assert_eq!(cluster.status(1).returns, 0);
    cluster.harnesses[0].enter("ben").await;
}

/// Fault 67: a node that missed entries continues from another node's snapshot. Its users are told
/// how many lines they missed.
#[tokio::test(start_paused = true)]
async fn a_gap_is_announced() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    cluster.begin(1, Trouble::Cut);
    ben.say("before").await;
    sleep(A_MOMENT).await;
    ben.say("behind").await;
    for number in 0..150 {
        ann.say(&format!("line {number}")).await;
    }
    sleep(A_MOMENT).await;
    cluster.nodes[1].skip_to(echoline_chat::ReplicatedState::snapshot(&*cluster.nodes[0].chat));
    cluster.begin(1, Trouble::None);
    until(&mut ben, "*** 50 lines missed ***").await;
    ben.hear("ann: line 50").await;
    until(&mut ann, "ben: before").await;
    ann.hear("*** m1 fell behind, and with it ben ***").await;
    ann.hear("*** ben joined the chat ***").await;
    ann.hear("ben: behind").await;
    until(&mut ben, "*** ben joined the chat ***").await;
    ann.say("/msg ben psst").await;
    until(&mut ben, "[ann -> you] psst").await;
    cluster.settle().await;
    assert_eq!((cluster.status(1).gaps, cluster.status(1).returns), (1, 1));
}

/// Fault 67, found by the simulation: the stream lost the last entry that all nodes had applied,
/// and all nodes restarted from the remaining entries. The disconnected users must leave at once,
/// not only when the lease of a node expires.
#[tokio::test(start_paused = true)]
async fn a_restart_from_the_same_stream_has_no_users_left() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    for line in ["one", "two", "three"] {
        ann.say(line).await;
        until(&mut ben, line).await;
    }
    cluster.bus.read_anew();
    let words = "*** The chat starts over, because its stream was replaced; connect again ***";
    for guest in [&mut ann, &mut ben] {
        until(guest, words).await;
        assert!(guest.rest().await.is_empty());
    }
    sleep(Duration::from_secs(2)).await;
    cluster.settle().await;
    assert_eq!((cluster.nodes[0].chat.people(), cluster.nodes[1].chat.people()), (0, 0));
    assert_eq!(
        (cluster.status(0).losses, cluster.status(1).losses),
        (0, 0),
        "no operation is left over"
    );
    let [mut ann, mut ben] = cluster.all([("ann", 1), ("ben", 0)]).await;
    ann.say("hi").await;
    ben.hear("ann: hi").await;
    cluster.settle().await;
}

/// Fault 67: if the stream is lost, all users are disconnected, even if they are just reconnecting.
/// Afterwards all names and rooms are free.
#[tokio::test(start_paused = true)]
async fn a_replaced_stream_starts_an_empty_chat() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    cluster.begin(1, Trouble::Stopped);
    until(&mut ann, "m1 is gone").await;
    cluster.begin(1, Trouble::None);
    while cluster.status(1).returns == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    cluster.begin(1, Trouble::Cut);
    sleep(A_MOMENT).await;
    cluster.bus.begin_anew();
    cluster.begin(1, Trouble::None);
    let words = "*** The chat starts over, because its stream was replaced; connect again ***";
    for guest in [&mut ann, &mut ben] {
        until(guest, words).await;
        assert!(guest.rest().await.is_empty());
    }
    cluster.settle().await;
    assert_eq!((cluster.nodes[0].chat.people(), cluster.nodes[1].chat.people()), (0, 0));
    let [mut ann, mut ben] = cluster.all([("ann", 1), ("ben", 0)]).await;
    ann.say("hi").await;
    ben.hear("ann: hi").await;
    ann.say("/numbers on").await;
    ann.say("/history 1").await;
    until(&mut ann, "#3 09:30 ann: hi").await;
    cluster.settle().await;
}
