//! Tests of faults that need a custom handler: one that panics, one that examines its socket. They
//! test the library, in a separate process.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread::JoinHandle;

use echoline::{Closed, Connection, Limits, Report, Server, Shutdown};
use support::Client;

async fn shaky(mut client: Connection) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        assert_ne!(line, *b"PANIC!", "as asked");
        client.write_line(format!("Echo: {line}")).await?;
    }
    Ok(())
}

/// Fault 54: a panic of a handler ends only its own connection. The client gets a message, the slot
/// becomes free, other clients are not affected, and the panics are counted.
#[test]
fn a_panic_ends_one_connection() {
    const PANICS: usize = 200;
    quieten_the_panics();
    let (address, shutdown, serving) = start(shaky);
    let mut others: Vec<Client> = (0..4).map(|_| Client::connect(address)).collect();
    for number in 0..PANICS {
        // With only 20 slots, a slot that a panic does not release would soon be missing.
        let mut client = Client::connect(address);
        client.send(if number % 2 == 0 { "PANIC!\n" } else { "hello\nPANIC!\nmore\n" });
        let heard = client.rest();
        assert!(heard.ends_with("Server error. Goodbye!\n"), "round {number}: {heard}");
        others[number % 4].ask("still fine");
    }
    drop(others);
    shutdown.drain();
    let report = serving.join().unwrap();
    assert_eq!(report.count(Closed::Panicked), PANICS as u64, "{report:?}");
    assert_eq!(report.accepted, PANICS as u64 + 4, "{report:?}");
    assert!(report.is_clean(), "{report:?}");
}

/// Fault 39: a short answer does not wait for the acknowledgement of the previous one. On loopback
/// such a delay is rare, so the test reads the socket option.
#[test]
fn accepted_sockets_send_small_writes_at_once() {
    let (address, shutdown, serving) = start(|mut client: Connection| async move {
        let nodelay = client.get_ref().tcp().unwrap().nodelay().unwrap();
        client.write_line(format!("TCP_NODELAY {nodelay}")).await
    });
    assert_eq!(Client::connect(address).rest(), "TCP_NODELAY true\n");
    shutdown.drain();
    assert!(serving.join().unwrap().is_clean());
}

/// Fault 18: the system detects a peer that has vanished, both while the server waits for it
/// (keep-alive) and after the server has sent something.
#[test]
fn accepted_sockets_notice_a_vanished_peer() {
    let (address, shutdown, serving) = start(|mut client: Connection| async move {
        let socket = socket2::SockRef::from(client.get_ref().tcp().unwrap());
        let told = format!(
            "{} {:?} {:?} {} {:?}",
            socket.keepalive()?,
            socket.tcp_keepalive_time()?,
            socket.tcp_keepalive_interval()?,
            socket.tcp_keepalive_retries()?,
            socket.tcp_user_timeout()?,
        );
        client.write_line(told).await
    });
    assert_eq!(Client::connect(address).rest(), "true 60s 10s 6 Some(30s)\n");
    shutdown.drain();
    assert!(serving.join().unwrap().is_clean());
}

/// Serves with `handler`, two workers and twenty slots, on a separate thread.
fn start<H, F>(handler: H) -> (SocketAddr, Shutdown, JoinHandle<Report>)
where
    H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), Closed>> + Send + 'static,
{
    let (started, starting) = mpsc::channel();
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let limits = Limits { max_connections: 20, ..Limits::default() };
            let server = Server::bind("127.0.0.1:0").await.unwrap().limits(limits);
            started.send((server.local_addr().unwrap(), server.shutdown())).unwrap();
            let workers = NonZeroUsize::new(2).unwrap();
            server.workers(workers).serve_until(handler, std::future::pending()).await.unwrap()
        })
    });
    let (address, shutdown) = starting.recv().unwrap();
    (address, shutdown, serving)
}

/// Hides the messages of the two hundred intended panics, but of no other panic.
fn quieten_the_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.payload_as_str().is_some_and(|message| message.contains("as asked")) {
            usual(panic);
        }
    }));
}
