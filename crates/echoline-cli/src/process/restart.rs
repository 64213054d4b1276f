//! Background threads of the program that go on whatever happens in them.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use echoline_base::backoff::Backoff;
use echoline_base::supervise::{Panicked, supervise};

/// The pause after a failure, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    Failed(#[from] io::Error),
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// Does `work` until it succeeds. It starts from nothing after each failure and each panic.
///
/// A server goes on serving without its admin address. The address must come back, and the log must
/// say what happened.
pub(crate) fn keep_running(what: &str, mut work: impl FnMut() -> io::Result<()>) {
    let backoff = Backoff::new(PAUSE, PAUSE_MAX);
    let attempt = || work().map_err(AttemptError::from);
    supervise(backoff, Duration::MAX, attempt, |error, pause| {
        tracing::error!("{what} failed ({error}); it starts again in {pause:?}");
        std::thread::sleep(pause);
        ControlFlow::Continue(())
    });
}
