//! `echoline load`: turns flags into settings, and the report into text on stdout and an exit code.

mod message;
mod network;
mod progress_display;
mod traffic;

use std::num::NonZero;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;

use self::message::MessageArgs;
use self::network::NetworkArgs;
use self::progress_display::ProgressDisplay;
use self::traffic::TrafficArgs;
use crate::commands::load_output::OutputArgs;
use crate::commands::tls_client::{TlsClientArgs, TlsSide};
use crate::config::{self, ConfigArgs};
use crate::process::descriptors::Descriptors;
use crate::process::resources;
use crate::usage_error::UsageError;
use echoline::internals::{Hangup, Signals};
use echoline::listener::Scheme;
use echoline::tls::Resumption;
use echoline::{Address, Phase, Shutdown};
use echoline_base::amount::figures;
use echoline_load::search::check_search;
use echoline_load::{Expect, LoadReport, LoadSettings, Objectives, RunProgress};

/// The largest datagram: 65,535 bytes less the headers of IPv4 and UDP.
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// Flags of `echoline load`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Without --rate the load is a closed loop: each client sends a message, waits for the reply and \
checks it. With --rate it is an open loop: messages are sent at planned times, and latency counts \
from these times, so that the delays of a slow server are measured completely.

By default a reply is correct if it ends with the message. The text before it, for example \
'Echo: ', is learned from the first reply and must stay the same. Up to 16 lines before the first \
reply are skipped as a greeting. Over udp:// each message and each reply is a datagram, and \
replies that are late, duplicated or out of order are counted.

Ctrl-C stops the sending, waits for open replies and reports. A second Ctrl-C reports at once.

Exit code: 0 if every planned message received a correct reply (with --fail-if: if no condition \
was met); 3 if a condition of --fail-if was met; 1 after any other failure, also if a report \
cannot be written, or if clients had no connection at the end and --fail-if does not cover \
errors; 2 for wrong usage.

Examples:
  echoline load 127.0.0.1:9000 -c 50 -d 10s
  echoline load 127.0.0.1:9000 -c 50 -n 100000 --fail-if 'p99>5ms,errors>0.1%'
  echoline load 127.0.0.1:9000 --rate 5000/s -d 30s --html report.html
  echoline load 127.0.0.1:9000 --find-max --slo 'p99<5ms'
  echoline load 127.0.0.1:6379 --message PING --eol crlf --expect 'text:+PONG'")]
pub(crate) struct LoadArgs {
    /// Server to test.
    ///
    /// HOST:PORT, tls://HOST:PORT, ws://HOST:PORT/PATH, wss://HOST:PORT/PATH, udp://HOST:PORT or
    /// unix:PATH. The clients are distributed over several servers.
    #[arg(value_name = "ADDR", required = true)]
    addresses: Vec<Address>,

    #[command(flatten)]
    traffic: TrafficArgs,

    #[command(flatten)]
    messages: MessageArgs,

    #[command(flatten)]
    network: NetworkArgs,

    #[command(flatten)]
    tls: TlsClientArgs,

    /// Resume TLS sessions when a client connects again.
    ///
    /// Browsers do the same. Without this flag each connection has a full handshake.
    #[arg(long, env = "ECHOLINE_TLS_RESUME", help_heading = "TLS")]
    tls_resume: bool,

    /// Search for the highest rate that meets --slo.
    ///
    /// The search starts at --rate (1000/s without it), doubles the rate until --slo is not met,
    /// bisects and confirms the result. Each rate is tried for --duration (5s without it), or for
    /// up to 10 minutes if its percentiles need more messages.
    #[arg(long, env = "ECHOLINE_FIND_MAX", requires = "slo", help_heading = "Search")]
    #[arg(conflicts_with_all = ["messages", "total_messages"])]
    find_max: bool,

    /// Objectives of --find-max, such as 'p99<5ms'.
    ///
    /// Several are separated by commas: 'p99<5ms,errors<0.1%'. Metrics: percentiles (p50, p99.9),
    /// max, mean, errors, skipped, lost, late, duplicated, reordered, rate.
    // --slo repeats the conflicts of --find-max. Otherwise clap would not require --find-max if
    // --messages is given.
    #[arg(long, env = "ECHOLINE_SLO", value_name = "LIST", requires = "find_max")]
    #[arg(conflicts_with_all = ["messages", "total_messages"])]
    #[arg(value_parser = goals, help_heading = "Search")]
    slo: Option<Objectives>,

    /// Continue the run when a condition of --fail-if is certain to be met.
    #[arg(long, env = "ECHOLINE_KEEP_GOING", requires = "fail_if", help_heading = "Reports")]
    keep_going: bool,

    /// Do not show progress.
    #[arg(long, short, env = "ECHOLINE_QUIET", help_heading = "Reports")]
    quiet: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    config: ConfigArgs,
}

fn goals(text: &str) -> Result<Objectives, String> {
    Objectives::goals(text).map_err(|error| error.to_string())
}

