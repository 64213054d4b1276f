//! The life of a serving command: what each signal does to it.

use std::future::{Future, pending};
use std::io;

use crate::net::{Closed, Connection, Phase, Report, Server, Shutdown, Signals};

/// Serves until a signal ends it, then drains; a second one aborts.
pub(super) async fn serve<H, F>(server: Server, handler: H) -> io::Result<Report>
where
    H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), Closed>> + Send + 'static,
{
    let mut signals = Signals::listen()?;
    let shutdown = server.shutdown();
    let serving = server.serve_until(handler, pending());
    tokio::pin!(serving);
    loop {
        tokio::select! {
            report = &mut serving => return report,
            name = signals.next() => end(&shutdown, name),
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
