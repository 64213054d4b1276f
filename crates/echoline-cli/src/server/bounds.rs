//! The flags that limit clients, and the limits that result from them.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::process::descriptors::Descriptors;
use crate::process::reload::{Commit, ReloadHook};
use crate::server::check_report::CheckReport;
use crate::values::{self, Timeout};
use echoline::sources::{SourceLimits, Sources};
use echoline::{Limits, ListenerOptions, LiveLimits};

/// The settings that a reload can change; they apply to new connections.
const LIVE: [&str; 7] = [
    "drain-timeout",
    "idle-timeout",
    "line-timeout",
    "max-connections",
    "max-line",
    "max-per-ip",
    "stall-timeout",
];

/// The flags that limit the resources of clients.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct BoundsArgs {
    /// Limit of open connections [default: 10000].
    ///
    /// Further clients receive `Server is busy. Try again later.` and are disconnected. If the
    /// limit of open files (ulimit -n) is too low for 10000, the default is lower.
    #[arg(long, env = "ECHOLINE_MAX_CONNECTIONS", value_name = "N")]
    #[arg(value_parser = values::count::<NonZeroUsize>)]
    max_connections: Option<NonZeroUsize>,

    /// Limit of open connections from one source.
    ///
    /// A source is an IPv4 address or an IPv6 /64 network. The default is a quarter of
    /// --max-connections, or no limit if the server only listens on loopback addresses.
    #[arg(long, env = "ECHOLINE_MAX_PER_IP", value_name = "N")]
    #[arg(value_parser = values::count::<NonZeroUsize>)]
    max_per_ip: Option<NonZeroUsize>,

    /// Longest line, without its line end [default: 64KiB; chat: 4KiB].
    #[arg(long, env = "ECHOLINE_MAX_LINE", value_name = "BYTES", value_parser = values::line_size)]
    max_line: Option<usize>,

    /// Idle time-out of clients, or 'off'.
    ///
    /// A client that sends no line for this time is disconnected.
    #[arg(long, env = "ECHOLINE_IDLE_TIMEOUT", value_name = "TIME")]
    #[arg(value_parser = values::timeout, default_value = "off")]
    idle_timeout: Timeout,

    /// Time for one line, from its first byte to its end, or 'off'.
    #[arg(long, env = "ECHOLINE_LINE_TIMEOUT", value_name = "TIME")]
    #[arg(value_parser = values::timeout, default_value = "30s")]
    line_timeout: Timeout,

    /// Time after which a client that reads nothing is disconnected, or 'off'.
    ///
    /// The default is 30s, for a chat 10s. The time counts only while data for the client is
    /// waiting.
    #[arg(long, env = "ECHOLINE_STALL_TIMEOUT", value_name = "TIME")]
    #[arg(value_parser = values::timeout)]
    stall_timeout: Option<Timeout>,

    /// Time for connections to finish after SIGTERM or Ctrl-C.
    ///
    /// Connections that are still open then are reset.
    #[arg(long, env = "ECHOLINE_DRAIN_TIMEOUT", value_name = "TIME")]
    #[arg(value_parser = values::duration, default_value = "30s")]
    drain_timeout: Duration,

    /// Length of the system's queue of connections that are not accepted yet.
    #[arg(long, env = "ECHOLINE_BACKLOG", value_name = "N", default_value = "1024")]
    #[arg(help_heading = "Listening")]
    #[arg(value_parser = |text: &str| values::number_in(text, 0..=u32::MAX))]
    backlog: u32,

    #[command(flatten)]
    pub(crate) sources: SourceLimitArgs,
}

/// The values besides the flags that determine the limits. They do not change while the server
/// runs.
#[derive(Clone, Debug)]
pub(crate) struct LimitInputs {
    /// The limits that apply if no flag changes them.
    pub(crate) defaults: Limits,
    /// The number of listening addresses.
    pub(crate) listeners: usize,
    /// The hosts that can reach the server, which are known only after binding.
    pub(crate) reach: NetworkReach,
    pub(crate) workers: NonZeroUsize,
    pub(crate) descriptors: Descriptors,
}

impl BoundsArgs {
    pub(crate) fn limits(&self, basis: &LimitInputs) -> Limits {
        let asked = self.max_connections.map(NonZeroUsize::get);
        let (listeners, workers) = (basis.listeners, basis.workers.get());
        let places = basis.descriptors.places(asked, listeners, workers);
        let quarter =
            (basis.reach == NetworkReach::Network).then_some((places.connections / 4).max(1));
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

    /// Returns the rates and penalties of each source; `defaults` are those of the command.
    pub(crate) fn source_limits(&self, defaults: &SourceLimits) -> SourceLimits {
        self.sources.limits(defaults)
    }

    pub(crate) fn backlog(&self) -> u32 {
        self.backlog
    }

    pub(crate) fn check(&self, basis: &LimitInputs, findings: &mut CheckReport) {
        let limits = self.limits(basis);
        match self.shortage(&limits, basis.descriptors) {
            Some(sentence) => findings.note(sentence),
            None => findings.right(format!(
                "{} connections fit the limit of {} open files",
                limits.max_connections, basis.descriptors.limit
            )),
        }
    }

    /// Returns a warning if the limit of open files allows fewer connections than configured.
    pub(crate) fn shortage(&self, limits: &Limits, descriptors: Descriptors) -> Option<String> {
        let asked = self.max_connections.filter(|asked| asked.get() > limits.max_connections)?;
        Some(format!(
            "--max-connections {asked} needs more than the limit of {} open files: {} are allowed",
            descriptors.limit, limits.max_connections
        ))
    }
}

/// The hosts that can reach a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkReach {
    /// This host only: every socket is bound to a loopback address or is a Unix socket.
    Loopback,
    /// This host and other hosts.
    Network,
}

