//! Handles errors of accept(2). When no descriptor is left, the listener closes a reserve
//! descriptor to accept and refuse the waiting client.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::transport::stream::Stream;
use echoline_base::backoff::Backoff;

/// The first and the longest pause of a listener that cannot accept.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The state of a listener while accept(2) fails.
pub(crate) struct AcceptErrors {
    pub(crate) backoff: Backoff,
    pub(crate) reserve: ReserveDescriptor,
    /// The message to a client that is refused because no descriptor is left.
    pub(crate) words: String,
    /// The time of the last log message about accept errors.
    logged: Option<Instant>,
}

impl AcceptErrors {
    pub(crate) fn new(words: Option<String>) -> Self {
        let words = words.unwrap_or_default();
        let backoff = Backoff::new(PAUSE, PAUSE_MAX);
        Self { backoff, reserve: ReserveDescriptor::open(), words, logged: None }
    }

    pub(crate) fn log(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.logged.is_none_or(|logged| now - logged >= Duration::from_secs(1)) {
            self.logged = Some(now);
            let hint = "raise the limit of open files (ulimit -n)";
            tracing::warn!(%error, "cannot accept connections; {hint}");
        }
    }
}

/// A descriptor that is closed when no other is left, so that the waiting client can be accepted
/// and refused.
#[derive(Debug)]
pub(crate) struct ReserveDescriptor(Option<File>);

impl ReserveDescriptor {
    pub(crate) fn open() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Closes the reserve descriptor, accepts the next connection with `accept`, refuses it, and
    /// opens the reserve descriptor again.
    pub(crate) fn refuse(
        &mut self,
        accept: impl FnOnce() -> AcceptOutcome,
        words: &str,
    ) -> ReserveOutcome {
        self.0 = None;
        let refused = match accept() {
            AcceptOutcome::Connection(stream, _) => {
                // The result does not matter, because without descriptors the socket cannot linger.
                let _ = tell(stream, words);
                ReserveOutcome::Refused
            }
            // accept(2) looks for a free descriptor before it looks at the queue. So an error about
            // descriptors does not mean that a client is waiting.
            AcceptOutcome::QueueEmpty | AcceptOutcome::ConnectionLost => ReserveOutcome::QueueEmpty,
            AcceptOutcome::Exhausted(_) => ReserveOutcome::NoDescriptor,
        };
        *self = Self::open();
        refused
    }
}

/// The result of an attempt to refuse a client through the reserve descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReserveOutcome {
    Refused,
    /// The queue was empty.
    QueueEmpty,
    /// The reserve descriptor was not enough.
    NoDescriptor,
}

fn tell(stream: Stream, words: &str) -> io::Result<()> {
    let mut stream = stream.into_socket()?;
    stream.write_all(words.as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // Unread input would turn the close into a reset.
    let mut unread = [0; 4096];
    while stream.read(&mut unread)? > 0 {}
    Ok(())
}

/// The result of one attempt to accept.
#[derive(Debug)]
pub(crate) enum AcceptOutcome {
    Connection(Stream, Option<SocketAddr>),
    /// The queue is empty.
    QueueEmpty,
    /// The client disconnected before it was accepted.
    ConnectionLost,
    /// No descriptor or memory was left.
    Exhausted(io::Error),
}

/// An accepted stream and its peer address.
pub(crate) type AcceptedStream = (Stream, Option<SocketAddr>);

/// Classifies the result of accept(2). Errors of a single connection disappear with that
/// connection. All other errors persist, and the listener must survive them.
pub(crate) fn classify(result: io::Result<AcceptedStream>) -> AcceptOutcome {
    let error = match result {
        Ok((stream, peer)) => return AcceptOutcome::Connection(stream, peer),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return AcceptOutcome::QueueEmpty;
        }
        Err(error) => error,
    };
    let of_the_connection = matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EINTR
                | libc::EPROTO
                | libc::EPERM
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EOPNOTSUPP
        )
    );
    if of_the_connection { AcceptOutcome::ConnectionLost } else { AcceptOutcome::Exhausted(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fault 1: an error of one client must not delay the next one.
    #[test]
    fn an_error_of_one_client_does_not_pause_the_listener() {
        for number in [libc::ECONNABORTED, libc::ECONNRESET, libc::EINTR, libc::EPROTO] {
            let error = Err(io::Error::from_raw_os_error(number));
            assert!(matches!(classify(error), AcceptOutcome::ConnectionLost), "{number}");
        }
        for number in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EBADF] {
            let error = Err(io::Error::from_raw_os_error(number));
            assert!(matches!(classify(error), AcceptOutcome::Exhausted(_)), "{number}");
        }
        let error = Err(io::Error::from_raw_os_error(libc::EAGAIN));
        assert!(matches!(classify(error), AcceptOutcome::QueueEmpty));
    }
}
