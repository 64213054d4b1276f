//! The time for which a thread polls before it is needed, adapted to the machine. Pure: time and
//! the counts of the system are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// Bounds of the adaptive time, and its first value.
const SHORTEST: Duration = Duration::from_micros(20);
const FIRST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_micros(300);

/// After each wake-up, the adaptive time comes nearer to the delay of this wake-up by this part. So
/// it covers the delays of about the last thousand wake-ups.
const DECAY: u32 = 1024;

/// The least time over which a core is judged.
const WINDOW: Duration = Duration::from_millis(100);

/// Windows in a row in which another thread needed the core, before it is given back. A single
/// burst of other work is no reason.
const WINDOWS_NEEDED: u32 = 2;

/// Involuntary context switches in [`WINDOW`] from which on another thread needs the core.
const SWITCHES: u32 = 5;

/// A gap between two polls that only a thread without a core has.
const GAP: Duration = Duration::from_millis(1);

/// The part of the time in such gaps (1 / this) from which on the core is needed: a limit of
/// processor time (cgroups(7)) shows in this way.
const GAPS_DIVISOR: u32 = 10;

/// Bounds of the pause after which a core is tried again. It doubles each time.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LONGEST: Duration = Duration::from_secs(32);

/// The time for which a thread polls, without sleeping, before each due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polling {
    /// For this time.
    Fixed(Duration),
    /// For as long as wake-ups take on this machine, 20 µs to 300 µs. If another thread needs the
    /// core, not for a while.
    Adaptive,
}

/// The use of polling so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PollingUse {
    /// The time for which the thread polled.
    pub polled: Duration,
    /// Pauses in which it did not, because another thread needed the core.
    pub pauses: u32,
}

/// Decides when a thread polls.
#[derive(Debug)]
pub(super) struct PollingControl {
    polling: Polling,
    /// The time for which the thread polls before a due time, if it is adaptive.
    length: Duration,
    /// The last poll of the present stretch.
    last_poll: Option<Instant>,
    window: Option<PollWindow>,
    /// Windows in a row, up to the last one, in which another thread needed the core.
    needed: u32,
    paused_until: Option<Instant>,
    /// The next pause.
    pause: Duration,
    used: PollingUse,
}

/// The time over which a core is judged.
#[derive(Debug)]
struct PollWindow {
    began: Instant,
    /// Involuntary context switches of the thread before it.
    switches: u64,
    /// The sum of long gaps between polls.
    gaps: Duration,
}

impl PollingControl {
    pub(super) fn new(polling: Polling) -> Self {
        Self {
            polling,
            length: FIRST,
            last_poll: None,
            window: None,
            needed: 0,
            paused_until: None,
            pause: PAUSE_FIRST,
            used: PollingUse::default(),
        }
    }

    /// Returns the time before a due time at which polling begins: zero during a pause.
    pub(super) fn length(&mut self, now: Instant) -> Duration {
        match self.polling {
            Polling::Fixed(length) => length,
            Polling::Adaptive if self.paused_until.is_some_and(|until| now < until) => {
                Duration::ZERO
            }
            Polling::Adaptive => {
                self.paused_until = None;
                self.length
            }
        }
    }

    /// Notes that a timer woke the thread this long after its time.
    pub(super) fn note_wake_up(&mut self, delay: Duration) {
        let wanted = (delay + delay / 4).clamp(SHORTEST, LONGEST);
        self.length = match self.length.checked_sub(wanted) {
            Some(excess) => self.length - excess / DECAY,
            None => wanted,
        };
    }

    /// Notes a poll.
    pub(super) fn note_poll(&mut self, now: Instant) {
        if let Some(last) = self.last_poll.replace(now) {
            let since = now.saturating_duration_since(last);
            if since < GAP {
                self.used.polled += since;
            } else if let Some(window) = &mut self.window {
                window.gaps += since;
            }
        }
    }

    /// Ends a stretch of polls. `switches` returns the involuntary context switches of the thread
    /// so far; it is called only at the end of a window.
    pub(super) fn end_stretch(&mut self, now: Instant, switches: impl FnOnce() -> u64) {
        if self.last_poll.is_none() {
            return;
        }
        self.note_poll(now);
        self.last_poll = None;
        if self.polling != Polling::Adaptive {
            return;
        }
        let Some(window) = &self.window else {
            self.window =
                Some(PollWindow { began: now, switches: switches(), gaps: Duration::ZERO });
            return;
        };
        let length = now.saturating_duration_since(window.began);
        if length < WINDOW {
            return;
        }
        let switches = switches();
        let new = switches.saturating_sub(window.switches) as f64;
        let allowed = f64::from(SWITCHES) * length.as_secs_f64() / WINDOW.as_secs_f64();
        let is_needed = new >= allowed || window.gaps * GAPS_DIVISOR >= length;
        self.window = Some(PollWindow { began: now, switches, gaps: Duration::ZERO });
        if is_needed {
            self.needed += 1;
            if self.needed >= WINDOWS_NEEDED {
                self.give_back(now);
            }
        } else {
            self.needed = 0;
            self.pause = (self.pause - self.pause / 64).max(PAUSE_FIRST);
        }
    }

