//! One load run: starts the threads, waits for all clients, reports.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::client::Client;
use super::dial::Dialer;
use super::job::{Common, Cut, Job, Records, Start};
use super::ledger::End;
use super::objective::Objective;
use super::processor;
use super::report::Report;
use super::settings::Settings;
use super::trust::{Evidence, Processor, judge};
use super::view::View;
use echoline::internals::Precision;
use echoline::internals::spawn_with_runtime;
use echoline::{Phase, Shutdown};

/// The interval between two calls of the watch.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// Ticks of the watch, a second together, between two checks whether the run can still be good.
const JUDGE_EVERY: u64 = 10;

/// Runs the plan to its end, or until `stop` is drained: then no more is sent, and what is in
/// flight is waited for; or until it is aborted: then everything ends at once. Each time there is
/// a report. `watch` hears ten times a second how far it is.
///
/// # Errors
/// Where a target cannot be resolved or a thread cannot be started. Whatever goes wrong with a
/// connection is in the report.
pub async fn run(
    settings: &Settings,
    stop: &Shutdown,
    watch: impl FnMut(&View),
) -> io::Result<Report> {
    let common = Arc::new(Common {
        dialer: Dialer::new(&settings.targets).await?,
        settings: settings.clone(),
        start: Start::when_all_of(settings.plan.clients()),
        stop: stop.clone(),
        stopped: OnceLock::new(),
    });
    let workers = settings.workers.get().min(settings.plan.clients() as usize);
    let precision = Precision::Exact { spin: settings.busy_poll };
    let jobs: Vec<_> =
        (0..workers).map(|_| Arc::new(Job::new(Arc::clone(&common), precision))).collect();
    let mut meter = Meter::start();
    let threads = start_threads(&jobs)?;
    supervise(&common, &jobs, threads, &mut meter, watch).await?;
    Ok(report(&common, &jobs, &meter))
}

