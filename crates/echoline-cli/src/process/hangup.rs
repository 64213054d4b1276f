//! SIGHUP for a server: it reloads the settings, or ends the server after its terminal closed.

use std::fs::{self, File};
use std::io;

use nix::sys::signal::{SigSet, Signal as Number};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The meaning of a SIGHUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HangupAction {
    /// The server must reload its settings.
    Reload,
    /// The terminal that the server was started on has been closed.
    TerminalGone,
}

/// The SIGHUPs of this process.
#[derive(Debug)]
pub(crate) struct Hangups {
    signal: Signal,
    /// Whether the server ends when its terminal closes. It is false if the server has no terminal
    /// or runs under nohup(1).
    ends_with_terminal: bool,
}

/// Blocks SIGHUP until the server handles it. Call it while the process has one thread.
pub(crate) fn hold() {
    // If this fails, a SIGHUP during the start ends the process, which is the default action.
    let _ = SigSet::from(Number::SIGHUP).thread_block();
}

/// Unblocks SIGHUP in a command that is not a server. A pending SIGHUP then has its default action.
pub(crate) fn release() {
    let _ = SigSet::from(Number::SIGHUP).thread_unblock();
}

impl Hangups {
    /// Starts to listen for SIGHUP, including one that arrived while it was blocked.
    pub(crate) fn listen() -> io::Result<Self> {
        let ends_with_terminal = !is_ignored() && has_terminal(open_terminal()) == Some(true);
        let signal = signal(SignalKind::hangup())?;
        SigSet::from(Number::SIGHUP).thread_unblock()?;
        Ok(Self { signal, ends_with_terminal })
    }

    /// Returns the next SIGHUP. Cancel safe.
    pub(crate) async fn next(&mut self) -> HangupAction {
        if self.signal.recv().await.is_none() {
            // The runtime is going away.
            std::future::pending::<()>().await;
        }
        if self.ends_with_terminal && has_terminal(open_terminal()) == Some(false) {
            return HangupAction::TerminalGone;
        }
        HangupAction::Reload
    }
}

fn open_terminal() -> io::Result<File> {
    File::open("/dev/tty")
}

/// Returns whether this process has a controlling terminal (tty(4)). Returns `None` if an error
/// such as "too many open files" prevents the answer, because such an error must not end the
/// server.
fn has_terminal(opened: io::Result<File>) -> Option<bool> {
    match opened.map_err(|error| error.raw_os_error()) {
        Ok(_) => Some(true),
        Err(Some(libc::ENXIO | libc::ENODEV | libc::ENOENT | libc::EIO)) => Some(false),
        Err(_) => None,
    }
}

/// Returns whether the parent process set SIGHUP to be ignored.
fn is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores_hangup(&status)
}

/// Returns whether the lowest bit of `SigIgn` (proc(5)), which is the bit of SIGHUP, is set.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item A: an error such as "too many open files" does not prove that the terminal is
    /// gone.
    #[test]
    fn regression_a_lack_of_descriptors_does_not_close_the_terminal() {
        let failed = |code| has_terminal(Err(io::Error::from_raw_os_error(code)));
        assert_eq!(failed(libc::EMFILE), None);
        assert_eq!(failed(libc::ENFILE), None);
        assert_eq!(failed(libc::ENXIO), Some(false));
        assert_eq!(has_terminal(File::open("/dev/null")), Some(true));
    }

    #[test]
    fn ignored_hangups_are_read_from_proc() {
        assert!(ignores_hangup("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"));
        assert!(!ignores_hangup("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }
}
