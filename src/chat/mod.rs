//! Policy: what a chat says. The pure parts first: names, what may reach a terminal, commands.

mod arguments;
mod character;
mod command;
mod command_table;
mod flood;
mod foreign;
mod help;
mod key;
mod name;
mod name_error;
mod telnet;
mod telnet_stream;
mod text;
mod wrap;

pub use arguments::{Passage, Secret, Switch, Target};
pub use command::{Command, CommandError};
pub use command_table::Rank;
pub use flood::{Flood, FloodLimits, Verdict};
pub use foreign::Foreign;
pub use help::help;
pub use key::Key;
pub use name::Name;
pub use name_error::{NameError, NameFault};
pub use telnet::Parser;
pub use telnet_stream::Telnet;
pub use text::{NotText, clean, escape, excerpt, is_clean};
pub use wrap::wrap;
