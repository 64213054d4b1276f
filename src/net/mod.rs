//! Mechanism: what every server here stands on. It knows no protocol.

mod address;
mod buffers;
mod closing;
mod connection;
mod core;
mod feed;
mod inbound;
mod layer;
mod limits;
mod lines;
mod listener;
mod live_limits;
mod outbound;
mod place;
mod server;
mod shutdown;
mod signals;
mod split;
mod stream;
mod task;
mod terms;
mod transport;
mod unix;
mod watch;
mod workers;
mod write;

pub use address::{Address, AddressError, Scheme};
pub use connection::Connection;
pub use feed::Outlet;
pub use layer::Layer;
pub use limits::{Closed, Limits};
pub use lines::{Line, LineTooLong, Lines};
pub use listener::{Listener, ListenerOptions};
pub use live_limits::LiveLimits;
pub use place::Report;
pub use server::Server;
pub use shutdown::{Phase, Shutdown};
#[cfg(feature = "cli")]
pub(crate) use signals::{Hangup, Signals};
pub use split::{Reader, Writer};
pub use stream::Stream;
pub use terms::{Eol, Farewell};
pub use transport::{Opening, Origin, Step, TlsFacts, Transport};
pub use write::Write;
