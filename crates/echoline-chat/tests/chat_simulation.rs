//! Checks the chat's promises in thousands of simulations: with any behaviour of users, pipes and
//! clocks, all users see one order without gaps, and no user can harm another.
//!
//! `ECHOLINE_SEEDS` sets the number of seeds (the default takes about a minute of processor time in
//! a debug build), and `ECHOLINE_SEED` runs one. `scripts/simulate.sh` runs as many as its time
//! allows.
#![allow(clippy::print_stderr, reason = "the harness shows it where a test fails")]

mod simulation;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use simulation::{model, world};

/// Seeds of a normal run; every fortieth has as many users as a busy evening.
const SEEDS: u64 = 1200;
const USERS: usize = 6;
const USERS_MANY: usize = 55;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

fn users(seed: u64) -> usize {
    if seed.is_multiple_of(40) { USERS_MANY } else { USERS }
}

fn run(seed: u64) -> Result<(), String> {
    let tried = std::panic::catch_unwind(|| {
        let outcome = world::run(seed, users(seed));
        if let Ok(mark) = std::env::var("ECHOLINE_TRANSCRIPT") {
            show(&outcome, &mark);
        }
        model::check(&outcome)
    });
    let result = tried.unwrap_or_else(|_| Err("something panicked".into()));
    result.map_err(|what| {
        format!(
            "seed {seed}: {what}\nrun it again: ECHOLINE_SEED={seed} \
             cargo test --test chat_simulation"
        )
    })
}

/// Prints what the connections heard whose mark begins so: `ECHOLINE_TRANSCRIPT='<3.'`.
fn show(outcome: &world::Outcome, mark: &str) {
    eprintln!("{:?}", outcome.terms);
    for record in outcome.records.iter().filter(|record| record.mark.starts_with(mark)) {
        eprintln!("{} {:?} {:?}\n{}", record.mark, record.sight, record.end, record.text());
    }
}

/// Promises 1, 2, 3, 5, 6, 7, 8, 9 and 10. Fault 33: a stuck reader costs the others nothing;
/// Fault 58: the wall clock jumps; Fault 60: no user is left over.
#[test]
fn the_promises_hold_whatever_happens() {
    if let Some(seed) = number("ECHOLINE_SEED") {
        return run(seed).unwrap();
    }
    let first = number("ECHOLINE_FIRST_SEED").unwrap_or(0);
    let (next, end) = (AtomicU64::new(first), first + number("ECHOLINE_SEEDS").unwrap_or(SEEDS));
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let seed @ 0.. = next.fetch_add(1, Ordering::Relaxed)
            && seed < end
            && failed.lock().unwrap().len() < 5
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
