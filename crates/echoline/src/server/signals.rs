//! The signals that end a server.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Mutex, OnceLock};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::shutdown::{Phase, Shutdown};
use super::workers::spawn_with_runtime;
use echoline_base::poison::IgnorePoison;

/// The effect of SIGHUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// Ends the program, which is the default action of the signal.
    Ends,
    /// Other code handles the signal, for example to reload a configuration file.
    Elsewhere,
}

/// Ends a server as users of signals expect: the first signal drains, the second one aborts.
pub fn handle_signal(signal: &'static str, shutdown: &Shutdown) {
    if shutdown.phase() < Phase::Draining {
        tracing::info!(signal, "draining connections; a second signal ends the server at once");
        shutdown.drain();
    } else {
        tracing::warn!(signal, "ending at once");
        shutdown.abort();
    }
}

/// Handlers for all signals that ask a server to end. From the creation of this value on, these
/// signals no longer end the process by themselves.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Installs handlers for the signals that end a server, and for SIGHUP if `hangup` is
    /// [`Hangup::Ends`].
    ///
    /// # Errors
    /// If a handler cannot be installed.
    pub fn listen(hangup: Hangup) -> io::Result<Self> {
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

    /// Returns the name of the next signal. Cancel safe.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.quit.recv() => "SIGQUIT",
            true = heard(&mut self.hangup) => "SIGHUP",
        }
    }
}

/// Waits for the signal. Returns `false` at once if no handler is installed. Cancel safe.
async fn heard(signal: &mut Option<Signal>) -> bool {
    match signal {
        Some(signal) => signal.recv().await.is_some(),
        None => false,
    }
}

/// The signals for [`Server::serve`](crate::Server::serve). When this value is dropped, the signals
/// that ended the process before do so again.
///
/// The runtime cannot remove its signal handlers. So after the drop, a thread waits for the signals
/// and ends the process. It uses the exit code of shells: 128 plus the number of the signal.
#[derive(Debug)]
pub(crate) struct SignalGuard {
    /// `None` once the signals were moved to that thread.
    signals: Option<Signals>,
}

/// The channel to the thread of an earlier [`SignalGuard`]. Dropping the sender ends the thread.
static EARLIER: Mutex<Option<oneshot::Sender<()>>> = Mutex::new(None);

/// The set of signals that the process neither caught nor ignored when a server first listened for
/// signals. Bit 0 is signal number 1.
static DEFAULTS: OnceLock<u64> = OnceLock::new();

impl SignalGuard {
    pub(crate) fn start() -> io::Result<Self> {
        DEFAULTS.get_or_init(defaults);
        *EARLIER.lock().ignore_poison() = None;
        Ok(Self { signals: Some(Signals::listen(Hangup::Ends)?) })
    }

    /// Runs `serving` to its end. The signals end it through `shutdown`.
    pub(crate) async fn during<T>(
        mut self,
        serving: impl Future<Output = T>,
        shutdown: &Shutdown,
    ) -> T {
        let mut serving = pin!(serving);
        let signals = self.signals.as_mut().expect("they leave only when self ends");
        loop {
            tokio::select! {
                ended = &mut serving => return ended,
                name = signals.next() => handle_signal(name, shutdown),
            }
        }
    }
}

impl Drop for SignalGuard {
    fn drop(&mut self) {
        let Some(mut signals) = self.signals.take() else { return };
        let (earlier, later) = oneshot::channel::<()>();
        let thread = spawn_with_runtime("signals", move |runtime| {
            runtime.block_on(async {
                let mut later = pin!(later);
                loop {
                    tokio::select! {
                        biased;
                        _ = &mut later => return,
                        name = signals.next() => end_process(name),
                    }
                }
            });
        });
        match thread {
            Ok(_) => *EARLIER.lock().ignore_poison() = Some(earlier),
            Err(error) => tracing::warn!("signals no longer end this process: {error}"),
        }
    }
}

/// Ends the process because of a signal that would have ended it before a server listened for
/// signals.
fn end_process(name: &str) {
    let kind = match name {
        "SIGINT" => SignalKind::interrupt(),
        "SIGTERM" => SignalKind::terminate(),
        "SIGQUIT" => SignalKind::quit(),
        _ => SignalKind::hangup(),
    };
    let number = kind.as_raw_value();
    if DEFAULTS.get().is_none_or(|defaults| defaults >> (number - 1) & 1 == 1) {
        tracing::warn!(name, "ending the process");
        std::process::exit(128 + number);
    }
}

/// Returns the set of signals that have their default action now. Returns all signals if the system
/// does not report the set.
fn defaults() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    !(mask(&status, "SigCgt:") | mask(&status, "SigIgn:"))
}

fn mask(status: &str, name: &str) -> u64 {
    let number = status.lines().find_map(|line| line.strip_prefix(name));
    number.and_then(|number| u64::from_str_radix(number.trim(), 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_signals_are_read_as_the_system_writes_them() {
        let status = "Name:\tx\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000002\n";
        assert_eq!((mask(status, "SigIgn:"), mask(status, "SigCgt:")), (0x1000, 2));
        assert_eq!(mask("", "SigCgt:"), 0);
    }
}
