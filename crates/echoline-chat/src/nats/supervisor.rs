//! The thread of the driver: one connection after the other, until the driver is closed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::active_connection::ActiveConnection;
use super::connect::{connect, log_server};
use super::driver_state::DriverState;
use super::error::DriverError;

/// The first and the longest pause between two connections.
const RESTART: Duration = Duration::from_millis(200);
const RESTART_MAX: Duration = Duration::from_secs(5);
/// After a connection of this length, the next pause is the first one again.
const STEADY: Duration = Duration::from_secs(30);
/// The time in which proposals may still be published after the driver was closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs connections until the driver is closed. A panic ends one connection, not the thread.
pub(super) fn run(driver: &DriverState) {
    let mut pause = RESTART;
    loop {
        let (outcome, lasted) = catch_panic(|runtime| {
            runtime.block_on(async {
                let since = Instant::now();
                (run_until_closed(driver).await, since.elapsed())
            })
        })
        .unwrap_or_else(|error| (Err(error), Duration::ZERO));
        let Err(error) = outcome else { break };
        if error.is_final() && driver.report_start(Err(error.clone())) {
            break;
        }
        pause = if lasted > STEADY { RESTART } else { pause };
        driver.status.update(|status| status.restarts += 1);
        if matches!(error, DriverError::Panicked { .. }) {
            tracing::error!("{error}");
        }
        // `disconnected` and the ticks call the state, which may be what panics.
        let rested = catch_panic(|runtime| {
            driver.log_throttled(&error);
            driver.disconnected();
            runtime.block_on(rest(driver, pause))
        });
        match rested {
            Ok(true) => break,
            Ok(false) => {}
            // The pause was cut short by a panic.
            Err(_) => std::thread::sleep(pause),
        }
        if *driver.closing.borrow() {
            break;
        }
        pause = (pause * 2).min(RESTART_MAX);
    }
    let _ = catch_panic(|_| driver.disconnected());
}

/// Runs `work` with a runtime of its own, so that no task of the client outlives its connection.
fn catch_panic<T>(work: impl FnOnce(&Runtime) -> T) -> Result<T, DriverError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| DriverError::Thread { reason: error.to_string() })?;
    let outcome = catch_unwind(AssertUnwindSafe(|| work(&runtime)));
    // Dropping the runtime would wait for a running name lookup.
    runtime.shutdown_background();
    outcome.map_err(|panic| DriverError::Panicked { message: message(&*panic) })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

/// Runs one connection. Returns `Ok` if the driver was closed.
async fn run_until_closed(driver: &DriverState) -> Result<(), DriverError> {
    let mut closing = driver.closing.clone();
    let closed = async {
        // A dropped sender counts as closed too.
        let _ = closing.wait_for(|closing| *closing).await;
        sleep(CLOSE_TIMEOUT).await;
    };
    tokio::select! {
        outcome = run_connection(driver) => outcome,
        () = tick(driver) => Ok(()),
        () = closed => Ok(()),
    }
}

/// Connects and runs all tasks until one of them ends. Returns `Ok` if the driver is closed and all
/// proposals are settled.
async fn run_connection(driver: &DriverState) -> Result<(), DriverError> {
    let (client, events) = connect(&driver.options, &driver.names).await?;
    log_server(&client);
    let connection = ActiveConnection::new(driver, client);
    connection.record_server();
    tokio::select! {
        published = connection.publish() => published,
        error = connection.handle_events(events) => Err(error),
        error = connection.read() => Err(error),
        error = connection.watch_stream() => Err(error),
        error = connection.exchange_heartbeats() => Err(error),
        error = connection.check_divergence() => Err(error),
        error = connection.write_snapshots() => Err(error),
    }
}

/// Waits before the next connection. Returns true if the driver was closed.
async fn rest(driver: &DriverState, pause: Duration) -> bool {
    let mut closing = driver.closing.clone();
    tokio::select! {
        () = sleep(pause) => false,
        () = tick(driver) => false,
        _ = closing.wait_for(|closing| *closing) => true,
    }
}

/// Ticks the state every second, connected or not. Does not return.
async fn tick(driver: &DriverState) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick of an interval is immediate.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        driver.state.tick();
    }
}
