//! The tables of the database: schema, queries, changes, and the checksums of rows.

pub(crate) mod audit;
pub(crate) mod checksum;
pub(crate) mod read;
pub(crate) mod schema;
mod totals;
mod write;

pub(crate) use totals::{miscounted, recount};
pub(crate) use write::{RejectedChange, TableWriter};
