//! Tests of moderation, private lines and restored sessions between nodes.

use echoline_chat::{ReplicatedState, Role};
use tokio::time::sleep;

use super::bus::Trouble;
use super::cluster_harness::{A_MOMENT, ClusterHarness, until};

/// Fault 68: the actions of an operator take effect on all nodes.
#[tokio::test(start_paused = true)]
async fn moderation_works_from_another_node() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    ann.say("/join den").await;
    until(&mut ann, "ann joined").await;
    ben.ask("/kick ann", "*** Only an operator can do that ***").await;
    ben.say("/join den").await;
    until(&mut ben, "ben joined").await;
    ann.hear("*** ben joined the chat ***").await;
    ann.ask("/mute ben", "*** You muted ben in den for good ***").await;
    ben.hear("*** You were muted in den ***").await;
    ben.say("let me").await;
    ben.hear("*** Not delivered (you are muted there for good): let me ***").await;
    ann.ask("/unmute ben", "*** You unmuted ben in den ***").await;
    ann.ask("/op ben", "*** ben is an operator of den ***").await;
    ben.hear("*** You were unmuted in den ***").await;
    ben.hear("*** You are an operator of den ***").await;
    ben.ask("/deop ann", "*** ann is no longer an operator of den ***").await;
    ann.hear("*** You are no longer an operator of den ***").await;
    ben.say("/kick ann").await;
    until(&mut ann, "*** You were kicked from den by ben ***").await;
    until(&mut ben, "You kicked ann from den").await;
    ben.say("/ban ann").await;
    until(&mut ben, "*** You banned ann from den for good ***").await;
    until(&mut ben, "The ban covers the name ann, and this user under any name").await;
    until(&mut ben, "An operator of the chat can also see and ban their address").await;
    ann.ask("/join den", "*** You are banned from the room den ***").await;
    ben.ask("/unban ann", "*** ann may join den again ***").await;
    ann.say("/join den").await;
    until(&mut ann, "ann joined").await;
    cluster.settle().await;
}

/// Issue 11, item 14: a line is deleted on all nodes, even on a node that learns about it from a
/// snapshot.
#[tokio::test(start_paused = true)]
async fn regression_a_line_is_deleted_on_all_nodes() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    ann.say("my secret").await;
    ben.hear("ann: my secret").await;
    ben.ask("/delete 3", "*** Line 3 is not yours: only an operator can delete it ***").await;
    ann.ask("/delete 3", "*** Line 3 was deleted by ann ***").await;
    ben.hear("*** Line 3 was deleted by ann ***").await;
    ben.say("/oper open sesame").await;
    until(&mut ben, "You are now an operator").await;
    ann.say("another").await;
    ben.hear("ann: another").await;
    ben.ask("/delete 5", "*** Line 5 was deleted by ben ***").await;
    ann.hear("*** Line 5 was deleted by ben ***").await;
    for guest in [&mut ann, &mut ben] {
        guest.ask("/history 3-5", "#3 09:30 ann: [deleted]").await;
        guest.hear("#4 09:30 *** Line 3 was deleted by ann ***").await;
        guest.hear("#5 09:30 ann: [deleted]").await;
    }
    cluster.settle().await;
    let snapshot = String::from_utf8(cluster.nodes[0].chat.snapshot().state.to_vec()).unwrap();
    assert!(!snapshot.contains("secret") && snapshot.contains(r#""deleted":[3,5]"#), "{snapshot}");
}

/// Fault 68: an operator of the whole chat bans a user of another node.
#[tokio::test(start_paused = true)]
async fn a_ban_holds_on_all_nodes() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    ann.say("/oper open sesame").await;
    until(&mut ann, "You are now an operator").await;
    ann.say("/ban ben 1h spam").await;
    until(&mut ben, "You are banned from this chat until tomorrow: spam").await;
    assert!(ben.rest().await.is_empty());
    until(&mut ann, "*** ben left the chat (banned) ***").await;
    let mut again = cluster.harnesses[1].knock(Role::User);
    again.say("Ben").await;
    again.hear_of("You are banned from this chat").await;
    drop(again);
    cluster.settle().await;
}

/// Fault 68: private lines reach users of other nodes. If one does not, its author is told.
#[tokio::test(start_paused = true)]
async fn private_lines_cross_nodes() {
    let mut cluster = ClusterHarness::new(2);
    cluster.harnesses[1].pipe = 600;
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    ann.ask("/msg ben psst", "[you -> ben] psst").await;
    ben.hear("[ann -> you] psst").await;
    ben.ask("/reply yes", "[you -> ann] yes").await;
    ann.hear("[ben -> you] yes").await;
    ben.say("/away tea").await;
    ben.hear_of("You are marked as away: tea").await;
    ann.ask("/msg ben there?", "*** ben is away: tea ***").await;
    ann.hear("[you -> ben] there?").await;
    ben.hear("[ann -> you] there?").await;
    ben.say("/away").await;
    ben.hear("*** You are no longer marked as away ***").await;
    // The mailbox of a user who does not read is bounded.
    let words = "x".repeat(300);
    let mut refused = 0;
    for _ in 0..420 {
        ann.say(&format!("/msg ben {words}")).await;
    }
    ann.say("/msg zoe x").await;
    for line in until(&mut ann, "There is no user zoe").await {
        refused += usize::from(line == "*** Not delivered: the mailbox of ben is full ***");
    }
    assert!(refused > 100, "the author is told about each refused line: {refused}");
    cluster.settle().await;
}

