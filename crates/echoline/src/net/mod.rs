//! Mechanism: what every server here stands on. It knows no protocol.

mod address;
mod admission;
pub(crate) mod alarm;
mod bind_error;
mod buffers;
mod closing;
mod connection;
mod core;
mod datagram;
mod ending;
mod failure;
pub mod fault;
mod feed;
mod file_user;
mod handshake;
mod inbound;
mod layer;
mod limits;
mod lines;
mod listener;
mod live_limits;
mod message;
mod observer;
mod occupancy;
#[cfg(feature = "websocket")]
mod origin_policy;
mod outbound;
mod own_thread;
mod peer;
mod place;
mod probe;
#[cfg(feature = "proxy")]
mod proxy;
#[cfg(feature = "proxy")]
mod proxy_header;
mod pulse;
mod report;
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
mod tally;
mod task;
mod terms;
mod timer;
#[cfg(feature = "tls")]
mod tls;
mod token_bucket;
mod transport;
mod trouble;
mod unix;
mod watch;
#[cfg(feature = "websocket")]
mod websocket;
mod workers;
mod write;

pub use address::is_loopback;
pub use address::{Address, AddressError, Scheme};
pub use connection::Connection;
pub use datagram::broken;
pub use datagram::{
    AnswerLength, DatagramAnswer, DatagramCounts, DatagramListener, DatagramRefusal, DatagramRules,
    DatagramServer, Datagrams, Loopback, SourcePorts,
};
pub use feed::Outlet;
pub use file_user::FileUser;
pub use layer::Layer;
pub use limits::{Closed, Limits};
pub use lines::{Line, LineTooLong, Lines};
pub use listener::{Listener, ListenerOptions};
pub use live_limits::LiveLimits;
pub use message::Message;
pub use observer::Observer;
pub use occupancy::Occupancy;
#[cfg(feature = "websocket")]
pub use origin_policy::{Host, HostKind, OriginDenied, OriginPolicy, is_same_origin};
pub use own_thread::spawn_with_runtime;
#[cfg(feature = "proxy")]
pub use proxy::{AcceptProxy, ProxySource, SendProxy};
#[cfg(feature = "proxy")]
pub use proxy_header::{ProxyHeader, ProxyHeaderError, ProxyVersion};
pub use pulse::Pulse;
pub use report::Report;
pub use server::Server;
pub use service_times::ServiceTimes;
pub use shutdown::{Phase, Shutdown};
pub use signals::{Hangup, Signals, obey};
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
pub use terms::{Eol, Farewell};
#[cfg(feature = "tls")]
pub use tls::{
    Authorities, Certificates, ClientAuth, Identity, Offer, Resumption, TlsClient, TlsError, Trust,
};
pub use transport::{Opening, Origin, Protocol, Refusal, Step, TlsFacts, Transport};
pub use unix::FileOwner;
#[cfg(feature = "websocket")]
pub use websocket::{AcceptWebSocket, Framing, OpenWebSocket, WebSocket, accept_key};
pub use write::Write;
