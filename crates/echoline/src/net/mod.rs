//! Mechanism: what every server here stands on. It knows no protocol.

mod accept_errors;
mod address;
mod admission;
pub(crate) mod alarm;
mod bind_error;
mod buffers;
mod closing;
mod config;
mod connection;
mod core;
mod datagram;
mod deadlines;
mod drain_guard;
mod failure;
pub mod fault;
mod feed;
mod file_user;
mod handler_task;
mod handshake;
mod input;
mod layer;
mod limits;
mod lines;
mod listener;
mod live_limits;
mod liveness_probe;
mod message_guard;
mod observer;
#[cfg(feature = "websocket")]
mod origin_policy;
mod output;
mod peer;
mod probe;
#[cfg(feature = "proxy")]
mod proxy;
#[cfg(feature = "proxy")]
mod proxy_header;
mod registry;
mod report;
mod runtime_thread;
mod server;
mod service_times;
mod shutdown;
mod signals;
#[cfg(feature = "web")]
mod site;
mod snapshot;
mod socket_file;
mod socket_folder;
mod sources;
mod split;
mod stream;
mod summary;
mod timer;
#[cfg(feature = "tls")]
mod tls;
mod token_bucket;
mod transport;
mod unix;
mod usage;
#[cfg(feature = "websocket")]
mod websocket;
mod worker_stats;
mod workers;
mod write;

pub use address::is_loopback;
pub use address::{Address, AddressError, Scheme};
pub use config::{Eol, Farewell};
pub use connection::Connection;
pub use datagram::socket_error;
pub use datagram::{
    AnswerLength, DatagramAnswer, DatagramCounts, DatagramListener, DatagramRefusal, DatagramRules,
    DatagramServer, DatagramSnapshot, Loopback, SourcePorts,
};
pub use feed::Outlet;
pub use file_user::FileUser;
pub use layer::Layer;
pub use limits::{Closed, Limits};
pub use lines::{Line, LineTooLong, Lines};
pub use listener::{Listener, ListenerOptions};
pub use live_limits::LiveLimits;
pub use liveness_probe::LivenessProbe;
pub use message_guard::MessageGuard;
pub use observer::Observer;
#[cfg(feature = "websocket")]
pub use origin_policy::{Host, HostKind, OriginDenied, OriginPolicy, is_same_origin};
#[cfg(feature = "proxy")]
pub use proxy::{AcceptProxy, ProxySource, SendProxy};
#[cfg(feature = "proxy")]
pub use proxy_header::{ProxyHeader, ProxyHeaderError, ProxyVersion};
pub use report::Report;
pub use runtime_thread::spawn_with_runtime;
pub use server::Server;
pub use service_times::ServiceTimes;
pub use shutdown::{Phase, Shutdown};
pub use signals::{Hangup, Signals, handle_signal};
#[cfg(feature = "web")]
pub use site::{Asset, Site};
pub use snapshot::{Snapshot, Traffic, WorkerState};
pub use sources::{
    PenalisedSource, Penalties, Source, SourceAction, SourceError, SourceLimits, SourceRate,
    SourceRateError, SourceRefusal, Sources,
};
pub use split::{Reader, Writer};
pub use stream::Stream;
pub use summary::{ConnectionSummary, ReceivedLine};
#[cfg(feature = "tls")]
pub use tls::{
    Authorities, Certificates, ClientAuth, Identity, Resumption, TlsClient, TlsError,
    TlsServerConfig, Trust,
};
pub use transport::{OpenFuture, Origin, Protocol, Refusal, Step, TlsFacts, Transport};
pub use unix::FileOwner;
pub use usage::ConnectionUsage;
#[cfg(feature = "websocket")]
pub use websocket::{AcceptWebSocket, Framing, OpenWebSocket, WebSocket, accept_key};
pub use write::Write;
