//! Simulates a chat on several nodes, with thousands of seeds, in which nodes and links fail. The
//! test checks that all nodes have the same state, that no line is lost without a notice or
//! delivered twice, and that members are still present.
//!
//! `ECHOLINE_SEEDS` sets the number of seeds, and `ECHOLINE_SEED` runs one. `ECHOLINE_TRANSCRIPT`
//! also prints the output of the users whose names start with its value. `scripts/simulate.sh` runs
//! as many seeds as its time allows.
#![allow(clippy::print_stderr, reason = "the harness shows it where a test fails")]

mod chat_harness;
mod cluster;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cluster::{check, evening};

/// Seeds of a normal run.
const SEEDS: u64 = 120;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

fn run(seed: u64) -> Result<(), String> {
    let tried = std::panic::catch_unwind(|| {
        let outcome = evening::run(seed);
        if let Ok(name) = std::env::var("ECHOLINE_TRANSCRIPT") {
            show(&outcome, &name);
        }
        check::check(&outcome).map_err(|what| format!("{what}\n{:?}", outcome.terms))
    });
    let result = tried.unwrap_or_else(|_| Err("something panicked".into()));
    result.map_err(|what| {
        format!(
            "seed {seed}: {what}\nrun it again: ECHOLINE_SEED={seed} cargo test --test chat_cluster"
        )
    })
}

fn show(outcome: &evening::Outcome, name: &str) {
    for entry in &outcome.entries {
        let payload = String::from_utf8_lossy(&entry.payload);
        eprintln!("{} {} {payload}", entry.sequence, entry.time_ms);
    }
    for visit in outcome.visits.iter().filter(|visit| visit.name.starts_with(name)) {
        eprintln!("{} {:?} {}\n{}", visit.name, visit.sight, visit.has_stayed, visit.heard);
    }
}

/// Fault 67, Fault 68: whatever fails for however long, all is well within 15 s after it.
#[test]
fn nodes_stay_one_chat_whatever_fails() {
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
