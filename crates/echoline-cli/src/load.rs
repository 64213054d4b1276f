//! `echoline load`: flags to settings, a report to stdout and an exit code.

mod live;
mod message;
mod network;
mod traffic;

use std::num::NonZero;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, error::ErrorKind};

use self::live::Live;
use self::message::MessageFlags;
use self::network::NetworkFlags;
use self::traffic::TrafficFlags;
use super::config::ConfigFlags;
use super::descriptors::Descriptors;
use super::load_output::OutputFlags;
use super::resources;
use super::tls_client::{TlsClientFlags, TlsSide};
use echoline::internals::{Hangup, Signals};
use echoline::listener::Scheme;
use echoline::tls::Resumption;
use echoline::{Address, Phase, Shutdown};
use echoline_base::amount::figures;
use echoline_load::{self, Expect, Objectives, Report, Settings, View};

/// The most that one datagram holds: 65,535 less the headers of IPv4 and UDP.
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// The flags of `echoline load`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without --rate it is a closed loop: each client sends a line, waits for the reply and checks it. \
With --rate it is an open loop: latency counts from the time at which the plan intends a message, \
so that a server that stalls cannot hide it.

An echo is a line that ends with what was sent; what stands before that (as 'Echo: ') is learnt \
from the first reply and must stay the same. Up to 16 lines before the first answer are taken for \
a greeting. Over udp:// each message and each answer is one datagram; one that is lost ends \
nothing, and answers that come late, twice or out of order are counted beside.

Exit code: 0 when every planned message was answered right, or with --fail-if when none of its \
conditions came true; 3 when one did; 1 otherwise, also when a report cannot be written, or when \
clients had no server at the end and --fail-if names no errors; 2 for wrong usage. Ctrl-C stops \
sending, waits for what is in flight and reports; a second one reports at once.")]
pub(super) struct LoadFlags {
    /// The servers: HOST:PORT, tls://HOST:PORT, ws://HOST:PORT/PATH (or wss://), udp://HOST:PORT or
    /// unix:PATH; clients take several in turn.
    #[arg(value_name = "ADDR", required = true)]
    addresses: Vec<Address>,

    #[command(flatten)]
    traffic: TrafficFlags,

    #[command(flatten)]
    messages: MessageFlags,

    #[command(flatten)]
    network: NetworkFlags,

    #[command(flatten)]
    tls: TlsClientFlags,

    /// Begins each connection but the first with a ticket of an earlier one, as browsers do,
    /// instead of a whole handshake.
    #[arg(long, env = "ECHOLINE_TLS_RESUME", help_heading = "TLS")]
    tls_resume: bool,

    /// Searches the highest rate that keeps to --slo: doubles it until it breaks, bisects,
    /// confirms. Begins at --rate [default: 1000/s]; each rate is tried for --duration
    /// [default: 5s], or for up to 10 minutes if its percentiles take more messages.
    #[arg(long, env = "ECHOLINE_FIND_MAX", requires = "slo", help_heading = "Search")]
    #[arg(conflicts_with_all = ["messages", "total_messages"])]
    find_max: bool,

    /// What must hold: percentiles, max, mean, errors …
    // If --messages excuses --find-max, clap excuses what needs --find-max as well.
    #[arg(long, env = "ECHOLINE_SLO", value_name = "LIST", requires = "find_max")]
    #[arg(conflicts_with_all = ["messages", "total_messages"])]
    #[arg(value_parser = goals, help_heading = "Search")]
    slo: Option<Objectives>,

    /// Runs to the end although a condition of --fail-if is certain to come true before.
    #[arg(long, env = "ECHOLINE_KEEP_GOING", requires = "fail_if", help_heading = "Reports")]
    keep_going: bool,

    /// Shows nothing while it runs.
    #[arg(long, short, env = "ECHOLINE_QUIET", help_heading = "Reports")]
    quiet: bool,

    #[command(flatten)]
    output: OutputFlags,

    #[command(flatten)]
    config: ConfigFlags,
}

fn goals(text: &str) -> Result<Objectives, String> {
    Objectives::goals(text).map_err(|error| error.to_string())
}

/// Runs the load and reports.
pub(super) fn run(flags: &LoadFlags) -> anyhow::Result<ExitCode> {
    let settings = flags.settings()?;
    flags.output.check("load");
    Descriptors::raise()
        .fit_clients(flags.traffic.clients().get())
        .map_err(|sentence| anyhow!(sentence))?;
    let threads = settings.workers.get().min(settings.plan.clients() as usize);
    resources::check_memory(threads)?;
    let runtime = resources::runtime()?;
    let stop = Shutdown::new();
    let report = runtime.block_on(run_until_told(flags, &settings, &stop))?;
    let code = flags.output.write(report);
    // A closed loop for a duration plans no more than it sends, so its ledger shows no stop.
    let is_cut = stop.phase() != Phase::Running && flags.output.fail_if().is_none();
    Ok(if is_cut && code == ExitCode::SUCCESS { ExitCode::FAILURE } else { code })
}

