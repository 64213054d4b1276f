//! A chat on several nodes, on thousands of evenings on which nodes and links fail: all
//! nodes know the same, nothing that was said is lost without a word or heard twice, and who is
//! there is there.
//!
//! `ECHOLINE_SEEDS` says how many seeds, `ECHOLINE_SEED` runs one, and with `ECHOLINE_TRANSCRIPT`
//! also shows what those heard whose name begins so. `scripts/simulate.sh` runs as many as there
//! is time for.
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
