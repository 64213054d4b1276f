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
use std::time::Duration;

use anyhow::Context as _;

use notify::{News, Notifier};
use upgrade::{Old, Predecessor, Upgrade};

use crate::net::{Closed, Connection, Phase, Pulse, Report, Server, Shutdown, Signals};

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
    pub(super) drain_timeout: Duration,
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
    /// Serves until a signal ends it, then drains; a second one aborts. `announce` is called once
    /// connections are accepted; its error ends the server.
    pub(super) async fn serve<H, F>(
        self,
        server: Server,
        announce: impl FnOnce() -> anyhow::Result<()>,
        handler: H,
    ) -> anyhow::Result<(Report, Heir)>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        let mut signals = Signals::listen().context("cannot listen to signals")?;
        let (shutdown, pulse) = (server.shutdown(), server.pulse());
        let heir = Cell::new(Heir::Nobody);
        let predecessor = self.predecessor.map(Predecessor::new).transpose();
        let predecessor = predecessor.context("cannot hear the running process")?;
        let notifier = &self.notifier;
        let serving = server.serve_until(handler, pending());
        let ready = async {
            // The tasks that accept have been started; they run before this goes on.
            tokio::task::yield_now().await;
            announce()?;
            if let Some(predecessor) = &predecessor {
                predecessor.take_over().await;
            }
            notifier.tell(&[News::Ready, News::Status(&self.status)]);
            Ok(watch(notifier, &pulse).await)
        };
        let old = Old { shutdown: &shutdown, notifier, heir: &heir };
        let upgrading = upgrade::when_told(self.upgrade, old);
        let stopping = tell_of_end(&shutdown, notifier, &heir, self.drain_timeout);
        tokio::pin!(serving, ready, upgrading, stopping);
        loop {
            tokio::select! {
                report = &mut serving => return Ok((report.context("cannot serve")?, heir.get())),
                Err::<Infallible, anyhow::Error>(error) = &mut ready => return Err(error),
                Err(error) = &mut upgrading => return Err(error).context("cannot hear SIGUSR2"),
                never = &mut stopping => match never {},
                name = signals.next() => end(&shutdown, name),
            }
        }
    }
}

fn end(shutdown: &Shutdown, signal: &'static str) {
    if shutdown.phase() < Phase::Draining {
        tracing::info!(signal, "draining; a second signal ends it now");
        shutdown.drain();
    } else {
        tracing::warn!(signal, "ending now");
        shutdown.abort();
    }
}

/// Tells the service manager that the process drains, and how long that may take, unless the
/// service is another process's by then.
async fn tell_of_end(
    shutdown: &Shutdown,
    notifier: &Notifier,
    heir: &Cell<Heir>,
    drain_timeout: Duration,
) -> Infallible {
    shutdown.reached(Phase::Draining).await;
    if heir.get() == Heir::Nobody {
        let most = News::ExtendTimeout(drain_timeout + LAST_STEPS);
        notifier.tell(&[News::Stopping, most, News::Status("waiting for connections to finish")]);
    }
    pending().await
}

async fn watch(notifier: &Notifier, pulse: &Pulse) -> Infallible {
    if let Some(limit) = watchdog::limit() {
        watchdog::reassure(notifier, pulse, limit).await;
    }
    pending().await
}
