//! Simulates a chat on several nodes in which nodes and links fail, with many seeds. Checks that
//! all nodes have the same state, that no line is lost without a notice or delivered twice, and
//! that the lists of members are right.
//!
//! `ECHOLINE_SEEDS` sets the number of seeds, and `ECHOLINE_SEED` runs a single one. With
//! `ECHOLINE_TRANSCRIPT`, the output of the users whose names start with its value is printed too.
//! `scripts/simulate.sh` runs as many seeds as its time allows.
#![allow(clippy::print_stderr, reason = "the output of a failed test is shown")]

mod chat_harness;
mod cluster;
mod seeds;

use cluster::{check, evening};

/// The number of seeds of a normal run.
const SEEDS: u64 = 120;

fn run(seed: u64) -> Result<(), String> {
    let outcome = evening::run(seed);
    if let Ok(name) = std::env::var("ECHOLINE_TRANSCRIPT") {
        show(&outcome, &name);
    }
    check::check(&outcome).map_err(|what| format!("{what}\n{:?}", outcome.terms))
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

/// Faults 67 and 68: whatever fails, all nodes agree again within 15 s.
#[test]
fn all_nodes_agree_again_after_any_failure() {
    seeds::check_all("chat_cluster", SEEDS, run);
}
