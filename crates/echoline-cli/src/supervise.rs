//! A thread that goes on whatever happens in it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How long it rests after a failure: doubling from the first to the second.
const REST: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(10);

/// Does `work`, again and again where it fails or panics, until it is done.
///
/// A server whose connections are served goes on serving without its admin address; what must not
/// be is that the address stays away for good, or that nobody hears of it.
pub(super) fn keep_running(what: &str, mut work: impl FnMut() -> io::Result<()>) {
    let mut rest = REST;
    loop {
        // What `work` leaves half done is its own: it begins from nothing each time.
        let why = match catch_unwind(AssertUnwindSafe(&mut work)) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked".to_owned(),
        };
        tracing::error!("{what} failed ({why}); it begins again in {rest:?}");
        std::thread::sleep(rest);
        rest = (rest * 2).min(REST_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fault 55: a panic in the background neither ends the process nor leaves a dead part in it.
    #[test]
    fn what_panics_or_fails_begins_again() {
        let mut begun = 0;
        keep_running("a test", || {
            begun += 1;
            match begun {
                1 => panic!("on purpose"),
                2 => Err(io::ErrorKind::Other.into()),
                _ => Ok(()),
            }
        });
        assert_eq!(begun, 3);
    }
}
