//! The commands of the program. Each module contains the flags of one command and a function `run`
//! that returns the exit code.

pub(crate) mod cert;
pub(crate) mod chat;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod echo;
pub(crate) mod generate;
pub(crate) mod load;
pub(crate) mod load_output;
pub(crate) mod merge;
pub(crate) mod report_files;
pub(crate) mod send;
pub(crate) mod tls_client;
