//! Messages to the service manager: sd_notify(3) and its watchdog.
//!
//! No existing crate is used, because they cannot reach a manager in Linux's abstract namespace,
//! and they read the environment for every message.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep_until, timeout_at};

use echoline::metrics::LivenessProbe;
use echoline_base::printable::printable;

/// The socket of the service manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
    /// The reason why no messages are sent although `NOTIFY_SOCKET` is set.
    trouble: Option<String>,
}

/// One assignment of sd_notify(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotifyState<'a> {
    /// The server accepts connections. After `Reloading`, this state means that the new settings
    /// are in effect.
    Ready,
    /// The server reloads its settings.
    Reloading,
    /// The process drains.
    Stopping,
    /// The current step may take this much longer, and the manager must not kill the process before
    /// that.
    ExtendTimeout(Duration),
    /// All threads work.
    Watchdog,
    /// The process with this id is the service from now on.
    MainProcess(u32),
    /// One line of text, shown by `systemctl status`.
    Status(&'a str),
}

impl Notifier {
    /// Returns a notifier for the manager that `NOTIFY_SOCKET` names. If the variable is not set or
    /// not usable, the notifier drops all messages, because the service must run without a manager
    /// too.
    pub(crate) fn from_environment() -> Self {
        match env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) {
            Some(name) => Self::named(&name).unwrap_or_else(|error| Self {
                manager: None,
                trouble: Some(format!("{error:#}")),
            }),
            None => Self::default(),
        }
    }

    /// Logs, once the log is open, that no messages reach the service manager.
    pub(crate) fn log_trouble(&self) {
        if let Some(trouble) = &self.trouble {
            tracing::warn!("the service manager is not notified: {trouble}");
        }
    }

    fn named(name: &OsStr) -> anyhow::Result<Self> {
        let shown = printable(&name.to_string_lossy()).into_owned();
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
            [b'/', ..] => SocketAddr::from_pathname(name),
            _ => bail!("NOTIFY_SOCKET={shown} is neither an absolute path nor @NAME"),
        };
        let address =
            address.with_context(|| format!("NOTIFY_SOCKET={shown} is not an address"))?;
        let socket = UnixDatagram::unbound().context("cannot reach the service manager")?;
        // A manager that does not read must not block the server.
        socket.set_nonblocking(true).context("cannot reach the service manager")?;
        Ok(Self { manager: Some((socket, address)), trouble: None })
    }

    /// Sends all of `news` in one message. An error is only logged, because the service must
    /// continue.
    pub(crate) fn tell(&self, news: &[NotifyState<'_>]) {
        let Some((socket, address)) = &self.manager else { return };
        let text = text(news, monotonic_now());
        if let Err(error) = send(socket, &text, address) {
            let what = text.lines().next().unwrap_or_default();
            tracing::warn!(%error, "the service manager could not be notified of {what}");
        }
    }
}

fn send(socket: &UnixDatagram, text: &str, address: &SocketAddr) -> io::Result<()> {
    socket.send_to_addr(text.as_bytes(), address).map(drop)
}

/// Returns the time of CLOCK_MONOTONIC. systemd compares it with its own reading of this clock.
fn monotonic_now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

fn text(news: &[NotifyState<'_>], now: Duration) -> String {
    news.iter().map(|news| format!("{}\n", line(*news, now))).collect()
}

fn line(news: NotifyState<'_>, now: Duration) -> String {
    match news {
        NotifyState::Ready => "READY=1".to_owned(),
        NotifyState::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()),
        NotifyState::Stopping => "STOPPING=1".to_owned(),
        NotifyState::ExtendTimeout(length) => format!("EXTEND_TIMEOUT_USEC={}", length.as_micros()),
        NotifyState::Watchdog => "WATCHDOG=1".to_owned(),
        NotifyState::MainProcess(id) => format!("MAINPID={id}"),
        // A line end would begin the next assignment, and people read the status in a terminal.
        NotifyState::Status(text) => {
            format!("STATUS={}", printable(&text.replace(['\n', '\r'], " ")))
        }
    }
}

