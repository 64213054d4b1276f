//! One connection: reading, writing, its limits and deadlines, and its orderly end.

pub(crate) mod borrows;
pub(crate) mod buffers;
mod closing;
pub(crate) mod config;
mod core;
mod deadlines;
pub(crate) mod feed;
pub(crate) mod handle;
mod input;
pub(crate) mod limits;
pub(crate) mod lines;
mod output;
mod split;

pub use borrows::{MessageGuard, Write};
pub use feed::Outlet;
pub use lines::LineTooLong;
pub use split::{Reader, Writer};
