//! Testing a handler: a server and its clients in memory, with seeded packet boundaries.
//!
//! A test needs no socket and no port. A [`TestServer`] takes the same handler as
//! [`Server::serve`](crate::Server::serve), and runs it with the same limits, slots, drain and
//! close reasons. A [`TestClient`] sends, and expects the output of the handler:
//!
//! ```
//! use std::time::Duration;
//!
//! use echoline::testing::TestServer;
//! use echoline::{Closed, Connection, Eol, Limits};
//!
//! async fn greet(mut client: Connection) -> Result<(), Closed> {
//!     client.write_line("Your name?").await?;
//!     while let Some(line) = client.read_line().await? {
//!         if line == "QUIT" {
//!             return client.write_line("Goodbye!").await;
//!         }
//!         client.write_line(format!("Hello, {line}!")).await?;
//!     }
//!     Ok(())
//! }
//!
//! /// The server as `main` configures it.
//! fn server() -> TestServer {
//!     let limits = Limits { idle_timeout: Some(Duration::from_secs(60)), ..Limits::default() };
//!     TestServer::new(greet).configure(|server| server.eol(Eol::CrLf).limits(limits))
//! }
//!
//! // In a test: #[tokio::test(start_paused = true)]
//! async fn greets_until_the_client_quits() {
//!     let mut client = server().connect();
//!     client.expect("Your name?\r\n").await;
//!     client.send("Ann\nBob\n").await;
//!     client.expect_line("Hello, Ann!").await;
//!     client.expect_line("Hello, Bob!").await;
//!     client.send_line("QUIT").await;
//!     client.expect_line("Goodbye!").await;
//!     client.expect_end().await;
//!     client.expect_closed(Closed::Finished).await;
//! }
//!
//! // In a test: #[tokio::test(start_paused = true)]
//! async fn ends_an_idle_client() {
//!     let mut client = server().connect();
//!     client.expect_line("Your name?").await;
//!     client.expect_silence(Duration::from_secs(59)).await;
//!     client.expect_line("Connection timeout. Goodbye!").await;
//!     client.expect_closed(Closed::IdleTimeout).await;
//! }
//!
//! // In a test: #[tokio::test(start_paused = true)]
//! async fn a_drain_answers_the_line_that_has_begun() {
//!     let server = server();
//!     let mut client = server.connect();
//!     client.expect_line("Your name?").await;
//!     client.send("An").await;
//!     server.shutdown().drain();
//!     client.send("n\n").await;
//!     client.expect_line("Hello, Ann!").await;
//!     client.expect_end().await;
//!     client.expect_closed(Closed::Drained).await;
//! }
//! # fn runtime() -> tokio::runtime::Runtime {
//! #     let mut builder = tokio::runtime::Builder::new_current_thread();
//! #     builder.enable_all().start_paused(true).build().expect("a runtime starts")
//! # }
//! # runtime().block_on(greets_until_the_client_quits());
//! # runtime().block_on(ends_an_idle_client());
//! # runtime().block_on(a_drain_answers_the_line_that_has_begun());
//! ```
//!
//! The module is part of the default library: it brings no dependency, and a program that does not
//! use it contains none of its code.
//!
//! # Packet boundaries
//!
//! A network may cut a stream anywhere, and a handler must not depend on it. So the handler reads
//! its input in pieces of 1 to 4,096 bytes, short ones at first, and its task is suspended between
//! two pieces. A seed determines them: [`TestServer::seed`], or the environment variable
//! `ECHOLINE_SEED`, or else a random number that each failure prints. A read that loses bytes when
//! `select!` drops it fails such a test.
//!
//! # Time
//!
//! `#[tokio::test(start_paused = true)]` pauses the clock of tokio. Time then passes at once when
//! all tasks wait, and a test of a time-out takes no time. This needs the feature `test-util` of
//! tokio, for tests only:
//!
//! ```toml
//! [dev-dependencies]
//! tokio = { version = "1", features = ["macros", "rt", "test-util", "time"] }
//! ```
//!
//! Let time pass with [`TestClient::expect_silence`] or [`tokio::time::sleep`]. Do not use
//! `tokio::time::advance`: it skips the time at once, as if the process had been stopped, and a
//! connection gives its peer one more second after that.
//!
//! # Failures
//!
//! ```text
//! tests/greet.rs:9:12: expected "Hello, Bob!\r\n", but the output differs at byte 7, in line 1:
//! expected "Hello, Bob!\r\n", received "Hello, bob!\r\n"
//!
//!   client sent  "Bob\n"
//!   server sent  "Your name?\r\n"
//!   server sent  "Hello, bob!\r\n"
//!   handler still runs
//!
//! the split points are those of seed 7: repeat with ECHOLINE_SEED=7
//! ```
//!
//! # Other tests
//!
//! * Several clients of one server: [`TestServer::connect`] for each. They share the state of the
//!   handler and the limits. Wait for an answer before a second client acts, if the order matters.
//! * A client that does not read: give it a small [`TestServer::capacity`], and let time pass.
//! * A library of the protocol as the client: a [`TestClient`] implements [`tokio::io::AsyncRead`]
//!   and [`tokio::io::AsyncWrite`].
//! * A handler that is generic over its stream also runs over [`tokio::io::duplex`]; see
//!   [`Connection::accepted`](crate::Connection::accepted).

mod client;
mod dialogue_log;
mod pipe;
mod run;
mod server;

pub use client::TestClient;
pub use server::TestServer;
