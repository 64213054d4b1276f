//! Catches panics, and repeats failed work on a thread.

use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// The error of work that panicked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it panicked ({message:?})")]
pub struct Panicked {
    /// The message of the panic.
    pub message: String,
}

/// Runs `work` and returns a panic as an error. The caller must drop all state that the work may
/// have left incomplete.
///
/// # Errors
/// [`Panicked`], with the message of the panic.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|payload| Panicked { message: panic_message(&*payload).to_owned() })
}

/// Returns the message in the payload of a panic.
pub fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message")
}

/// Repeats `attempt` on this thread until it succeeds. After each failure or panic it calls `rest`
/// with the error and the delay before the next attempt. `rest` either waits for that delay or
/// returns `Break`, which ends the attempts.
///
/// An attempt that took longer than `steady` resets the delays.
#[expect(clippy::disallowed_methods, reason = "threads live in real time")]
pub fn supervise<E: From<Panicked>>(
    mut backoff: Backoff,
    steady: Duration,
    mut attempt: impl FnMut() -> Result<(), E>,
    mut rest: impl FnMut(E, Duration) -> ControlFlow<()>,
) {
    loop {
        let since = Instant::now();
        let outcome = catch_panic(&mut attempt).unwrap_or_else(|panicked| Err(panicked.into()));
        let Err(error) = outcome else { return };
        if since.elapsed() > steady {
            backoff.reset();
        }
        if rest(error, backoff.next_delay()).is_break() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// Fault 55: after background work has panicked, the process continues and repeats the work.
    #[test]
    fn repeats_work_that_panics_or_fails() {
        let (mut begun, mut rests) = (0, Vec::new());
        supervise(
            Backoff::new(MILLI, 10 * MILLI),
            Duration::MAX,
            || {
                begun += 1;
                match begun {
                    1 => panic!("on purpose"),
                    2 => Err(Panicked { message: "failed".to_owned() }),
                    _ => Ok(()),
                }
            },
            |error, delay| {
                rests.push((error.message, delay));
                ControlFlow::Continue(())
            },
        );
        assert_eq!(begun, 3);
        assert_eq!(rests, [("on purpose".to_owned(), MILLI), ("failed".to_owned(), 2 * MILLI)]);
    }

    #[test]
    fn gives_up_when_rest_returns_break() {
        let mut attempts = 0;
        let attempt = || {
            attempts += 1;
            Err(Panicked { message: String::new() })
        };
        supervise(
            Backoff::new(MILLI, MILLI),
            Duration::MAX,
            attempt,
            |_, _| ControlFlow::Break(()),
        );
        assert_eq!(attempts, 1);
    }

    #[test]
    fn a_steady_attempt_resets_the_delays() {
        let mut delays = Vec::new();
        let attempt = || {
            std::thread::sleep(MILLI);
            Err(Panicked { message: String::new() })
        };
        supervise(Backoff::new(MILLI, 10 * MILLI), Duration::ZERO, attempt, |_, delay| {
            delays.push(delay);
            if delays.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(delays, [MILLI; 3]);
    }

    #[test]
    fn the_message_of_a_panic_is_kept() {
        let number = 7;
        let caught = |work: fn(i32)| catch_panic(|| work(number)).unwrap_err().message;
        assert_eq!(caught(|_| panic!("a text")), "a text");
        assert_eq!(caught(|number| panic!("number {number}")), "number 7");
        assert_eq!(caught(|_| std::panic::panic_any(7_u8)), "no message");
        assert_eq!(catch_panic(|| 5), Ok(5));
    }
}
