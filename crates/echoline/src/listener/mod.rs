//! Addresses, and the sockets that listen on them.

pub(crate) mod accept_errors;
pub(crate) mod acceptor;
pub(crate) mod address;
pub(crate) mod bind;
pub(crate) mod bind_error;
mod file_user;
pub(crate) mod one_port;
mod socket_file;
mod socket_folder;
mod unix;

pub use address::{AddressError, Scheme};
pub use file_user::FileUser;
pub use unix::FileOwner;
