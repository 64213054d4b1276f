//! The credential that a newcomer to a room shows. Pure.

/// The credential that a newcomer to a room shows.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// None.
    Nothing,
    /// The password that has this hash.
    Password(String),
    /// A token shows that the newcomer was a member, in the format of an earlier version.
    Token {
        /// Whether they were an operator of the room.
        operator: bool,
    },
    /// A token shows that the newcomer was a member, whether they were an operator, and which
    /// password the room had then.
    Return {
        /// Whether they were an operator of the room.
        operator: bool,
        /// The stamp of the password.
        password: Option<String>,
        /// The number of the room's first line, see
        /// [`RoomOrigin`](crate::room::room_origin::RoomOrigin).
        #[serde(default)]
        born: u64,
    },
}

impl Credential {
    /// Returns whether a token shows that the newcomer was an operator of the room.
    pub(crate) fn is_operators(&self) -> bool {
        matches!(self, Self::Token { operator: true } | Self::Return { operator: true, .. })
    }
}
