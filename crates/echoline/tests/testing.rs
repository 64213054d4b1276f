//! The testing kit: the dialogue of its clients with a handler, and the messages of its failures.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use echoline::faults::{FaultPlan, Faults};
use echoline::testing::{TestClient, TestServer};
use echoline::{Closed, Connection, Eol, Limits, Phase};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

async fn echo(mut client: Connection) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        client.write_line(line).await?;
    }
    Ok(())
}

/// Returns the message with which a test over `echo` fails.
async fn failure<F>(test: impl FnOnce(TestClient) -> F) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let server = TestServer::new(echo).seed(7);
    let failed = tokio::spawn(test(server.connect())).await;
    *failed.expect_err("the test fails").into_panic().downcast::<String>().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_dialogue_of_lines_ends_in_order() {
    let server = TestServer::new(echo).configure(|server| server.eol(Eol::CrLf));
    let mut client = server.connect();
    client.send_line("one").await;
    client.expect_line("one").await;
    client.send("two\nthree\nfo").await;
    client.expect("two\r\nth").await;
    assert_eq!(client.read_line().await, "ree");
    client.expect_silence(SECOND).await;
    client.shutdown_write().await;
    assert_eq!(client.read_to_end().await, b"fo\r\n");
    client.expect_end().await;
    client.expect_closed(Closed::EndOfStream).await;
    drop(client);
    let report = server.stop().await;
    assert_eq!((report.accepted, report.count(Closed::EndOfStream)), (1, 1));
    assert!(report.is_clean());
}

/// A handler that loses bytes when `select!` drops its read fails for most seeds.
#[tokio::test(start_paused = true)]
async fn the_split_points_find_a_read_that_is_not_cancel_safe() {
    async fn flawed(client: Connection) -> Result<(), Closed> {
        let mut stream = client.into_stream();
        loop {
            let mut four = [0; 4];
            tokio::select! {
                // `read_exact` of tokio loses the first bytes when it is dropped.
                read = stream.read_exact(&mut four) => if read.is_err() { return Ok(()) },
                () = tokio::task::yield_now() => continue,
            }
            stream.write_all(&four).await?;
            stream.flush().await?;
        }
    }
    let mut lost = 0;
    for seed in 0..20 {
        let server = TestServer::new(flawed).seed(seed);
        let mut client = server.connect();
        client.send("12345678").await;
        client.shutdown_write().await;
        lost += usize::from(client.read_to_end().await != b"12345678");
    }
    assert!(lost > 10, "{lost} of 20 seeds found the fault");
}

