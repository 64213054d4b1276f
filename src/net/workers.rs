//! One current-thread runtime per core, each with its share of the connections.
//!
//! A connection never moves between threads, so that a slow handler on one core does not show in
//! the latency of another's (a work-stealing runtime had a ten times higher p99.9; see
//! `docs/performance.md`).

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Handle, RuntimeMetrics};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::buffers;
use super::stream::Stream;
use super::tally::{Tally, Watched};

/// Where connections are served.
#[derive(Debug)]
pub(super) struct Workers {
    workers: Vec<Worker>,
}

/// One thread of connections.
#[derive(Debug)]
pub(super) struct Worker {
    runtime: Handle,
    tally: Arc<Tally>,
    /// Dropped to end the worker's thread; `None` where the runtime is the caller's.
    stop: Option<oneshot::Sender<()>>,
}

impl Workers {
    /// Serves on the runtime that the caller is in.
    pub(super) fn current(watched: Watched) -> Self {
        let tally = Arc::new(Tally::new(watched));
        let worker = Worker { runtime: Handle::current(), tally, stop: None };
        Self { workers: vec![worker] }
    }

    /// Starts `count` threads. With `busy_poll` each of them goes on looking for work that long
    /// after the last read before it sleeps.
    pub(super) fn start(
        count: NonZeroUsize,
        busy_poll: Option<Duration>,
        watched: Watched,
    ) -> io::Result<Self> {
        let workers = (0..count.get())
            .map(|number| Worker::start(number, busy_poll, watched))
            .collect::<io::Result<_>>()?;
        Ok(Self { workers })
    }

    /// The runtimes of all threads.
    pub(super) fn runtimes(&self) -> Vec<Handle> {
        self.workers.iter().map(|worker| worker.runtime.clone()).collect()
    }

    /// All tallies, and what the runtimes say of themselves.
    pub(super) fn observed(&self) -> Vec<(Arc<Tally>, RuntimeMetrics)> {
        let observed = |worker: &Worker| (Arc::clone(&worker.tally), worker.runtime.metrics());
        self.workers.iter().map(observed).collect()
    }

    /// The worker with the fewest connections, the first of several.
    pub(super) fn least_loaded(&self) -> &Worker {
        let least =
            self.workers.iter().min_by_key(|worker| worker.tally.open.load(Ordering::Relaxed));
        least.expect("there is at least one worker by construction")
    }
}

impl Worker {
    /// Where its connections are counted.
    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Makes this worker's runtime the current one for as long as the guard lives.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Moves a socket from the accepting thread to this worker, whose runtime must be the
    /// current one: a socket belongs to the runtime that it is registered with.
    pub(super) fn adopt(&self, stream: Stream) -> io::Result<Stream> {
        if self.stop.is_none() { Ok(stream) } else { stream.move_here() }
    }

    /// Runs the task of a connection here.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(task));
    }

    fn start(number: usize, busy_poll: Option<Duration>, watched: Watched) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            if let Some(length) = busy_poll {
                runtime.spawn(spin(length));
            }
            // An error means that the sender was dropped, which is the signal.
            let _ = runtime.block_on(stopped);
        })?;
        let tally = Arc::new(Tally::new(watched));
        Ok(Self { runtime: handle, tally, stop: Some(stop) })
    }
}

/// Keeps the runtime looking for events without sleeping while something is going on.
///
/// A task that yields makes the runtime ask the system for events with a time-out of zero; once
/// nothing was read for `length` the task sleeps until the next read, and so does the thread.
async fn spin(length: Duration) {
    loop {
        let mut seen = buffers::activity();
        let mut until = Instant::now() + length;
        while Instant::now() < until {
            tokio::task::yield_now().await;
            let now = buffers::activity();
            if now != seen {
                seen = now;
                until = Instant::now() + length;
            }
        }
        std::future::poll_fn(|cx| {
            if buffers::activity() != seen {
                return std::task::Poll::Ready(());
            }
            buffers::wake_at_activity(cx.waker().clone());
            std::task::Poll::Pending
        })
        .await;
    }
}
