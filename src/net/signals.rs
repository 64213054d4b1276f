//! The signals that end a server.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::shutdown::{Phase, Shutdown};

/// What SIGHUP does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// It ends the program, as where nobody listens to it.
    Ends,
    /// It is somebody else's: in a server with a configuration it is a wish to read it again.
    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "only the program reloads"))]
    Elsewhere,
}

/// Ends a server as somebody who sends signals expects: the first drains, the next one aborts.
pub(crate) fn obey(signal: &'static str, shutdown: &Shutdown) {
    if shutdown.phase() < Phase::Draining {
        tracing::info!(signal, "draining; a second signal ends it now");
        shutdown.drain();
    } else {
        tracing::warn!(signal, "ending now");
        shutdown.abort();
    }
}

/// Listens to every signal that asks a server to end. Once this exists, none of them ends the
/// process by itself any more.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    pub(crate) fn listen(hangup: Hangup) -> io::Result<Self> {
        let hangup = match hangup {
            Hangup::Ends => Some(signal(SignalKind::hangup())?),
            Hangup::Elsewhere => None,
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            hangup,
        })
    }

    /// The name of the next signal. Cancel safe.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.quit.recv() => "SIGQUIT",
            true = heard(&mut self.hangup) => "SIGHUP",
        }
    }
}

/// Waits for the signal; answers at once where it is not listened to. Cancel safe.
async fn heard(signal: &mut Option<Signal>) -> bool {
    match signal {
        Some(signal) => signal.recv().await.is_some(),
        None => false,
    }
}
