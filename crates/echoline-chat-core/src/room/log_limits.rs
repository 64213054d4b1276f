//! The limits of the lines of a room in memory. Pure.

/// The size up to which a log keeps lines.
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
    /// Returns the larger one of each limit.
    pub fn at_least(self, other: Self) -> Self {
        Self { lines: self.lines.max(other.lines), bytes: self.bytes.max(other.bytes) }
    }
}
