//! The parts that all servers of the program share: their flags, their sockets, and their run.
//! Start with `args`, then `binding` and `run`.

pub(crate) mod args;
pub(crate) mod binding;
pub(crate) mod bounds;
pub(crate) mod check_report;
pub(crate) mod datagrams;
pub(crate) mod faults;
pub(crate) mod port_owner;
pub(crate) mod ready_file;
pub(crate) mod run;
pub(crate) mod service;
pub(crate) mod service_address;
pub(crate) mod socket_args;
pub(crate) mod tls;
pub(crate) mod transport_args;
pub(crate) mod web;
