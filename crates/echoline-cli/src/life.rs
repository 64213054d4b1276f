//! The life of a serving command: what each signal does to it, and what the service manager hears.

pub(super) mod flags;
mod handover;
pub(super) mod inherited;
pub(super) mod notify;
pub(super) mod privileges;
pub(super) mod upgrade;
mod watchdog;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{SetOnce, oneshot};

use notify::{News, Notifier};
use upgrade::{Old, Predecessor, Upgrade};

use super::hangup::{Hangups, Meaning};
use super::reload::Reload;
use echoline::internals::{Hangup, Signals, handle_signal};
use echoline::metrics::LivenessProbe;
use echoline::{Closed, Connection, LiveLimits, Phase, Report, Server, Shutdown};
use echoline_base::poison::IgnorePoison;

/// How much longer than its drain a process may take to end.
const LAST_STEPS: Duration = Duration::from_secs(5);

/// What a serving command lives with besides its server.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) notifier: Notifier,
    /// What SIGUSR2 does; or why it does nothing.
    pub(super) upgrade: Result<Upgrade, &'static str>,
    /// The line to the process that this one takes the service over from.
    pub(super) predecessor: Option<UnixStream>,
    /// One line for `systemctl status`.
    pub(super) status: String,
}

/// Who has what belongs to the service when a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heir {
    Nobody,
    /// The process of an upgrade.
    Successor,
}

impl Life {
    /// Serves until a signal ends it, then drains; a second one aborts. SIGHUP reloads. `announce`
    /// is called once connections are accepted; its error ends the server.
    pub(super) async fn serve<H, F>(
        self,
        server: Server,
        reload: Reload,
        announce: impl FnOnce() -> anyhow::Result<()>,
        handler: H,
    ) -> anyhow::Result<(Report, Heir)>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        let mut signals = Signals::listen(Hangup::Elsewhere).context("cannot listen to signals")?;
        let hangups = Hangups::listen().context("cannot listen to SIGHUP")?;
        let (shutdown, liveness_probe, live) =
            (server.shutdown(), server.liveness_probe(), server.live_limits());
        let heir = Cell::new(Heir::Nobody);
        let predecessor = self.predecessor.map(Predecessor::new).transpose();
        let predecessor = predecessor.context("cannot hear the running process")?;
        let notifier = &self.notifier;
        notifier.log_trouble();
        let serving = server.serve_until(handler, pending());
        let is_ready = SetOnce::new();
        let ready = async {
            // The tasks that accept have been started; they run before this goes on.
            tokio::task::yield_now().await;
            announce()?;
            if let Some(predecessor) = &predecessor {
                predecessor.take_over().await;
            }
            notifier.tell(&[News::Ready, News::Status(&self.status)]);
            is_ready.set(()).context("ready twice")?;
            Ok(watch(notifier, &liveness_probe).await)
        };
        let old = Old { shutdown: &shutdown, notifier, heir: &heir };
        let upgrading = async {
            // Before that the service may be the predecessor's still.
            is_ready.wait().await;
            upgrade::when_told(self.upgrade, old).await
        };
        let stopping = tell_of_end(&shutdown, notifier, &heir, live);
        let reloading = async {
            // To say that it is ready again would say so too early.
            is_ready.wait().await;
            reload_when_told(hangups, reload, &shutdown, notifier).await
        };
        tokio::pin!(serving, ready, reloading, upgrading, stopping);
        loop {
            tokio::select! {
                report = &mut serving => return Ok((report.context("cannot serve")?, heir.get())),
                Err::<Infallible, anyhow::Error>(error) = &mut ready => return Err(error),
                Err(error) = &mut upgrading => return Err(error).context("cannot hear SIGUSR2"),
                never = &mut stopping => match never {},
                never = &mut reloading => match never {},
                name = signals.next() => handle_signal(name, &shutdown),
            }
        }
    }
}

/// Tells the service manager that the process drains, and how long that may take, unless the
/// service is another process's by then.
async fn tell_of_end(
    shutdown: &Shutdown,
    notifier: &Notifier,
    heir: &Cell<Heir>,
    live: LiveLimits,
) -> Infallible {
    shutdown.reached(Phase::Draining).await;
    if heir.get() == Heir::Nobody {
        let most = News::ExtendTimeout(live.current().drain_timeout + LAST_STEPS);
        notifier.tell(&[News::Stopping, most, News::Status("waiting for connections to finish")]);
    }
    pending().await
}

async fn watch(notifier: &Notifier, liveness_probe: &LivenessProbe) -> Infallible {
    if let Some(limit) = watchdog::limit() {
        watchdog::reassure(notifier, liveness_probe, limit).await;
    }
    pending().await
}

/// Reads the settings anew whenever SIGHUP comes, for as long as the server serves. Signals that
/// come during a reload are one more reload.
async fn reload_when_told(
    mut hangups: Hangups,
    reload: Reload,
    shutdown: &Shutdown,
    notifier: &Notifier,
) -> Infallible {
    let reload = Arc::new(Mutex::new(reload));
    loop {
        match hangups.next().await {
            Meaning::TerminalGone => handle_signal("SIGHUP", shutdown),
            Meaning::Reload if shutdown.phase() == Phase::Running => {
                notifier.tell(&[News::Reloading]);
                run_aside(Arc::clone(&reload)).await;
                notifier.tell(&[News::Ready]);
            }
            // The service may be another process's by now.
            Meaning::Reload => tracing::warn!("nothing is reloaded: this process is about to end"),
        }
    }
}

/// Runs the reload on a thread of its own, because files may take long (a pipe: for ever), which
/// must hold up neither those who connect nor the end.
async fn run_aside(reload: Arc<Mutex<Reload>>) {
    let (finished, end) = oneshot::channel::<()>();
    let run = move || {
        let _finished = finished;
        // A reload that panicked has changed nothing that the next one does not look at again.
        reload.lock().ignore_poison().run();
    };
    match thread::Builder::new().name("reload".to_owned()).spawn(run) {
        // An error means that it is over too: the sender is gone.
        Ok(_) => drop(end.await),
        Err(error) => tracing::error!(%error, "nothing was reloaded: no thread can be started"),
    }
}
