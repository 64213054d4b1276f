//! One load run: starts the threads, waits for all clients, and makes the report.

mod processor_meter;
mod progress;

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinError, unconstrained};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::processor_meter::ProcessorMeter;
use crate::exchange::client::LoadClient;
use crate::exchange::dial::Dialer;
use crate::exchange::pool::{ClientPool, ClientSpawner, SocketPoll};
use crate::exchange::worker::{LoadWorker, PhaseRecords, RunContext, StartBarrier, StopReason};
use crate::report::LoadReport;
use crate::settings::LoadSettings;
use crate::statistics::SkipReason;
use crate::verdict::Objective;
use crate::verdict::warnings::{MeasurementConditions, find_warnings};
use echoline::internals::Precision;
use echoline::internals::spawn_with_runtime;
use echoline::{Phase, Shutdown};

pub use self::progress::RunProgress;

/// The interval between two reports of the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// The number of progress reports between two checks whether an alarm is certain. It makes one
/// check per second.
const ALARM_CHECK_TICKS: u64 = 10;

/// Runs the plan to its end, or until `stop` starts to drain or abort.
///
/// When `stop` drains, clients stop sending and wait for the replies to messages in flight. When
/// `stop` aborts, the run ends at once. In both cases this returns a report. `on_progress` is
/// called ten times per second.
///
/// # Errors
/// If a target cannot be resolved or a thread cannot be started. Failures of connections are in the
/// report.
pub async fn run(
    settings: &LoadSettings,
    stop: &Shutdown,
    on_progress: impl FnMut(&RunProgress),
) -> io::Result<LoadReport> {
    let context = Arc::new(RunContext {
        dialer: Dialer::new(&settings.targets).await?,
        settings: settings.clone(),
        start: StartBarrier::new(settings.plan.clients()),
        stop: stop.clone(),
        stopped: OnceLock::new(),
    });
    let count = settings.workers.get().min(settings.plan.clients() as usize);
    let precision = Precision::Exact(settings.polling());
    let (clients, threads) = (settings.plan.clients(), share(count));
    let may_wait = settings.messages.is_immediate();
    let sockets = (0..count).map(|_| SocketPoll::new(clients, threads, may_wait));
    let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
    let worker = |sockets: &SocketPoll| {
        let table = Some(Arc::clone(sockets.table()));
        Arc::new(LoadWorker::new(Arc::clone(&context), precision, table))
    };
    let workers: Vec<_> = sockets.iter().map(worker).collect();
    let meter = ProcessorMeter::start(&workers);
    let threads = start_threads(&workers, sockets)?;
    let meter = supervise(&context, &workers, threads, meter, on_progress).await?;
    Ok(report(&context, &workers, &meter))
}