/// Waits for all threads, and tells how far they are.
async fn supervise(
    common: &Common,
    jobs: &[Arc<Job>],
    threads: Vec<oneshot::Receiver<()>>,
    meter: &mut Meter,
    mut watch: impl FnMut(&View),
) -> io::Result<()> {
    let ended = async {
        for thread in threads {
            thread.await.map_err(|_| io::Error::other("a thread of the tester panicked"))?;
        }
        Ok(())
    };
    tokio::pin!(ended);
    let mut ticks = interval(WATCH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut foregone = None;
    for tick in 1u64.. {
        tokio::select! {
            biased;
            ended = &mut ended => return ended,
            _ = ticks.tick() => {
                meter.tick(common);
                if foregone.is_none() && tick.is_multiple_of(JUDGE_EVERY) {
                    foregone = find_foregone(common, jobs);
                    foregone.inspect(|_| common.stop.drain());
                }
                watch(&View::new(common, jobs, foregone));
            }
        }
    }
    Ok(())
}

/// The first alarm that is certain to come true.
fn find_foregone(common: &Common, jobs: &[Arc<Job>]) -> Option<Objective> {
    let alarms = common.settings.stop_if.as_ref()?.list();
    let planned = common.settings.planned();
    let count = |alarm: &Objective| -> u64 {
        jobs.iter().map(|job| alarm.count_for(&job.records().measured)).sum()
    };
    alarms.iter().find(|alarm| alarm.is_foregone(count(alarm), planned)).copied()
}

/// One thread for each job; each tells when it has ended.
fn start_threads(jobs: &[Arc<Job>]) -> io::Result<Vec<oneshot::Receiver<()>>> {
    let start = |(number, job): (usize, &Arc<Job>)| {
        let (end, ended) = oneshot::channel();
        let (job, workers) = (Arc::clone(job), jobs.len());
        spawn_with_runtime(&format!("load-{number}"), move |runtime| {
            runtime.block_on(run_clients(&job, number, workers));
            // An error means that nobody waits any more.
            let _ = end.send(());
        })?;
        Ok(ended)
    };
    jobs.iter().enumerate().map(start).collect()
}

/// Starts the clients of one thread when they are due, and waits for them all.
async fn run_clients(job: &Arc<Job>, number: usize, workers: usize) {
    let alarm = tokio::spawn({
        let job = Arc::clone(job);
        async move { job.alarm.run().await }
    });
    let mut clients = JoinSet::new();
    let cut = {
        let all = async {
            start_clients(job, &mut clients, number, workers).await;
            while let Some(ended) = clients.join_next().await {
                // Passes on the panic of a client, whose figures cannot be trusted.
                if let Err(error) = ended {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        };
        tokio::select! {
            biased;
            () = all => None,
            cut = cut_short(job) => Some(cut),
        }
    };
    if let Some(cut) = cut {
        job.set_cut(cut);
        // Dropped clients settle their accounts.
        clients.shutdown().await;
    }
    alarm.abort();
}

async fn start_clients(job: &Arc<Job>, clients: &mut JoinSet<()>, number: usize, workers: usize) {
    let common = &job.common;
    let share = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let mut connects = common.settings.connects.share(share(number), share(workers));
    let begun = Instant::now();
    for index in (share(number)..common.settings.plan.clients()).step_by(workers) {
        let due = begun + connects.next(begun.elapsed());
        if due > Instant::now() {
            tokio::select! {
                () = sleep_until(due) => {}
                () = common.stop.reached(Phase::Draining) => {}
            }
        }
        let client = Client::new(Arc::clone(job), index);
        if job.is_running() {
            clients.spawn(client.run());
        } else {
            client.finish(End::Stopped);
        }
    }
}

/// Completes when the clients are to be broken off.
async fn cut_short(job: &Job) -> Cut {
    let stop = &job.common.stop;
    let stopped = async {
        stop.reached(Phase::Draining).await;
        job.common.stopped.get_or_init(Instant::now);
        job.alarm.wake_all();
        stop.reached(Phase::Aborting).await;
        Cut::Abort
    };
    let settings = job.settings();
    let over = async {
        let Some(end) = settings.end() else { return std::future::pending().await };
        let start = job.common.start.wait().await;
        sleep_until(start + end + settings.grace()).await;
        Cut::Grace
    };
    tokio::select! {
        cut = stopped => cut,
        cut = over => cut,
    }
}

fn report(common: &Common, jobs: &[Arc<Job>], meter: &Meter) -> Report {
    let settings = &common.settings;
    let mut records = Records::default();
    for job in jobs {
        records.merge(&job.records());
    }
    let elapsed = elapsed(common, &records);
    let Records { mut warm_up, measured: mut record, .. } = records;
    debug_assert!(record.ledger.adds_up() && warm_up.ledger.adds_up(), "{:?}", record.ledger);
    record.series.cover(elapsed);
    if !elapsed.is_zero() {
        warm_up.series.cover(settings.warm_up);
    }
    let processor = meter.read();
    let opened = jobs.iter().map(|job| job.open_most()).sum();
    // Where each message has its own, connections come and go.
    let wanted = settings.per_connection.map_or(settings.plan.clients(), |_| 0);
    let distrust = judge(&Evidence {
        record: &record,
        processor,
        workers: jobs.len(),
        spins: !settings.busy_poll.is_zero(),
        ports_used_up: jobs.iter().map(|job| job.ports_used_up()).sum(),
        connections: (wanted, opened),
    });
    Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: settings.started.clone(),
        measuring_began: measuring_began(common),
        settings: settings.summary(),
        elapsed,
        record,
        warm_up: (!settings.warm_up.is_zero()).then_some(warm_up),
        processor,
        distrust,
        walk: None,
    }
}

/// Wall-clock time when the measuring began, to the millisecond, from the beginning of 1970.
fn measuring_began(common: &Common) -> Option<Duration> {
    let start = common.start.at()?;
    let now = common.settings.wall_clock?;
    let began = now().checked_sub(start.elapsed())?.checked_add(common.settings.warm_up)?;
    Some(Duration::from_millis(u64::try_from(began.as_millis()).ok()?))
}

/// Returns the time from the start of the measuring to the last answer, or to the failure of the
/// last message that was waited for.
///
/// A run that lasted for its whole planned time counts as that long at least: a wait for answers
/// after it, which never came, is not part of it.
fn elapsed(common: &Common, records: &Records) -> Duration {
    let settings = &common.settings;
    let measured = |at: Instant| common.start.elapsed(at).saturating_sub(settings.warm_up);
    let settled = records.last_answer.max(records.last_failure);
    if let Some(&stopped) = common.stopped.get() {
        return settled.max(measured(stopped));
    }
    // Messages that are due for a time fill it, although the last is due before its end.
    let fills = settings.messages.is_open() && settings.plan.messages().is_none();
    match settings.duration {
        Some(duration) if fills || measured(Instant::now()) >= duration => {
            duration.max(records.last_answer)
        }
        _ => settled,
    }
}

/// Measures the tester's processor time while it measures the server.
struct Meter {
    begun: Instant,
    used: Option<(Duration, Duration)>,
    /// The measuring has begun.
    begins: bool,
}

impl Meter {
    fn start() -> Self {
        Self { begun: Instant::now(), used: processor::used(), begins: false }
    }

    /// Begins anew once the connections are open and the warm-up is over.
    fn tick(&mut self, common: &Common) {
        let started = common.start.at().map(|at| at + common.settings.warm_up);
        if !self.begins && started.is_some_and(|started| started <= Instant::now()) {
            *self = Self { begins: true, ..Self::start() };
        }
    }

    fn read(&self) -> Option<Processor> {
        let ((user_before, system_before), (user, system)) = self.used.zip(processor::used())?;
        Some(Processor {
            user: user.saturating_sub(user_before),
            system: system.saturating_sub(system_before),
            elapsed: self.begun.elapsed(),
        })
    }
}
