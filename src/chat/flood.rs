//! How fast one person may talk. Pure: time is an argument.
//!
//! A token bucket, as the one number that is enough for it: when the bucket will be full again
//! (the generic cell rate algorithm, ITU-T I.371). It delays first, speaks second, mutes last.

use std::time::{Duration, Instant};

/// A mute is forgiven when its owner has been calm for so long.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// How fast one person may talk, and what happens to whoever is faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloodLimits {
    /// Lines that are taken in each second, in the long run; at least 1.
    pub rate_per_second: u16,
    /// Lines that are taken at once after a pause; at least 1.
    pub burst: u16,
    /// The delayed line in a row at which the person is warned; 0 is never.
    pub warn_after: u16,
    /// The delayed line in a row at which the person is muted; 0 is never.
    pub mute_after: u16,
    /// How long the first mute is, in seconds; each further one is twice as long.
    pub mute_seconds: u16,
    /// The longest mute, in seconds.
    pub mute_seconds_max: u16,
}

impl Default for FloodLimits {
    /// 5 lines per second, 20 at once. 45 pasted lines pass without a word, 94 with a warning:
    /// whoever sends more has pushed against the limit for 15 seconds without a pause.
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

/// What to do with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take it.
    Pass,
    /// Take it after this time, and read no further line before. Say nothing.
    Delay(Duration),
    /// As `Delay`, and say that the next thing is a mute.
    Warn(Duration),
    /// Refuse it, and say for how long all lines are refused.
    Mute(Duration),
    /// Refuse it without a word; for this time still.
    Refuse(Duration),
}

/// The talking of one person.
///
/// ```
/// use std::time::Duration;
/// use echoline::chat::{Flood, FloodLimits, Verdict};
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
    /// When the bucket is full again; `None` while nothing was said. While muted, the bucket is
    /// empty when the mute ends.
    full_at: Option<Instant>,
    /// `rate_per_second` is 0 where there is no limit.
    limits: FloodLimits,
    /// Delayed lines since the bucket was half full.
    delays: u16,
    /// Mutes that are not forgiven.
    mutes: u8,
    muted: bool,
}

impl Flood {
    /// Limits the talking of one person.
    #[must_use]
    pub fn new(limits: FloodLimits) -> Self {
        let rate_per_second = limits.rate_per_second.max(1);
        let limits = FloodLimits { rate_per_second, burst: limits.burst.max(1), ..limits };
        Self { full_at: None, limits, delays: 0, mutes: 0, muted: false }
    }

    /// Lets everything pass.
    #[must_use]
    pub fn off() -> Self {
        let mut flood = Self::new(FloodLimits::default());
        flood.limits.rate_per_second = 0;
        flood
    }

    /// Whether every line passes, so that nobody has to ask what time it is.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.limits.rate_per_second == 0
    }

    /// What to do with a line that came at `now`, which never goes back.
    pub fn line(&mut self, now: Instant) -> Verdict {
        if self.is_off() {
            return Verdict::Pass;
        }
        if let Some(rest) = self.muted_for(now) {
            return Verdict::Refuse(rest);
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

    /// The time that one line costs, rounded up, so that the rate is never exceeded.
    fn interval(&self) -> Duration {
        Duration::from_nanos(1_000_000_000_u64.div_ceil(self.limits.rate_per_second.into()))
    }

    /// The time in which an empty bucket fills.
    fn capacity(&self) -> Duration {
        self.interval() * self.limits.burst.into()
    }

    /// How long the mute lasts still; `None` where there is none, or it has just ended.
    fn muted_for(&mut self, now: Instant) -> Option<Duration> {
        let full_at = self.full_at.filter(|_| self.muted)?;
        let rest = full_at.saturating_duration_since(now).saturating_sub(self.capacity());
        if rest.is_zero() {
            (self.muted, self.delays) = (false, 0);
            return None;
        }
        Some(rest)
    }

    /// A half-full bucket ends a row of delays: a single line that just fitted does not. After a
    /// long calm, mutes are forgiven.
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
        self.muted = true;
        self.full_at = Some(now + length + self.capacity());
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

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// A client that always has a line ready, and a session that obeys: the verdicts, with time.
    fn push(flood: &mut Flood, now: &mut Instant) -> Verdict {
        let verdict = flood.line(*now);
        if let Verdict::Delay(wait) | Verdict::Warn(wait) = verdict {
            *now += wait;
        }
        verdict
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Flood>() <= 40, "{}", size_of::<Flood>());
    }

    /// Fault 69: delays first, speaks second, mutes last.
    #[test]
    fn whoever_keeps_it_up_is_muted() {
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
        assert_eq!(flood.line(now), Verdict::Refuse(seconds(30)), "said once");
        assert_eq!(flood.line(now + seconds(29)), Verdict::Refuse(seconds(1)));
        assert_eq!(flood.line(now + seconds(31)), Verdict::Pass);
    }

    #[test]
    fn mutes_double_up_to_an_end_and_are_forgiven() {
        let (mut flood, mut now) = (Flood::new(FloodLimits::default()), start());
        let mut mute = |now: &mut Instant| loop {
            if let Verdict::Mute(length) = push(&mut flood, now) {
                *now += length;
                return length.as_secs();
            }
        };
        let lengths: Vec<_> = (0..7).map(|_| mute(&mut now)).collect();
        assert_eq!(lengths, [30, 60, 120, 240, 480, 600, 600]);
        now += FORGIVEN_AFTER + seconds(10);
        assert_eq!(mute(&mut now), 30);
    }

    #[test]
    fn a_pause_ends_the_row_of_delays() {
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
    fn it_can_be_off() {
        let (mut flood, now) = (Flood::off(), start());
        assert!((0..1000).all(|_| flood.line(now) == Verdict::Pass));
    }

    #[test]
    fn limits_of_nothing_are_limits_of_one() {
        let limits = FloodLimits { rate_per_second: 0, burst: 0, ..FloodLimits::default() };
        let (mut flood, now) = (Flood::new(limits), start());
        assert_eq!(flood.line(now), Verdict::Pass);
        assert_eq!(flood.line(now), Verdict::Delay(seconds(1)));
    }

    proptest! {
        /// In any window of `t` seconds at most `burst + rate * t` lines pass, whether or not the
        /// session waits before it reads on.
        #[test]
        fn no_window_has_too_many_lines(
            rate_per_second in 1_u16..50,
            burst in 1_u16..30,
            mute_after in 0_u16..100,
            pauses_ms in prop::collection::vec(prop_oneof![3 => Just(0_u64), 1 => 0..2000_u64], 1..300),
            waits in any::<bool>(),
        ) {
            let limits = FloodLimits { rate_per_second, burst, mute_after, ..FloodLimits::default() };
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
