//! One current-thread runtime per core, each with its share of the connections.
//!
//! A connection never moves between threads, so that a slow handler on one core does not delay
//! connections on another. A work-stealing runtime had a ten times higher p99.9; see
//! `docs/performance.md`.

use std::any::Any;
use std::future::Future;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{io, thread};

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime, RuntimeMetrics};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::failure::ServerFailure;
use crate::connection::buffers;
use crate::metrics::worker_stats::{Metering, WorkerStats};
use crate::transport::stream::Stream;

/// Maximum wait, and the interval of the checks, for tasks that are about to end.
const LEFT_TASKS_PATIENCE: Duration = Duration::from_millis(50);
const LEFT_TASKS_PAUSE: Duration = Duration::from_millis(1);

/// The workers of a server.
#[derive(Debug)]
pub(crate) struct Workers {
    workers: Vec<Worker>,
}

/// A thread that serves connections.
#[derive(Debug)]
pub(crate) struct Worker {
    runtime: Handle,
    stats: Arc<WorkerStats>,
    /// Dropping the sender ends the worker's thread. `None` if the runtime belongs to the caller.
    stop: Option<oneshot::Sender<()>>,
    /// The number of tasks that belong to the server itself.
    own_tasks: usize,
}

impl Workers {
    /// Uses the caller's runtime as the only worker.
    pub(crate) fn current(metering: Metering) -> Self {
        let stats = Arc::new(WorkerStats::new(metering));
        let worker = Worker { runtime: Handle::current(), stats, stop: None, own_tasks: 0 };
        Self { workers: vec![worker] }
    }

    /// Starts `count` threads. With `busy_poll`, each of them polls for that long after the last
    /// read before it sleeps. A thread that panics records the panic in `failure`.
    ///
    /// # Errors
    /// One sentence if the system has no thread, descriptor or memory left.
    pub(crate) fn start(
        count: NonZeroUsize,
        busy_poll: Option<Duration>,
        metering: Metering,
        failure: &ServerFailure,
    ) -> io::Result<Self> {
        let start = |number| Worker::start(number, busy_poll, metering, failure.clone());
        Ok(Self { workers: (0..count.get()).map(start).collect::<io::Result<_>>()? })
    }

    /// Returns the runtimes of all threads.
    pub(crate) fn runtimes(&self) -> Vec<Handle> {
        self.workers.iter().map(|worker| worker.runtime.clone()).collect()
    }

    /// Returns the counters and the runtime metrics of every worker.
    pub(crate) fn observed(&self) -> Vec<(Arc<WorkerStats>, RuntimeMetrics)> {
        let observed = |worker: &Worker| (Arc::clone(&worker.stats), worker.runtime.metrics());
        self.workers.iter().map(observed).collect()
    }

    /// Logs the number of tasks that handlers have spawned on the threads of this server and that
    /// have not ended. They are dropped with the threads. To be called after the last connection
    /// has ended. The level is `debug`, because a task that serves its thread may have no end.
    pub(crate) async fn report_left_tasks(&self) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let left = || self.workers.iter().map(Worker::left_tasks).sum::<usize>();
        // The task of the last connection ends just after its slot is released.
        let until = Instant::now() + LEFT_TASKS_PATIENCE;
        while left() > 0 && Instant::now() < until {
            sleep(LEFT_TASKS_PAUSE).await;
        }
        let tasks = left();
        if tasks > 0 {
            tracing::debug!(tasks, "dropping tasks that handlers spawned and did not wait for");
        }
    }

    /// Returns the worker with the fewest connections, or the first of several such workers; `None`
    /// if all workers have panicked.
    pub(crate) fn least_loaded(&self) -> Option<&Worker> {
        let alive = self.workers.iter().filter(|worker| !worker.stats.is_lost());
        alive.min_by_key(|worker| worker.stats.open.load(Ordering::Relaxed))
    }
}

