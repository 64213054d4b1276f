//! Upgrades the server on SIGUSR2: starts the program from its file, which may be a newer version,
//! and hands the service over to the new process. If that fails, the old process continues.
//!
//! Both processes accept from the same sockets until the old one retires, so that no connection is
//! refused. Connections to the old process stay there.

use std::cell::Cell;
use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use nix::sys::signal::{SigSet, Signal as Number};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::handover::{self, HandoverChannel, HandoverMessage, HandoverSocket};
use super::inherited::UPGRADE;
use super::notify::{Notifier, NotifyState};
use echoline::{Phase, Shutdown};

/// The time that a new process must survive after it reports that it can accept connections. A
/// broken process usually fails at once. If it fails within this time, the old process continues to
/// serve.
const TRIAL: Duration = Duration::from_secs(1);

/// Everything that a successor needs.
#[derive(Debug)]
pub(crate) struct UpgradePlan {
    program: PathBuf,
    arguments: Vec<OsString>,
    parcels: Vec<HandoverSocket>,
    times: UpgradeTimeouts,
}

/// Whether another process continues the service when this one ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SuccessorStatus {
    None,
    /// The process of an upgrade.
    TookOver,
}

/// The time limits of an upgrade.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpgradeTimeouts {
    /// The time from the start of the new process until it can accept.
    pub(crate) ready: Duration,
    /// The time after which the old process drains its connections; `None` means never.
    pub(crate) retire: Option<Duration>,
}

impl UpgradePlan {
    /// Prepares upgrades that hand over `parcels`. Call it at the start, while the program's file
    /// is still at its original path.
    pub(crate) fn new(
        parcels: Vec<HandoverSocket>,
        times: UpgradeTimeouts,
    ) -> anyhow::Result<Self> {
        let mut arguments = env::args_os();
        let program = program(arguments.next())?;
        Ok(Self { program, arguments: arguments.collect(), parcels, times })
    }

    /// Starts the new process, and waits until it has passed its trial. If this future is dropped
    /// before its end, it kills the new process.
    async fn run(&self) -> anyhow::Result<(SuccessorProcess, HandoverChannel)> {
        let shown = self.program.display();
        let (near, far) = UnixStream::pair().context("cannot connect to the new process")?;
        handover::send_parcels(&near, &self.parcels).context("cannot hand the sockets over")?;
        let line = HandoverChannel::new(near).context("cannot watch the new process")?;
        let mut candidate = SuccessorProcess(Some(self.start(far)?));
        let ready = timeout(self.times.ready, line.hear(HandoverMessage::Ready));
        match ready.await {
            Ok(true) => {}
            Ok(false) => return Err(anyhow!("{shown} {}", candidate.end())),
            Err(_) => {
                let limit = self.times.ready;
                return Err(anyhow!("{shown} was not ready within {limit:?} (--upgrade-timeout)"));
            }
        }
        if timeout(TRIAL, line.ended()).await.is_ok() {
            return Err(anyhow!("{shown} was ready, and then {}", candidate.end()));
        }
        Ok((candidate, line))
    }

    fn start(&self, line: UnixStream) -> anyhow::Result<Child> {
        Command::new(&self.program)
            .args(&self.arguments)
            .env(UPGRADE, "1")
            // The service manager set these variables for its own child. Without WATCHDOG_PID, the
            // process that has the watchdog interval must send the keep-alive messages.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(OwnedFd::from(line)))
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))
    }
}

/// Returns the file that an upgrade starts. If the program was called by a path, returns this path,
/// because a symbolic link in it may later lead to a newer file. Otherwise returns the path where
/// the system found the program.
fn program(called: Option<OsString>) -> anyhow::Result<PathBuf> {
    let called = called.map(PathBuf::from).filter(|path| path.components().count() > 1);
    if let Some(Ok(path)) = called.map(std::path::absolute) {
        // If the file cannot be examined, the upgrade fails instead of starting the old program.
        let is_there = path.try_exists();
        if is_there.with_context(|| format!("cannot examine {}", path.display()))? {
            return Ok(path);
        }
    }
    env::current_exe().context("cannot find the file of this program")
}

/// A new process. Dropping this value kills it.
#[derive(Debug)]
struct SuccessorProcess(Option<Child>);

impl SuccessorProcess {
    fn id(&self) -> u32 {
        self.0.as_ref().map_or(0, Child::id)
    }

    /// Kills the process if it still runs. Returns a description of its end.
    fn end(&mut self) -> String {
        let Some(mut child) = self.0.take() else { return "has ended".to_owned() };
        // A process that has only closed its channel must not continue beside this one.
        let _ = child.kill();
        match child.wait() {
            Ok(status) => format!("ended ({status})"),
            Err(error) => format!("ended ({error})"),
        }
    }

    /// Returns the new process, which is then no longer killed on drop.
    fn release(mut self) -> Option<Child> {
        self.0.take()
    }
}

impl Drop for SuccessorProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// The parts of the old process that an upgrade controls.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutgoingProcess<'a> {
    pub(super) shutdown: &'a Shutdown,
    pub(super) notifier: &'a Notifier,
    pub(super) successor: &'a Cell<SuccessorStatus>,
}

