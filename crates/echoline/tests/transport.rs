//! Tests of the layers between a socket and its handler: slow, failing and endless handshakes, and
//! Unix sockets.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use echoline::transport::{OpenFuture, Origin, Step, Stream, Transport};
use echoline::{
    Address, Closed, Connection, Limits, Listener, ListenerOptions, Report, Server, Shutdown,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A step that accepts clients which send `knock` first.
#[derive(Debug)]
struct Knock;

impl Step for Knock {
    fn open<'a>(&'a self, mut stream: Stream, origin: &'a mut Origin) -> OpenFuture<'a> {
        Box::pin(async move {
            let mut knock = [0; 5];
            stream.read_exact(&mut knock).await?;
            if knock != *b"knock" {
                return Err(Closed::HandshakeFailed);
            }
            // The address that the client claims, as a PROXY header would.
            origin.source = Some("192.0.2.7:7".parse().unwrap());
            Ok(stream)
        })
    }
}

async fn say_who(mut client: Connection) -> Result<(), Closed> {
    let peer = client.peer();
    client.write_line(format!("you are {peer:?}")).await?;
    while let Some(line) = client.read_line().await? {
        client.write_line_parts(&[&line]).await?;
    }
    Ok(())
}

async fn start(limits: Limits) -> (Address, Shutdown, JoinHandle<Report>) {
    let address: Address = "127.0.0.1:0".parse().unwrap();
    let listeners = Listener::bind(&address, &ListenerOptions::default()).await.unwrap();
    let transport = Transport::plain().then(Arc::new(Knock));
    let listeners = listeners.into_iter().map(|one| one.transport(transport.clone())).collect();
    serve(Server::new(listeners).limits(limits))
}

fn serve(server: Server) -> (Address, Shutdown, JoinHandle<Report>) {
    let (address, shutdown) = (server.addresses().unwrap().remove(0), server.shutdown());
    let serving = async { server.serve_until(say_who, std::future::pending()).await.unwrap() };
    (address, shutdown, tokio::spawn(serving))
}

async fn connect(address: &Address) -> TcpStream {
    TcpStream::connect((address.host(), address.port())).await.unwrap()
}

async fn rest(mut stream: TcpStream) -> String {
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    heard
}

/// Fault 46, issue 11, item 46: clients that are silent before the handshake do not delay other
/// clients. The others are served while the silent ones are still connected. The test below would
/// pass even with one handshake at a time, because its silent clients time out.
#[tokio::test]
async fn regression_silent_clients_delay_no_other() {
    let handshake_timeout = Duration::from_secs(60);
    let (address, shutdown, serving) =
        start(Limits { handshake_timeout, ..Limits::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(connect(&address).await);
    }
    let mut good = connect(&address).await;
    good.write_all(b"knockhello\n").await.unwrap();
    good.shutdown().await.unwrap();
    assert_eq!(rest(good).await, "you are Some(192.0.2.7:7)\nhello\n");
    for silent in &silent {
        let waits = silent.try_read(&mut [0; 1]).unwrap_err();
        assert_eq!(
            waits.kind(),
            std::io::ErrorKind::WouldBlock,
            "a silent client was disconnected"
        );
    }
    drop(silent);
    shutdown.drain();
    let report = serving.await.unwrap();
    assert_eq!((report.count(Closed::EndOfStream), report.accepted), (1, 101), "{report:?}");
}

/// Fault 46: a client that is silent before the handshake times out and delays no other client.
#[tokio::test]
async fn a_silent_client_times_out_and_delays_no_other() {
    // The talking clients have the same time-out, so it must be long enough on a busy machine.
    let handshake_timeout = Duration::from_secs(2);
    let (address, shutdown, serving) =
        start(Limits { handshake_timeout, ..Limits::default() }).await;
    let silent: Vec<TcpStream> = vec![connect(&address).await, connect(&address).await];
    let mut good = connect(&address).await;
    good.write_all(b"knockhello\n").await.unwrap();
    good.shutdown().await.unwrap();
    assert_eq!(rest(good).await, "you are Some(192.0.2.7:7)\nhello\n");
    for silent in silent {
        assert_eq!(rest(silent).await, "");
    }
    let mut wrong = connect(&address).await;
    wrong.write_all(b"crash").await.unwrap();
    assert_eq!(rest(wrong).await, "");
    shutdown.drain();
    let report = serving.await.unwrap();
    assert_eq!(report.count(Closed::HandshakeTimeout), 2, "{report:?}");
    assert_eq!(report.count(Closed::HandshakeFailed), 1, "{report:?}");
    assert_eq!(report.count(Closed::EndOfStream), 1, "{report:?}");
}

/// Fault 47: only a limited number of handshakes runs at a time. A client that waits too long for
/// its turn times out.
#[tokio::test]
async fn the_number_of_handshakes_is_limited() {
    let limits = Limits {
        max_handshakes: 1,
        handshake_timeout: Duration::from_secs(60),
        ..Limits::default()
    };
    let (address, shutdown, serving) = start(limits).await;
    let mut first = connect(&address).await;
    let mut second = connect(&address).await;
    second.write_all(b"knock").await.unwrap();
    second.shutdown().await.unwrap();
    let mut byte = [0; 1];
    let early = tokio::time::timeout(Duration::from_millis(50), second.read(&mut byte)).await;
    assert!(early.is_err(), "the second did not wait for the first");
    first.write_all(b"knock").await.unwrap();
    assert_eq!(rest(second).await, "you are Some(192.0.2.7:7)\n");
    drop(first);
    shutdown.drain();
    assert!(serving.await.unwrap().is_clean());
}

/// Fault 47, issue 11, item 46: the wait for a turn counts as handshake time, so no client waits
/// without end.
#[tokio::test]
async fn regression_a_wait_for_a_turn_counts_as_handshake_time() {
    const CLIENTS: u64 = 20;
    let handshake_timeout = Duration::from_secs(1);
    let limits = Limits { max_handshakes: 1, handshake_timeout, ..Limits::default() };
    let (address, shutdown, serving) = start(limits).await;
    let mut silent = Vec::new();
    for _ in 0..CLIENTS {
        silent.push(connect(&address).await);
    }
    // One after another, the handshakes would take twenty seconds.
    let all_let_go = async {
        for client in silent {
            assert_eq!(rest(client).await, "");
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all_let_go)
        .await
        .expect("the waits for a turn add up");
    shutdown.drain();
    let report = serving.await.unwrap();
    assert_eq!(report.count(Closed::HandshakeTimeout), CLIENTS, "{report:?}");
}

/// Fault 5, issue 11, item 46: a flood of connections is accepted in batches, and the other
/// listeners get their turns in between.
#[tokio::test]
async fn regression_a_flood_of_connections_leaves_other_listeners_their_turns() {
    /// The maximum number of connections that a listener accepts in a row.
    const BATCH: usize = 64;
    let address: Address = "127.0.0.1:0".parse().unwrap();
    let mut listeners = Vec::new();
    for _ in 0..2 {
        listeners.extend(Listener::bind(&address, &ListenerOptions::default()).await.unwrap());
    }
    let server = Server::new(listeners);
    let (addresses, shutdown) = (server.addresses().unwrap(), server.shutdown());
    // All connections wait in the queues of the listeners before the first one is accepted.
    let mut waiting = Vec::new();
    for number in 0..400 {
        waiting.push(connect(&addresses[number % 2]).await);
    }
    let accepted = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let before = Arc::new(AtomicUsize::new(0));
    let handler = {
        let (accepted, before) = (Arc::clone(&accepted), Arc::clone(&before));
        // The server calls this for each connection, in the order in which it accepts them.
        move |client: Connection| {
            let listener = client.origin().listener;
            if accepted[listener].fetch_add(1, Ordering::Relaxed) == 0 {
                let other = accepted[1 - listener].load(Ordering::Relaxed);
                before.fetch_max(other, Ordering::Relaxed);
            }
            say_who(client)
        }
    };
    let serving = tokio::spawn(server.serve_until(handler, std::future::pending()));
    for client in &mut waiting {
        client.read_exact(&mut [0; 7]).await.unwrap();
    }
    let before = before.load(Ordering::Relaxed);
    // Without batches the runtime would let the task accept 128 connections in a row.
    assert!(before <= BATCH * 3 / 2, "{before} were accepted before the other listener's turn");
    drop(waiting);
    shutdown.drain();
    assert_eq!(serving.await.unwrap().unwrap().accepted, 400);
}

/// Fault 51: a drain does not wait for a client that has not started its handshake.
#[tokio::test]
async fn a_drain_does_not_wait_for_a_handshake() {
    let limits = Limits { handshake_timeout: Duration::from_secs(600), ..Limits::default() };
    let (address, shutdown, serving) = start(limits).await;
    let silent = connect(&address).await;
    shutdown.drain();
    let report = serving.await.unwrap();
    assert_eq!((report.count(Closed::Drained), report.is_clean()), (1, true), "{report:?}");
    assert_eq!(rest(silent).await, "");
}

/// Faults 29, 45: a Unix socket is served like a TCP socket, including the half-close.
#[tokio::test]
async fn a_unix_socket_is_served_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let listen: Address = format!("unix:{}", path.display()).parse().unwrap();
    let server = Server::bind(listen.clone()).await.unwrap();
    let (address, shutdown, serving) = serve(server);
    assert_eq!(address, listen);
    let talking = tokio::task::spawn_blocking(move || {
        let mut client = UnixStream::connect(path).unwrap();
        client.write_all(b"hello\n").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).unwrap();
        heard
    });
    assert_eq!(talking.await.unwrap(), "you are None\nhello\n");
    shutdown.drain();
    assert_eq!(serving.await.unwrap().count(Closed::EndOfStream), 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file is still there");
}

/// Returns the peer address that a handler sees for a client at `target`; `None` if the client
/// cannot connect.
async fn peer_seen(address: &str, dual_stack: bool, target: &str) -> Option<String> {
    let options = ListenerOptions { dual_stack, ..ListenerOptions::default() };
    let listeners = Listener::bind(&address.parse().unwrap(), &options).await.unwrap();
    let port = listeners[0].local_addr().unwrap().port();
    let (_, shutdown, serving) = serve(Server::new(listeners));
    let mut client = TcpStream::connect((target, port)).await.ok()?;
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    shutdown.drain();
    serving.await.unwrap();
    let peer = heard.strip_prefix("you are Some(").unwrap();
    Some(peer.rsplit_once(':').unwrap().0.to_owned())
}

/// Issue 15, item 6: the option decides, not the system, and an IPv4 client has its IPv4 address.
#[tokio::test]
async fn a_dual_stack_listener_accepts_ipv4_clients_too() {
    for (dual_stack, target, peer) in [
        (true, "127.0.0.1", Some("127.0.0.1")),
        (true, "::1", Some("[::1]")),
        (false, "127.0.0.1", None),
        (false, "::1", Some("[::1]")),
    ] {
        let seen = peer_seen("[::]:0", dual_stack, target).await;
        assert_eq!(seen.as_deref(), peer, "dual_stack: {dual_stack}, {target}");
    }
}

/// A dual-stack listener needs the port for IPv4 too; two others share it.
#[tokio::test]
async fn both_families_share_a_port_unless_one_listener_takes_both() {
    let usual = ListenerOptions::default();
    let only_v4 = Listener::bind(&"0.0.0.0:0".parse().unwrap(), &usual).await.unwrap();
    let port = only_v4[0].local_addr().unwrap().port();
    let address: Address = format!("[::]:{port}").parse().unwrap();
    let dual = ListenerOptions { dual_stack: true, ..usual.clone() };
    let error = Listener::bind(&address, &dual).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{error}");
    assert_eq!(Listener::probe(&address).await.unwrap().len(), 1);
    assert_eq!(Listener::bind(&address, &usual).await.unwrap().len(), 1);
}
