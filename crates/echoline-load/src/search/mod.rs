//! The search for the highest rate at which a server meets its objectives.

mod find_max;
mod strategy;

pub use find_max::{check_search, find_max};