    fn give_back(&mut self, now: Instant) {
        self.used.pauses += 1;
        (self.window, self.needed) = (None, 0);
        self.paused_until = Some(now + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_LONGEST);
    }

    /// Returns what polling took so far.
    pub(super) fn used(&self) -> PollingUse {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);
    const MILLI: Duration = Duration::from_millis(1);

    /// A thread with a simulated clock: each due time comes a millisecond after the last one.
    struct Simulation {
        control: PollingControl,
        now: Instant,
        switches: u64,
    }

    impl Simulation {
        fn new(polling: Polling) -> Self {
            Self { control: PollingControl::new(polling), now: Instant::now(), switches: 0 }
        }

        /// Sleeps and polls until the next due time; returns the time for which it polled.
        fn wait(&mut self, timer_delay: Duration, poll_takes: Duration) -> Duration {
            let due = self.now + MILLI;
            let length = self.control.length(self.now);
            let begin = due - length + timer_delay;
            self.control.note_wake_up(timer_delay);
            self.now = self.now.max(begin);
            let from = self.now;
            while length > Duration::ZERO && self.now < due {
                self.control.note_poll(self.now);
                self.now += poll_takes;
            }
            self.control.end_stretch(self.now, || self.switches);
            self.now - from
        }
    }

    #[test]
    fn a_fixed_time_stays_as_it_is() {
        let mut thread = Simulation::new(Polling::Fixed(50 * MICRO));
        for _ in 0..1000 {
            thread.switches += 100;
            assert_eq!(thread.wait(Duration::ZERO, MICRO), 50 * MICRO);
        }
        assert_eq!(thread.control.used(), PollingUse { polled: 50 * MILLI, pauses: 0 });
        let mut never = Simulation::new(Polling::Fixed(Duration::ZERO));
        never.wait(30 * MICRO, MICRO);
        assert_eq!(never.control.used(), PollingUse::default());
    }

    #[test]
    fn the_time_follows_the_delays_of_the_timer() {
        let mut control = PollingControl::new(Polling::Adaptive);
        let now = Instant::now();
        assert_eq!(control.length(now), FIRST);
        control.note_wake_up(200 * MICRO);
        assert_eq!(control.length(now), 250 * MICRO);
        // One long delay in a hundred is still covered when the next one comes.
        for _ in 0..100 {
            control.note_wake_up(8 * MICRO);
        }
        assert!(control.length(now) > 220 * MICRO, "{:?}", control.length(now));
        for _ in 0..10_000 {
            control.note_wake_up(8 * MICRO);
        }
        let length = control.length(now);
        assert!(length < SHORTEST + 2 * MICRO && length >= SHORTEST, "{length:?}");
        control.note_wake_up(Duration::from_secs(1));
        assert_eq!(control.length(now), LONGEST);
    }

    #[test]
    fn an_idle_core_is_kept() {
        let mut thread = Simulation::new(Polling::Adaptive);
        for millisecond in 0..60_000 {
            // Threads of the kernel interrupt every thread now and then.
            thread.switches += u64::from(millisecond % 50 == 0);
            let polled = thread.wait(10 * MICRO, MICRO);
            assert!(polled >= 10 * MICRO, "after {millisecond} ms: {polled:?}");
        }
        assert_eq!(thread.control.used().pauses, 0);
    }

    /// Each pause is twice as long as the one before, so a busy core is left alone.
    #[test]
    fn a_needed_core_is_given_back_and_tried_again() {
        let mut thread = Simulation::new(Polling::Adaptive);
        for _ in 0..120_000 {
            thread.switches += 1;
            thread.wait(10 * MICRO, MICRO);
        }
        let used = thread.control.used();
        // Pauses of 1, 2, 4, 8, 16, 32 and 32 s, and three windows before each.
        assert!((6..=8).contains(&used.pauses), "{used:?}");
        assert!(used.polled < Duration::from_millis(200), "{used:?}");
        // When the core is idle again, the thread polls again.
        for _ in 0..40_000 {
            thread.wait(10 * MICRO, MICRO);
        }
        assert!(thread.wait(10 * MICRO, MICRO) > Duration::ZERO);
    }

    #[test]
    fn a_single_burst_of_other_work_is_no_reason_to_pause() {
        let mut thread = Simulation::new(Polling::Adaptive);
        for millisecond in 0..60_000 {
            // A tenth of a second of other work in every second.
            thread.switches += u64::from(millisecond % 1000 < 90);
            thread.wait(10 * MICRO, MICRO);
        }
        assert_eq!(thread.control.used().pauses, 0);
    }

    /// A limit of processor time stops a thread in the middle of its polls.
    #[test]
    fn a_thread_that_is_stopped_while_it_polls_gives_the_core_back() {
        let mut thread = Simulation::new(Polling::Adaptive);
        for round in 0..1000 {
            let gap = if round % 10 == 0 { 20 * MILLI } else { MICRO };
            thread.wait(10 * MICRO, gap);
        }
        assert!(thread.control.used().pauses > 0, "{:?}", thread.control.used());
    }
}
