//! The rate limits of one user. Time is an argument.
//!
//! A token bucket is stored as one number: the time at which it will be full again (the generic
//! cell rate algorithm, ITU-T I.371). A user who writes too fast is first delayed, then warned, and
//! finally muted.

use std::time::{Duration, Instant};

/// The separate bucket for questions of a page and commands of a muted user refills one unit in
/// this time: 10 units per second, at most 50. A question takes one unit, a command takes ten.
const ASIDE_INTERVAL: Duration = Duration::from_millis(100);
const ASIDE_UNITS: u32 = 50;
const COMMAND_UNITS: u32 = 10;

/// A user who has stayed within the rate for this time starts again with the shortest mute.
pub(crate) const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// The rate limits of one user, and the lengths of the mutes for exceeding them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloodLimits {
    /// The sustained rate in lines per second; at least 1.
    pub rate_per_second: u16,
    /// The number of lines that pass at once after a pause; at least 1.
    pub burst: u16,
    /// The number of consecutive delayed lines at which the user is warned; 0 for never.
    pub warn_after: u16,
    /// The number of consecutive delayed lines at which the user is muted; 0 for never.
    pub mute_after: u16,
    /// The length of the first mute in seconds. Each further mute is twice as long.
    pub mute_seconds: u16,
    /// The longest mute, in seconds.
    pub mute_seconds_max: u16,
}

impl Default for FloodLimits {
    /// 5 lines per second, 20 at once. A user who pastes lines is warned at line 45 and muted at
    /// line 95, after 15 seconds at the limit.
    fn default() -> Self {
        Self {
            rate_per_second: 5,
            burst: 20,
            warn_after: 25,
            mute_after: 75,
            mute_seconds: 30,
            mute_seconds_max: 600,
        }
    }
}

/// The decision about a line or a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Accept the line.
    Pass,
    /// Accept the line after this time, and read no other line meanwhile. The user gets no message.
    Delay(Duration),
    /// Like `Delay`, with a warning that the user will be muted.
    Warn(Duration),
    /// Refuse the line, and tell the user that all lines are refused for this time.
    Mute(Duration),
    /// Refuse the line without a message. The mute lasts for this time.
    Refuse(Duration),
}

/// The rate limiter of one user's lines.
///
/// ```
/// use std::time::Duration;
/// use echoline_chat_core::{Flood, FloodLimits, Verdict};
///
/// let now = std::time::Instant::now();
/// let mut flood = Flood::new(FloodLimits::default());
/// for _ in 0..20 {
///     assert_eq!(flood.line(now), Verdict::Pass);
/// }
/// assert_eq!(flood.line(now), Verdict::Delay(Duration::from_millis(200)));
/// ```
#[derive(Clone, Debug)]
pub struct Flood {
    /// The time at which the bucket is full again; `None` before the first line. A mute sets this
    /// time so that the bucket is empty when the mute ends.
    full_at: Option<Instant>,
    /// The limits. A `rate_per_second` of 0 means that there is no limit.
    limits: FloodLimits,
    /// The number of delayed lines since the bucket was last half full.
    delays: u16,
    /// The number of mutes so far, 0 after a long pause.
    mutes: u8,
    /// The state for questions and mutes. Created when first needed, because most users need none.
    aside: Option<Box<Aside>>,
}

/// The part of the state that only questions of a page and mutes need.
#[derive(Clone, Debug)]
struct Aside {
    /// The time at which the bucket for questions, and for commands of a muted user, is full again.
    full_at: Instant,
    /// The end of the mute. `None` if the user is not muted, or was told that the mute is over.
    muted_until: Option<Instant>,
    /// The number of lines that the mute has refused.
    lost: u64,
}

impl Flood {
    /// Creates the rate limiter of one user.
    #[must_use]
    pub fn new(limits: FloodLimits) -> Self {
        let rate_per_second = limits.rate_per_second.max(1);
        let limits = FloodLimits { rate_per_second, burst: limits.burst.max(1), ..limits };
        Self { full_at: None, limits, delays: 0, mutes: 0, aside: None }
    }

    /// Creates a limiter without limits.
    #[must_use]
    pub fn off() -> Self {
        let mut flood = Self::new(FloodLimits::default());
        flood.limits.rate_per_second = 0;
        flood
    }

