//! echoline
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod echo;
pub mod load;
mod net;

pub use net::{
    Address, AddressError, Closed, Connection, Eol, Farewell, Limits, Line, LineTooLong, Lines,
    Listener, ListenerOptions, Phase, Reader, Report, Server, Shutdown, Writer,
};