/// Blocks SIGUSR2 until it is handled. Its default action would end the process, and an impatient
/// script may send it just after the start. Call it while the process has one thread.
pub(crate) fn hold() {
    // If this fails, SIGUSR2 ends the process, which is the default action.
    let _ = SigSet::from(Number::SIGUSR2).thread_block();
}

/// Upgrades on SIGUSR2, or logs why an upgrade is impossible. Never returns: after an upgrade, the
/// caller drops this future when the old server has ended. Dropping it kills a new process that has
/// not passed its trial.
///
/// # Errors
/// If the signal handler cannot be installed.
pub(super) async fn when_told(
    upgrade: Result<UpgradePlan, &'static str>,
    old: OutgoingProcess<'_>,
) -> io::Result<Infallible> {
    let mut wishes = signal(SignalKind::user_defined2())?;
    SigSet::from(Number::SIGUSR2).thread_unblock()?;
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(reason) => return Ok(refuse(&mut wishes, reason).await),
    };
    let times = upgrade.times;
    let succeeded = tokio::select! {
        // When the drain begins, this future is dropped, and with it the plan's copies of the
        // listening sockets. While a copy exists, clients can still connect to a queue that no
        // process serves.
        succeeded = succeed(upgrade, &mut wishes) => succeeded,
        () = old.shutdown.reached(Phase::Draining) => None,
    };
    if let Some((candidate, line)) = succeeded {
        retire(old, candidate, line, times).await;
    }
    Ok(refuse(&mut wishes, "this process is about to end").await)
}

/// Tries an upgrade at each request, until there is a successor.
async fn succeed(
    upgrade: UpgradePlan,
    wishes: &mut Signal,
) -> Option<(SuccessorProcess, HandoverChannel)> {
    loop {
        wishes.recv().await;
        tracing::info!(signal = "SIGUSR2", "upgrading: starting {}", upgrade.program.display());
        let tried = tokio::select! {
            tried = upgrade.run() => tried,
            never = refuse(wishes, "another upgrade is in progress") => match never {},
        };
        match tried {
            Ok(succeeded) => return Some(succeeded),
            Err(error) => {
                tracing::error!(
                    "the upgrade failed, and this process continues to serve: {error:#}"
                );
            }
        }
    }
}

async fn refuse(wishes: &mut Signal, reason: &str) -> Infallible {
    loop {
        wishes.recv().await;
        tracing::warn!(signal = "SIGUSR2", "no upgrade: {reason}");
    }
}

/// Hands the service over to the new process.
async fn retire(
    old: OutgoingProcess<'_>,
    candidate: SuccessorProcess,
    line: HandoverChannel,
    times: UpgradeTimeouts,
) {
    let id = candidate.id();
    tracing::info!("upgraded: process {id} has taken over");
    // The order matters: the service manager accepts messages of the new process only after it has
    // learned the id of that process.
    old.notifier.tell(&[
        NotifyState::MainProcess(id),
        NotifyState::Status("handing over to a new process"),
    ]);
    let successor = candidate.release();
    if let Err(error) = line.say(HandoverMessage::Yours) {
        tracing::error!(%error, "cannot tell process {id} that it has taken over");
    }
    old.successor.set(SuccessorStatus::TookOver);
    old.shutdown.retire();
    let limit = async {
        match times.retire {
            Some(limit) => sleep(limit).await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = limit => {
            tracing::info!("the time for open connections since the upgrade is over: draining");
            old.shutdown.drain();
        }
        () = old.shutdown.reached(Phase::Draining) => {}
        () = line.ended() => {
            let status = successor.and_then(|mut child| child.try_wait().ok().flatten());
            tracing::error!(?status, "process {id}, which had taken over, has ended");
        }
    }
}

/// The new process's channel to its predecessor. Keep it until the process ends, because the
/// predecessor treats the end of the channel as the end of the process.
#[derive(Debug)]
pub(super) struct Predecessor(HandoverChannel);

impl Predecessor {
    /// Creates the channel. Call it inside a runtime.
    pub(super) fn new(line: UnixStream) -> io::Result<Self> {
        HandoverChannel::new(line).map(Self)
    }

    /// Reports that this process can accept, and waits until it owns the service. It also owns the
    /// service if the predecessor has ended.
    pub(super) async fn take_over(&self) {
        if let Err(error) = self.0.say(HandoverMessage::Ready) {
            tracing::warn!(%error, "the predecessor has ended");
        }
        let _ = self.0.hear(HandoverMessage::Yours).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_on_the_way_to_the_program_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("current");
        std::os::unix::fs::symlink(env::current_exe().unwrap(), &link).unwrap();
        assert_eq!(program(Some(link.clone().into())).unwrap(), link);
        let found = env::current_exe().unwrap();
        for unclear in [Some("echoline".into()), Some("/no/such/program".into()), None] {
            assert_eq!(program(unclear).unwrap(), found);
        }
        assert!(found.is_absolute());
    }

    /// Issue 11, item A: a program that cannot be examined is not missing, so the old program is
    /// not started again.
    #[test]
    fn regression_a_program_that_cannot_be_examined_fails_the_upgrade() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("loop");
        std::os::unix::fs::symlink(&link, &link).unwrap();
        let error = format!("{:#}", program(Some(link.into())).unwrap_err());
        assert!(error.contains("cannot examine") && error.contains("loop"), "{error}");
    }
}
