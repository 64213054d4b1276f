//! Checks the chat's promises in thousands of simulations. Users, pipes and clocks behave in any
//! way. Still, all users see the lines in one order without gaps, and no user can harm another.
//!
//! `ECHOLINE_SEEDS` sets the number of seeds, and `ECHOLINE_SEED` runs a single one. The default
//! takes about a minute of processor time in a debug build. `scripts/simulate.sh` runs as many
//! seeds as its time allows.
#![allow(clippy::print_stderr, reason = "the output of a failed test is shown")]

mod seeds;
mod simulation;

use simulation::{model, world};

/// The number of seeds of a normal run. Every fortieth seed has many users.
const SEEDS: u64 = 1200;
const USERS: usize = 6;
const USERS_MANY: usize = 55;

fn users(seed: u64) -> usize {
    if seed.is_multiple_of(40) { USERS_MANY } else { USERS }
}

fn run(seed: u64) -> Result<(), String> {
    let outcome = world::run(seed, users(seed));
    if let Ok(mark) = std::env::var("ECHOLINE_TRANSCRIPT") {
        show(&outcome, &mark);
    }
    model::check(&outcome)
}

/// Prints the output of the connections whose mark begins with `mark`, for example `<3.`.
fn show(outcome: &world::Outcome, mark: &str) {
    eprintln!("{:?}", outcome.terms);
    for record in outcome.records.iter().filter(|record| record.mark.starts_with(mark)) {
        eprintln!("{} {:?} {:?}\n{}", record.mark, record.sight, record.end, record.text());
    }
}

/// Promises 1, 2, 3, 5, 6, 7, 8, 9 and 10. Fault 33: a client that stops reading costs the other
/// users nothing. Fault 58: the wall clock jumps. Fault 60: no user is left over.
#[test]
fn the_promises_hold_in_every_simulation() {
    seeds::check_all("chat_simulation", SEEDS, run);
}
