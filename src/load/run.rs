//! One load run: opens the connections, waits for all clients, reports.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::ledger::{End, Ledger};
use super::pacer::Pacer;
use super::plan::Plan;
use super::record::Record;
use super::report::{Mode, Report, Summary};
use super::worker::{Job, Worker};
use crate::net::{Address, Phase, Shutdown};

/// How often whoever watches is told.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// So that adding a time-out to a time never overflows.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server.
    pub address: Address,
    /// What to send.
    pub plan: Plan,
    /// When each connection is opened.
    pub connects: Pacer,
    /// When each client sends its messages; a client never sends before its last was answered.
    pub messages: Pacer,
    /// How long a reply may take from the moment its message is begun, and a connection until it
    /// is open; at most a day.
    pub timeout: Duration,
}

impl Settings {
    fn summary(&self) -> Summary {
        let text = |name: &str, value: String| (name.to_owned(), value);
        Summary {
            mode: Mode::Closed,
            clients: self.plan.clients(),
            rate: None,
            duration: None,
            targets: vec![self.address.to_string()],
            bytes: self.plan.size(),
            seed: self.plan.seed(),
            listed: vec![
                text("clients", self.plan.clients().to_string()),
                text("messages", self.plan.messages().to_string()),
                text("size", self.plan.size().to_string()),
                text("seed", self.plan.seed().to_string()),
            ],
        }
    }
}

/// Runs the plan to its end, or until `stop` is drained: then no more is sent, and what is in
/// flight is waited for. `watch` hears ten times a second how far it is.
///
/// All connections are served by the runtime that this is called on; a current-thread runtime
/// does best.
///
/// # Errors
/// Where the address cannot be resolved. Whatever goes wrong with a connection is in the report.
pub async fn run(
    settings: &Settings,
    stop: &Shutdown,
    watch: impl FnMut(&Ledger),
) -> io::Result<Report> {
    let addresses: Arc<[SocketAddr]> = settings.address.resolve().await?.into();
    let job = Arc::new(Job {
        plan: settings.plan.clone(),
        messages: settings.messages.clone(),
        timeout: settings.timeout.min(TIMEOUT_MAX),
        start: Instant::now(),
        stop: stop.clone(),
        record: Mutex::new(Record::new(settings.plan.total())),
    });
    tokio::select! {
        () = run_clients(&addresses, settings.connects.clone(), &job) => {}
        () = tell(&job, watch) => {}
    }
    let record = job.record().clone();
    debug_assert!(record.ledger.adds_up(), "{:?}", record.ledger);
    Ok(Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: String::new(),
        settings: settings.summary(),
        elapsed: job.start.elapsed(),
        record,
        warm_up: None,
        processor: None,
        distrust: Vec::new(),
        walk: None,
    })
}

/// Never ends.
async fn tell(job: &Job, mut watch: impl FnMut(&Ledger)) {
    let mut ticks = interval(WATCH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let ledger = job.record().ledger.clone();
        watch(&ledger);
    }
}

/// Starts the clients when they are due and waits for them all.
async fn run_clients(addresses: &Arc<[SocketAddr]>, mut connects: Pacer, job: &Arc<Job>) {
    let mut clients = JoinSet::new();
    for client in 0..job.plan.clients() {
        let due = job.start + connects.next(job.start.elapsed());
        if !wait_until(due, &job.stop).await {
            let unsent = u64::from(job.plan.clients() - client) * u64::from(job.plan.messages());
            job.record().end_client(unsent, End::Stopped);
            break;
        }
        let (addresses, job) = (Arc::clone(addresses), Arc::clone(job));
        clients.spawn(async move { run_client(client, &addresses, &job).await });
    }
    // Passes on the panic of a client: its messages would be missing in the ledger.
    clients.join_all().await;
}

/// Whether the time has come before the stop has.
async fn wait_until(due: Instant, stop: &Shutdown) -> bool {
    if due > Instant::now() {
        tokio::select! {
            () = sleep_until(due) => {}
            () = stop.reached(Phase::Draining) => {}
        }
    }
    stop.phase() == Phase::Running
}

async fn run_client(client: u32, addresses: &[SocketAddr], job: &Job) {
    let connected = tokio::select! {
        connected = timeout(job.timeout, connect(addresses)) => connected,
        () = job.stop.reached(Phase::Draining) => {
            return job.record().end_client(job.plan.messages().into(), End::Stopped);
        }
    };
    let reason = match connected {
        Ok(Ok(stream)) => return Worker::new(stream, client, job).run().await,
        Ok(Err(error)) => describe(&error),
        Err(_) => format!("no answer within {:?}", job.timeout),
    };
    let mut record = job.record();
    record.note_reason(&format!("cannot connect: {reason}"));
    record.end_client(job.plan.messages().into(), End::NotConnected);
}

/// Connects to the first address that takes us.
async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Else a message of two packets waits for the acknowledgement of the first.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What went wrong, and what to do where that is not obvious.
pub(super) fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::BrokenPipe => "the server takes no more".to_owned(),
        io::ErrorKind::AddrNotAvailable => {
            "all local ports are in use (each for a minute after its connection ends): use fewer \
             --clients, wait, or widen net.ipv4.ip_local_port_range"
                .to_owned()
        }
        _ if error.raw_os_error() == Some(libc::EMFILE) => {
            "too many open files: raise the limit with 'ulimit -n' or use fewer --clients"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fault of a generator and not of the server: the sentence says what to do.
    #[test]
    fn what_the_system_lacks_is_said_with_what_to_do() {
        for (code, wanted) in [
            (libc::EADDRNOTAVAIL, "ip_local_port_range"),
            (libc::EMFILE, "ulimit -n"),
            (libc::ECONNREFUSED, "connection refused"),
            (libc::ECONNRESET, "connection reset"),
            (libc::ENETUNREACH, "unreachable"),
        ] {
            let sentence = describe(&io::Error::from_raw_os_error(code));
            assert!(sentence.contains(wanted), "{sentence}");
        }
    }

    /// Times of connecting follow the pacer, and a stop ends the waiting.
    #[tokio::test]
    async fn a_stop_ends_a_slow_ramp() {
        let number = |number| std::num::NonZero::new(number).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = Settings {
            address: listener.local_addr().unwrap().into(),
            plan: Plan::new(number(5), number(2), 16, crate::net::Eol::Lf, 1).unwrap(),
            connects: Pacer::constant(super::super::Rate::new(1, TIMEOUT_MAX).unwrap()),
            messages: Pacer::closed_loop(),
            timeout: Duration::from_secs(60),
        };
        let stop = Shutdown::new();
        let server = async {
            // Accepts the only client, and ends it when the run waits for the second.
            let accepted = listener.accept().await.unwrap();
            stop.drain();
            drop(accepted);
        };
        let (report, ()) = tokio::join!(run(&settings, &stop, |_| ()), server);
        let ledger = report.unwrap().record.ledger;
        assert!(ledger.adds_up() && ledger.sent() <= 1, "{ledger:?}");
        assert!(ledger.skipped_by_end().any(|(end, count)| (end, count) >= (End::Stopped, 8)));
    }
}
