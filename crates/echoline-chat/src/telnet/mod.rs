//! Telnet: the option negotiation of a connection, and its byte stream without it.

mod line_end;
mod parser;
mod stream;

pub use parser::Parser;
pub(super) use stream::ByteStream;
pub use stream::Telnet;
