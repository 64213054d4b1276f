//! Connections of a chat over pipes in memory.

use echoline::{Connection, Eol, Limits, Shutdown};
use tokio::io::{DuplexStream, duplex};

/// Returns the client's end of a pipe of `capacity` bytes, and the connection that a server makes
/// of the other end.
pub(crate) fn connect(capacity: usize, limits: Limits) -> (DuplexStream, Connection<DuplexStream>) {
    let (near, far) = duplex(capacity);
    let (farewell, shutdown) = (echoline_chat::farewell(), Shutdown::new());
    (near, Connection::accepted(far, limits, Eol::CrLf, farewell, shutdown))
}
