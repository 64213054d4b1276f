//! The handle of a running driver.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::cluster_key::ClusterKey;
use super::driver_state::{DriverChannels, DriverState};
use super::error::DriverError;
use super::options::NatsOptions;
use super::options::StreamNames;
use super::status::{DriverStatus, StatusCell};
use super::supervisor;
use echoline_base::poison::IgnorePoison;
use echoline_chat_core::{Proposal, ReplicatedState};

/// The maximum time that [`StreamDriver::close`] waits for the thread, which publishes the last
/// proposals.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);

/// A running driver. If the driver is dropped, its thread stops, but the drop does not wait for
/// that.
#[derive(Debug)]
pub struct StreamDriver {
    status: Arc<StatusCell>,
    closing: watch::Sender<bool>,
    /// Disconnected when the thread ends.
    ended: Mutex<mpsc::Receiver<()>>,
}

/// Connects `state` to its stream, and blocks until all entries of the stream are applied. After
/// that, a thread applies new entries and publishes the proposals. The thread recovers from all
/// errors.
///
/// # Errors
/// [`DriverError`] if the options, the servers or the stream have a defect, or
/// [`DriverError::Late`] after `start_timeout`.
pub fn start(
    options: NatsOptions,
    state: Arc<dyn ReplicatedState>,
    proposals: UnboundedReceiver<Proposal>,
) -> Result<StreamDriver, DriverError> {
    let names = StreamNames::of(&options)?;
    let key = ClusterKey::read(options.keys.as_ref())?;
    if let Some(warning) = names.warning(&options) {
        tracing::warn!("{warning}");
    }
    let stream = names.stream.clone();
    let status = Arc::new(StatusCell::new(stream.clone()));
    let (closing, closed) = watch::channel(false);
    let (ready, started) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    let (start_timeout, shared) = (options.start_timeout, Arc::clone(&status));
    let work = move || {
        // This sender is never used. When it is dropped, even by a panic, `ended` is disconnected.
        let _end: mpsc::Sender<()> = end;
        let channels = DriverChannels { proposals, closing: closed, ready };
        let driver = DriverState::new(options, names, key, state, shared, channels);
        supervisor::run(&driver);
    };
    let thread = thread::Builder::new().name("echoline-stream".to_owned()).spawn(work);
    thread.map_err(|error| DriverError::Thread { reason: error.to_string() })?;
    let driver = StreamDriver { status, closing, ended: Mutex::new(ended) };
    match started.recv_timeout(start_timeout) {
        Ok(Ok(())) => Ok(driver),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let error = timed_out(stream, start_timeout.as_secs(), &driver.status);
            driver.close();
            Err(error)
        }
    }
}

/// Returns the error for a start that took too long, with its cause if that is known.
fn timed_out(stream: String, seconds: u64, status: &StatusCell) -> DriverError {
    let DriverStatus { applied, last_sequence: last, last_error: reason, .. } = status.read();
    match status.last_error() {
        Some(DriverError::Unreachable { servers, reason }) => {
            let reason = format!("{reason}; tried for {seconds} s");
            DriverError::Unreachable { servers, reason }
        }
        _ => DriverError::Late { stream, seconds, applied, last, reason },
    }
}

impl StreamDriver {
    /// Returns the current status.
    #[must_use]
    pub fn status(&self) -> DriverStatus {
        self.status.read()
    }

    /// Publishes the pending proposals for at most two seconds, and stops the driver.
    pub fn close(self) {
        self.closing.send_replace(true);
        let ended = self.ended.into_inner().ignore_poison();
        // If the thread is too slow, it is detached.
        let _ = ended.recv_timeout(CLOSE_TIMEOUT);
    }
}
