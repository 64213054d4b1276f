//! How much of a room is kept in memory. Pure.

/// What a log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Lines at most. Default 10,000.
    pub lines: usize,
    /// Bytes at most, as shown. Default 1 MiB.
    pub bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { lines: 10_000, bytes: 1024 * 1024 }
    }
}

impl LogLimits {
    /// What both of them keep.
    pub(super) fn at_least(self, other: Self) -> Self {
        Self { lines: self.lines.max(other.lines), bytes: self.bytes.max(other.bytes) }
    }
}