    /// Returns whether there is no limit, so that callers need not read the clock.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.limits.rate_per_second == 0
    }

    /// Continues a mute from an earlier session of the user. `rest` is the remaining time, and
    /// `count` the number of mutes so far.
    pub fn go_on(&mut self, now: Instant, rest: Duration, count: u8) {
        if self.is_off() {
            return;
        }
        self.mutes = count;
        self.full_at = Some(now);
        if !rest.is_zero() {
            self.full_at = Some(now + rest + self.capacity());
            self.aside(now).muted_until = Some(now + rest);
        }
    }

    /// Returns the number of mutes so far, 0 after a long pause.
    pub fn mutes(&self) -> u8 {
        self.mutes
    }

    /// Decides about a line for other users that arrived at `now`. `now` must not go backwards.
    pub fn line(&mut self, now: Instant) -> Verdict {
        let verdict = self.count(now);
        if let (Verdict::Mute(_) | Verdict::Refuse(_), Some(aside)) = (verdict, &mut self.aside) {
            aside.lost = aside.lost.saturating_add(1);
        }
        verdict
    }

    /// Decides about a command that other users do not see. It costs as much as a line. During a
    /// mute such commands are not refused, but limited to about one per second.
    pub fn command(&mut self, now: Instant) -> Verdict {
        match self.is_muted() {
            true => self.ask(now, COMMAND_UNITS),
            false => self.count(now),
        }
    }

    /// Decides about a ping, or a question that a page asks by itself. 10 per second pass, 50 at
    /// once. Further ones are delayed, never refused.
    pub fn question(&mut self, now: Instant) -> Verdict {
        self.ask(now, 1)
    }

    /// Returns whether the user is muted. A mute lasts until [`end_mute`](Self::end_mute) is
    /// called.
    #[must_use]
    pub fn is_muted(&self) -> bool {
        self.muted_until().is_some()
    }

    /// Returns the end of the mute; `None` if the user is not muted.
    #[must_use]
    pub fn muted_until(&self) -> Option<Instant> {
        self.aside.as_ref().and_then(|aside| aside.muted_until)
    }

    /// Ends the mute if its time is over. Returns the number of lines that it refused, or `None` if
    /// no mute has ended.
    pub fn end_mute(&mut self, now: Instant) -> Option<u64> {
        let aside = self.aside.as_mut()?;
        aside.muted_until.take_if(|until| *until <= now)?;
        self.delays = 0;
        Some(std::mem::take(&mut aside.lost))
    }

    fn ask(&mut self, now: Instant, units: u32) -> Verdict {
        if self.is_off() {
            return Verdict::Pass;
        }
        let aside = self.aside(now);
        aside.full_at = aside.full_at.max(now) + ASIDE_INTERVAL * units;
        let wait = (aside.full_at - now).saturating_sub(ASIDE_INTERVAL * ASIDE_UNITS);
        if wait.is_zero() { Verdict::Pass } else { Verdict::Delay(wait) }
    }

    fn aside(&mut self, now: Instant) -> &mut Aside {
        let new = || Box::new(Aside { full_at: now, muted_until: None, lost: 0 });
        self.aside.get_or_insert_with(new)
    }

    fn count(&mut self, now: Instant) -> Verdict {
        if self.is_off() {
            return Verdict::Pass;
        }
        if let Some(until) = self.muted_until().filter(|until| *until > now) {
            return Verdict::Refuse(until - now);
        }
        self.relax(now);
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + self.interval();
        let wait = (full_at - now).saturating_sub(self.capacity());
        self.full_at = Some(full_at);
        if wait.is_zero() {
            return Verdict::Pass;
        }
        self.delays = self.delays.saturating_add(1);
        match self.delays {
            delays if delays == self.limits.mute_after => self.mute(now),
            delays if delays == self.limits.warn_after => Verdict::Warn(wait),
            _ => Verdict::Delay(wait),
        }
    }

    /// Returns the time in which the bucket refills one line. It is rounded up, so that the rate is
    /// never exceeded.
    fn interval(&self) -> Duration {
        Duration::from_nanos(1_000_000_000_u64.div_ceil(self.limits.rate_per_second.into()))
    }

    /// Returns the time in which an empty bucket fills.
    fn capacity(&self) -> Duration {
        self.interval() * self.limits.burst.into()
    }

    /// Resets the count of delayed lines if the bucket is at least half full. After a long pause,
    /// resets the count of mutes too.
    fn relax(&mut self, now: Instant) {
        let Some(full_at) = self.full_at else { return };
        if full_at.saturating_duration_since(now) <= self.capacity() / 2 {
            self.delays = 0;
        }
        if now.saturating_duration_since(full_at) >= FORGIVEN_AFTER {
            self.mutes = 0;
        }
    }

    fn mute(&mut self, now: Instant) -> Verdict {
        let doubled = u64::from(self.limits.mute_seconds) << self.mutes.min(16);
        let length = Duration::from_secs(doubled.min(self.limits.mute_seconds_max.into()));
        self.mutes = self.mutes.saturating_add(1);
        // If the session did not wait out the delays, their lines also extend the mute.
        let full_at = self.full_at.unwrap_or(now).max(now + length + self.capacity());
        self.full_at = Some(full_at);
        self.aside(now).muted_until = Some(full_at - self.capacity());
        Verdict::Mute(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn start() -> Instant {
        Instant::now()
    }

    /// Simulates a client that always has a line ready: sends one line, and waits as long as the
    /// verdict says.
    fn push(flood: &mut Flood, now: &mut Instant) -> Verdict {
        let verdict = flood.line(*now);
        if let Verdict::Delay(wait) | Verdict::Warn(wait) = verdict {
            *now += wait;
        }
        verdict
    }

    #[test]
    fn the_limiter_is_small() {
        assert!(size_of::<Flood>() <= 40, "{}", size_of::<Flood>());
    }

    /// Fault 69: a user who writes too fast is first delayed, then warned, then muted.
    #[test]
    fn a_user_who_keeps_writing_too_fast_is_muted() {
        let (mut flood, mut now) = (Flood::new(FloodLimits::default()), start());
        let begin = now;
        let verdicts: Vec<_> = (0..20 + 75).map(|_| push(&mut flood, &mut now)).collect();
        let tick = Duration::from_millis(200);
        assert!(verdicts[..20].iter().all(|&verdict| verdict == Verdict::Pass));
        assert!(verdicts[20..44].iter().all(|&verdict| verdict == Verdict::Delay(tick)));
        assert_eq!(verdicts[44], Verdict::Warn(tick));
        assert!(verdicts[45..94].iter().all(|&verdict| verdict == Verdict::Delay(tick)));
        assert_eq!(verdicts[94], Verdict::Mute(seconds(30)));
        assert_eq!(now - begin, tick * 74);
        assert_eq!(flood.line(now), Verdict::Refuse(seconds(30)), "a mute is announced only once");
        assert_eq!(flood.line(now + seconds(29)), Verdict::Refuse(seconds(1)));
        assert_eq!(flood.line(now + seconds(31)), Verdict::Pass);
    }

    /// Issue 11, item 9: a mute refuses no command, and counts the lines that it refuses.
    #[test]
    fn regression_commands_pass_while_muted_and_lost_lines_are_counted() {
        let (mut flood, mut now) = (Flood::new(FloodLimits::default()), start());
        while !matches!(push(&mut flood, &mut now), Verdict::Mute(_)) {}
        assert!((0..104).all(|_| matches!(flood.line(now), Verdict::Refuse(_))));
        assert!(flood.is_muted());
        assert!((0..5).all(|_| flood.command(now) == Verdict::Pass), "five pass at once");
        assert_eq!(flood.command(now), Verdict::Delay(seconds(1)), "then one per second passes");
        assert_eq!(flood.end_mute(now + seconds(29)), None);
        assert_eq!(flood.end_mute(now + seconds(30)), Some(105));
        assert_eq!((flood.end_mute(now + seconds(30)), flood.is_muted()), (None, false));
        assert_eq!(flood.line(now + seconds(30)), Verdict::Delay(Duration::from_millis(200)));
    }

    /// Issue 11, item 9: without a mute, commands count as lines. A command that starts a mute is
    /// not counted as lost.
    #[test]
    fn regression_a_command_that_begins_a_mute_is_not_counted_as_lost() {
        let (mut flood, mut now) = (Flood::new(FloodLimits::default()), start());
        let mute = loop {
            match flood.command(now) {
                Verdict::Delay(wait) | Verdict::Warn(wait) => now += wait,
                Verdict::Pass => {}
                verdict => break verdict,
            }
        };
        assert_eq!(mute, Verdict::Mute(seconds(30)));
        assert_eq!(flood.end_mute(now + seconds(30)), Some(0));
    }

    /// Issue 11, item 9: a page's pings and questions never count as lines, and have their own
    /// limit.
    #[test]
    fn regression_questions_do_not_count_as_lines() {
        let (mut flood, now) = (Flood::new(FloodLimits::default()), start());
        assert!((0..50).all(|_| flood.question(now) == Verdict::Pass));
        assert_eq!(flood.question(now), Verdict::Delay(ASIDE_INTERVAL));
        assert!((0..20).all(|_| flood.line(now) == Verdict::Pass));
        let waits = (0..1000).map(|_| flood.question(now)).last();
        assert_eq!(waits, Some(Verdict::Delay(ASIDE_INTERVAL * 1001)));
    }

    #[test]
    fn mutes_double_up_to_a_maximum_and_are_forgiven() {
        let (mut flood, mut now) = (Flood::new(FloodLimits::default()), start());
        let mut mute = |now: &mut Instant| loop {
            if let Verdict::Mute(length) = push(&mut flood, now) {
                *now += length;
                assert_eq!(flood.end_mute(*now), Some(1));
                return length.as_secs();
            }
        };
        let lengths: Vec<_> = (0..7).map(|_| mute(&mut now)).collect();
        assert_eq!(lengths, [30, 60, 120, 240, 480, 600, 600]);
        now += FORGIVEN_AFTER + seconds(10);
        assert_eq!(mute(&mut now), 30);
    }

    #[test]
    fn a_pause_resets_the_count_of_delays() {
        let (mut flood, mut now) = (Flood::new(FloodLimits::default()), start());
        for _ in 0..20 {
            for _ in 0..20 + 20 {
                let verdict = push(&mut flood, &mut now);
                assert!(matches!(verdict, Verdict::Pass | Verdict::Delay(_)), "{verdict:?}");
            }
            now += seconds(4);
        }
    }

    #[test]
    fn a_mute_counts_lines_whose_delay_was_not_awaited() {
        let one = FloodLimits { rate_per_second: 1, burst: 1, ..FloodLimits::default() };
        let (mut flood, now) = (Flood::new(one), start());
        let last = (0..76).map(|_| flood.line(now)).last();
        assert_eq!(last, Some(Verdict::Mute(seconds(30))));
        // One line passes at once; the other lines take 75 seconds.
        assert_eq!(flood.line(now + seconds(31)), Verdict::Refuse(seconds(44)));
    }

    #[test]
    fn the_limiter_can_be_off() {
        let (mut flood, now) = (Flood::off(), start());
        assert!((0..1000).all(|_| flood.line(now) == Verdict::Pass));
    }

    #[test]
    fn limits_of_zero_count_as_one() {
        let limits = FloodLimits { rate_per_second: 0, burst: 0, ..FloodLimits::default() };
        let (mut flood, now) = (Flood::new(limits), start());
        assert_eq!(flood.line(now), Verdict::Pass);
        assert_eq!(flood.line(now), Verdict::Delay(seconds(1)));
    }

    /// Pauses between lines; most of them are zero.
    fn pauses_ms() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(prop_oneof![3 => Just(0), 1 => 0..2000_u64], 1..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// In any window of `t` seconds, at most `burst + rate * t` lines pass, whether or not the
        /// session waits out the delays.
        #[test]
        fn no_window_has_too_many_lines(
            rate_per_second in 1_u16..50,
            burst in 1_u16..30,
            mute_after in 0_u16..100,
            pauses_ms in pauses_ms(),
            waits in any::<bool>(),
        ) {
            let default = FloodLimits::default();
            let limits = FloodLimits { rate_per_second, burst, mute_after, ..default };
            let (mut flood, begin) = (Flood::new(limits), start());
            let (mut now, mut taken) = (begin, Vec::new());
            for pause in pauses_ms {
                now += Duration::from_millis(pause);
                match flood.line(now) {
                    Verdict::Pass => taken.push(now),
                    Verdict::Delay(wait) | Verdict::Warn(wait) => {
                        taken.push(now + wait);
                        now += if waits { wait } else { Duration::ZERO };
                    }
                    Verdict::Mute(_) | Verdict::Refuse(_) => {}
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let most = f64::from(burst)
                        + f64::from(rate_per_second) * (*to - *from).as_secs_f64() + 1e-6;
                    prop_assert!((last - first + 1) as f64 <= most);
                }
            }
        }
    }
}
