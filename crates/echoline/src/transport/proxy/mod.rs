//! The PROXY protocol on both sides: a header that names the client.

pub(crate) mod facts;
mod header;
mod steps;
mod tlv;

pub use facts::{ProxyFacts, ProxyTls};
pub use header::{ProxyHeader, ProxyVersion};
pub use steps::{AcceptProxy, ProxySource, SendProxy};
pub use tlv::{ProxyHeaderError, ProxyTlv};
