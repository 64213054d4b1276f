//! The PROXY protocol on both sides: a header that names the client.

mod header;
mod steps;

pub use header::{ProxyHeader, ProxyHeaderError, ProxyVersion};
pub use steps::{AcceptProxy, ProxySource, SendProxy};