impl Worker {
    /// Returns the statistics of this worker's connections.
    pub(crate) fn stats(&self) -> &Arc<WorkerStats> {
        &self.stats
    }

    /// Makes this worker's runtime the current one for as long as the guard lives.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Moves a socket from the runtime of the accepting thread to that of this worker, by
    /// registering it again. The worker's runtime must be the current one.
    pub(crate) fn adopt(&self, stream: Stream) -> io::Result<Stream> {
        if self.stop.is_none() { Ok(stream) } else { stream.move_here() }
    }

    /// Runs the task of a connection on this worker.
    pub(crate) fn spawn<T>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T>
    where
        T: Send + 'static,
    {
        self.runtime.spawn(task)
    }

    /// Returns the number of tasks that are neither the server's own nor the caller's.
    fn left_tasks(&self) -> usize {
        match self.stop {
            Some(_) => self.runtime.metrics().num_alive_tasks().saturating_sub(self.own_tasks),
            None => 0,
        }
    }

    fn start(
        number: usize,
        busy_poll: Option<Duration>,
        metering: Metering,
        failure: ServerFailure,
    ) -> io::Result<Self> {
        let name = format!("worker-{number}");
        let stats = Arc::new(WorkerStats::new(metering));
        let (stop, stopped) = oneshot::channel::<()>();
        let (told, part) = (Arc::clone(&stats), name.clone());
        let runtime = spawn_with_runtime(&name, move |runtime| {
            run(runtime, busy_poll, stopped, |panic| {
                told.note_lost();
                failure.note(&part, panic);
            });
        })?;
        let own_tasks = usize::from(busy_poll.is_some());
        Ok(Self { runtime, stats, stop: Some(stop), own_tasks })
    }
}

/// Runs the tasks of `runtime` until `stopped` completes. A panic that no task catches (in a waker,
/// or in the runtime itself) is passed to `fail` before the connections are dropped.
fn run(
    runtime: Runtime,
    busy_poll: Option<Duration>,
    stopped: oneshot::Receiver<()>,
    fail: impl FnOnce(&(dyn Any + Send)),
) {
    if let Some(length) = busy_poll {
        runtime.spawn(spin(length));
    }
    // An error means that the sender was dropped, which is the signal.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| runtime.block_on(stopped))) {
        fail(&*panic);
        // Continue to unwind. This drops the runtime and its connections, and connections that are
        // dropped during a panic tell their peers about a server error.
        resume_unwind(panic);
    }
}

/// Keeps the runtime polling for events without sleeping, while there is activity.
///
/// A task that yields makes the runtime poll for events with a time-out of zero. If nothing was
/// read for `length`, the task waits until the next read, and the thread can sleep.
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

/// Starts a thread that runs `work` on its own current-thread runtime. Returns the handle of that
/// runtime.
///
/// The thread is started before the runtime is created, and the thread drops the runtime. In the
/// reverse order, if the thread could not be started, the caller would have to drop the runtime,
/// which panics in an async context.
///
/// # Errors
/// One sentence if the system has no thread, descriptor or memory left.
pub fn spawn_with_runtime(
    name: &str,
    work: impl FnOnce(Runtime) + Send + 'static,
) -> io::Result<Handle> {
    let (give, take) = mpsc::channel::<Runtime>();
    // An error means that the runtime could not be created.
    let run = move || take.recv().map_or((), work);
    let start = || {
        thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Builder::new_current_thread().enable_all().build()
    };
    let named = |error: io::Error| {
        let text = format!("cannot start the thread {name}: {error}");
        io::Error::new(error.kind(), text)
    };
    let runtime = start().map_err(named)?;
    let handle = runtime.handle().clone();
    match give.send(runtime) {
        Ok(()) => Ok(handle),
        Err(mpsc::SendError(runtime)) => {
            runtime.shutdown_background();
            Err(named(io::Error::other("it has ended")))
        }
    }
}
