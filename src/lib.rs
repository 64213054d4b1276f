//! A library for servers that speak in lines, over TCP, Unix sockets, TLS, WebSocket and UDP.
//!
//! A handler is one `async fn` that reads like the dialogue it holds. Limits, deadlines, bounded
//! buffers and an orderly end are in the types around it:
//!
//! ```
//! use echoline::{Closed, Connection, Limits, Server};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::TcpStream;
//!
//! async fn echo(mut client: Connection) -> Result<(), Closed> {
//!     while let Some(line) = client.read_line().await? {
//!         client.write_line_parts(&[b"Echo: ", &line]).await?;
//!     }
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let limits = Limits { max_connections: 100, ..Limits::default() };
//! let server = Server::bind("127.0.0.1:0").await?.limits(limits);
//! let (address, shutdown) = (server.local_addr()?, server.shutdown());
//! let serving = tokio::spawn(server.serve_until(echo, std::future::pending()));
//!
//! let mut client = TcpStream::connect(address).await?;
//! client.write_all(b"hello\n").await?;
//! client.shutdown().await?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer).await?;
//! assert_eq!(answer, "Echo: hello\n");
//!
//! shutdown.drain();
//! let report = serving.await??;
//! assert_eq!(report.count(Closed::EndOfStream), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # From a server to its end
//!
//! * [`Server::bind`] binds a plain TCP or Unix socket. A [`Listener`] is bound with
//!   [`ListenerOptions`], and its [`Transport`] adds the steps between socket and handler: TLS, a
//!   WebSocket, a PROXY header. [`Server::new`] serves several listeners.
//! * [`Server::serve`] accepts connections until a signal or a [`Shutdown`] handle ends it, runs
//!   the handler for each of them, and returns a [`Report`] that counts every end.
//! * A [`Connection`] reads lines or bytes and writes; it works over any byte stream, so a handler
//!   is tested over [`tokio::io::duplex`]. [`Lines`] is its line splitter alone.
//! * [`Limits`] bounds everything: connections, bytes of a line, time, unsent bytes. [`LiveLimits`]
//!   changes the limits of a running server.
//! * [`Closed`] names every way in which a connection ends: a limit that was reached, an error of
//!   the peer or of the system, a handler that panicked, the end of the server.
//! * [`Server::observe`], [`Server::on_closed`] and [`Server::on_line`] tell what a server does:
//!   figures, one [`ConnectionSummary`] for each connection, each line that is received.
//! * [`DatagramServer`] answers datagrams, with the rules that an open UDP port needs.
//!
//! The modules [`echo`] and [`load`] are what the commands `echoline echo` and `echoline load` do;
//! `chat` is the chat server, and [`fault`] makes things go wrong by a plan.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `cli` (default) | the program `echoline`, and all features below |
//! | `tls` | `tls://` on both sides: `Certificates`, `TlsClient` |
//! | `websocket` | `ws://` on both sides: `AcceptWebSocket`, `OpenWebSocket` |
//! | `proxy` | the PROXY protocol on both sides: `AcceptProxy`, `SendProxy` |
//! | `chat` | the module `chat` |
//! | `web` | the chat's page in a browser: `Site` |
//! | `nats` | one chat on several nodes, over NATS JetStream |
//! | `report` | load reports as files: JSON, CSV, HTML |
//!
//! A program that only serves lines needs none of them:
//! `echoline = { version = "0.1", default-features = false }`.

mod amount;
mod backoff;
#[cfg(feature = "chat")]
pub mod chat;
mod checksum;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod echo;
mod file_access;
pub mod load;
mod net;
mod poison;
mod printable;
mod random;
mod secret;
mod supervise;

pub use net::fault;
#[cfg(feature = "proxy")]
pub use net::{AcceptProxy, ProxyHeader, ProxyHeaderError, ProxySource, ProxyVersion, SendProxy};
#[cfg(feature = "websocket")]
pub use net::{
    AcceptWebSocket, Framing, OpenWebSocket, OriginDenied, OriginPolicy, WebSocket, accept_key,
};
pub use net::{
    Address, AddressError, AnswerLength, Closed, Connection, ConnectionSummary, DatagramAnswer,
    DatagramCounts, DatagramListener, DatagramRefusal, DatagramRules, DatagramServer, Datagrams,
    Eol, Farewell, FileOwner, FileUser, Layer, Limits, Line, LineTooLong, Lines, Listener,
    ListenerOptions, LiveLimits, Loopback, Message, Observer, Occupancy, Opening, Origin, Outlet,
    PenalisedSource, Penalties, Phase, Protocol, Pulse, Reader, ReceivedLine, Refusal, Report,
    Scheme, Server, ServiceTimes, Shutdown, Snapshot, Source, SourceAction, SourceError,
    SourceLimits, SourcePorts, SourceRate, SourceRateError, SourceRefusal, Sources, Step, Stream,
    TlsFacts, Traffic, Transport, WorkerState, Write, Writer,
};
#[cfg(feature = "web")]
pub use net::{Asset, Site};
#[cfg(feature = "tls")]
pub use net::{
    Authorities, Certificates, ClientAuth, Identity, Offer, Resumption, TlsClient, TlsError, Trust,
};
pub use secret::SecretText;

/// The examples of the README, which `cargo test --doc` runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct ReadmeExamples;
