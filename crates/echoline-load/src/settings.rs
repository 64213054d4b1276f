//! The settings of a run.

use std::num::NonZero;
use std::time::Duration;

use crate::message::{Expect, Plan};
use crate::report::{LoopMode, RunSummary};
use crate::schedule::{LatePolicy, Pacer};
use crate::statistics::Percentile;
use crate::target::{IpFamily, ResolvePolicy, Targets};
use crate::verdict::Objectives;
use echoline::internals::Polling;
use echoline::{Address, Eol};

/// The longest duration. The limit prevents overflows in sums.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The longest time-out.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of a run. [`LoadSettings::new`] fills in the usual values; every field may be
/// changed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoadSettings {
    /// The servers under test, and how clients connect to them.
    pub targets: Targets,
    /// The messages.
    pub plan: Plan,
    /// The expected replies.
    pub expect: Expect,
    /// The schedule of opening connections, before the run starts.
    pub connects: Pacer,
    /// The schedule of the messages of all clients together.
    pub messages: Pacer,
    /// The measured time; `None` if the number of messages ends the run. Messages that are due
    /// later are not part of the plan.
    pub duration: Option<Duration>,
    /// The warm-up. Messages that are due during the warm-up are sent, but counted separately.
    pub warm_up: Duration,
    /// The time-out for connecting, and for a reply, counted from the start of sending its message.
    /// It is at most a day.
    pub timeout: Duration,
    /// The time after `duration` in which late messages may still be sent and replies are awaited.
    pub grace: Duration,
    /// The maximum number of messages in flight on a connection.
    pub depth: NonZero<u32>,
    /// The number of messages after which a client opens a new connection; `None` for no limit.
    /// With 1, each message has its own connection.
    pub per_connection: Option<NonZero<u32>>,
    /// Whether a client whose connection failed opens a new one. Between attempts without success
    /// the client waits for 10 ms to 1 s, and it stops at the end of the plan. If only a number of
    /// messages ends the plan, the client gives up after `timeout` without a server. In open loop
    /// it continues at least until `grace` after the due time of the last message.
    pub reconnect: bool,
    /// The policy for messages whose due time passed while their connection was busy.
    pub late_policy: LatePolicy,
    /// The number of threads. Each has its share of the clients.
    pub workers: NonZero<usize>,
    /// The time for which a thread of an open loop polls before each due time, instead of sleeping.
    pub busy_poll: BusyPoll,
    /// Alarms that stop the run as soon as one of them is certain to be met.
    pub stop_if: Option<Objectives>,
    /// Further settings for the report, as names and values, for example the use of TLS.
    pub remarks: Vec<(String, String)>,
    /// Wall-clock time at the start, for the report.
    pub started: String,
    /// A function that returns the wall-clock time since the Unix epoch. With `None`, the report
    /// does not contain the start of the measured time.
    pub wall_clock: Option<fn() -> Duration>,
}

/// The time for which a thread polls before each due time.
///
/// A thread that polls sends messages within a few microseconds of their times. The timer of the
/// system alone is exact to some tens of microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BusyPoll {
    /// For as long as wake-ups take on this machine, 20 µs to 300 µs, and only while no other
    /// thread needs the core.
    #[default]
    Auto,
    /// For this time, which costs a core even if another thread needs it. Zero for never.
    For(Duration),
}

impl LoadSettings {
    /// Creates the settings of a closed loop to one server, without think time and with one thread.
    #[must_use]
    pub fn new(address: Address, plan: Plan) -> Self {
        Self {
            targets: Targets { addresses: vec![address], ..Targets::default() },
            plan,
            expect: Expect::default(),
            connects: Pacer::closed_loop(),
            messages: Pacer::closed_loop(),
            duration: None,
            warm_up: Duration::ZERO,
            timeout: Duration::from_secs(5),
            grace: Duration::from_secs(5),
            depth: NonZero::<u32>::MIN,
            per_connection: None,
            reconnect: false,
            late_policy: LatePolicy::CatchUp,
            workers: NonZero::<usize>::MIN,
            busy_poll: BusyPoll::Auto,
            stop_if: None,
            remarks: Vec::new(),
            started: String::new(),
            wall_clock: None,
        }
    }

    /// Returns the end of the plan, counted from the start of the warm-up.
    pub(crate) fn end(&self) -> Option<Duration> {
        self.duration.map(|duration| (duration.saturating_add(self.warm_up)).min(LONGEST))
    }

    /// Returns the maximum number of measured messages, if it is known before the run.
    pub(crate) fn planned(&self) -> Option<u64> {
        let total = self.plan.total();
        let exact = self.messages.is_open() && self.messages.seed().is_none();
        let timed = self.end().filter(|_| exact).map(|end| {
            let warm_up = self.messages.remaining_until(self.warm_up);
            self.messages.remaining_until(end).saturating_sub(warm_up)
        });
        match (total, timed) {
            (Some(total), Some(timed)) => Some(total.min(timed)),
            (total, timed) => total.or(timed),
        }
    }

    /// Returns whether this is a closed loop with a duration. Such a run plans only the messages
    /// that it sends.
    pub(crate) fn is_closed_for_a_time(&self) -> bool {
        self.duration.is_some() && !self.messages.is_open()
    }

    /// Returns whether threads poll: only an open loop has due times.
    pub(crate) fn polls(&self) -> bool {
        self.messages.is_open() && self.busy_poll != BusyPoll::For(Duration::ZERO)
    }

