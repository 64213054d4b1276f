//! The thread of the bus: one connection after the other, whatever ends them, until it is closed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::desk::Desk;
use super::error::BusError;
use super::life::live;

/// Between two connections, at first and at most.
const RESTART: Duration = Duration::from_millis(200);
const RESTART_MAX: Duration = Duration::from_secs(5);
/// A connection that held this long is no part of a series of failures.
const STEADY: Duration = Duration::from_secs(30);
/// What is proposed may still be sent for this long after the end was asked for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Drives the follower until the end. A panic anywhere below ends one connection, not the thread.
pub(super) fn run(desk: &Desk) {
    let mut pause = RESTART;
    loop {
        let (outcome, lasted) = guarded(|runtime| {
            runtime.block_on(async {
                let since = tokio::time::Instant::now();
                (until_closed(desk).await, since.elapsed())
            })
        })
        .unwrap_or_else(|error| (Err(error), Duration::ZERO));
        let Err(error) = outcome else { break };
        if error.is_final() && desk.started(Err(error.clone())) {
            break;
        }
        pause = if lasted > STEADY { RESTART } else { pause };
        desk.board.change(|status| status.restarts += 1);
        if matches!(error, BusError::Panicked { .. }) {
            tracing::error!("{error}");
        }
        // These are calls of the follower, which may be what panics.
        let rested = guarded(|runtime| {
            desk.complain(&error);
            desk.down();
            runtime.block_on(rest(desk, pause))
        });
        match rested {
            Ok(true) => break,
            Ok(false) => {}
            // Nothing else would slow this down.
            Err(_) => std::thread::sleep(pause),
        }
        if *desk.closing.borrow() {
            break;
        }
        pause = (pause * 2).min(RESTART_MAX);
    }
    let _ = guarded(|_| desk.down());
}

/// With a runtime of its own, so that nothing of the client outlives its connection.
fn guarded<T>(work: impl FnOnce(&Runtime) -> T) -> Result<T, BusError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| BusError::Thread { reason: error.to_string() })?;
    let outcome = catch_unwind(AssertUnwindSafe(|| work(&runtime)));
    // A name that is being looked up would be waited for.
    runtime.shutdown_background();
    outcome.map_err(|panic| BusError::Panicked { message: message(&*panic) })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
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
