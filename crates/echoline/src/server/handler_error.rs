//! The error of a handler: the close reason of its connection, or an error of the application.

use std::error::Error;
use std::io;
use std::iter::successors;

use crate::connection::limits::Closed;

/// Any error that a handler can return.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Returns the close reason of a connection whose handler returned `error`: the [`Closed`] among
/// the error and its causes. `anyhow` without context and `#[error(transparent)]` hide the type of
/// an error, but not its sentence. So if one of the errors shows the sentence of `failure`, the
/// last failure of the connection, that is the close reason. Any other error is logged with the
/// number of the connection's slot.
pub(crate) fn close_reason(
    error: impl Into<BoxError>,
    failure: Option<Closed>,
    number: u64,
) -> Closed {
    let error = error.into();
    let shown = failure.filter(|failure| chain(&*error).any(|error| shows(error, *failure)));
    find(&*error).or(shown).unwrap_or_else(|| {
        tracing::warn!(slot = number, error = sentence(&*error), "the handler failed");
        Closed::Application
    })
}

/// Returns whether `error` has the sentence of `failure`. Compares only the part before a colon,
/// because the slot does not store the error kind in a [`Closed::Io`].
fn shows(error: &dyn Error, failure: Closed) -> bool {
    let (shown, known) = (error.to_string(), failure.to_string());
    shown.split(':').next() == known.split(':').next()
}

/// Returns `error` and its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // This dereferences twice, because a reference to an error is also an error, with a shorter
    // lifetime.
    successors(Some(error), |error| (**error).source())
}

/// Returns the first close reason among `error` and its causes.
fn find(error: &(dyn Error + 'static)) -> Option<Closed> {
    chain(error).find_map(|error| {
        if let Some(closed) = error.downcast_ref() {
            return Some(*closed);
        }
        // `io::Error::source` returns the source of the inner error and skips the inner error
        // itself. So the inner error is searched here.
        let within = error.downcast_ref().and_then(io::Error::get_ref);
        within.and_then(|within| find(within))
    })
}

/// Returns `error` and its causes as one sentence. A cause is omitted if the previous error already
/// contains its text.
pub(crate) fn sentence(error: &(dyn Error + 'static)) -> String {
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
        close_reason(error, None, 1)
    }

    #[test]
    fn finds_a_close_reason_among_the_causes() {
        let kinds = [io::ErrorKind::TimedOut, io::ErrorKind::HostUnreachable];
        for closed in Closed::REASONS.iter().copied().chain(kinds.map(Closed::Io)) {
            assert_eq!(reason(closed), closed);
            assert_eq!(reason(Failure::Name(closed)), closed);
            assert_eq!(reason(io::Error::from(closed)), closed);
            assert_eq!(reason(anyhow::Error::from(closed).context("more")), closed);
            assert_eq!(reason(Err::<(), _>(closed).context("more").unwrap_err()), closed);
        }
    }

    #[test]
    fn an_error_that_shows_the_last_failure_ends_as_this_failure() {
        for closed in Closed::REASONS {
            let hidden: [BoxError; 3] = [
                Failure::from(closed).into(),
                anyhow::Error::from(closed).into(),
                anyhow::Error::from(Failure::from(closed)).context("more").into(),
            ];
            for error in hidden {
                assert_eq!(close_reason(error, Some(closed), 1), closed);
            }
        }
        let of_a_kind = anyhow::Error::from(Closed::Io(io::ErrorKind::TimedOut));
        let failure = Closed::Io(io::ErrorKind::Other);
        assert_eq!(close_reason(of_a_kind, Some(failure), 1), failure);
    }

    #[test]
    fn an_error_after_a_failure_that_the_handler_survived_is_one_of_the_application() {
        let error = || anyhow::anyhow!("disk full").context("cannot store");
        assert_eq!(close_reason(error(), Some(Closed::LineTooLong), 1), Closed::Application);
    }

    #[test]
    fn any_other_error_is_one_of_the_application() {
        assert_eq!(reason(Failure::NoRoom), Closed::Application);
        assert_eq!(reason("a sentence"), Closed::Application);
        assert_eq!(reason(anyhow::anyhow!("no more").context("cannot store")), Closed::Application);
        // This reset belongs to another stream than that of the connection.
        assert_eq!(reason(io::Error::from(io::ErrorKind::ConnectionReset)), Closed::Application);
    }

    #[test]
    fn the_sentence_of_an_error_names_each_cause_once() {
        let error = anyhow::anyhow!("disk full").context("cannot store: disk full");
        let error: BoxError = error.context("the order is lost").into();
        assert_eq!(sentence(&*error), "the order is lost: cannot store: disk full");
    }
}
