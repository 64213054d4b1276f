//! Files and standard streams that the program reads and writes.

pub(crate) mod destination;
pub(crate) mod links;
pub(crate) mod output;
pub(crate) mod shared_files;
pub(crate) mod tls_files;
