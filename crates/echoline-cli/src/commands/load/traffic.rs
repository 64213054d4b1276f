//! Flags of `load` for the schedule and the duration.

use std::num::NonZero;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::values::{self, MaxRate, RateRange};
use echoline_load::schedule::LatePolicy;
use echoline_load::{LoadSettings, Pacer};

/// The default duration of an open loop.
const DURATION_DEFAULT: Duration = Duration::from_secs(10);

/// The default number of messages of each client, if neither a duration nor a rate is set.
const MESSAGES_DEFAULT: NonZero<u32> = NonZero::new(100).expect("100 is not 0");

/// The default first rate of a search, in messages per second.
const FIND_FROM: f64 = 1000.0;

/// Schedule and duration.
#[derive(Debug, Args)]
#[command(next_help_heading = "Traffic")]
pub(super) struct TrafficArgs {
    /// Number of clients, with one connection each.
    #[arg(long, short, env = "ECHOLINE_CLIENTS", value_name = "N", default_value = "100")]
    #[arg(value_parser = values::count::<NonZero<u32>>)]
    clients: NonZero<u32>,

    /// Messages of each client [default: 100; with --duration or --rate: no limit].
    #[arg(long, env = "ECHOLINE_MESSAGES", value_name = "N")]
    #[arg(value_parser = values::count::<NonZero<u32>>)]
    messages: Option<NonZero<u32>>,

    /// Messages of all clients together.
    ///
    /// They are distributed evenly. If there are fewer messages than clients, fewer clients run.
    #[arg(long, env = "ECHOLINE_TOTAL_MESSAGES", value_name = "N", conflicts_with = "messages")]
    #[arg(short = 'n', value_parser = values::count::<NonZero<u32>>)]
    total_messages: Option<NonZero<u32>>,

    /// Time to send messages [default: until all are sent].
    ///
    /// With --rate the default is the time of --over, or 10s.
    #[arg(long, short, env = "ECHOLINE_DURATION", value_name = "TIME")]
    #[arg(value_parser = values::some_duration)]
    duration: Option<Duration>,

    /// Open loop: messages per second of all clients.
    ///
    /// Messages are sent at this rate, whether or not earlier ones were answered. A range, for
    /// example 1000..20000/s, is a ramp during the time of --over.
    #[arg(long, env = "ECHOLINE_RATE", value_name = "RATE", value_parser = values::rate_range)]
    pub(super) rate: Option<RateRange>,

    /// Time of the ramp, if --rate is a range.
    ///
    /// After the ramp the last rate continues.
    #[arg(long, env = "ECHOLINE_OVER", value_name = "TIME", requires = "rate")]
    #[arg(value_parser = values::some_duration)]
    over: Option<Duration>,

    /// Steps of constant rate in a ramp, at least 2 [default: a smooth ramp].
    #[arg(long, env = "ECHOLINE_STEPS", value_name = "N", requires = "rate")]
    #[arg(value_parser = values::from_two)]
    steps: Option<u32>,

    /// Arrival process of an open loop.
    #[arg(long, env = "ECHOLINE_ARRIVAL", value_enum, default_value = "constant")]
    arrival: ArrivalProcess,

    /// Policy for messages of an open loop whose planned time has passed.
    ///
    /// Messages are late if their connection was busy at the planned time. The report counts them.
    #[arg(long, env = "ECHOLINE_WHEN_LATE", value_enum, default_value = "catch-up")]
    when_late: LateChoice,

    /// Closed loop: pause of a client between a reply and the next message.
    #[arg(long, env = "ECHOLINE_THINK", value_name = "TIME", conflicts_with = "rate")]
    #[arg(value_parser = values::duration)]
    think: Option<Duration>,

    /// Limit of unanswered messages on a connection (pipelining).
    #[arg(long, env = "ECHOLINE_DEPTH", value_name = "N", default_value = "1")]
    #[arg(value_parser = values::depth)]
    depth: NonZero<u32>,

    /// Messages after which a client connects again [default: no limit].
    ///
    /// With 1 each message has its own connection.
    #[arg(long, env = "ECHOLINE_MESSAGES_PER_CONNECTION", value_name = "N")]
    #[arg(value_parser = values::count::<NonZero<u32>>)]
    messages_per_connection: Option<NonZero<u32>>,

    /// Whether clients connect again after a failure.
    ///
    /// With --duration or --rate the default is 'always', otherwise 'never'. If the server cannot
    /// be reached, a client retries after 10 ms, then with increasing delays of up to one second.
    #[arg(long, env = "ECHOLINE_RECONNECT", value_enum)]
    reconnect: Option<ReconnectChoice>,

