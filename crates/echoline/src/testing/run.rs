//! The run of a test: its server, its seed, and its patience.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::server::in_memory::InMemoryServer;

/// The environment variable that sets the seed of all tests.
const SEED_VARIABLE: &str = "ECHOLINE_SEED";

/// The parts of a test that its server and its clients share.
pub(super) struct TestRun {
    pub(super) server: InMemoryServer,
    pub(super) patience: Duration,
    pub(super) seed: u64,
    /// The number of clients that have connected.
    clients: AtomicU64,
    is_seed_shown: AtomicBool,
}

impl TestRun {
    pub(super) fn new(server: InMemoryServer, patience: Duration, seed: u64) -> Self {
        let (clients, is_seed_shown) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { server, patience, seed, clients, is_seed_shown }
    }

    /// Returns the number of the next client, counted from 1.
    pub(super) fn next_client(&self) -> u64 {
        self.clients.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the line end of the server.
    pub(super) fn eol(&self) -> &'static str {
        self.server.eol().as_str()
    }

    /// Returns the sentence that says how to repeat the test.
    pub(super) fn seed_note(&self) -> String {
        let seed = self.seed;
        format!("the split points are those of seed {seed}: repeat with {SEED_VARIABLE}={seed}")
    }

    /// Notes that the failure has shown the seed.
    pub(super) fn note_seed_shown(&self) {
        self.is_seed_shown.store(true, Ordering::Relaxed);
    }
}

impl Drop for TestRun {
    #[expect(clippy::print_stderr, reason = "a test prints the seed of its failure")]
    fn drop(&mut self) {
        if std::thread::panicking() && !*self.is_seed_shown.get_mut() {
            eprintln!("echoline::testing: {}", self.seed_note());
        }
    }
}

/// Returns the seed that the environment sets, or else a random one.
///
/// # Panics
/// If the environment sets something else than a number.
pub(super) fn seed() -> u64 {
    let Some(seed) = std::env::var_os(SEED_VARIABLE) else {
        return RandomState::new().hash_one(SEED_VARIABLE);
    };
    let parsed = seed.to_str().and_then(|seed| seed.parse().ok());
    parsed.unwrap_or_else(|| panic!("{SEED_VARIABLE}={} is not a number", seed.display()))
}
