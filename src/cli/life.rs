//! The life of a serving command: what each signal does to it.

use std::future::{Future, pending};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::hangup::{Hangups, Meaning};
use super::reload::Reload;
use crate::net::{Closed, Connection, Hangup, Phase, Report, Server, Shutdown, Signals};

/// Serves until a signal ends it, then drains; a second one aborts. SIGHUP reloads.
pub(super) async fn serve<H, F>(server: Server, reload: Reload, handler: H) -> io::Result<Report>
where
    H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), Closed>> + Send + 'static,
{
    let mut signals = Signals::listen(Hangup::Elsewhere)?;
    let hangups = Hangups::listen()?;
    let shutdown = server.shutdown();
    let serving = server.serve_until(handler, pending());
    let reloading = reload_when_told(hangups, reload, &shutdown);
    tokio::pin!(serving, reloading);
    loop {
        tokio::select! {
            report = &mut serving => return report,
            name = signals.next() => end(&shutdown, name),
            () = &mut reloading => unreachable!("it goes on for ever"),
        }
    }
}

fn end(shutdown: &Shutdown, signal: &'static str) {
    if shutdown.phase() == Phase::Running {
        tracing::info!(signal, "draining; a second signal ends it now");
        shutdown.drain();
    } else {
        tracing::warn!(signal, "ending now");
        shutdown.abort();
    }
}

/// Never ends. Signals that come during a reload are one more reload.
async fn reload_when_told(mut hangups: Hangups, reload: Reload, shutdown: &Shutdown) {
    let reload = Arc::new(Mutex::new(reload));
    loop {
        match hangups.next().await {
            Meaning::TerminalGone => end(shutdown, "SIGHUP"),
            Meaning::Reload => run_aside(Arc::clone(&reload)).await,
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
        reload.lock().unwrap_or_else(PoisonError::into_inner).run();
    };
    match thread::Builder::new().name("reload".to_owned()).spawn(run) {
        // An error means that it is over too: the sender is gone.
        Ok(_) => drop(end.await),
        Err(error) => tracing::error!(%error, "nothing was reloaded: no thread can be started"),
    }
}