/// Fault 68: a private room is private on all nodes.
#[tokio::test(start_paused = true)]
async fn private_rooms_are_private_on_all_nodes() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    ann.say("/join den").await;
    until(&mut ann, "ann joined").await;
    ann.say("/private on").await;
    until(&mut ann, "Only invited users can join this room now").await;
    ben.ask("/join den", "*** den is private: only invited users can join ***").await;
    ben.ask("/rooms", "lobby (2)").await;
    ann.ask("/invite ben", "*** You invited ben to den ***").await;
    ben.hear("*** ann invites you: /join den ***").await;
    ben.say("/join den").await;
    until(&mut ben, "ben joined").await;
    ben.say("/leave den").await;
    until(&mut ben, "You left den").await;
    until(&mut ann, "ben left").await;
    ann.say("/join safe").await;
    until(&mut ann, "ann joined").await;
    ann.say("/password swordfish").await;
    until(&mut ann, "need this password").await;
    ben.ask("/join safe", "*** safe needs the right password: /join safe PASSWORD ***").await;
    ben.ask("/join safe bream", "*** safe needs the right password: /join safe PASSWORD ***").await;
    ben.say("/join safe swordfish").await;
    until(&mut ben, "ben joined").await;
    cluster.settle().await;
}

/// Fault 68: a token restores a session on another node while the previous connection is still
/// open.
#[tokio::test(start_paused = true)]
async fn a_token_restores_a_session_on_another_node() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    ann.say("/token").await;
    let line = ann.line().await;
    let token = line.split(' ').nth(2).unwrap().to_owned();
    let mut again = cluster.harnesses[1].knock(Role::User);
    again.say(&format!("/resume {token}")).await;
    again.hear_of("Back in lobby, from line 3 on").await;
    until(&mut ann, "*** You continue in another connection ***").await;
    assert!(ann.rest().await.is_empty());
    ben.hear("*** ann left the chat (goes on elsewhere) ***").await;
    ben.hear("*** ann joined the chat ***").await;
    again.say("here").await;
    ben.hear("ann: here").await;
    let mut third = cluster.harnesses[0].knock(Role::User);
    third.say(&format!("/resume {token}")).await;
    third.hear_of("That token is unknown or has expired").await;
    drop(third);
    cluster.settle().await;
}

/// A user who has read all output returns on another node at once. No line of this user is lost,
/// and no line is shown twice.
#[tokio::test(start_paused = true)]
async fn regression_a_user_who_read_to_the_end_returns_to_the_exact_position() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    ann.say("/token").await;
    let line = ann.line().await;
    let token = line.split(' ').nth(2).unwrap().to_owned();
    ben.say("one").await;
    ann.hear("ben: one").await;
    ann.say("two").await;
    ann.say("/quit good night").await;
    ann.rest().await;
    let mut again = cluster.harnesses[1].knock(Role::User);
    again.say(&format!("/resume {token}")).await;
    again.hear_of("Back in lobby, from line 4 on").await;
    ben.hear("ann: two").await;
    ben.hear("*** ann left the chat (good night) ***").await;
    ben.hear("*** ann joined the chat ***").await;
    cluster.settle().await;
}

/// Issue 11, item 6: a session that is restored on another node has the same current room, even if
/// the previous connection hangs.
#[tokio::test(start_paused = true)]
async fn regression_resume_on_another_node_keeps_the_current_room() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    ann.say("/token").await;
    let line = ann.line().await;
    let token = line.split(' ').nth(2).unwrap().to_owned();
    for room in ["garden", "attic", "garden"] {
        ann.say(&format!("/join {room}")).await;
        until(&mut ann, &format!("You are now talking in {room}")).await;
    }
    ben.say("/join garden").await;
    until(&mut ben, "ben joined").await;
    let mut again = cluster.harnesses[1].knock(Role::User);
    again.say(&format!("/resume {token}")).await;
    until(&mut again, "*** You are now talking in garden ***").await;
    again.say("among the beans").await;
    until(&mut ben, "ann: among the beans").await;
    cluster.settle().await;
}

/// Fault 68: a token restores a session even if the lease of its node has just expired.
#[tokio::test(start_paused = true)]
async fn a_token_restores_a_session_of_a_downed_node() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, mut ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    ben.say("/token").await;
    let line = ben.line().await;
    let token = line.split(' ').nth(2).unwrap().to_owned();
    cluster.begin(1, Trouble::Cut);
    until(&mut ann, "*** m1 is gone, and with it ben ***").await;
    let mut again = cluster.harnesses[0].knock(Role::User);
    again.say(&format!("/resume {token}")).await;
    again.hear_of("Back in lobby, from line 3 on").await;
    cluster.begin(1, Trouble::None);
    until(&mut ben, "*** You continue in another connection ***").await;
    assert!(ben.rest().await.is_empty());
    ann.hear("*** ben joined the chat ***").await;
    ann.ask("/users", "Online: ann, ben").await;
    cluster.settle().await;
}

/// Fault 67: `/status` shows the state of the link.
#[tokio::test(start_paused = true)]
async fn status_shows_the_state_of_the_link() {
    let cluster = ClusterHarness::new(2);
    let [mut ann, _ben] = cluster.all([("ann", 0), ("ben", 1)]).await;
    ann.ask("/status", "*** This is node m0 of the cluster test; the link is up ***").await;
    ann.hear("*** Nodes and their users: m0 (1), m1 (1) ***").await;
    let words = "*** Stream entry 4; 0 messages from here wait, 0 were not delivered ***";
    ann.hear(words).await;
    cluster.begin(0, Trouble::Cut);
    sleep(A_MOMENT).await;
    until(&mut ann, "of your messages wait").await;
    ann.say("/status").await;
    ann.hear_of("the link is lost, messages wait").await;
}