/// Returns the time after which the system drops a peer that acknowledges nothing. It is never
/// shorter than --stall-timeout at the start.
pub(crate) fn unacknowledged_timeout(limits: &Limits) -> Option<Duration> {
    let stall = limits.stall_timeout?;
    Some(ListenerOptions::default().unacknowledged_timeout.map_or(stall, |usual| usual.max(stall)))
}

/// Returns the hook that applies reloaded limits.
pub(crate) fn reload_hook(basis: LimitInputs, live: LiveLimits) -> ReloadHook<BoundsArgs> {
    let given_up = unacknowledged_timeout(&live.current());
    let prepare = move |flags: &BoundsArgs| {
        let limits = flags.limits(&basis);
        if limits == live.current() {
            return Ok(None);
        }
        let said =
            [flags.shortage(&limits, basis.descriptors), stall_timeout_note(&limits, given_up)];
        let said = said.into_iter().flatten().collect::<Vec<_>>().join("; ");
        let live = live.clone();
        let commit: Commit = Box::new(move || {
            live.set(limits);
            said
        });
        Ok(Some(commit))
    };
    ReloadHook { keys: &LIVE, prepare: Box::new(prepare) }
}

/// Returns a note if the new stall time-out is longer than the one for which the listening sockets
/// were created.
fn stall_timeout_note(limits: &Limits, given_up: Option<Duration>) -> Option<String> {
    let given_up =
        given_up.filter(|most| limits.stall_timeout.is_none_or(|stall| stall > *most))?;
    Some(format!(
        "stall-timeout: until a restart the system itself resets a connection whose client reads \
         nothing for {given_up:?}"
    ))
}

/// The flag that changes the rates of a source.
#[derive(Debug, Args)]
pub(crate) struct SourceLimitArgs {
    /// Rate limits and penalties for each source.
    ///
    /// The flag is repeatable. For example "logins 5/s burst 300, exempt 192.0.2.0/24", or "off".
    /// By default a chat limits every action, and an echo server none. A source is an IPv4 address,
    /// an IPv6 /64 network, or a user of this host at a Unix socket.
    ///
    /// The actions are connections, logins, wrong-passwords, wrong-operator-passwords, rooms,
    /// tokens, moderation and expensive-commands. Each is written `ACTION RATE [burst N]` or
    /// `ACTION off`. A source that exceeds a rate is refused for `first-penalty` (2s), and each
    /// further time for twice as long, up to `longest-penalty` (5m). The penalty halves after each
    /// `penalty-decay` (2m) without another penalty. `exempt NETWORK` removes all limits of a
    /// network. `loopback limited` also limits connections and logins from loopback addresses.
    /// `max-sources N` limits the table of sources (65536).
    #[arg(long, env = "ECHOLINE_SOURCE_LIMIT", value_name = "TEXT")]
    #[arg(value_parser = check_source_limit)]
    source_limit: Vec<String>,
}

/// Checks one value of `--source-limit` while the flags are parsed, so that the error names the
/// flag.
fn check_source_limit(text: &str) -> Result<String, String> {
    let error = SourceLimits::off().change(text).err();
    error.map_or_else(|| Ok(text.to_owned()), |error| Err(error.to_string()))
}

impl SourceLimitArgs {
    /// Returns the limits; `defaults` are those of the command.
    pub(crate) fn limits(&self, defaults: &SourceLimits) -> SourceLimits {
        let mut limits = defaults.clone();
        for text in &self.source_limit {
            limits.change(text).expect("the parser of the flag has read it");
        }
        limits
    }
}

/// Returns the hook that applies changed limits. Penalties stay.
pub(crate) fn source_reload_hook(
    defaults: SourceLimits,
    sources: Arc<Sources>,
) -> ReloadHook<SourceLimitArgs> {
    let prepare = move |flags: &SourceLimitArgs| {
        let limits = flags.limits(&defaults);
        if limits == sources.limits() {
            return Ok(None);
        }
        let sources = Arc::clone(&sources);
        let commit: Commit = Box::new(move || {
            sources.set_limits(limits);
            String::new()
        });
        Ok(Some(commit))
    };
    ReloadHook { keys: &["source-limit"], prepare: Box::new(prepare) }
}
