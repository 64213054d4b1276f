//! The limits of a room's lines in memory. Pure.

/// The size up to which a log keeps lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Maximum number of lines. Default 10,000.
    pub lines: usize,
    /// Maximum bytes of the lines as they are shown. Default 1 MiB.
    pub bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { lines: 10_000, bytes: 1024 * 1024 }
    }
}

impl LogLimits {
    /// Returns the larger of the two values for each limit.
    pub fn at_least(self, other: Self) -> Self {
        Self { lines: self.lines.max(other.lines), bytes: self.bytes.max(other.bytes) }
    }
}
