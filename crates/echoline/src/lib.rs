//! Servers for line protocols over TCP, Unix sockets, TLS, WebSocket and UDP.
//!
//! A handler is an `async fn` that reads lines and writes answers. The types of this crate provide
//! limits, deadlines, bounded buffers and an orderly end:
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
//! # Four types to know
//!
//! 1. [`Server`] accepts connections and runs a handler for each. [`Server::bind`] is enough for a
//!    plain TCP or Unix socket; a [`Listener`] with a [`transport`] adds TLS, WebSocket or a PROXY
//!    header. [`Server::serve`] ends on a signal or a [`Shutdown`] handle and returns a [`Report`].
//! 2. A handler gets a [`Connection`], which reads lines or bytes, and writes. It works over any
//!    byte stream, so a handler can be tested without a socket ([`testing`]).
//! 3. [`Limits`] bounds everything: connections, bytes of a line, time, unsent bytes.
//!    [`LiveLimits`] changes the limits of a running server.
//! 4. [`Closed`] is the reason why a connection ended: a limit, an error of the peer or of the
//!    system, a panic of the handler, or the end of the server. A handler passes it on with `?`.
//!
//! # The way of one line
//!
//! 1. The accepting task of the [`Server`] accepts a connection. It checks [`Limits`], and gives
//!    the socket to one of the worker threads.
//! 2. The steps of the listener's [`transport`] run, such as the TLS handshake.
//! 3. The handler starts with a [`Connection`] and calls [`Connection::read_line`]. This waits,
//!    with the time-outs of [`Limits`], until a whole line has arrived, and counts the line for
//!    [`metrics`].
//! 4. [`Connection::write_line_parts`] puts the answer into a bounded buffer. The buffer is written
//!    when the handler waits for the next line, so that the answers to many lines share one write.
//! 5. The handler returns, or an error ends it. The server counts the [`Closed`] reason in its
//!    [`Report`].
//!
//! # Modules
//!
//! | module | contents |
//! |---|---|
//! | [`connection`] | the parts of a connection: reader and writer, feeds, messages |
//! | [`listener`] | listening sockets, their options and addresses |
//! | [`transport`] | streams, layers over them, and the steps that open a connection |
//! | [`metrics`] | what a server counts: snapshots, service times, summaries of connections |
//! | [`sources`] | rates and penalties for each client address |
//! | [`udp`] | a server for datagrams, with the rules that an open UDP port needs |
//! | [`faults`] | planned faults: delays, resets, lost and damaged bytes |
//! | [`testing`] | testing a handler: a server and its clients in memory |
//! | [`echo`] | the handlers of the command `echoline echo` |
//! | `tls` | TLS on both sides (feature `tls`) |
//! | `websocket` | WebSocket on both sides (feature `websocket`) |
//! | `proxy` | the PROXY protocol on both sides (feature `proxy`) |
//! | `site` | a page in a browser beside its WebSocket (feature `web`) |
//!
//! The default features serve lines over TCP, Unix sockets and UDP. The library runs on Linux only.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "echoline runs on Linux only: it needs timerfd, SO_PEERCRED and TCP_USER_TIMEOUT; build it on \
     Linux or in a container"
);

pub mod connection;
pub mod echo;
pub mod listener;
pub mod metrics;
mod server;
pub mod sources;
pub mod testing;
mod timer;
pub mod transport;
pub mod udp;

pub use connection::config::{Eol, Farewell, LiveLimits};
pub use connection::handle::Connection;
pub use connection::limits::{Closed, Limits};
pub use connection::line::Line;
pub use connection::lines::Lines;
pub use listener::address::Address;
pub use listener::bind::{Listener, ListenerOptions};
pub use server::builder::Server;
pub use server::report::Report;
pub use server::shutdown::{Phase, Shutdown};

/// Planned faults of streams and datagrams; see [`FaultPlan`](faults::FaultPlan).
pub mod faults {
    pub use crate::transport::fault::{
        Conditions, Direction, Fault, FaultError, FaultKind, FaultLayer, FaultPlan, FaultRule,
        FaultStream, Faults, Per,
    };
}

/// The PROXY protocol on both sides: a header that names the client.
#[cfg(feature = "proxy")]
#[cfg_attr(docsrs, doc(cfg(feature = "proxy")))]
pub mod proxy {
    pub use crate::transport::proxy::{
        AcceptProxy, ProxyFacts, ProxyHeader, ProxyHeaderError, ProxySource, ProxyTls, ProxyTlv,
        ProxyVersion, SendProxy,
    };
}

/// A few files over HTTP, and a WebSocket beside them.
#[cfg(feature = "web")]
#[cfg_attr(docsrs, doc(cfg(feature = "web")))]
pub mod site {
    pub use crate::transport::site::{Asset, Site};
}

/// TLS 1.2 and 1.3 on both sides.
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub mod tls {
    pub use crate::transport::TlsFacts;
    pub use crate::transport::tls::{
        AltName, Authorities, Certificates, ClientAuth, Fingerprint, Identity, InvalidFingerprint,
        PeerCertificate, Resumption, TlsClient, TlsError, TlsServerConfig, Trust, UnknownName,
    };
    /// The TLS library, in the version that this crate uses, for
    /// [`TlsServerConfig::from_rustls`] and [`TlsClient::from_rustls`].
    #[doc(no_inline)]
    pub use rustls;
}

/// WebSocket (RFC 6455) on both sides.
#[cfg(feature = "websocket")]
#[cfg_attr(docsrs, doc(cfg(feature = "websocket")))]
pub mod websocket {
    pub use crate::transport::websocket::{
        AcceptWebSocket, Framing, InvalidSubprotocol, OpenWebSocket, OriginDenied, OriginPolicy,
        WebSocket, WebSocketFacts,
    };
}

/// Parts that the other crates of the workspace use. They may change with any release.
#[doc(hidden)]
pub mod internals {
    pub use crate::listener::address::{is_loopback, unresolved};
    pub use crate::server::signals::{Hangup, Signals, handle_signal};
    pub use crate::server::workers::spawn_with_runtime;
    pub use crate::timer::alarm::{Alarm, Precision};
    pub use crate::timer::polling::{Polling, PollingUse};
    pub use crate::transport::fault::{DatagramFate, DatagramFaults, HeldDatagrams};
    #[cfg(feature = "websocket")]
    pub use crate::transport::websocket::origin_policy::{Host, HostKind, is_same_origin};
    pub use crate::udp::socket_error::socket_error;
}

/// The examples of the README, which `cargo test --doc` runs.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct ReadmeExamples;
