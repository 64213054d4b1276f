//! The flags that bound what clients can take, and the limits that come of them.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use super::check::Findings;
use super::descriptors::Descriptors;
use super::reload::{Commit, Fresh, Renewal};
use super::source_limits::SourceLimitFlags;
use super::values::{self, Timeout};
use echoline::sources::SourceLimits;
use echoline::{Limits, ListenerOptions, LiveLimits};

/// What a running server can take over, for connections that begin after it.
const LIVE: [&str; 7] = [
    "drain-timeout",
    "idle-timeout",
    "line-timeout",
    "max-connections",
    "max-line",
    "max-per-ip",
    "stall-timeout",
];

/// The flags that bound what a client can take.
#[derive(Debug, Args)]
pub(super) struct BoundsFlags {
    /// Connections at once; one more hears `Server is busy. Try again later.` [default: 10000, or
    /// what the descriptor limit leaves room for]
    #[arg(long, env = "ECHOLINE_MAX_CONNECTIONS", value_name = "N")]
    #[arg(value_parser = values::count::<NonZeroUsize>)]
    max_connections: Option<NonZeroUsize>,

    /// Connections at once from one address (IPv6: one /64 network). [default: a quarter of
    /// --max-connections; no limit where only loopback addresses are listened on]
    #[arg(long, env = "ECHOLINE_MAX_PER_IP", value_name = "N")]
    #[arg(value_parser = values::count::<NonZeroUsize>)]
    max_per_ip: Option<NonZeroUsize>,

    /// The longest line, its end not counted. [default: 64KiB; in a chat 4KiB]
    #[arg(long, env = "ECHOLINE_MAX_LINE", value_name = "BYTES", value_parser = values::bytes)]
    max_line: Option<usize>,

    /// How long to wait for the next line.
    #[arg(long, env = "ECHOLINE_IDLE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::timeout, default_value = "off")]
    idle_timeout: Timeout,

    /// How long one line may take from its first byte to its end.
    #[arg(long, env = "ECHOLINE_LINE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::timeout, default_value = "30s")]
    line_timeout: Timeout,

    /// How long a client may leave unread what was sent to it. [default: 30s; in a chat 10s]
    #[arg(long, env = "ECHOLINE_STALL_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::timeout)]
    stall_timeout: Option<Timeout>,

    /// How long connections may take to finish after SIGTERM or Ctrl-C; the rest is broken off.
    #[arg(long, env = "ECHOLINE_DRAIN_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::duration, default_value = "30s")]
    drain_timeout: Duration,

    /// Connections that the system queues until they are accepted.
    #[arg(long, env = "ECHOLINE_BACKLOG", value_name = "N", default_value = "1024")]
    backlog: u32,

    #[command(flatten)]
    sources: SourceLimitFlags,
}

/// The values besides the flags from which limits follow; they stay while the server runs.
#[derive(Clone, Debug)]
pub(super) struct Basis {
    /// The limits without flags.
    pub(super) defaults: Limits,
    /// Addresses that are listened on.
    pub(super) listeners: usize,
    /// Known when they are bound.
    pub(super) reach: Reach,
    pub(super) workers: NonZeroUsize,
    pub(super) descriptors: Descriptors,
}

impl BoundsFlags {
    pub(super) fn limits(&self, basis: &Basis) -> Limits {
        let asked = self.max_connections.map(NonZeroUsize::get);
        let (listeners, workers) = (basis.listeners, basis.workers.get());
        let places = basis.descriptors.places(asked, listeners, workers);
        let quarter = (basis.reach == Reach::Network).then_some((places.connections / 4).max(1));
        let defaults = &basis.defaults;
        Limits {
            max_connections: places.connections,
            max_lingering: places.lingering,
            max_per_ip: self.max_per_ip.map(NonZeroUsize::get).or(quarter),
            max_line: self.max_line.unwrap_or(defaults.max_line),
            idle_timeout: self.idle_timeout.0,
            line_timeout: self.line_timeout.0,
            stall_timeout: self.stall_timeout.map_or(defaults.stall_timeout, |timeout| timeout.0),
            drain_timeout: self.drain_timeout,
            ..defaults.clone()
        }
    }

    /// The rates and penalties of each source, of a command whose defaults these are.
    pub(super) fn source_limits(&self, defaults: &SourceLimits) -> SourceLimits {
        self.sources.limits(defaults)
    }

    pub(super) fn backlog(&self) -> u32 {
        self.backlog
    }

    pub(super) fn check(&self, basis: &Basis, findings: &mut Findings) {
        let limits = self.limits(basis);
        match self.shortage(&limits, basis.descriptors) {
            Some(sentence) => findings.note(sentence),
            None => findings.right(format!(
                "{} connections at once fit the limit of {} descriptors",
                limits.max_connections, basis.descriptors.limit
            )),
        }
    }

    /// What is to be said where fewer connections fit than were asked for.
    pub(super) fn shortage(&self, limits: &Limits, descriptors: Descriptors) -> Option<String> {
        let asked = self.max_connections.filter(|asked| asked.get() > limits.max_connections)?;
        Some(format!(
            "--max-connections {asked} does not fit the limit of {} descriptors: {} it is",
            descriptors.limit, limits.max_connections
        ))
    }
}

/// The machines that can reach a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// On this machine only: every socket is bound to a loopback address or is a Unix socket.
    Loopback,
    /// On other machines too.
    Network,
}

/// When the system gives up a peer that takes nothing, where `limits` hold from the start: not
/// before --stall-timeout does.
pub(super) fn unacknowledged_timeout(limits: &Limits) -> Option<Duration> {
    let stall = limits.stall_timeout?;
    Some(ListenerOptions::default().unacknowledged_timeout.map_or(stall, |usual| usual.max(stall)))
}

/// What a reload does to the limits of a server.
pub(super) fn renewal(basis: Basis, live: LiveLimits) -> Renewal {
    let given_up = unacknowledged_timeout(&live.current());
    let prepare = move |fresh: &Fresh| {
        let flags = &fresh.serving().bounds;
        let limits = flags.limits(&basis);
        if limits == live.current() {
            return Ok(None);
        }
        let said = [flags.shortage(&limits, basis.descriptors), impatience(&limits, given_up)];
        let said = said.into_iter().flatten().collect::<Vec<_>>().join("; ");
        let live = live.clone();
        let commit: Commit = Box::new(move || {
            live.set(limits);
            said
        });
        Ok(Some(commit))
    };
    Renewal { keys: &LIVE, prepare: Box::new(prepare) }
}

/// The listening sockets were made for the stall time-out of the start.
fn impatience(limits: &Limits, given_up: Option<Duration>) -> Option<String> {
    let given_up =
        given_up.filter(|most| limits.stall_timeout.is_none_or(|stall| stall > *most))?;
    Some(format!(
        "stall-timeout: until a restart the system itself gives up who takes nothing for \
         {given_up:?}"
    ))
}
