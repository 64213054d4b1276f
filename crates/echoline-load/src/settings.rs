//! Everything that a run is told.

use std::num::NonZero;
use std::time::Duration;

use super::dial::{Family, Resolve, Targets};
use super::expect::Expect;
use super::objective::Objectives;
use super::pacer::Pacer;
use super::plan::Plan;
use super::report::{Mode, Summary};
use super::times::Percentile;
use super::turns::WhenLate;
use echoline::{Address, Eol};

/// So that adding times never overflows.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The longest time-out.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What to do. [`Settings::new`] gives an engine's usual choices; every field may be changed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The servers and the way to them.
    pub targets: Targets,
    /// What to send.
    pub plan: Plan,
    /// What is to come back.
    pub expect: Expect,
    /// When each connection is opened, before the run starts.
    pub connects: Pacer,
    /// When messages are sent: the schedule of all clients together.
    pub messages: Pacer,
    /// How long to measure; `None` where the number of messages ends the run. Messages that are
    /// intended for later are no part of the plan.
    pub duration: Option<Duration>,
    /// What is intended for the first so long is sent and accounted for apart.
    pub warm_up: Duration,
    /// How long a reply may take from the moment its message is begun, and a connection until it
    /// is open; at most a day.
    pub timeout: Duration,
    /// How long after the end of `duration` what is late may still be sent, and what is in flight
    /// is waited for.
    pub grace: Duration,
    /// Messages that a connection has in flight at most.
    pub depth: NonZero<u32>,
    /// Messages after which a client goes on with a new connection; `None` for never. One is
    /// connection churn: connect, one exchange, close.
    pub per_connection: Option<NonZero<u32>>,
    /// Whether a client whose connection failed goes on with a new one. It waits between attempts
    /// that found no server, from 10 ms up to 1 s, and ends with the plan. If only a number of
    /// messages ends the plan, it gives up after `timeout` without a server, but in open loop not
    /// before `grace` after the last message is due.
    pub reconnect: bool,
    /// What becomes of messages whose time has passed while their connection was busy.
    pub when_late: WhenLate,
    /// Threads, each with its share of the clients.
    pub workers: NonZero<usize>,
    /// The time before each due time in which a thread does not sleep; it costs a core.
    pub busy_poll: Duration,
    /// Alarms that stop the run as soon as one of them is certain to come true.
    pub stop_if: Option<Objectives>,
    /// What else the report is to say of the settings, by name: how TLS is begun.
    pub remarks: Vec<(String, String)>,
    /// Wall-clock time at the start, for the report.
    pub started: String,
    /// Tells the wall-clock time, from the beginning of 1970 in UTC; `None` for a report that does
    /// not say when the measuring began.
    pub wall_clock: Option<fn() -> Duration>,
}

impl Settings {
    /// A closed loop to one server, without a pause, on one thread.
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
            when_late: WhenLate::CatchUp,
            workers: NonZero::<usize>::MIN,
            busy_poll: Duration::ZERO,
            stop_if: None,
            remarks: Vec::new(),
            started: String::new(),
            wall_clock: None,
        }
    }

    /// When the plan ends, from the start, warm-up included.
    pub(super) fn end(&self) -> Option<Duration> {
        self.duration.map(|duration| (duration.saturating_add(self.warm_up)).min(LONGEST))
    }

    /// Returns the most messages that are measured, if that is known before the run.
    pub(super) fn planned(&self) -> Option<u64> {
        let total = self.plan.total();
        let exact = self.messages.is_open() && self.messages.seed().is_none();
        let timed = self.end().filter(|_| exact).map(|end| {
            let warm_up = self.messages.rest_until(self.warm_up);
            self.messages.rest_until(end).saturating_sub(warm_up)
        });
        match (total, timed) {
            (Some(total), Some(timed)) => Some(total.min(timed)),
            (total, timed) => total.or(timed),
        }
    }

    /// Whether clients send without a plan of their own until the time is over.
    pub(super) fn is_closed_for_a_time(&self) -> bool {
        self.duration.is_some() && !self.messages.is_open()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout.min(TIMEOUT_MAX)
    }

    pub(super) fn grace(&self) -> Duration {
        self.grace.min(LONGEST)
    }

    /// The settings as they are shown.
    pub(super) fn summary(&self) -> Summary {
        let plan = &self.plan;
        let end = self.end();
        Summary {
            mode: if self.messages.is_open() { Mode::Open } else { Mode::Closed },
            clients: plan.clients(),
            rate: self.messages.average_until(end.unwrap_or(LONGEST)),
            duration: self.duration,
            targets: self.targets.addresses.iter().map(ToString::to_string).collect(),
            bytes: plan.size(),
            seed: plan.seed(),
            percentiles: Percentile::SHOWN.into(),
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
        let messages = match (plan.is_dealt_out(), plan.messages(), plan.total()) {
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
            ("duration", self.duration.map_or("until all is sent".to_owned(), length)),
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

    /// Settings that are worth a line only where they are not the usual ones.
    fn unusual(&self) -> impl Iterator<Item = (&'static str, String)> {
        let targets = &self.targets;
        let socket = &targets.socket;
        let bytes = |count: Option<u32>| count.map(|count| format!("{count} bytes"));
        let sources: Vec<_> = targets.sources.iter().map(ToString::to_string).collect();
        let family = match targets.family {
            Family::Any => None,
            Family::Ipv4 => Some("IPv4 only"),
            Family::Ipv6 => Some("IPv6 only"),
        };
        let resolve = match targets.resolve {
            Resolve::Once => None,
            Resolve::Rotate => Some("rotate"),
            Resolve::Each => Some("each"),
        };
        let yes = |is: bool, text: &'static str| is.then(|| text.to_owned());
        [
            ("messages-per-connection", self.per_connection.map(|count| count.to_string())),
            ("reconnect", yes(self.reconnect, "yes")),
            ("when-late", yes(self.when_late == WhenLate::Skip, "skip")),
            ("busy-poll", (!self.busy_poll.is_zero()).then(|| format!("{:?}", self.busy_poll))),
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
