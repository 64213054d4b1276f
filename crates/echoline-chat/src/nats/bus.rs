//! The bus as the program has it: started, asked, closed.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::super::follower::{Follower, Proposal};
use super::desk::{Channels, Desk};
use super::error::BusError;
use super::names::Names;
use super::options::NatsOptions;
use super::seal::Seal;
use super::status::{Board, Status};
use super::supervisor;
use echoline_base::poison::IgnorePoison;

/// How long the thread is waited for at the end: it sends what is proposed, and leaves.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);

/// A follower on its bus. Dropped, it ends too, without being waited for.
#[derive(Debug)]
pub struct Bus {
    board: Arc<Board>,
    closing: watch::Sender<bool>,
    /// Tells that the thread has ended, by being closed.
    ended: Mutex<mpsc::Receiver<()>>,
}

/// Puts the follower on the bus and blocks until it has applied all entries there are. From then on
/// a thread of its own gives it what comes, and sends the proposals, whatever happens to the
/// connection.
///
/// # Errors
/// What is wrong, in one sentence: with the options, with the server, with the stream; or that it
/// took longer than `start_timeout`.
pub fn start(
    options: NatsOptions,
    follower: Arc<dyn Follower>,
    proposals: UnboundedReceiver<Proposal>,
) -> Result<Bus, BusError> {
    let names = Names::of(&options)?;
    let seal = Seal::read(options.keys.as_ref())?;
    if let Some(warning) = names.warning(&options) {
        tracing::warn!("{warning}");
    }
    let stream = names.order.clone();
    let board = Arc::new(Board::new(stream.clone()));
    let (closing, closed) = watch::channel(false);
    let (ready, started) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    let (patience, shown) = (options.start_timeout, Arc::clone(&board));
    let work = move || {
        // Nothing is sent: it is closed when the thread ends, however it does.
        let _end: mpsc::Sender<()> = end;
        let channels = Channels { proposals, closing: closed, ready };
        let desk = Desk::new(options, names, seal, follower, shown, channels);
        supervisor::run(&desk);
    };
    let thread = thread::Builder::new().name("echoline-bus".to_owned()).spawn(work);
    thread.map_err(|error| BusError::Thread { reason: error.to_string() })?;
    let bus = Bus { board, closing, ended: Mutex::new(ended) };
    match started.recv_timeout(patience) {
        Ok(Ok(())) => Ok(bus),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let error = late(stream, patience.as_secs(), &bus.board);
            bus.close();
            Err(error)
        }
    }
}

/// Why it took too long, as far as that is known.
fn late(stream: String, seconds: u64, board: &Board) -> BusError {
    let Status { applied, last_sequence: last, last_error: reason, .. } = board.read();
    match board.last_error() {
        Some(BusError::Unreachable { servers, reason }) => {
            let reason = format!("{reason}; tried for {seconds} s");
            BusError::Unreachable { servers, reason }
        }
        _ => BusError::Late { stream, seconds, applied, last, reason },
    }
}

impl Bus {
    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.board.read()
    }

    /// Sends what was proposed, if that can be done within two seconds, and ends.
    pub fn close(self) {
        self.closing.send_replace(true);
        // Closed or too late: it is left alone either way.
        let ended = self.ended.into_inner().ignore_poison();
        let _ = ended.recv_timeout(CLOSE_TIMEOUT);
    }
}