    /// Time of a warm-up, whose messages are not in the figures.
    #[arg(long, env = "ECHOLINE_WARMUP", value_name = "TIME", default_value = "0s")]
    #[arg(value_parser = values::duration)]
    warmup: Duration,

    /// New connections per second before the run, or 'max' for all at once.
    #[arg(long, env = "ECHOLINE_CONNECT_RATE", value_name = "RATE", value_parser = values::rate)]
    #[arg(default_value = "1000/s")]
    connect_rate: MaxRate,

    /// Time to wait for a reply or a connection.
    #[arg(long, env = "ECHOLINE_LOAD_TIMEOUT", value_name = "TIME")]
    #[arg(value_parser = values::some_duration, default_value = "5s")]
    timeout: Duration,

    /// Time after the end for late messages and replies [default: --timeout].
    #[arg(long, env = "ECHOLINE_GRACE", value_name = "TIME", value_parser = values::duration)]
    grace: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ArrivalProcess {
    /// At equal intervals.
    Constant,
    /// At random intervals, independent of each other.
    Poisson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LateChoice {
    /// Send all of them as soon as the connection is free.
    CatchUp,
    /// Send only the last one.
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReconnectChoice {
    Always,
    Never,
}

impl TrafficArgs {
    /// Returns the number of clients, at most one for each message.
    pub(super) fn clients(&self) -> NonZero<u32> {
        self.total_messages.map_or(self.clients, |total| total.min(self.clients))
    }

    /// Returns the maximum number of messages of each client; `None` if only time ends the run.
    pub(super) fn messages(&self) -> Option<NonZero<u32>> {
        if let Some(total) = self.total_messages {
            return NonZero::new(total.get().div_ceil(self.clients().get()));
        }
        let timed = self.duration.is_some() || self.rate.is_some();
        self.messages.or_else(|| (!timed).then_some(MESSAGES_DEFAULT))
    }

    /// Returns the number of messages of all clients together, if it is set.
    pub(super) fn total_messages(&self) -> Option<u64> {
        self.total_messages.map(|total| total.get().into())
    }

    /// Returns the first rate of a search in messages per second.
    pub(super) fn first_rate(&self) -> f64 {
        self.rate.map_or(FIND_FROM, |rate| rate.from.as_per_second())
    }

    pub(super) fn depth(&self) -> u32 {
        self.depth.get()
    }

    /// Returns the usage error of flags that do not fit together.
    pub(super) fn usage_error(&self) -> Option<&'static str> {
        let range = self.rate.is_some_and(|rate| rate.from != rate.to);
        let two = self.steps.is_some() || self.over.is_some();
        match (range, two) {
            (true, _) if self.over.is_none() => {
                Some("--rate is a range, so the ramp needs a time: add for example --over 60s")
            }
            (false, true) => Some(
                "--over and --steps need a range of rates: write for example --rate 1000..20000/s",
            ),
            _ if self.arrival == ArrivalProcess::Poisson && self.rate.is_none() => {
                Some("--arrival poisson needs an open loop: add for example --rate 1000/s")
            }
            _ => None,
        }
    }

    pub(super) fn apply(&self, seed: u64, settings: &mut LoadSettings) {
        settings.messages = self.pacer(seed);
        settings.connects = self.connect_rate.0.map_or_else(Pacer::closed_loop, Pacer::constant);
        settings.duration = self.planned_duration();
        settings.warm_up = self.warmup;
        settings.timeout = self.timeout;
        settings.grace = self.grace.unwrap_or(self.timeout);
        settings.depth = self.depth;
        settings.per_connection = self.messages_per_connection;
        let goes_on = settings.duration.is_some() || self.rate.is_some();
        settings.reconnect = self.reconnect.map_or(goes_on, |when| when == ReconnectChoice::Always);
        settings.late_policy = match self.when_late {
            LateChoice::CatchUp => LatePolicy::CatchUp,
            LateChoice::Skip => LatePolicy::Skip,
        };
    }

    fn pacer(&self, seed: u64) -> Pacer {
        let Some(RateRange { from, to }) = self.rate else {
            return Pacer::thinking(self.think.unwrap_or(Duration::ZERO));
        };
        let pacer = match (self.over, self.steps) {
            (Some(over), Some(steps)) => Pacer::steps(from, to, over, self.warmup, steps),
            (Some(over), None) => Pacer::ramp(from, to, over, self.warmup),
            (None, _) => Pacer::constant(from),
        };
        if self.arrival == ArrivalProcess::Poisson { pacer.poisson(seed) } else { pacer }
    }

    fn planned_duration(&self) -> Option<Duration> {
        let numbered = self.messages.is_some() || self.total_messages.is_some();
        let counted = self.rate.is_none() || numbered;
        self.duration.or(self.over).or((!counted).then_some(DURATION_DEFAULT))
    }
}
