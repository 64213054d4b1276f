//! The error of a handler: the close reason of its connection, or an error of the application.

use std::error::Error;
use std::io;
use std::iter::successors;

use crate::connection::limits::Closed;

/// Any error that a handler can return.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Returns the close reason of a connection whose handler returned `error`. Logs an error that is
/// no close reason, with the number of the connection.
pub(crate) fn close_reason(error: impl Into<BoxError>, number: u64) -> Closed {
    let error = error.into();
    find(&*error).unwrap_or_else(|| {
        tracing::warn!(place = number, error = sentence(&*error), "the handler failed");
        Closed::Application
    })
}

/// Returns `error` and its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // Dereferenced twice: a reference to an error is an error too, with a shorter life.
    successors(Some(error), |error| (**error).source())
}

/// Returns the first close reason among `error` and its causes.
fn find(error: &(dyn Error + 'static)) -> Option<Closed> {
    chain(error).find_map(|error| {
        if let Some(closed) = error.downcast_ref() {
            return Some(*closed);
        }
        // The source of an `io::Error` is that of the error within, which is therefore skipped.
        let within = error.downcast_ref().and_then(io::Error::get_ref);
        within.and_then(|within| find(within)).or_else(|| named(&error.to_string()))
    })
}

/// Returns the close reason with this sentence. `anyhow` hides the type of an error without
/// context, and so does `#[error(transparent)]`, but both show its sentence.
fn named(sentence: &str) -> Option<Closed> {
    let prefix = Closed::Io(io::ErrorKind::Other).to_string();
    let prefix = prefix.strip_suffix(&io::ErrorKind::Other.to_string())?;
    match sentence.strip_prefix(prefix) {
        Some(kind) => {
            let of_system = (1..OS_ERRORS).map(|code| io::Error::from_raw_os_error(code).kind());
            let mut kinds = [io::ErrorKind::Other, io::ErrorKind::WriteZero].into_iter();
            kinds.by_ref().chain(of_system).find(|known| known.to_string() == kind).map(Closed::Io)
        }
        None => REASONS.iter().find(|closed| closed.to_string() == sentence).copied(),
    }
}

/// One more than the highest error number of Linux.
const OS_ERRORS: i32 = 134;

/// Every close reason without a number in its sentence.
const REASONS: &[Closed] = &[
    Closed::EndOfStream,
    Closed::Finished,
    Closed::Reset,
    Closed::Truncated,
    Closed::Incomplete,
    Closed::IdleTimeout,
    Closed::LineTimeout,
    Closed::StallTimeout,
    Closed::LineTooLong,
    Closed::HandshakeTimeout,
    Closed::HandshakeFailed,
    Closed::Malformed,
    Closed::Busy,
    Closed::BusyAddress,
    Closed::SourceRate(0),
    Closed::Drained,
    Closed::Aborted,
    Closed::Panicked,
    Closed::Application,
];

/// Returns `error` and its causes as one sentence. A cause that the error before it has already
/// shown is left out.
fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut sentence = error.to_string();
    for cause in chain(error).skip(1) {
        let cause = cause.to_string();
        if !sentence.ends_with(&cause) {
            sentence = format!("{sentence}: {cause}");
        }
    }
    sentence
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    /// An error enum of a program, in the two usual forms.
    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error(transparent)]
        Transparent(#[from] Closed),
        #[error("cannot read the name")]
        Name(#[source] Closed),
        #[error("no such room")]
        NoRoom,
    }

    fn reason(error: impl Into<BoxError>) -> Closed {
        close_reason(error, 1)
    }

    #[test]
    fn a_close_reason_is_found_in_every_kind_of_error() {
        let reasons = REASONS.iter().copied();
        let kinds = [io::ErrorKind::TimedOut, io::ErrorKind::HostUnreachable, io::ErrorKind::Other];
        for closed in reasons.chain(kinds.map(Closed::Io)) {
            assert_eq!(reason(closed), closed);
            assert_eq!(reason(Failure::from(closed)), closed);
            assert_eq!(reason(Failure::Name(closed)), closed);
            assert_eq!(reason(io::Error::from(closed)), closed);
            assert_eq!(reason(anyhow::Error::from(closed)), closed);
            assert_eq!(reason(anyhow::Error::from(closed).context("more")), closed);
            assert_eq!(reason(Err::<(), _>(closed).context("more").unwrap_err()), closed);
            assert_eq!(reason(anyhow::Error::from(Failure::from(closed)).context("more")), closed);
            assert_eq!(reason(anyhow::Error::from(io::Error::from(closed))), closed);
        }
    }

    #[test]
    fn any_other_error_is_one_of_the_application() {
        assert_eq!(reason(Failure::NoRoom), Closed::Application);
        assert_eq!(reason("a sentence"), Closed::Application);
        assert_eq!(reason(anyhow::anyhow!("no more").context("cannot store")), Closed::Application);
        // Another stream than the connection's own was reset.
        assert_eq!(reason(io::Error::from(io::ErrorKind::ConnectionReset)), Closed::Application);
        assert_eq!(reason("input/output error: of the printer"), Closed::Application);
    }

    #[test]
    fn the_list_holds_every_reason_without_a_number() {
        let labels: Vec<&str> = REASONS.iter().map(|closed| closed.label()).collect();
        assert_eq!([&labels[..], &["io"]].concat(), Closed::LABELS);
    }

    #[test]
    fn the_sentence_of_an_error_names_each_cause_once() {
        let error = anyhow::anyhow!("disk full").context("cannot store: disk full");
        let error: BoxError = error.context("the order is lost").into();
        assert_eq!(sentence(&*error), "the order is lost: cannot store: disk full");
    }
}
