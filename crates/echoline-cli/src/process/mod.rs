//! The life cycle of a serving command: signals, and notifications to the service manager.

pub(crate) mod args;
pub(crate) mod descriptors;
mod handover;
pub(crate) mod hangup;
pub(crate) mod inherited;
pub(crate) mod notify;
pub(crate) mod privileges;
pub(crate) mod reload;
pub(crate) mod resources;
pub(crate) mod restart;
pub(crate) mod upgrade;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{SetOnce, oneshot};

use notify::{Notifier, NotifyState};
use upgrade::{OutgoingProcess, Predecessor, SuccessorStatus, UpgradePlan};

use crate::process::hangup::{HangupAction, Hangups};
use echoline::internals::{Hangup, Signals, handle_signal};
use echoline::metrics::LivenessProbe;
use echoline::{Closed, Connection, LiveLimits, Phase, Report, Server, Shutdown};
use echoline_base::poison::IgnorePoison;

/// The time that the process may need between its drain time-out and its end.
const LAST_STEPS: Duration = Duration::from_secs(5);

/// The process-level state of a serving command, besides its server.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    pub(crate) notifier: Notifier,
    /// The plan for an upgrade on SIGUSR2, or the reason why there is none.
    pub(crate) upgrade: Result<UpgradePlan, &'static str>,
    /// The channel to the predecessor, if this process takes the service over.
    pub(crate) predecessor: Option<UnixStream>,
    /// One line for `systemctl status`.
    pub(crate) status: String,
}

impl Lifecycle {
    /// Serves until a signal ends the server, and then drains. A second signal aborts the drain.
    /// SIGHUP reloads the settings. `announce` is called once connections are accepted; its error
    /// ends the server.
    pub(crate) async fn serve<H, F>(
        self,
        server: Server,
        reload: impl FnMut() + Send + 'static,
        announce: impl FnOnce() -> anyhow::Result<()>,
        handler: H,
    ) -> anyhow::Result<(Report, SuccessorStatus)>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        let mut signals = Signals::listen(Hangup::Elsewhere).context("cannot handle signals")?;
        let hangups = Hangups::listen().context("cannot handle SIGHUP")?;
        let (shutdown, probe, live) =
            (server.shutdown(), server.liveness_probe(), server.live_limits());
        let successor = Cell::new(SuccessorStatus::None);
        let predecessor = self.predecessor.map(Predecessor::new).transpose();
        let predecessor = predecessor.context("cannot read from the running process")?;
        let notifier = &self.notifier;
        notifier.log_trouble();
        let serving = server.serve_until(handler, pending());
        let is_ready = SetOnce::new();
        let ready = async {
            // The tasks that accept connections have been spawned. They run before this task
            // continues.
            tokio::task::yield_now().await;
            announce()?;
            if let Some(predecessor) = &predecessor {
                predecessor.take_over().await;
            }
            notifier.tell(&[NotifyState::Ready, NotifyState::Status(&self.status)]);
            is_ready.set(()).context("ready twice")?;
            Ok(watch(notifier, &probe).await)
        };
        let old = OutgoingProcess { shutdown: &shutdown, notifier, successor: &successor };
        let upgrading = async {
            // Until the server is ready, the service may still belong to the predecessor.
            is_ready.wait().await;
            upgrade::when_told(self.upgrade, old).await
        };
        let stopping = tell_of_end(&shutdown, notifier, &successor, live);
        let reloading = async {
            // A reload ends with READY. Without this wait, it could be sent before the server is
            // ready.
            is_ready.wait().await;
            reload_when_told(hangups, reload, &shutdown, notifier).await
        };
        tokio::pin!(serving, ready, reloading, upgrading, stopping);
        loop {
            tokio::select! {
                report = &mut serving => {
                    return Ok((report.context("cannot serve")?, successor.get()));
                }
                Err::<Infallible, anyhow::Error>(error) = &mut ready => return Err(error),
                Err(error) = &mut upgrading => return Err(error).context("cannot handle SIGUSR2"),
                never = &mut stopping => match never {},
                never = &mut reloading => match never {},
                name = signals.next() => handle_signal(name, &shutdown),
            }
        }
    }
}

/// Tells the service manager that the process drains and how long that may take, unless another
/// process has taken over the service by then.
async fn tell_of_end(
    shutdown: &Shutdown,
    notifier: &Notifier,
    successor: &Cell<SuccessorStatus>,
    live: LiveLimits,
) -> Infallible {
    shutdown.reached(Phase::Draining).await;
    if successor.get() == SuccessorStatus::None {
        let most = NotifyState::ExtendTimeout(live.current().drain_timeout + LAST_STEPS);
        notifier.tell(&[
            NotifyState::Stopping,
            most,
            NotifyState::Status("waiting for connections to finish"),
        ]);
    }
    pending().await
}

async fn watch(notifier: &Notifier, probe: &LivenessProbe) -> Infallible {
    if let Some(limit) = notify::watchdog_limit() {
        notify::feed_watchdog(notifier, probe, limit).await;
    }
    pending().await
}

/// Reloads the settings on each SIGHUP while the server serves. Signals that arrive during a reload
/// cause one more reload.
async fn reload_when_told(
    mut hangups: Hangups,
    reload: impl FnMut() + Send + 'static,
    shutdown: &Shutdown,
    notifier: &Notifier,
) -> Infallible {
    let reload = Arc::new(Mutex::new(reload));
    loop {
        match hangups.next().await {
            HangupAction::TerminalGone => handle_signal("SIGHUP", shutdown),
            HangupAction::Reload if shutdown.phase() == Phase::Running => {
                notifier.tell(&[NotifyState::Reloading]);
                run_aside(Arc::clone(&reload)).await;
                notifier.tell(&[NotifyState::Ready]);
            }
            // Another process may have taken over the service by now.
            HangupAction::Reload => {
                tracing::warn!("the settings are not reloaded: this process is about to end")
            }
        }
    }
}

/// Runs the reload on a separate thread. Reading files may take long, and reading a pipe may take
/// forever. This must not delay new connections or the shutdown.
async fn run_aside(reload: Arc<Mutex<impl FnMut() + Send + 'static>>) {
    let (finished, end) = oneshot::channel::<()>();
    let run = move || {
        let _finished = finished;
        // A poisoned lock is safe to use, because each reload reads everything again.
        (*reload.lock().ignore_poison())();
    };
    match thread::Builder::new().name("reload".to_owned()).spawn(run) {
        // An error means that the thread has dropped the sender, and so has ended.
        Ok(_) => drop(end.await),
        Err(error) => tracing::error!(%error, "the settings were not reloaded: no thread can be \
                                               started"),
    }
}