/// The first signal ends the sending, the second everything; there is a report each time.
async fn run_until_told(
    flags: &LoadFlags,
    settings: &Settings,
    stop: &Shutdown,
) -> anyhow::Result<Report> {
    let mut signals = Signals::listen(Hangup::Ends).context("cannot listen to signals")?;
    let live = Live::start(settings.plan.total(), flags.quiet);
    let running = async {
        match &flags.slo {
            None => echoline_load::run(settings, stop, |view| live.show("", view)).await,
            Some(goals) => {
                let label = |rate| format!("{}/s: ", figures::per_second(rate));
                let first = flags.traffic.first_rate();
                let show = |rate, _, view: &View| live.show(&label(rate), view);
                echoline_load::find_max(settings, goals, first, stop, show).await
            }
        }
    };
    let report = tokio::select! {
        report = running => report,
        () = stop_when_told(&mut signals, stop, &live, settings) => unreachable!("it only tells"),
    };
    live.clear();
    report.context("cannot run the load")
}

/// Never ends.
async fn stop_when_told(signals: &mut Signals, stop: &Shutdown, live: &Live, settings: &Settings) {
    let signal = signals.next().await;
    stop.drain();
    live.tell(&format!(
        "{signal}: sends no more and waits up to {:?} for what is in flight; once more reports at \
         once",
        settings.timeout
    ));
    let signal = signals.next().await;
    live.tell(&format!("{signal}: ends at once"));
    stop.abort();
    std::future::pending().await
}

impl LoadFlags {
    /// A search ends by itself.
    fn messages_each(&self) -> Option<NonZero<u32>> {
        if self.find_max { None } else { self.traffic.messages() }
    }

    /// The settings, or the end of the program for flags that do not fit together.
    fn settings(&self) -> anyhow::Result<Settings> {
        let depth = self.traffic.depth();
        if let Some(text) = self.traffic.mistake().or_else(|| self.messages.mistake(depth)) {
            super::wrong_use("load", ErrorKind::ArgumentConflict, text);
        }
        let searched = self.slo.as_ref().map(|goals| (goals, self.traffic.first_rate()));
        if let Some(Err(text)) =
            searched.map(|(goals, first)| echoline_load::check_search(goals, first))
        {
            super::wrong_use("load", ErrorKind::ArgumentConflict, &text);
        }
        let plan = self.messages.plan(self.traffic.clients(), self.messages_each())?;
        let plan = match self.traffic.total_messages() {
            Some(total) => plan.with_total(total),
            None => plan,
        };
        let expect = self.messages.expect();
        let is_udp = |address: &Address| address.scheme() == Scheme::Udp;
        if self.addresses.iter().any(is_udp)
            && let Some(text) = datagram_mistake(&expect, plan.size())
        {
            super::wrong_use("load", ErrorKind::ArgumentConflict, &text);
        }
        // Where there is at least one address, because the flag is required.
        let mut settings = Settings::new(self.addresses[0].clone(), plan);
        settings.expect = expect;
        settings.started = jiff::ZonedDateTime::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
        settings.wall_clock = Some(since_epoch);
        self.traffic.apply(self.messages.seed, &mut settings);
        settings.stop_if = self.output.fail_if().filter(|_| !self.keep_going).cloned();
        let tls = self.tls(&mut settings)?;
        self.network.apply(&self.addresses, &tls, &mut settings)?;
        Ok(settings)
    }
}

impl LoadFlags {
    /// How TLS is begun, which is also noted for the report.
    fn tls(&self, settings: &mut Settings) -> anyhow::Result<TlsSide> {
        let (resumption, handshakes) = match self.tls_resume {
            true => (Resumption::On, "handshakes resumed"),
            false => (Resumption::Off, "each handshake whole"),
        };
        let side = self.tls.prepare(&self.addresses, resumption)?;
        if self.addresses.iter().any(|address| address.scheme().is_tls()) {
            let remark = format!("{handshakes}; {}", self.tls.describe());
            settings.remarks.push(("tls".to_owned(), remark));
        }
        Ok(side)
    }
}

/// The wall-clock time, to the millisecond from the beginning of 1970 in UTC.
fn since_epoch() -> Duration {
    let millis = jiff::Timestamp::now().as_millisecond();
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// What cannot be sent or expected over `udp://`, as a sentence.
fn datagram_mistake(expect: &Expect, size: usize) -> Option<String> {
    if size > DATAGRAM_BYTES_MAX {
        return Some(format!(
            "a message of {size} bytes, its line end included, does not fit into a datagram of \
             udp://: {DATAGRAM_BYTES_MAX} is the most"
        ));
    }
    let lines = expect.lines > 1 || expect.greeting_lines > 0;
    lines.then(|| {
        "--reply-lines and --skip-greeting are for connections: over udp:// one datagram answers \
         one datagram"
            .to_owned()
    })
}

/// Ends the program for a wrong value that only the command itself can see.
fn wrong_value(text: &str) -> ! {
    super::wrong_use("load", ErrorKind::ValueValidation, text)
}
