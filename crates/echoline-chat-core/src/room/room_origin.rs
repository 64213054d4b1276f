//! The origin of a room: its first line and its maker. Pure.

use echoline_base::source::Source;

/// The origin of a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct RoomOrigin {
    /// The number of its first line, which distinguishes it from other rooms of the same name: a
    /// room that is created after another one was removed begins above all lines of that one. 0 for
    /// the lobby, and for rooms of an earlier version.
    pub born: u64,
    /// The source of the user who created it, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) maker: Option<Source>,
}
