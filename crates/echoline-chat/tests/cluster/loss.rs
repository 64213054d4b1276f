//! Tests of a lost link: its notices, and the lines that users send while it is lost.

use std::time::Duration;

use echoline_chat::Role;
use tokio::time::sleep;

use super::bus::Trouble;
use super::cluster_harness::{A_MOMENT, BACK, ClusterHarness, LOST, until};

/// Fault 67: up to fifty lines are held back and arrive in order. A further line is refused with a
/// message.
#[tokio::test(start_paused = true)]
async fn lines_are_held_and_arrive_in_order() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    cluster.begin(0, Trouble::Cut);
    ann.hear(LOST).await;
    for number in 1..=51 {
        ann.say(&format!("line {number}")).await;
    }
    ann.hear("*** Not delivered (the link to the other nodes is lost): line 51 ***").await;
    ann.say("/me waves").await;
    ann.hear("*** Not delivered (the link to the other nodes is lost): /me waves ***").await;
    ann.say("/status").await;
    ann.hear("*** This is node m0 of the cluster test; the link is lost, messages wait ***").await;
    until(&mut ann, "50 messages from here wait, 2 were not delivered").await;
    sleep(Duration::from_secs(3)).await;
    cluster.begin(0, Trouble::None);
    for number in 1..=50 {
        ben.hear(&format!("ann: line {number}")).await;
    }
    ann.hear(BACK).await;
    ann.ask("/users", "Online: ann, ben").await;
    cluster.settle().await;
    assert_eq!((cluster.status(0).losses, cluster.status(0).not_delivered), (1, 2));
}

/// Fault 67: a line that waits for more than a minute is not delivered, and its author is told. A
/// line that was already sent arrives later.
#[tokio::test(start_paused = true)]
async fn the_author_of_an_expired_line_gets_a_notice() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    cluster.begin(0, Trouble::Cut);
    ann.hear(LOST).await;
    for line in ["on its way", "waits", "/nick anna"] {
        ann.say(line).await;
        sleep(A_MOMENT).await;
    }
    ann.hear("*** Not delivered (the link to the other nodes is lost): waits ***").await;
    ann.hear("*** Not done: the link to the other nodes is lost ***").await;
    ben.hear("*** m0 is gone, and with it ann ***").await;
    cluster.begin(0, Trouble::None);
    ben.hear("*** ann joined the chat ***").await;
    ben.hear("ann: on its way").await;
    ann.say("here again").await;
    ben.hear("ann: here again").await;
    cluster.settle().await;
    assert_eq!(cluster.status(0).returns, 1);
}

/// Fault 67: logins and exits while the link is lost take effect when it is restored.
#[tokio::test(start_paused = true)]
async fn logins_and_exits_wait_for_the_link() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    cluster.begin(1, Trouble::Cut);
    let mut dan = cluster.harnesses[1].knock(Role::User);
    dan.say("dan").await;
    let words = "*** The link to the other nodes is lost; you can join when it is back ***";
    dan.hear(words).await;
    drop(ben);
    sleep(A_MOMENT).await;
    cluster.begin(1, Trouble::None);
    dan.hear("Enter your name: *** dan joined the chat ***").await;
    until(&mut ann, "*** dan joined the chat ***").await;
    ann.ask("/users", "Online: ann, dan").await;
    cluster.settle().await;
}

/// Fault 67: if a user stops waiting for a resume, the token stays valid.
#[tokio::test(start_paused = true)]
async fn a_token_whose_resume_was_cancelled_stays_valid() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    ann.say("/token").await;
    let line = ann.line().await;
    let token = line.split(' ').nth(2).unwrap().to_owned();
    cluster.begin(1, Trouble::Frozen);
    let mut again = cluster.harnesses[1].knock(Role::User);
    again.say(&format!("/resume {token}")).await;
    sleep(Duration::from_secs(31)).await;
    drop(again);
    cluster.begin(1, Trouble::None);
    until(&mut ben, BACK).await;
    ann.say("still here").await;
    until(&mut ben, "ann: still here").await;
    cluster.settle().await;
    ann.say("/users").await;
    until(&mut ann, "Online: ann, ben").await;
    let mut third = cluster.harnesses[1].knock(Role::User);
    third.say(&format!("/resume {token}")).await;
    third.hear_of("Back in lobby").await;
    cluster.settle().await;
}

/// Fault 67: if a line that was held back is refused because of a mute, its author is told.
#[tokio::test(start_paused = true)]
async fn a_muted_line_is_not_delivered() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut cat, _ben] = cluster.all([("ann", 0), ("cat", 0), ("ben", 1)]).await;
    ann.say("/oper open sesame").await;
    until(&mut ann, "You are now an operator").await;
    ann.ask("/mute cat", "*** You muted cat in lobby for good ***").await;
    cat.hear("*** You were muted in lobby ***").await;
    cluster.begin(0, Trouble::Cut);
    cat.hear(LOST).await;
    cat.say("psst").await;
    sleep(A_MOMENT).await;
    cluster.begin(0, Trouble::None);
    cat.hear(BACK).await;
    cat.hear_of("*** Not delivered (you are muted there for good): psst ***").await;
    ann.ask("/status", LOST).await;
    ann.hear(BACK).await;
    cluster.settle().await;
}

/// Fault 67: an invalid payload changes nothing on any node, and is counted.
#[tokio::test(start_paused = true)]
async fn invalid_payloads_are_counted() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    let newer = br#"{"v":9,"node":1,"session":2,"number":3,"act":{"dance":{}}}"#;
    for payload in [&b"\xff\0garbage"[..], newer, b"{}", b""] {
        cluster.bus.inject(payload);
    }
    ann.say("hi").await;
    ben.hear("ann: hi").await;
    cluster.settle().await;
    assert_eq!((cluster.status(0).unreadable, cluster.status(1).unreadable), (4, 4));
}
