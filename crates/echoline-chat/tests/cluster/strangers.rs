//! Tests of logins that a node refuses by itself, without using the stream.

use echoline_chat::Role;
use tokio::time::sleep;

use super::bus::Trouble;
use super::cluster_harness::{A_MOMENT, ClusterHarness, until};

/// Issue 12, item 6: a login adds no entry to the stream if the name is taken, malformed, reserved
/// or banned, or if the token is wrong. This holds on every node.
#[tokio::test(start_paused = true)]
async fn attack_refused_names_and_tokens_add_no_entries() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, _ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    ann.say("/oper open sesame").await;
    until(&mut ann, "You are now an operator").await;
    ann.say("/ban eve").await;
    until(&mut ann, "You banned eve from the chat").await;
    sleep(A_MOMENT).await;
    let before = cluster.bus.entries().len();
    for chat_harness in &cluster.harnesses {
        let mut stranger = chat_harness.knock(Role::User);
        for name in ["ann", "ANN", "\u{430}nn", "ben", "eve", "a b", "server"].repeat(20) {
            stranger.say(name).await;
            until(&mut stranger, "***").await;
        }
        let mut program = chat_harness.knock(Role::Bot);
        for _ in 0..20 {
            program.say("{\"name\":\"ann\"}").await;
            until(&mut program, "is taken").await;
        }
    }
    assert_eq!(cluster.bus.entries().len(), before, "no attempt reached the stream");
    // A node that lags must not refuse a token before it has caught up. It catches up once for all
    // waiting clients.
    let mut strangers = Vec::new();
    for _ in 0..100 {
        let mut stranger = cluster.harnesses[1].knock(Role::User);
        stranger.say("/resume ab2c-d3ef-gh45-ab2c-d3ef").await;
        strangers.push(stranger);
    }
    for stranger in &mut strangers {
        until(stranger, "That token is unknown or has expired").await;
    }
    let entries = cluster.bus.entries().len() - before;
    assert!((1..=2).contains(&entries), "{entries} entries for 100 wrong tokens");
    cluster.settle().await;
}

/// The number of open operations: 64 in flight, and 64 of sessions that wait.
const OPEN: u64 = 64 + 64;

/// Issue 12, item 6: even with many clients that are not logged in, only a few of their operations
/// are in flight at once. The waiting clients are served later.
#[tokio::test(start_paused = true)]
async fn attack_few_operations_before_login_are_in_flight() {
    let cluster = ClusterHarness::new(1);
    cluster.begin(0, Trouble::Frozen);
    let mut strangers = Vec::new();
    for number in 0..300 {
        let mut stranger = cluster.harnesses[0].knock(Role::User);
        stranger.say(&format!("n{number}")).await;
        strangers.push(stranger);
    }
    sleep(A_MOMENT).await;
    assert_eq!(cluster.status(0).open, OPEN, "operations in flight");
    // Half of the clients disconnect. Their operations in flight still count, so no new operations
    // can take their place.
    strangers.drain(..150);
    for number in 300..450 {
        let mut stranger = cluster.harnesses[0].knock(Role::User);
        stranger.say(&format!("n{number}")).await;
        strangers.push(stranger);
    }
    sleep(A_MOMENT).await;
    assert_eq!(cluster.status(0).open, OPEN, "operations in flight");
    cluster.begin(0, Trouble::None);
    for stranger in &mut strangers {
        until(stranger, "joined the chat").await;
    }
    cluster.settle().await;
}
