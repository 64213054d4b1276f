//! The thread of the bus: one connection after the other, whatever ends them, until it is closed.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::desk::Desk;
use super::error::BusError;
use super::life::live;
use echoline_base::backoff::Backoff;
use echoline_base::supervise::{Panicked, catch_panic, supervise};

/// Between two connections, at first and at most.
const RESTART: Duration = Duration::from_millis(200);
const RESTART_MAX: Duration = Duration::from_secs(5);
/// A connection that held this long is no part of a series of failures.
const STEADY: Duration = Duration::from_secs(30);
/// What is proposed may still be sent for this long after the end was asked for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Drives the follower until the end. A panic anywhere below ends one connection, not the thread.
pub(super) fn run(desk: &Desk) {
    let backoff = Backoff::new(RESTART, RESTART_MAX);
    let attempt = || with_runtime(|runtime| runtime.block_on(until_closed(desk)))?;
    supervise(backoff, STEADY, attempt, |error, pause| after_failure(desk, &error, pause));
    let _ = with_runtime(|_| desk.down());
}

/// Notes the end of a connection and waits until it is time for the next one. Breaks off if the
/// driver was closed, or if the first start failed for good.
fn after_failure(desk: &Desk, error: &BusError, pause: Duration) -> ControlFlow<()> {
    if error.is_final() && desk.started(Err(error.clone())) {
        return ControlFlow::Break(());
    }
    desk.board.change(|status| status.restarts += 1);
    if matches!(error, BusError::Panicked { .. }) {
        tracing::error!("{error}");
    }
    // These are calls of the follower, which may be what panics.
    let closed = with_runtime(|runtime| {
        desk.complain(error);
        desk.down();
        runtime.block_on(rest(desk, pause))
    });
    if closed.is_err() {
        // Nothing else would slow this down.
        std::thread::sleep(pause);
    }
    match closed.unwrap_or(false) || *desk.closing.borrow() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

/// With a runtime of its own, so that nothing of the client outlives its connection.
fn with_runtime<T>(work: impl FnOnce(&Runtime) -> T) -> Result<T, BusError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| BusError::Thread { reason: error.to_string() })?;
    let outcome = catch_panic(|| work(&runtime));
    // A name that is being looked up would be waited for.
    runtime.shutdown_background();
    Ok(outcome?)
}

impl From<Panicked> for BusError {
    fn from(panicked: Panicked) -> Self {
        Self::Panicked { message: panicked.message }
    }
}

/// One connection. It ends well when it was closed, with everything sent if there was time.
async fn until_closed(desk: &Desk) -> Result<(), BusError> {
    let mut closing = desk.closing.clone();
    let closed = async {
        // The sender goes away together with whoever could close: that is the same.
        let _ = closing.wait_for(|closing| *closing).await;
        sleep(CLOSE_TIMEOUT).await;
    };
    tokio::select! {
        outcome = live(desk) => outcome,
        () = ticks(desk) => Ok(()),
        () = closed => Ok(()),
    }
}

/// Waits until it is time for the next connection; true if it was closed.
async fn rest(desk: &Desk, pause: Duration) -> bool {
    let mut closing = desk.closing.clone();
    tokio::select! {
        () = sleep(pause) => false,
        () = ticks(desk) => false,
        _ = closing.wait_for(|closing| *closing) => true,
    }
}

/// The chat's seconds go on, connection or not.
async fn ticks(desk: &Desk) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once: a restart would give the chat one more.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        desk.follower.tick();
    }
}
