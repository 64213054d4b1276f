//! Nodes and guests, for tests that script the input and check the output of each guest.

use std::sync::Arc;
use std::time::Duration;

use echoline::Limits;
use echoline_chat::{ClusterStatus, ReplicatedState};
use tokio::time::{sleep, timeout};

use super::bus::{Bus, TestNode, Trouble};
use super::random::Random;
use crate::chat_harness::{ChatHarness, Guest, settings};

/// A time that is longer than any delay of the bus and shorter than every time-out.
pub(crate) const A_MOMENT: Duration = Duration::from_millis(500);

/// The notices when the link is lost, and when it is restored.
pub(crate) const LOST: &str = "*** The link to the other nodes is lost: at most 50 of your \
                               messages wait, for up to 60 s (/status) ***";
pub(crate) const BACK: &str = "*** The link to the other nodes is back ***";

/// A chat on several nodes.
pub(crate) struct ClusterHarness {
    pub(crate) bus: Arc<Bus>,
    pub(crate) nodes: Vec<TestNode>,
    pub(crate) harnesses: Vec<ChatHarness>,
}

impl ClusterHarness {
    pub(crate) fn new(nodes: usize) -> Self {
        let settings = settings();
        let (bus, nodes) = Bus::nodes(nodes, &settings, &mut Random::new(7));
        let chat_harness = |node: &TestNode| {
            let limits = Limits { max_line: 4096, ..Limits::default() };
            ChatHarness { chat: Arc::clone(&node.chat), limits, pipe: 64 * 1024 }
        };
        let harnesses = nodes.iter().map(chat_harness).collect();
        Self { bus, nodes, harnesses }
    }

    /// Logs in several users, each on the node with this number. Each of them has read the joins of
    /// all others.
    pub(crate) async fn all<const N: usize>(&self, names: [(&str, usize); N]) -> [Guest; N] {
        let mut guests: Vec<Guest> = Vec::new();
        for (name, site) in names {
            let newcomer = self.harnesses[site].enter(name).await;
            for guest in &mut guests {
                guest.hear(&format!("*** {name} joined the chat ***")).await;
            }
            guests.push(newcomer);
        }
        // After the first heartbeats, each node knows all others.
        sleep(Duration::from_secs(4)).await;
        guests.try_into().unwrap_or_else(|_| unreachable!("there is one guest for each name"))
    }

    pub(crate) fn begin(&self, site: usize, trouble: Trouble) {
        self.nodes[site].begin(trouble);
    }

    pub(crate) fn status(&self, site: usize) -> ClusterStatus {
        self.nodes[site].chat.cluster_status().unwrap()
    }

    /// Waits, then checks that all nodes have the same state and that no operation is in flight.
    pub(crate) async fn settle(&self) {
        sleep(Duration::from_secs(12)).await;
        let one = self.nodes[0].chat.snapshot();
        for (site, node) in self.nodes.iter().enumerate() {
            assert_eq!(node.chat.snapshot(), one);
            assert_eq!((self.status(site).held, self.status(site).open), (0, 0), "m{site}");
        }
    }
}

/// Reads lines until one contains these words. Returns the lines before it.
pub(crate) async fn until(guest: &mut Guest, words: &str) -> Vec<String> {
    let mut before = Vec::new();
    loop {
        let line = timeout(Duration::from_secs(90), guest.line()).await;
        let line =
            line.unwrap_or_else(|_| panic!("waits too long for {words:?}, after {before:?}"));
        if line.contains(words) {
            return before;
        }
        assert!(!line.is_empty(), "the stream ends before {words:?}, after {before:?}");
        before.push(line);
    }
}
