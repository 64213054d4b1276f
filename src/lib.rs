#![doc = include_str!("../README.md")]
//!
//! # The map
//! What a server stands on, in the order in which one meets it: an [`Address`] is bound by a
//! [`Listener`], a [`Server`] gives each client a [`Connection`] under [`Limits`] and runs its
//! handler, every end has a name in [`Closed`], [`Shutdown`] ends it all and the [`Report`]
//! accounts for everybody. [`Lines`] is the splitter alone, for other streams. [`echo`] and
//! [`load`] are what the commands `echo` and `load` do.

#[cfg(feature = "chat")]
pub mod chat;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod echo;
pub mod load;
mod net;
mod random;

pub use net::fault;
#[cfg(feature = "proxy")]
pub use net::{AcceptProxy, ProxyHeader, ProxyHeaderError, ProxySource, ProxyVersion, SendProxy};
#[cfg(feature = "websocket")]
pub use net::{
    AcceptWebSocket, Framing, OpenWebSocket, OriginDenied, OriginPolicy, WebSocket, accept_key,
};
pub use net::{
    Address, AddressError, AnswerLength, Closed, Connection, DatagramAnswer, DatagramCounts,
    DatagramListener, DatagramRefusal, DatagramRules, DatagramServer, Datagrams, Eol, Farewell,
    FileOwner, Layer, Limits, Line, LineTooLong, Lines, Listener, ListenerOptions, LiveLimits,
    Loopback, Message, Observer, Opening, Origin, Outlet, Phase, Pulse, Reader, Refusal, Report,
    Scheme, Server, ServiceTimes, Shutdown, Snapshot, SourcePorts, Step, Stream, TlsFacts, Traffic,
    Transport, WorkerState, Write, Writer,
};
#[cfg(feature = "web")]
pub use net::{Asset, Site};
#[cfg(feature = "tls")]
pub use net::{
    Authorities, Certificates, ClientAuth, Identity, Offer, Resumption, TlsClient, TlsError, Trust,
};
