//! WebSocket (RFC 6455): a layer that makes of messages the bytes that handlers read and write.
//!
//! It is our own and not a crate's for two reasons. A Close that comes is answered when the handler
//! has written its last answer, and not at once, so that a client that has sent everything gets
//! every answer, as after TCP's half-close. And no message is ever held: its bytes pass through the
//! worker's buffer, so that an idle connection has none and a message of any size takes no memory.
//! Autobahn's test suite and other libraries' clients judge it (docs/websocket.md).

mod close;
mod encode;
mod frame;
mod frame_writer;
pub(crate) mod origin_policy;
mod step;
mod stream;
mod upgrade;
mod utf8;

pub use origin_policy::{OriginDenied, OriginPolicy};
pub use step::{AcceptWebSocket, OpenWebSocket};
pub use stream::{Framing, WebSocket};
pub use upgrade::accept_key;
#[cfg(feature = "web")]
pub(crate) use upgrade::{Fields, check_request};
