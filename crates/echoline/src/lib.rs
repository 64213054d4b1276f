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
//! The module [`echo`] has the handlers of the command `echoline echo`, and [`fault`] injects
//! faults by a plan.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `tls` | `tls://` on both sides: `Certificates`, `TlsClient` |
//! | `websocket` | `ws://` on both sides: `AcceptWebSocket`, `OpenWebSocket` |
//! | `proxy` | the PROXY protocol on both sides: `AcceptProxy`, `SendProxy` |
//! | `web` | a page in a browser beside its WebSocket: `Site` |
//!
//! A program that only serves lines needs none of them.

pub mod echo;
mod net;

/// Parts that the other crates of the workspace use. They may change with any release.
#[doc(hidden)]
pub mod internals {
    pub use crate::net::alarm::{Alarm, Precision};
    pub use crate::net::{
        Hangup, Signals, handle_signal, is_loopback, socket_error, spawn_with_runtime,
    };
    #[cfg(feature = "websocket")]
    pub use crate::net::{Host, HostKind, is_same_origin};
}

pub use echoline_base::SecretText;
pub use net::fault;
#[cfg(feature = "proxy")]
pub use net::{AcceptProxy, ProxyHeader, ProxyHeaderError, ProxySource, ProxyVersion, SendProxy};
#[cfg(feature = "websocket")]
pub use net::{
    AcceptWebSocket, Framing, OpenWebSocket, OriginDenied, OriginPolicy, WebSocket, accept_key,
};
pub use net::{
    Address, AddressError, AnswerLength, Closed, Connection, ConnectionSummary, ConnectionUsage,
    DatagramAnswer, DatagramCounts, DatagramListener, DatagramRefusal, DatagramRules,
    DatagramServer, DatagramSnapshot, Eol, Farewell, FileOwner, FileUser, Layer, Limits, Line,
    LineTooLong, Lines, Listener, ListenerOptions, LiveLimits, LivenessProbe, Loopback,
    MessageGuard, Observer, OpenFuture, Origin, Outlet, PenalisedSource, Penalties, Phase,
    Protocol, Reader, ReceivedLine, Refusal, Report, Scheme, Server, ServiceTimes, Shutdown,
    Snapshot, Source, SourceAction, SourceError, SourceLimits, SourcePorts, SourceRate,
    SourceRateError, SourceRefusal, Sources, Step, Stream, TlsFacts, Traffic, Transport,
    WorkerState, Write, Writer,
};
#[cfg(feature = "web")]
pub use net::{Asset, Site};
#[cfg(feature = "tls")]
pub use net::{
    Authorities, Certificates, ClientAuth, Identity, Resumption, TlsClient, TlsError,
    TlsServerConfig, Trust,
};

/// The examples of the README, which `cargo test --doc` runs.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct ReadmeExamples;
