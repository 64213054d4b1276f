//! Runs a simulation with many seeds on two threads, and reports the seeds that fail.
//!
//! `ECHOLINE_SEEDS` sets the number of seeds, `ECHOLINE_FIRST_SEED` sets the first one, and
//! `ECHOLINE_SEED` runs a single one.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::panic::{RefUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of failures after which no further seeds are run.
const FAILURES_MAX: usize = 5;

/// Panics if `check` fails or panics for one of `count` seeds. `test` is the name of the test file,
/// for the command that repeats a failure.
pub(crate) fn check_all(
    test: &str,
    count: u64,
    check: impl Fn(u64) -> Result<(), String> + RefUnwindSafe + Sync,
) {
    let run = |seed: u64| {
        let result = catch_unwind(|| check(seed));
        let result = result.unwrap_or_else(|_| Err("something panicked".into()));
        result.map_err(|what| {
            format!(
                "seed {seed}: {what}\nrun it again: ECHOLINE_SEED={seed} \
                 cargo test -p echoline-chat --test {test}"
            )
        })
    };
    if let Some(seed) = number("ECHOLINE_SEED") {
        return run(seed).unwrap();
    }
    let first = number("ECHOLINE_FIRST_SEED").unwrap_or(0);
    let (next, end) = (AtomicU64::new(first), first + number("ECHOLINE_SEEDS").unwrap_or(count));
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let seed @ 0.. = next.fetch_add(1, Ordering::Relaxed)
            && seed < end
            && failed.lock().unwrap().len() < FAILURES_MAX
        {
            if let Err(what) = run(seed) {
                failed.lock().unwrap().push(what);
            }
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}
