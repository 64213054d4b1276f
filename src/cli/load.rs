//! `echoline load`: flags to settings, a report to stdout and an exit code.

use std::num::NonZero;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, error::ErrorKind};
use indicatif::{ProgressBar, ProgressStyle};

use super::descriptors::Descriptors;
use super::load_output::OutputFlags;
use super::output;
use super::values::{self, EolName, MaxRate};
use crate::load::{self, Ledger, Pacer, Plan, Report, Settings};
use crate::net::{Address, Shutdown, Signals};

/// The flags of `echoline load`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each client sends a line, waits for the reply and checks it: the reply is a line that ends with \
what was sent; what stands before that (as 'Echo: ') is learnt from the first reply and must stay \
the same. Up to 16 lines before the first answer are taken for a greeting.

Exit code: 0 when every planned message was answered right, or with --fail-if when none of its \
conditions came true; 3 when one did; 1 otherwise, also when a report cannot be written; 2 for \
wrong usage.")]
pub(super) struct LoadFlags {
    /// The server, HOST:PORT.
    #[arg(value_name = "ADDR")]
    address: Address,

    /// Connections at once.
    #[arg(long, env = "ECHOLINE_CLIENTS", value_name = "N", default_value = "100")]
    #[arg(value_parser = values::count::<NonZero<u32>>)]
    clients: NonZero<u32>,

    /// Messages of each client.
    #[arg(long, env = "ECHOLINE_MESSAGES", value_name = "N", default_value = "100")]
    #[arg(value_parser = values::count::<NonZero<u32>>)]
    messages: NonZero<u32>,

    /// The size of a message, its line end included.
    #[arg(long, env = "ECHOLINE_SIZE", value_name = "BYTES", value_parser = values::bytes)]
    #[arg(default_value = "64")]
    size: usize,

    /// Connections that are opened per second, or 'max' for all at once.
    #[arg(long, env = "ECHOLINE_CONNECT_RATE", value_name = "RATE", value_parser = values::rate)]
    #[arg(default_value = "1000/s")]
    connect_rate: MaxRate,

    /// How long to wait for a reply, and for a connection.
    #[arg(long, env = "ECHOLINE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::some_duration, default_value = "5s")]
    timeout: Duration,

    /// What messages end with; a reply may end with either.
    #[arg(long, env = "ECHOLINE_EOL", value_enum, default_value = "lf")]
    eol: EolName,

    /// What the messages' text is made from: the same seed sends the same bytes.
    #[arg(long, env = "ECHOLINE_SEED", value_name = "NUMBER", default_value = "1")]
    seed: u64,

    #[command(flatten)]
    output: OutputFlags,
}

/// Runs the load and reports.
pub(super) fn run(flags: &LoadFlags) -> anyhow::Result<ExitCode> {
    let settings = flags.settings();
    flags.output.check("load");
    Descriptors::raise().fit_clients(flags.clients.get()).map_err(|sentence| anyhow!(sentence))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let report = runtime.block_on(run_until_told(&settings))?;
    flags.output.write(&report)
}

/// The first signal ends the sending, the second everything.
async fn run_until_told(settings: &Settings) -> anyhow::Result<Report> {
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let stop = Shutdown::new();
    let progress = Progress::start(settings.plan.total());
    let running = load::run(settings, &stop, |ledger| progress.show(ledger));
    let told = async {
        let signal = signals.next().await;
        stop.drain();
        progress.tell(&format!(
            "{signal}: sends no more and waits up to {:?} for what is in flight; once more ends at \
             once",
            settings.timeout
        ));
        signals.next().await
    };
    tokio::select! {
        report = running => {
            progress.clear();
            report.with_context(|| format!("cannot resolve {}", settings.address))
        }
        signal = told => {
            progress.clear();
            Err(anyhow!("ended at the second signal ({signal}), without a report"))
        }
    }
}

impl LoadFlags {
    fn settings(&self) -> Settings {
        let plan = Plan::new(self.clients, self.messages, self.size, self.eol.into(), self.seed);
        let plan = plan.unwrap_or_else(|error| {
            let text = format!("--size {error}");
            super::wrong_use("load", ErrorKind::ValueValidation, &text)
        });
        Settings {
            address: self.address.clone(),
            plan,
            connects: self.connect_rate.0.map_or_else(Pacer::closed_loop, Pacer::constant),
            messages: Pacer::closed_loop(),
            timeout: self.timeout,
        }
    }
}

/// How far the run is, on stderr where that is a terminal.
struct Progress(ProgressBar);

impl Progress {
    fn start(planned: u64) -> Self {
        let style = "{elapsed_precise} {wide_bar} {pos}/{len} messages, {per_sec}, {eta} left";
        let bar = ProgressBar::new(planned);
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn show(&self, ledger: &Ledger) {
        self.0.set_position(ledger.sent() + ledger.skipped());
    }

    fn tell(&self, text: &str) {
        self.0.suspend(|| output::tell(text));
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}
