//! Policy: what a chat says. The pure parts first: names, what may reach a terminal.

mod character;
mod key;
mod name;
mod name_error;
mod text;

pub use key::Key;
pub use name::Name;
pub use name_error::{NameError, NameFault};
pub use text::{NotText, clean, escape, excerpt, is_clean};
