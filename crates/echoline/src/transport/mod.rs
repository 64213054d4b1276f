//! The layers between a socket and a handler, and the steps that open them.
//!
//! A [`Step`] reads a header, performs a handshake, or adds a [`Layer`] over the [`Stream`]. The
//! steps of a listener are its [`Transport`].

pub(crate) mod credentials;
pub(crate) mod fault;
pub(crate) mod origin;
#[cfg(feature = "proxy")]
pub(crate) mod proxy;
#[cfg(feature = "web")]
pub(crate) mod site;
mod socket_io;
pub(crate) mod steps;
pub(crate) mod stream;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(feature = "websocket")]
pub(crate) mod websocket;

pub use credentials::PeerCredentials;
pub use origin::{Origin, TlsFacts};
pub use steps::{OpenFuture, Protocol, Refusal, Step, Transport};
pub use stream::{Layer, Stream};
