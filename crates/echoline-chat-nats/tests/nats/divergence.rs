//! Tests of nodes that have applied different entries than those of the stream's leader.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::RawMessageErrorKind;
use futures_util::StreamExt;

use echoline_chat_nats::NatsOptions;

use crate::recorder::{Node, assert_exactly_once, wait_for};
use crate::server::NatsServer;

/// A time that is longer than a divergence check takes after a node has started to read.
const COMPARED: Duration = Duration::from_secs(4);

fn options(server: &NatsServer) -> NatsOptions {
    let mut options = server.options();
    options.heartbeat_interval = Duration::from_millis(200);
    options
}

/// A proxy between a node and its server. It can change entries, like a server whose copy of the
/// stream differs. Entries that are read one by one have a different format and are not changed.
struct LyingProxy {
    port: u16,
    lies: Arc<AtomicBool>,
}

impl LyingProxy {
    fn before(server: &NatsServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let lies = Arc::new(AtomicBool::new(true));
        let (asked, address) = (Arc::clone(&lies), server.url().replace("nats://", ""));
        spawn(move || {
            for node in listener.incoming() {
                let (node, server) = (node.unwrap(), TcpStream::connect(&address).unwrap());
                let (from, to) = (node.try_clone().unwrap(), server.try_clone().unwrap());
                spawn(move || pass(from, to, &AtomicBool::new(false)));
                let lies = Arc::clone(&asked);
                spawn(move || pass(server, node, &lies));
            }
        });
        Self { port, lies }
    }

    fn options(&self) -> NatsOptions {
        let mut options = NatsOptions::new(format!("nats://127.0.0.1:{}", self.port), "tea");
        options.heartbeat_interval = Duration::from_millis(200);
        options
    }
}

