//! Runs background threads that start again after errors and panics.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use echoline_base::backoff::Backoff;
use echoline_base::supervise::{Panicked, supervise};

/// The pause after the first failure, and the longest pause.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The reason why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    Failed(#[from] io::Error),
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// Runs `work` until it succeeds. After each error and each panic it starts from the beginning.
///
/// It is for the thread of the admin address. If that thread fails, the server continues to serve.
/// The thread must come back, and the log must show the failure.
pub(crate) fn keep_running(what: &str, mut work: impl FnMut() -> io::Result<()>) {
    let backoff = Backoff::new(PAUSE, PAUSE_MAX);
    let attempt = || work().map_err(AttemptError::from);
    supervise(backoff, Duration::MAX, attempt, |error, pause| {
        tracing::error!("{what} failed ({error}); it starts again in {pause:?}");
        std::thread::sleep(pause);
        ControlFlow::Continue(())
    });
}
