//! The reasons why `send` fails: a sentence and its exit code.

use std::io;

/// The exit code if there is no connection: refused, unreachable, or an unknown name.
const NOT_CONNECTED: u8 = 3;

/// The exit code if the server was silent, or read nothing, for `--timeout`.
const TIMED_OUT: u8 = 4;

/// The exit code if the server closed or reset the connection before it had read and answered every
/// line.
pub(super) const CLOSED: u8 = 5;

/// The exit code for every other error.
const OTHER: u8 = 1;

/// An error with the exit code that the help and docs/send.md document for it.
#[derive(Debug)]
pub(super) struct SendFailure {
    pub(super) code: u8,
    pub(super) error: anyhow::Error,
}

impl SendFailure {
    pub(super) fn not_connected(error: anyhow::Error) -> Self {
        Self { code: NOT_CONNECTED, error }
    }

    pub(super) fn timed_out(error: anyhow::Error) -> Self {
        Self { code: TIMED_OUT, error }
    }

    pub(super) fn closed(error: anyhow::Error) -> Self {
        Self { code: CLOSED, error }
    }

    /// Returns the failure for an error of `connect`. A time-out of the system has the same exit
    /// code as --timeout.
    pub(super) fn of_connecting(kind: io::ErrorKind, error: anyhow::Error) -> Self {
        match kind {
            io::ErrorKind::TimedOut => Self::timed_out(error),
            _ => Self::not_connected(error),
        }
    }
}

impl From<anyhow::Error> for SendFailure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: OTHER, error }
    }
}