#[tokio::test(start_paused = true)]
async fn time_outs_take_no_time() {
    let limits = Limits { idle_timeout: Some(60 * SECOND), ..Limits::default() };
    let server = TestServer::new(echo).configure(|server| server.limits(limits));
    let (mut idle, start) = (server.connect(), Instant::now());
    idle.expect_silence(59 * SECOND).await;
    idle.expect_line("Connection timeout. Goodbye!").await;
    idle.expect_end().await;
    idle.expect_closed(Closed::IdleTimeout).await;
    assert_eq!(start.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_stalls_its_handler() {
    async fn flood(mut client: Connection) -> Result<(), Closed> {
        loop {
            client.write_line("a line").await?;
        }
    }
    let limits = Limits { write_high: 100, ..Limits::default() };
    let server = TestServer::new(flood).capacity(8).configure(|server| server.limits(limits));
    let mut client = server.connect();
    sleep(31 * SECOND).await;
    client.expect_closed(Closed::StallTimeout).await;
    client.expect_reset().await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_the_client_ends_the_handler() {
    let mut client = TestServer::new(echo).connect();
    client.send("part").await;
    client.reset();
    client.expect_closed(Closed::Reset).await;
    // A client that is dropped closes its end, and the server outlives its `TestServer`.
    let server = TestServer::new(echo);
    let (mut one, other) = (server.connect(), server.connect());
    drop((server, other));
    one.send_line("a line").await;
    one.expect_line("a line").await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_and_an_abort_reach_every_client() {
    async fn ticker(mut client: Connection) -> Result<(), Closed> {
        client.phase_reached(Phase::Draining).await;
        client.write_line("goodbye").await
    }
    let server = TestServer::new(ticker);
    let (mut one, mut other) = (server.connect(), server.connect());
    one.expect_silence(100 * SECOND).await;
    server.shutdown().drain();
    for client in [&mut one, &mut other] {
        client.expect_line("goodbye").await;
        client.expect_end().await;
        client.expect_closed(Closed::Finished).await;
    }
    let server = TestServer::new(echo);
    let (mut idle, start) = (server.connect(), Instant::now());
    idle.expect_silence(SECOND).await;
    server.shutdown().drain();
    idle.expect_end().await;
    idle.expect_closed(Closed::Drained).await;
    assert!(start.elapsed() < 2 * SECOND, "the drain wakes it");
    let server = TestServer::new(echo);
    let mut client = server.connect();
    client.send("part").await;
    server.shutdown().abort();
    client.expect_closed(Closed::Aborted).await;
    client.expect_reset().await;
    assert_eq!(server.stop().await.count(Closed::Aborted), 1);
}

/// A drain aborts a handler that does not end, after the drain time-out.
#[tokio::test(start_paused = true)]
async fn a_drain_ends_after_its_time_out() {
    let server = TestServer::new(|mut client: Connection| async move {
        let mut message = client.begin_message();
        message.read_line().await.map(|_| ())
    });
    let (mut client, start) = (server.connect(), Instant::now());
    let report = server.stop().await;
    assert_eq!((report.count(Closed::Aborted), start.elapsed().as_secs()), (1, 30));
    client.expect_closed(Closed::Aborted).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_ends_its_own_connection() {
    let server = TestServer::new(|mut client: Connection| async move {
        while let Some(line) = client.read_line().await? {
            assert!(line != "bug", "a bug");
            client.write_line(line).await?;
        }
        Ok::<(), Closed>(())
    });
    let (mut one, mut other) = (server.connect(), server.connect());
    one.send_line("bug").await;
    one.expect_line("Server error. Goodbye!").await;
    one.expect_end().await;
    one.expect_closed(Closed::Panicked).await;
    other.send_line("good").await;
    other.expect_line("good").await;
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_application_is_shown() {
    let server = TestServer::new(async |_client: Connection| {
        Err::<(), _>(anyhow::anyhow!("the disk is full").context("cannot store"))
    });
    let mut client = server.connect();
    assert_eq!(client.closed().await, Closed::Application);
    let failed = tokio::spawn(async move { client.expect("hello").await }).await;
    let message = *failed.unwrap_err().into_panic().downcast::<String>().unwrap();
    let shown = "handler ended as Closed::Application; it returned the error: cannot store: the \
                 disk is full\n";
    assert!(message.contains(shown), "{message}");
}

/// The server's own rules apply: slots, addresses, hooks, planned faults.
#[tokio::test(start_paused = true)]
async fn the_settings_are_those_of_a_server() {
    let (ended, ends) = tokio::sync::mpsc::unbounded_channel();
    let mut ends = ends;
    let limits = Limits { max_connections: 2, max_per_ip: Some(1), ..Limits::default() };
    let server = TestServer::new(async |mut client: Connection| {
        let peer = client.peer().map_or("nobody".to_owned(), |peer| peer.ip().to_string());
        client.write_line(peer).await
    })
    .configure(|server| {
        server.limits(limits).on_closed(move |summary| _ = ended.send(summary.closed))
    });
    let peer: SocketAddr = "[2001:db8::1]:7".parse().unwrap();
    let mut one = server.connect_from(peer);
    let mut two = server.connect_from(peer);
    let mut three = server.connect_from(None);
    let mut four = server.connect();
    two.expect_closed(Closed::BusyAddress).await;
    four.expect_closed(Closed::Busy).await;
    one.expect_line("2001:db8::1").await;
    three.expect_line("nobody").await;
    drop((one, two, three, four));
    assert_eq!(server.stop().await.accepted, 4);
    let mut reasons = Vec::new();
    ends.recv_many(&mut reasons, 9).await;
    assert!(reasons.contains(&Closed::BusyAddress) && reasons.contains(&Closed::Finished));

    let plan: FaultPlan = "reset after=4".parse().unwrap();
    let server = TestServer::new(echo).configure(|server| server.faults(Faults::new(plan, 1)));
    let mut client = server.connect();
    client.send_line("a longer line").await;
    client.expect_reset().await;
}

/// A client waits for room, and receives meanwhile, so that neither side waits for the other.
#[tokio::test]
async fn much_data_in_both_directions_does_not_deadlock() {
    let server = TestServer::new(async |mut client: Connection| client.echo().await).capacity(16);
    let mut client = server.connect();
    let bytes: Vec<u8> = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
    client.send(&bytes).await;
    client.shutdown_write().await;
    assert!(client.read_to_end().await == bytes);
    client.expect_closed(Closed::EndOfStream).await;
}

/// A client is a stream for a library of the protocol.
#[tokio::test]
async fn a_client_is_a_stream() {
    let server = TestServer::new(echo);
    let mut client = Connection::new(server.connect(), Limits::default());
    client.write_line("hello").await.unwrap();
    assert_eq!(client.read_line().await.unwrap().unwrap(), "hello");
    let mut client = server.connect();
    client.write_all(b"one\ntwo\n").await.unwrap();
    client.shutdown().await.unwrap();
    client.expect_line("one").await;
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "two\n");
}

/// Cancel safe: an expectation that `select!` drops has consumed nothing.
#[tokio::test(start_paused = true)]
async fn a_dropped_expectation_loses_nothing() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let server = TestServer::new(move |mut client: Connection| {
        let gate = Arc::clone(&opened);
        async move {
            client.write(b"first ").await?;
            client.flush().await?;
            let _permit = gate.acquire().await;
            client.write_line("second").await
        }
    });
    let mut client = server.connect();
    tokio::select! {
        () = client.expect("first second\n") => panic!("the rest has not been sent"),
        () = sleep(SECOND) => {}
    }
    gate.add_permits(1);
    client.expect("first second\n").await;
    client.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_shows_the_place_the_dialogue_and_the_seed() {
    let line = line!() + 3;
    let message = failure(async |mut client| {
        client.send("one\ntwo\n").await;
        client.expect("one\nTwo\n").await;
    })
    .await;
    let wanted = format!(
        "crates/echoline/tests/testing.rs:{line}:16: expected \"one\\nTwo\\n\", but the output \
         differs at byte 4, in line 2: expected \"one\\nTwo\\n\", received \"one\\ntwo\\n\"\n\n  \
         client sent  \"one\\n\"\n  client sent  \"two\\n\"\n  server sent  \"one\\n\"\n  \
         server sent  \"two\\n\"\n  handler still runs\n\n\
         the split points are those of seed 7: repeat with ECHOLINE_SEED=7\n"
    );
    assert_eq!(message, wanted);
}

/// Runs the steps with a client of `echo`, and checks the message of the failure.
macro_rules! fails {
    ($wanted:literal, $client:ident => $($step:expr),+) => {
        let message = failure(async |mut $client| { $($step.await;)+ }).await;
        assert!(message.contains($wanted), "expected {}, the message is {message}", $wanted);
    };
}

#[tokio::test(start_paused = true)]
async fn each_expectation_can_fail() {
    fails!("expected \"a\", but nothing more arrives within 10s", client => client.expect("a"));
    fails!(
        r#"expected "part\nof it\n", but nothing more arrives within 10s after "part\n""#,
        client => client.send("part\nof"), client.expect_line("part\nof it")
    );
    fails!(
        "expected \"more\\n\", but the server ended the stream",
        client => client.shutdown_write(), client.expect_line("more")
    );
    fails!(
        "expected a line, but the server ended the stream",
        client => client.shutdown_write(), client.read_line()
    );
    fails!(
        r#"expected the end of the stream, but the server sent "more\n""#,
        client => client.send_line("more"), client.expect_end()
    );
    fails!(
        "expected the end of the stream, but nothing more arrives within 10s",
        client => client.expect_end()
    );
    fails!(
        "expected a reset, but the server ended the stream",
        client => client.shutdown_write(), client.expect_reset()
    );
    fails!(
        r#"expected silence for 1s, but the server sent "news\n""#,
        client => client.send_line("news"), client.expect_silence(SECOND)
    );
    fails!(
        "expected silence for 1s, but the server ended the stream",
        client => client.shutdown_write(), client.expect_silence(SECOND)
    );
    fails!(
        "the handler has not ended within 10s",
        client => client.expect_closed(Closed::Drained)
    );
    fails!(
        "expected Closed::Drained, but it is Closed::EndOfStream",
        client => client.shutdown_write(), client.expect_closed(Closed::Drained)
    );
}

#[tokio::test(start_paused = true)]
async fn sending_fails_if_the_handler_never_reads() {
    let server = TestServer::new(async |_client: Connection| {
        std::future::pending::<()>().await;
        Ok::<(), Closed>(())
    });
    let mut client = server.capacity(8).connect();
    let failed = tokio::spawn(async move { client.send("a line\nand more\n").await }).await;
    let message = *failed.unwrap_err().into_panic().downcast::<String>().unwrap();
    let wanted = "8 of 16 bytes cannot be sent: the handler does not read within 10s";
    assert!(message.contains(wanted), "{message}");
}