/// Copies all bytes. While `lies` is set, `ann-5` becomes `ann-x`, and `ann-50` becomes `ann-x0`.
fn pass(mut from: TcpStream, mut to: TcpStream, lies: &AtomicBool) {
    let mut bytes = vec![0; 1 << 20];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let read = &mut bytes[..count];
        if lies.load(Ordering::Relaxed) {
            for position in 4..count {
                if read[position - 4..].starts_with(b"ann-5") {
                    read[position] = b'x';
                }
            }
        }
        if to.write_all(read).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Reads all entries from the stream's leader, one by one.
async fn leaders_order(context: Context) -> Vec<String> {
    let stream = context.get_stream("ECHOLINE_tea").await.unwrap();
    let state = &stream.cached_info().state;
    let sequences = state.first_sequence..=state.last_sequence;
    let read = async |sequence| loop {
        match stream.get_raw_message(sequence).await {
            Ok(message) => break String::from_utf8(message.payload.to_vec()).unwrap(),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {
                break String::new();
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    futures_util::stream::iter(sequences).map(read).buffered(16).collect().await
}

/// Fault 68: two nodes have different entries, and this node has the wrong ones.
#[test]
fn a_node_with_wrong_entries_is_reset() {
    let Some(server) = NatsServer::start() else { return };
    let proxy = LyingProxy::before(&server);
    let ann = Node::start("ann", &options(&server));
    let bob = Node::start("bob", &proxy.options());
    sleep(COMPARED);
    ann.propose(0..100);
    [&ann, &bob].iter().for_each(|node| node.wait_for_ids(100));
    assert!(bob.ids().contains(&"ann-x".to_owned()));
    proxy.lies.store(false, Ordering::Relaxed);
    wait_for("a reset", || bob.recorder.look().anew == 1);
    bob.wait_for_ids(100);
    bob.propose(0..100);
    [&ann, &bob].iter().for_each(|node| node.wait_for_ids(200));
    sleep(COMPARED);
    assert_eq!(bob.ids(), ann.ids());
    assert_exactly_once(&bob.ids(), 200);
    assert_eq!((ann.driver.status().divergences, ann.recorder.look().anew), (0, 0));
    assert_eq!((bob.driver.status().divergences, bob.recorder.look().anew), (1, 1));
    let because = bob.driver.status().reset_reason.unwrap();
    assert!(because.contains("it has another entry"), "{because}");
}

/// Fault 68: a single node has wrong entries. There is no other node whose digests could differ.
#[test]
fn a_single_node_compares_its_first_entries_with_the_stream() {
    let Some(server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &options(&server));
    ann.propose(0..100);
    ann.wait_for_ids(100);
    let right = ann.ids();
    ann.driver.close();
    let proxy = LyingProxy::before(&server);
    let bob = Node::start("bob", &proxy.options());
    assert_ne!(bob.ids(), right);
    // While the proxy changes entries, each check finds wrong ones. The pauses between resets grow.
    wait_for("two resets", || bob.driver.status().divergences == 2);
    proxy.lies.store(false, Ordering::Relaxed);
    wait_for("the right order", || bob.ids() == right);
    sleep(COMPARED);
    assert!(bob.driver.status().divergences <= 3 && bob.ids() == right);
}

/// Fault 68: two nodes have different entries, and the other node has the wrong ones.
#[test]
fn a_node_with_right_entries_continues_after_wrong_digests() {
    let Some(server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &options(&server));
    ann.propose(0..100);
    ann.wait_for_ids(100);
    sleep(COMPARED);
    server.with(async |context| {
        let client = context.client();
        let mut told = client.subscribe("echoline.tea.digest").await.unwrap();
        let heard = told.next().await.unwrap();
        let words = String::from_utf8(heard.payload.to_vec()).unwrap();
        let (created, points) = words.split_once(' ').unwrap();
        assert!(points.starts_with("64:") && points.contains(" 100:"), "{points}");
        let mut asked = client.subscribe("$JS.API.STREAM.MSG.GET.ECHOLINE_tea").await.unwrap();
        for lie in ["nonsense", "5 64:1", &format!("{created} 64:1 100:2 164:3")] {
            client.publish("echoline.tea.digest", lie.to_owned().into()).await.unwrap();
        }
        // The node reads both blocks from the leader, and finds that its own entries are right.
        for _ in 0..100 {
            asked.next().await.unwrap();
        }
    });
    sleep(COMPARED);
    assert_eq!((ann.driver.status().divergences, ann.recorder.look().anew), (0, 0));
    assert_eq!(ann.driver.status().restarts, 0);
}

/// The environment variable with the number of runs of the next test.
const RUNS: &str = "ECHOLINE_RUNS";
/// The time after the last kill within which all nodes must have the entries of the stream.
const HEALED: Duration = Duration::from_secs(20);

/// To run this test 40 times, set `ECHOLINE_RUNS=40` and use `cargo nextest run -p
/// echoline-chat-nats --run-ignored only --no-capture one_order`.
#[test]
#[ignore = "takes a minute each time, and needs three servers of NATS 2.10.26 or newer"]
fn one_order_while_leaders_are_killed_and_come_back_at_once() {
    let runs = std::env::var(RUNS).map_or(1, |runs| runs.parse().unwrap());
    let wrong = (0..runs).filter(|run| !leaders_are_killed(*run)).count();
    assert_eq!(wrong, 0, "of {runs}");
}

/// Returns whether all nodes have the entries of the stream in time.
fn leaders_are_killed(run: usize) -> bool {
    let Some(mut servers) = NatsServer::start_three() else { return true };
    let mut options = servers[0].options();
    options.servers = servers.iter().map(NatsServer::url).collect::<Vec<_>>().join(",").into();
    options.replicas = 3;
    options.start_timeout = Duration::from_secs(60);
    let nodes = ["ann", "bob"].map(|name| Node::start(name, &options));
    let mut last = Instant::now();
    let mut has_differed = false;
    for round in 0..3 {
        let start = round * 300;
        nodes.iter().for_each(|node| node.propose(start..start + 300));
        let leader = leader(&mut servers);
        leader.kill();
        last = Instant::now();
        nodes.iter().for_each(|node| node.propose(9000 + start..9300 + start));
        leader.start_again();
        let deadline = last + Duration::from_secs(60);
        while nodes.iter().any(|node| node.driver.status().pending > 0) {
            if Instant::now() > deadline {
                eprintln!("run {run}: stuck, {:?}", nodes.each_ref().map(|m| m.driver.status()));
                return false;
            }
            sleep(Duration::from_millis(5));
        }
        has_differed |= differ(&nodes);
    }
    let settled = last.elapsed();
    let mut healed = None;
    while last.elapsed() < HEALED.max(settled + Duration::from_secs(5)) {
        if differ(&nodes) {
            (has_differed, healed) = (true, None);
        } else {
            healed.get_or_insert(last.elapsed());
        }
        sleep(Duration::from_millis(100));
    }
    let order = unique(servers[0].with(leaders_order));
    let are_right = nodes.each_ref().map(|node| node.ids() == order);
    let seen = nodes.each_ref().map(|node| node.driver.status());
    let figures = seen.each_ref().map(|s| (s.divergences, s.resets, s.gaps, s.restores));
    eprintln!(
        "run {run}: {} entries, settled {settled:.1?} after the last death, one order \
         {healed:.1?}, \
         orders differed: {has_differed}, (divergences, resets, gaps, restores): {figures:?}, \
         at the end as the stream: {are_right:?}",
        order.len(),
    );
    for because in seen.iter().filter_map(|seen| seen.reset_reason.as_ref()) {
        eprintln!("run {run}: {because}");
    }
    are_right == [true; 2]
}

/// Returns whether the nodes have different entries with the same sequence.
fn differ(nodes: &[Node; 2]) -> bool {
    let [ann, bob] = nodes.each_ref().map(Node::ids);
    ann.iter().zip(&bob).any(|(ann, bob)| ann != bob)
}

/// Returns the ids without repetitions.
fn unique(ids: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    ids.into_iter().filter(|id| seen.insert(id.clone())).collect()
}

/// Waits for a leader of the stream, and returns its server.
fn leader(servers: &mut [NatsServer; 3]) -> &mut NatsServer {
    let name = servers[0].with(async |context| {
        loop {
            if let Ok(stream) = context.get_stream("ECHOLINE_tea").await
                && let Some(cluster) = &stream.cached_info().cluster
                && let Some(leader) = &cluster.leader
            {
                break leader.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    servers.iter_mut().find(|server| server.name() == name).unwrap()
}
