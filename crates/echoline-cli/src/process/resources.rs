//! Checks the limits of this process for memory, threads and open files. The server checks them at
//! its start, because libraries panic or abort when a limit is reached.

use std::io;
use std::os::unix::net::UnixStream;
use std::thread;

use anyhow::{Context, anyhow, bail};
use nix::sys::resource::{Resource, getrlimit};
use tokio::runtime::{Builder, Runtime};

/// A limit of memory, and the megabytes of it that a server needs. The numbers are measured: below
/// them, a server with 1 to 16 threads fails to start, at least sometimes.
#[derive(Clone, Copy, Debug)]
struct MemoryNeed {
    resource: Resource,
    /// The command that sets the limit.
    name: &'static str,
    process_mb: u64,
    thread_mb: u64,
}

/// Address space. The C library and the allocator reserve about 96 MiB of it for each thread, but
/// use only a part.
const SPACE: MemoryNeed = MemoryNeed {
    resource: Resource::RLIMIT_AS,
    name: "ulimit -v",
    process_mb: 200,
    thread_mb: 101,
};

/// Writable memory, without memory that is only reserved.
const DATA: MemoryNeed =
    MemoryNeed { resource: Resource::RLIMIT_DATA, name: "ulimit -d", process_mb: 36, thread_mb: 5 };

/// Returns a runtime for the calling thread.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    // Building a runtime panics if it cannot create the socket pair for signals. It needs four more
    // descriptors.
    let pairs: io::Result<Vec<_>> = (0..3).map(|_| UnixStream::pair()).collect();
    drop(pairs.context("cannot start the runtime")?);
    Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

/// Returns whether one more thread could be started.
pub(crate) fn try_thread() -> io::Result<()> {
    let thread = thread::Builder::new().spawn(|| ())?;
    thread.join().map_err(|_| io::Error::other("a thread panicked at its start"))
}

/// Returns an error if the limits of memory are too low for `threads` threads. Otherwise any
/// allocation could end the process without a message.
pub(crate) fn check_memory(threads: usize) -> anyhow::Result<()> {
    for need in [SPACE, DATA] {
        // If the limit cannot be read, the server starts without this check.
        let limit = getrlimit(need.resource).map_or(u64::MAX, |(soft, _)| soft);
        if let Some(needed) = need.beyond(limit, threads) {
            bail!(
                "this process may have {} MB of memory ({}), and reserves {needed} MB for \
                 {threads} threads: raise the limit, or ask for fewer threads (--workers)",
                limit / 1_000_000,
                need.name
            );
        }
    }
    Ok(())
}

impl MemoryNeed {
    /// Returns the megabytes that `threads` threads need, if they are more than `limit` bytes.
    fn beyond(self, limit: u64, threads: usize) -> Option<u64> {
        let threads = u64::try_from(threads).unwrap_or(u64::MAX);
        let needed = self.thread_mb.saturating_mul(threads).saturating_add(self.process_mb);
        (needed.saturating_mul(1_000_000) > limit).then_some(needed)
    }
}

/// Adds the remedy to an error that a limit of this process or of the system caused.
pub(crate) fn explain(error: anyhow::Error) -> anyhow::Error {
    match hint(&format!("{error:#}")) {
        Some(hint) => anyhow!("{error:#}; {hint}"),
        None => error,
    }
}

/// Returns the remedy for an error, by the error number of the system in its text.
fn hint(text: &str) -> Option<&'static str> {
    let number = |number: i32| text.contains(&format!("(os error {number})"));
    if text.contains("ulimit") {
        None
    } else if number(libc::EMFILE) {
        Some("raise the limit of open files (ulimit -n, or LimitNOFILE= of a unit)")
    } else if number(libc::ENFILE) {
        Some("the system has no more open files: raise fs.file-max")
    } else if number(libc::EAGAIN) && text.contains("thread") {
        Some(
            "raise the limit of threads (ulimit -u, or LimitNPROC= and TasksMax= of a unit), or \
             ask for fewer threads (--workers)",
        )
    } else if number(libc::ENOMEM) {
        Some("memory is short: raise its limit (ulimit -v, or MemoryMax= of a unit)")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item D: an error of the system that a limit causes names the limit.
    #[test]
    fn regression_an_error_of_a_limit_names_the_limit() {
        let said = |context: &'static str, number| {
            let error = io::Error::from_raw_os_error(number);
            format!("{:#}", explain(anyhow::Error::from(error).context(context)))
        };
        assert!(said("cannot listen", libc::EMFILE).ends_with("LimitNOFILE= of a unit)"));
        assert!(said("cannot listen", libc::ENFILE).ends_with("raise fs.file-max"));
        assert!(said("cannot start the thread", libc::EAGAIN).contains("ulimit -u"));
        assert!(said("cannot start the thread", libc::ENOMEM).contains("ulimit -v"));
        assert!(!said("cannot read", libc::EAGAIN).contains("ulimit"));
        assert!(!said("cannot listen", libc::EADDRINUSE).contains("ulimit"));
        assert!(!said("use 'ulimit -n 3'", libc::EMFILE).contains("LimitNOFILE"));
    }

    /// Issue 11, item D: each thread needs its share of the address space.
    #[test]
    fn regression_memory_that_is_enough_grows_with_the_threads() {
        assert_eq!(SPACE.beyond(u64::MAX, 1), None);
        assert_eq!(SPACE.beyond(402_000_000, 2), None);
        assert_eq!(SPACE.beyond(401_999_999, 2), Some(402));
        assert_eq!(SPACE.beyond(402_000_000, 3), Some(503));
        assert_eq!(SPACE.beyond(u64::MAX - 1, usize::MAX), Some(u64::MAX));
        // A container with 1 GiB of address space has room for 8 threads.
        assert_eq!(SPACE.beyond(1 << 30, 8), None);
        assert_eq!((DATA.beyond(46_000_000, 2), DATA.beyond(45_000_000, 2)), (None, Some(46)));
    }
}
