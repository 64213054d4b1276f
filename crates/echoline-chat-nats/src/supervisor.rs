//! The thread of the driver. It runs one connection after another until the driver is closed.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::active_connection::ActiveConnection;
use super::connect::{connect, log_server};
use super::driver_state::DriverState;
use super::error::DriverError;
use echoline_base::backoff::Backoff;
use echoline_base::supervise::{Panicked, catch_panic, supervise};

/// The shortest and the longest pause between two connections.
const RESTART: Duration = Duration::from_millis(200);
const RESTART_MAX: Duration = Duration::from_secs(5);
/// After a connection of at least this length, the pauses start again with the shortest.
const STEADY: Duration = Duration::from_secs(30);
/// The time in which proposals can still be published after the driver was closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs connections until the driver is closed. A panic ends one connection, not the thread.
pub(super) fn run(driver: &DriverState) {
    let backoff = Backoff::new(RESTART, RESTART_MAX);
    let attempt = || with_runtime(|runtime| runtime.block_on(run_until_closed(driver)))?;
    supervise(backoff, STEADY, attempt, |error, pause| after_failure(driver, &error, pause));
    let _ = with_runtime(|_| driver.disconnected());
}

/// Records the end of a connection, and waits before the next one. Returns `Break` if the driver
/// was closed, or if the start failed permanently.
fn after_failure(driver: &DriverState, error: &DriverError, pause: Duration) -> ControlFlow<()> {
    if error.is_final() && driver.report_start(Err(error.clone())) {
        return ControlFlow::Break(());
    }
    driver.status.update(|status| status.restarts += 1);
    if matches!(error, DriverError::Panicked { .. }) {
        tracing::error!("{error}");
    }
    // `disconnected` and the ticks call the state, which may be the part that panics.
    let closed = with_runtime(|runtime| {
        driver.log_throttled(error);
        driver.disconnected();
        runtime.block_on(rest(driver, pause))
    });
    if closed.is_err() {
        // A panic ended the pause early, so the full pause follows.
        std::thread::sleep(pause);
    }
    match closed.unwrap_or(false) || *driver.closing.borrow() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

/// Runs `work` with a runtime of its own, so that no task of the client outlives its connection.
fn with_runtime<T>(work: impl FnOnce(&Runtime) -> T) -> Result<T, DriverError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| DriverError::Thread { reason: error.to_string() })?;
    let outcome = catch_panic(|| work(&runtime));
    // Does not wait: dropping the runtime would wait for a running name lookup.
    runtime.shutdown_background();
    Ok(outcome?)
}

impl From<Panicked> for DriverError {
    fn from(panicked: Panicked) -> Self {
        Self::Panicked { message: panicked.message }
    }
}

/// Runs one connection. Returns `Ok` if the driver was closed.
async fn run_until_closed(driver: &DriverState) -> Result<(), DriverError> {
    let mut closing = driver.closing.clone();
    let closed = async {
        // A dropped sender also means that the driver is closed.
        let _ = closing.wait_for(|closing| *closing).await;
        sleep(CLOSE_TIMEOUT).await;
    };
    tokio::select! {
        outcome = run_connection(driver) => outcome,
        () = tick(driver) => Ok(()),
        () = closed => Ok(()),
    }
}

/// Connects, and runs all tasks until one of them ends. Returns `Ok` if the driver is closed and
/// all proposals are settled.
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

/// Ticks the state every second, whether it is connected or not. Never returns.
async fn tick(driver: &DriverState) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick of an interval comes at once, so it is skipped.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        driver.state.tick();
    }
}
