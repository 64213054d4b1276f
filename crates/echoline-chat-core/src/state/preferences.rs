//! The choices of a user that a token restores. Pure.

use crate::name::Name;

/// The maximum number of users that one user may ignore.
pub const IGNORED_MAX: usize = 100;

/// The choices of a user about how they see the chat, which a token restores.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// Lines are shown with their numbers.
    pub numbers: bool,
    /// Lines are shown with their times.
    pub times: bool,
    /// Joins, leaves and renames are not shown.
    pub quiet: bool,
    /// The ignored users.
    pub ignored: Vec<Ignored>,
}

/// A user whose lines are hidden, by name and by lineage, so that a new name does not help.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ignored {
    /// The name that the user had.
    pub name: Name,
    /// `None` if an earlier version saved it in a history.
    #[serde(default, alias = "session")]
    pub lineage: Option<u64>,
}

impl Preferences {
    /// Drops ignored users beyond the bound, which a forged saved session may have.
    pub fn bound(&mut self) {
        self.ignored.truncate(IGNORED_MAX);
    }

    /// Returns whether these are the choices of a newcomer.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}