/// Runs the load and writes the report.
pub(crate) fn run(flags: &LoadArgs) -> anyhow::Result<ExitCode> {
    let settings = flags.settings()?;
    flags.output.check()?;
    Descriptors::raise()
        .fit_clients(flags.traffic.clients().get())
        .map_err(|sentence| anyhow!(sentence))?;
    let threads = settings.workers.get().min(settings.plan.clients() as usize);
    resources::check_memory(threads)?;
    let runtime = resources::runtime()?;
    let stop = Shutdown::new();
    let report = runtime.block_on(run_until_stopped(flags, &settings, &stop))?;
    let code = flags.output.write(report);
    // A closed loop with a duration plans each message when it sends it, so its ledger does not
    // show that the run was stopped early.
    let is_cut = stop.phase() != Phase::Running && flags.output.fail_if().is_none();
    Ok(if is_cut && code == ExitCode::SUCCESS { ExitCode::FAILURE } else { code })
}

/// Runs until the end of the plan. The first signal ends the sending, and the second ends the run
/// at once. The run is reported in each case.
async fn run_until_stopped(
    flags: &LoadArgs,
    settings: &LoadSettings,
    stop: &Shutdown,
) -> anyhow::Result<LoadReport> {
    let mut signals = Signals::listen(Hangup::Ends).context("cannot handle signals")?;
    let display = ProgressDisplay::start(settings.plan.total(), flags.quiet);
    let running = async {
        match &flags.slo {
            None => echoline_load::run(settings, stop, |view| display.show("", view)).await,
            Some(goals) => {
                let label = |rate| format!("{}/s: ", figures::per_second(rate));
                let first = flags.traffic.first_rate();
                let show = |rate, _, view: &RunProgress| display.show(&label(rate), view);
                echoline_load::find_max(settings, goals, first, stop, show).await
            }
        }
    };
    let report = tokio::select! {
        report = running => report,
        () = stop_on_signal(&mut signals, stop, &display, settings) => unreachable!("never ends"),
    };
    display.clear();
    report.context("cannot run the load")
}

/// Stops the run on signals. Never returns.
async fn stop_on_signal(
    signals: &mut Signals,
    stop: &Shutdown,
    display: &ProgressDisplay,
    settings: &LoadSettings,
) {
    let signal = signals.next().await;
    stop.drain();
    display.tell(&format!(
        "{signal}: stops sending and waits up to {:?} for open replies; repeat it to report at \
         once",
        settings.timeout
    ));
    let signal = signals.next().await;
    display.tell(&format!("{signal}: reports at once"));
    stop.abort();
    std::future::pending().await
}

impl LoadArgs {
    /// Returns the number of messages of each client; `None` for a search, which ends by itself.
    fn messages_each(&self) -> Option<NonZero<u32>> {
        if self.find_max { None } else { self.traffic.messages() }
    }

    /// Returns the settings, or exits with a usage error if flags do not fit together.
    fn settings(&self) -> anyhow::Result<LoadSettings> {
        let depth = self.traffic.depth();
        if let Some(text) = self.traffic.usage_error().or_else(|| self.messages.usage_error(depth))
        {
            return Err(UsageError::new(text).into());
        }
        let searched = self.slo.as_ref().map(|goals| (goals, self.traffic.first_rate()));
        if let Some(Err(text)) = searched.map(|(goals, first)| check_search(goals, first)) {
            return Err(UsageError::new(text).into());
        }
        let plan = self.messages.plan(self.traffic.clients(), self.messages_each())?;
        let plan = match self.traffic.total_messages() {
            Some(total) => plan.with_total(total),
            None => plan,
        };
        let expect = self.messages.expect();
        let is_udp = |address: &Address| address.scheme() == Scheme::Udp;
        if self.addresses.iter().any(is_udp)
            && let Some(text) = datagram_usage_error(&expect, plan.size())
        {
            return Err(UsageError::new(text).into());
        }
        // There is at least one address, because the flag is required.
        let mut settings = LoadSettings::new(self.addresses[0].clone(), plan);
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

impl LoadArgs {
    /// Prepares TLS, and records its settings for the report.
    fn tls(&self, settings: &mut LoadSettings) -> anyhow::Result<TlsSide> {
        let (resumption, handshakes) = match self.tls_resume {
            true => (Resumption::On, "handshakes resumed"),
            false => (Resumption::Off, "each handshake whole"),
        };
        let side = self.tls.prepare(&self.addresses, resumption)?;
        let has_tls = self.addresses.iter().any(|address| address.scheme().is_tls());
        if self.tls_resume && !has_tls && !config::may_set("tls-resume") {
            let text = "--tls-resume has no effect: no address begins with tls:// or wss://";
            return Err(UsageError::new(text).into());
        }
        if has_tls {
            let remark = format!("{handshakes}; {}", self.tls.describe());
            settings.remarks.push(("tls".to_owned(), remark));
        }
        Ok(side)
    }
}

/// Returns the wall-clock time in whole milliseconds since the Unix epoch.
fn since_epoch() -> Duration {
    let millis = jiff::Timestamp::now().as_millisecond();
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// Returns the usage error of a run over `udp://`.
fn datagram_usage_error(expect: &Expect, size: usize) -> Option<String> {
    if size > DATAGRAM_BYTES_MAX {
        return Some(format!(
            "a message of {size} bytes, with its line end, does not fit into a datagram (udp://): \
             the limit is {DATAGRAM_BYTES_MAX}; choose a smaller --size, or a shorter --message"
        ));
    }
    let lines = expect.lines > 1 || expect.greeting_lines > 0;
    lines.then(|| {
        "--reply-lines and --skip-greeting need connections: over udp:// one datagram is the reply \
         to one datagram"
            .to_owned()
    })
}
