//! WebSocket (RFC 6455): a layer that turns messages into the bytes that handlers read and write.
//!
//! echoline has its own implementation for two reasons. First, it answers a Close only after the
//! handler has written its last answer, so that a client that closes after its last message still
//! gets every answer, as with a half-close of TCP. Second, it never buffers a message. The bytes
//! pass through the worker's buffer, so an idle connection has no buffer and a message of any size
//! takes no memory. It is tested with Autobahn's test suite and with clients of other libraries
//! (docs/websocket.md).

mod close;
mod encode;
pub(crate) mod facts;
mod frame;
mod frame_writer;
pub(crate) mod origin_policy;
mod step;
mod stream;
mod upgrade;
mod utf8;

#[cfg(feature = "web")]
pub(crate) use facts::Subprotocols;
pub use facts::{InvalidSubprotocol, WebSocketFacts};
pub use origin_policy::{OriginDenied, OriginPolicy};
pub use step::{AcceptWebSocket, OpenWebSocket};
pub use stream::{Framing, WebSocket};
#[cfg(feature = "web")]
pub(crate) use upgrade::{Fields, check_request};