/// Waits for all threads and reports the progress. Returns a meter that was started at the end of
/// the warm-up, or `meter` if the run ended before that.
async fn supervise(
    context: &RunContext,
    workers: &[Arc<LoadWorker>],
    threads: Vec<oneshot::Receiver<io::Result<()>>>,
    mut meter: ProcessorMeter,
    mut on_progress: impl FnMut(&RunProgress),
) -> io::Result<ProcessorMeter> {
    let ended = async {
        for thread in threads {
            thread.await.map_err(|_| io::Error::other("a thread of the tester panicked"))??;
        }
        Ok(())
    };
    tokio::pin!(ended);
    let mut ticks = interval(PROGRESS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut certain_alarm = None;
    let mut is_measuring = false;
    for tick in 1u64.. {
        tokio::select! {
            biased;
            ended = &mut ended => return ended.map(|()| meter),
            _ = ticks.tick() => {
                let measuring = context.start.at().map(|at| at + context.settings.warm_up);
                if !is_measuring && measuring.is_some_and(|begins| begins <= Instant::now()) {
                    is_measuring = true;
                    meter = ProcessorMeter::start(workers);
                }
                if certain_alarm.is_none() && tick.is_multiple_of(ALARM_CHECK_TICKS) {
                    certain_alarm = find_certain_alarm(context, workers);
                    certain_alarm.inspect(|_| context.stop.drain());
                }
                on_progress(&RunProgress::new(context, workers, certain_alarm));
            }
        }
    }
    Ok(meter)
}

/// Returns the first alarm that is certain to come true.
fn find_certain_alarm(context: &RunContext, workers: &[Arc<LoadWorker>]) -> Option<Objective> {
    let alarms = context.settings.stop_if.as_ref()?.list();
    let planned = context.settings.planned();
    let count = |alarm: &Objective| -> u64 {
        workers.iter().map(|worker| alarm.count_for(&worker.records().measured)).sum()
    };
    alarms.iter().find(|alarm| alarm.is_certain(count(alarm), planned)).copied()
}

/// Starts a thread for each worker. Each receiver completes when its thread has ended.
fn start_threads(
    workers: &[Arc<LoadWorker>],
    sockets: Vec<SocketPoll>,
) -> io::Result<Vec<oneshot::Receiver<io::Result<()>>>> {
    let start = |((number, worker), sockets): ((usize, &Arc<LoadWorker>), SocketPoll)| {
        let (end, ended) = oneshot::channel();
        let (worker, threads) = (Arc::clone(worker), workers.len());
        spawn_with_runtime(&format!("load-{number}"), move |runtime| {
            let result = runtime.block_on(run_clients(&worker, sockets, number, threads));
            // An error means that the run was dropped.
            let _ = end.send(result);
        })?;
        Ok(ended)
    };
    workers.iter().enumerate().zip(sockets).map(start).collect()
}

/// Starts each client of thread `number` at its planned time, and waits for all of them.
async fn run_clients(
    worker: &Arc<LoadWorker>,
    sockets: SocketPoll,
    number: usize,
    threads: usize,
) -> io::Result<()> {
    let alarm = tokio::spawn({
        let worker = Arc::clone(worker);
        async move { worker.alarm.run().await }
    });
    let (pool, spawner) = ClientPool::new(sockets)?;
    // Without the budget of a single task: the pool runs many clients, and yields by itself.
    let mut pool = tokio::spawn(unconstrained(pool.run()));
    let stop_reason = {
        let all = async {
            start_clients(worker, spawner, number, threads).await;
            joined((&mut pool).await)
        };
        tokio::select! {
            biased;
            ended = all => {
                ended?;
                None
            }
            reason = stop_reason(worker) => Some(reason),
        }
    };
    if let Some(reason) = stop_reason {
        worker.set_stop_reason(reason);
        // Drops the clients. Each one then counts its messages in flight and its unsent ones.
        pool.abort();
        if let Err(error) = pool.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    alarm.abort();
    Ok(())
}

/// Returns the result of a pool. Passes on the panic of a client, whose figures cannot be trusted.
fn joined(ended: Result<io::Result<()>, JoinError>) -> io::Result<()> {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

async fn start_clients(
    worker: &Arc<LoadWorker>,
    clients: ClientSpawner,
    number: usize,
    threads: usize,
) {
    let context = &worker.context;
    let mut connects = context.settings.connects.share(share(number), share(threads));
    let start = Instant::now();
    for index in (share(number)..context.settings.plan.clients()).step_by(threads) {
        let due = start + connects.next(start.elapsed());
        if due > Instant::now() {
            tokio::select! {
                () = sleep_until(due) => {}
                () = context.stop.reached(Phase::Draining) => {}
            }
        }
        let client = LoadClient::new(Arc::clone(worker), index);
        if worker.is_running() {
            clients.spawn(index, client.run());
        } else {
            client.finish(SkipReason::Stopped);
        }
    }
}

/// Returns a number of threads in the type of a number of clients, which is never less.
fn share(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Waits until the clients must be stopped. Returns the reason.
async fn stop_reason(worker: &LoadWorker) -> StopReason {
    let stop = &worker.context.stop;
    let aborted = async {
        stop.reached(Phase::Draining).await;
        worker.context.stopped.get_or_init(Instant::now);
        worker.alarm.wake_all();
        stop.reached(Phase::Aborting).await;
        StopReason::Aborted
    };
    let settings = worker.settings();
    let over = async {
        let Some(end) = settings.end() else { return std::future::pending().await };
        let start = worker.context.start.wait().await;
        sleep_until(start + end + settings.grace()).await;
        StopReason::GraceOver
    };
    tokio::select! {
        reason = aborted => reason,
        reason = over => reason,
    }
}

fn report(context: &RunContext, workers: &[Arc<LoadWorker>], meter: &ProcessorMeter) -> LoadReport {
    let settings = &context.settings;
    let mut records = PhaseRecords::default();
    for worker in workers {
        records.merge(&worker.records());
    }
    let elapsed = elapsed(context, &records);
    let PhaseRecords { mut warm_up, measured: mut record, .. } = records;
    debug_assert!(record.ledger.adds_up() && warm_up.ledger.adds_up(), "{:?}", record.ledger);
    record.series.cover(elapsed);
    if !elapsed.is_zero() {
        warm_up.series.cover(settings.warm_up);
    }
    let processor = meter.read(workers);
    let opened = workers.iter().map(|worker| worker.open_max()).sum();
    // If each message has its own connection, the number of simultaneous connections has no planned
    // value.
    let wanted = settings.per_connection.map_or(settings.plan.clients(), |_| 0);
    let warnings = find_warnings(&MeasurementConditions {
        record: &record,
        processor,
        workers: workers.len(),
        busy_polls: settings.polls(),
        ports_used_up: workers.iter().map(|worker| worker.ports_used_up()).sum(),
        connections: (wanted, opened),
    });
    LoadReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: settings.started.clone(),
        measuring_began: measuring_began(context),
        settings: settings.summary(),
        elapsed,
        record,
        warm_up: (!settings.warm_up.is_zero()).then_some(warm_up),
        processor,
        warnings,
        search: None,
    }
}

/// Returns the wall-clock time at which the measured time began, in whole milliseconds since the
/// Unix epoch.
fn measuring_began(context: &RunContext) -> Option<Duration> {
    let start = context.start.at()?;
    let now = context.settings.wall_clock?;
    let began = now().checked_sub(start.elapsed())?.checked_add(context.settings.warm_up)?;
    Some(Duration::from_millis(u64::try_from(began.as_millis()).ok()?))
}

/// Returns the measured time: from its start to the last reply, or to the last failure of a
/// message.
///
/// If the run lasted for its whole planned time, the result is at least that time. A wait for
/// missing replies after the planned time does not count.
fn elapsed(context: &RunContext, records: &PhaseRecords) -> Duration {
    let settings = &context.settings;
    let measured = |at: Instant| context.start.elapsed(at).saturating_sub(settings.warm_up);
    let settled = records.last_reply.max(records.last_failure);
    if let Some(&stopped) = context.stopped.get() {
        return settled.max(measured(stopped));
    }
    // In an open loop without a number of messages, the planned time counts in full, although the
    // last message is due before its end.
    let fills = settings.messages.is_open() && settings.plan.messages().is_none();
    match settings.duration {
        Some(duration) if fills || measured(Instant::now()) >= duration => {
            duration.max(records.last_reply)
        }
        _ => settled,
    }
}