/// Returns the interval of the service manager's watchdog (sd_watchdog_enabled(3)); `None` if it is
/// off.
pub(super) fn watchdog_limit() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let for_us = env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|&limit| limit > 0 && for_us).map(Duration::from_micros)
}

/// Notifies the watchdog twice in every `limit` while all worker threads respond. If one hangs, it
/// does not notify, so that the manager restarts the server. Never returns.
pub(super) async fn feed_watchdog(notifier: &Notifier, probe: &LivenessProbe, limit: Duration) {
    let mut silent = false;
    loop {
        let next = Instant::now() + limit / 2;
        let check = timeout_at(next, probe.check()).await;
        match check {
            Ok(()) => notifier.tell(&[NotifyState::Watchdog]),
            Err(_) if !silent => {
                tracing::error!("a worker thread hangs: the watchdog is not notified")
            }
            Err(_) => {}
        }
        silent = check.is_err();
        sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 12, item 15: an address in the status cannot end the assignment or control a terminal.
    #[test]
    fn attack_a_status_holds_no_second_assignment() {
        let status = NotifyState::Status("serving on unix:/a\nMAINPID=1\r\x1b[2J\u{9b}");
        let said = text(&[status], Duration::ZERO);
        assert_eq!(said, "STATUS=serving on unix:/a MAINPID=1 \\u{1b}[2J\\u{9b}\n");
    }

    #[test]
    fn assignments_follow_the_manual() {
        let news = [
            NotifyState::Ready,
            NotifyState::Reloading,
            NotifyState::Stopping,
            NotifyState::ExtendTimeout(Duration::from_secs(35)),
            NotifyState::Watchdog,
            NotifyState::MainProcess(42),
            NotifyState::Status("serving\nREADY=1"),
        ];
        let expected = "READY=1\nRELOADING=1\nMONOTONIC_USEC=7000001\nSTOPPING=1\n\
            EXTEND_TIMEOUT_USEC=35000000\nWATCHDOG=1\nMAINPID=42\nSTATUS=serving READY=1\n";
        assert_eq!(text(&news, Duration::from_micros(7_000_001)), expected);
    }

    /// Issue 11, item 28: an unknown form is reported and does not prevent the start.
    #[test]
    fn regression_an_unknown_notify_socket_does_not_prevent_the_start() {
        for name in ["vsock:2:1234", "notify.sock", "/\x1b[2J", "@"] {
            match Notifier::named(OsStr::new(name)) {
                Ok(notifier) => notifier.tell(&[NotifyState::Ready]),
                Err(error) => {
                    let said = format!("{error:#}");
                    assert!(said.contains("NOTIFY_SOCKET=") && !said.contains('\x1b'), "{said}");
                }
            }
        }
        assert!(Notifier::named(OsStr::new("vsock:2:1234")).is_err());
        let long = format!("/{}", "x".repeat(200));
        assert!(Notifier::named(OsStr::new(&long)).is_err());
    }

    #[test]
    fn a_message_arrives_by_name_as_well_as_by_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = SocketAddr::from_pathname(folder.path().join("manager")).unwrap();
        let name = format!("echoline-notify-{}", std::process::id());
        let name = SocketAddr::from_abstract_name(name).unwrap();
        for address in [path, name] {
            let manager = UnixDatagram::bind_addr(&address).unwrap();
            let socket = UnixDatagram::unbound().unwrap();
            let named = Some((socket, address));
            Notifier { manager: named, trouble: None }
                .tell(&[NotifyState::Ready, NotifyState::Watchdog]);
            let mut message = [0; 64];
            let length = manager.recv(&mut message).unwrap();
            assert_eq!(&message[..length], b"READY=1\nWATCHDOG=1\n");
        }
    }
}