    /// Returns how threads poll before due times.
    pub(crate) fn polling(&self) -> Polling {
        match self.busy_poll {
            BusyPoll::Auto if self.messages.is_open() => Polling::Adaptive,
            BusyPoll::Auto => Polling::Fixed(Duration::ZERO),
            BusyPoll::For(length) => Polling::Fixed(length),
        }
    }

    fn busy_poll_text(&self) -> Option<String> {
        match self.busy_poll {
            BusyPoll::Auto => self.polls().then(|| "auto".to_owned()),
            BusyPoll::For(Duration::ZERO) => None,
            BusyPoll::For(length) => Some(format!("{length:?}")),
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.min(TIMEOUT_MAX)
    }

    pub(crate) fn grace(&self) -> Duration {
        self.grace.min(LONGEST)
    }

    /// Returns the settings as reports show them.
    pub(crate) fn summary(&self) -> RunSummary {
        let plan = &self.plan;
        let end = self.end();
        RunSummary {
            mode: if self.messages.is_open() { LoopMode::Open } else { LoopMode::Closed },
            clients: plan.clients(),
            rate: self.messages.average_between(self.warm_up, end.unwrap_or(LONGEST)),
            duration: self.duration,
            targets: self.targets.addresses.iter().map(ToString::to_string).collect(),
            bytes: plan.size(),
            seed: plan.seed(),
            percentiles: Percentile::DEFAULTS.into(),
            listed: self.listed(),
        }
    }

    fn listed(&self) -> Vec<(String, String)> {
        let plan = &self.plan;
        let socket = &self.targets.socket;
        let length = |time: Duration| match time {
            Duration::ZERO => "none".to_owned(),
            time => format!("{time:?}"),
        };
        let messages = match (plan.is_distributed(), plan.messages(), plan.total()) {
            (true, _, Some(total)) => ("total-messages", total.to_string()),
            (_, Some(messages), _) => ("messages", messages.to_string()),
            (_, None, _) => ("messages", "no limit".to_owned()),
        };
        let eol = match plan.eol() {
            Eol::Lf => "lf",
            Eol::CrLf => "crlf",
        };
        let mut listed = vec![
            ("clients", plan.clients().to_string()),
            messages,
            ("rate", self.messages.to_string()),
            ("duration", self.duration.map_or("until all are sent".to_owned(), length)),
            ("warmup", length(self.warm_up)),
            ("message", plan.describe()),
            ("eol", eol.to_owned()),
            ("expect", self.expect.to_string()),
            ("seed", plan.seed().to_string()),
            ("depth", self.depth.to_string()),
            ("connect-rate", connect_rate(&self.connects)),
            ("timeout", length(self.timeout)),
            ("grace", length(self.grace)),
            ("nodelay", if socket.nodelay { "on" } else { "off" }.to_owned()),
            ("workers", self.workers.to_string()),
        ];
        listed.extend(self.unusual());
        let listed = listed.into_iter().map(|(name, value)| (name.to_owned(), value));
        listed.chain(self.remarks.iter().cloned()).collect()
    }

    /// Returns the settings that a report lists only if they differ from the defaults.
    fn unusual(&self) -> impl Iterator<Item = (&'static str, String)> {
        let targets = &self.targets;
        let socket = &targets.socket;
        let bytes = |count: Option<u32>| count.map(|count| format!("{count} bytes"));
        let sources: Vec<_> = targets.sources.iter().map(ToString::to_string).collect();
        let family = match targets.family {
            IpFamily::Any => None,
            IpFamily::Ipv4 => Some("IPv4 only"),
            IpFamily::Ipv6 => Some("IPv6 only"),
        };
        let resolve = match targets.resolve {
            ResolvePolicy::Once => None,
            ResolvePolicy::Rotate => Some("rotate"),
            ResolvePolicy::Each => Some("each"),
        };
        let yes = |is: bool, text: &'static str| is.then(|| text.to_owned());
        [
            ("messages-per-connection", self.per_connection.map(|count| count.to_string())),
            ("reconnect", yes(self.reconnect, "yes")),
            ("when-late", yes(self.late_policy == LatePolicy::Skip, "skip")),
            ("busy-poll", self.busy_poll_text()),
            ("source", (!sources.is_empty()).then(|| sources.join(","))),
            ("family", family.map(str::to_owned)),
            ("resolve", resolve.map(str::to_owned)),
            ("send-buffer", bytes(socket.send_buffer)),
            ("receive-buffer", bytes(socket.receive_buffer)),
            ("rst", yes(socket.reset, "yes")),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

fn connect_rate(connects: &Pacer) -> String {
    if connects.is_open() { connects.to_string() } else { "max".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rate;

    #[test]
    fn the_rate_of_a_ramp_is_the_mean_without_the_warm_up() {
        let second = Duration::from_secs(1);
        let (clients, eol) = (NonZero::new(10).unwrap(), Eol::Lf);
        let plan = Plan::new(clients, None, 64, eol, 1).unwrap();
        let mut settings = LoadSettings::new("127.0.0.1:1".parse().unwrap(), plan);
        let rate = |count| Rate::new(count, second).unwrap();
        (settings.warm_up, settings.duration) = (2 * second, Some(4 * second));
        settings.messages = Pacer::ramp(rate(100), rate(300), 4 * second, 2 * second);
        assert_eq!(settings.summary().rate, Some(200.0));
        settings.messages = Pacer::constant(rate(100));
        assert_eq!(settings.summary().rate, Some(100.0));
        settings.messages = Pacer::closed_loop();
        assert_eq!(settings.summary().rate, None);
    }
}
