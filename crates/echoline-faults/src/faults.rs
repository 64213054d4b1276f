//! The current plan of a server, which can be replaced at run time, and the counts of injected
//! faults. Pure.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::error::FaultError;
use super::kind::FaultKind;
use super::kind::Per;
use super::plan::{Fault, FaultLayer, FaultPlan};
use echoline_base::poison::IgnorePoison;
use echoline_base::random::Random;

/// An active fault plan. It decides about connections and datagrams and counts the injected faults.
/// Clones share the plan and its counts.
///
/// The plan can be replaced at any time. The new plan applies to new connections. It applies to
/// open connections from the next message on, or at once if a connection waits because of the old
/// plan. A new plan resets all counts of connections and messages.
#[derive(Clone, Debug)]
pub struct Faults(Arc<FaultsInner>);

#[derive(Debug)]
struct FaultsInner {
    seed: u64,
    /// The number of the current plan, readable without taking the lock.
    version: AtomicU64,
    current: Mutex<CurrentPlan>,
    totals: Arc<FaultTotals>,
}

type FaultTotals = [AtomicU64; FaultKind::ALL.len()];

/// The current plan.
#[derive(Debug)]
struct CurrentPlan {
    plan_version: Arc<PlanVersion>,
    /// The number of connections that the plan has decided about.
    connections: u64,
    /// The number of these connections that each rule chose.
    chosen: Vec<u64>,
}

/// A plan with its version and its counts. All connections under this plan share it.
pub(crate) struct PlanVersion {
    pub plan: FaultPlan,
    version: u64,
    seed: u64,
    /// The number of faults that each rule has injected.
    counts: Vec<AtomicU64>,
    totals: Arc<FaultTotals>,
}

/// The decision of a plan about one connection.
#[derive(Clone, Debug)]
pub struct ConnectionFaults {
    faults: Faults,
    pub(crate) plan_version: Arc<PlanVersion>,
    /// The number of the connection, counted from 1.
    connection: u64,
    /// One bit for each rule. The bit is set if the rule applies to connections and has chosen this
    /// one.
    chosen: u64,
}

impl Faults {
    /// Activates `plan`. The same plan and the same `seed` give the same faults.
    #[must_use]
    pub fn new(plan: FaultPlan, seed: u64) -> Self {
        let totals = Arc::default();
        let current = CurrentPlan::new(PlanVersion::new(plan, 1, seed, &totals));
        Self(Arc::new(FaultsInner { seed, version: 1.into(), current: current.into(), totals }))
    }

    /// Returns the seed of all random decisions.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Returns the current plan.
    #[must_use]
    pub fn plan(&self) -> FaultPlan {
        self.current().plan_version.plan.clone()
    }

    /// Returns the text of the current plan, which parses to the same plan: one rule per line.
    #[must_use]
    pub fn plan_text(&self) -> String {
        self.current().plan_version.plan.to_string()
    }

    /// Parses a plan and replaces the current one.
    ///
    /// # Errors
    /// The first error in the text. The current plan stays active.
    pub fn set_plan(&self, text: &str) -> Result<(), FaultError> {
        self.replace(text.parse()?);
        Ok(())
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.replace(FaultPlan::default());
    }

    /// Replaces the current plan with `plan`.
    pub fn replace(&self, plan: FaultPlan) {
        let mut current = self.current();
        let version = current.plan_version.version + 1;
        *current = CurrentPlan::new(PlanVersion::new(plan, version, self.0.seed, &self.0.totals));
        self.0.version.store(version, Ordering::Release);
    }

    /// Returns the number of faults that each rule of the current plan has injected.
    #[must_use]
    pub fn counts(&self) -> Vec<(String, u64)> {
        let plan_version = Arc::clone(&self.current().plan_version);
        let counts = plan_version.counts.iter().map(|count| count.load(Ordering::Relaxed));
        plan_version.plan.rules.iter().map(ToString::to_string).zip(counts).collect()
    }

    /// Returns the number of injected faults of each kind, over all plans.
    #[must_use]
    pub fn totals(&self) -> Vec<(FaultKind, u64)> {
        let count = |kind: FaultKind| self.0.totals[kind.index()].load(Ordering::Relaxed);
        FaultKind::ALL.into_iter().map(|kind| (kind, count(kind))).collect()
    }

    /// Counts the next connection and decides about it.
    pub fn next_connection(&self) -> ConnectionFaults {
        let mut current = self.current();
        let (connection, chosen) = current.next_connection();
        let plan_version = Arc::clone(&current.plan_version);
        ConnectionFaults { faults: self.clone(), plan_version, connection, chosen }
    }

    fn current(&self) -> MutexGuard<'_, CurrentPlan> {
        // No code that holds the lock can panic.
        self.0.current.lock().ignore_poison()
    }
}

impl CurrentPlan {
    fn new(plan_version: PlanVersion) -> Self {
        let chosen = vec![0; plan_version.plan.rules.len()];
        Self { plan_version: Arc::new(plan_version), connections: 0, chosen }
    }

    /// Counts the next connection. Returns its number, and a word in which the bit of each rule
    /// that chooses it is set. The caller holds the lock, so that `count=3` chooses the same three
    /// connections in every run.
    fn next_connection(&mut self) -> (u64, u64) {
        self.connections += 1;
        let connection = self.connections;
        let mut bits = 0;
        for (index, rule) in self.plan_version.plan.rules.iter().enumerate() {
            if rule.per == Per::Message {
                continue;
            }
            let mut random = self.plan_version.random(index, &[connection]);
            let lucky = random.fraction() >= rule.when.probability;
            let spent = rule.when.count.is_some_and(|count| self.chosen[index] >= count.get());
            if !lucky && !spent && rule.when.is_turn(connection) {
                self.chosen[index] += 1;
                bits |= 1 << index;
            }
        }
        (connection, bits)
    }
}

impl PlanVersion {
    fn new(plan: FaultPlan, version: u64, seed: u64, totals: &Arc<FaultTotals>) -> Self {
        let counts = plan.rules.iter().map(|_| AtomicU64::new(0)).collect();
        Self { plan, version, seed, counts, totals: Arc::clone(totals) }
    }

    /// Returns the generator with which the rule at `index` decides about the connection or message
    /// that `numbers` identify.
    fn random(&self, index: usize, numbers: &[u64]) -> Random {
        Random::of(&[&[self.seed, index as u64], numbers].concat())
    }

    /// Counts an injected fault of a rule.
    pub(crate) fn note(&self, index: usize) {
        self.counts[index].fetch_add(1, Ordering::Relaxed);
        let kind = self.plan.rules[index].kind();
        self.totals[kind.index()].fetch_add(1, Ordering::Relaxed);
    }
}

impl ConnectionFaults {
    /// Returns whether the plan has been replaced since this decision.
    #[inline]
    pub fn is_outdated(&self) -> bool {
        self.faults.0.version.load(Ordering::Acquire) != self.plan_version.version
    }

    /// Returns the decision of the current plan about the connection, which counts as a new one for
    /// that plan.
    pub fn renewed(&self) -> Self {
        self.faults.next_connection()
    }

    /// Returns a decision without rules, for the socket layer after a change of plan. Socket rules
    /// apply only to connections that were accepted under their plan, and the text layer counts the
    /// connection for the new plan.
    pub fn without_rules(&self) -> Self {
        let version = self.faults.0.version.load(Ordering::Acquire);
        let totals = &self.plan_version.totals;
        let plan_version =
            PlanVersion::new(FaultPlan::default(), version, self.plan_version.seed, totals);
        Self { plan_version: Arc::new(plan_version), chosen: 0, ..self.clone() }
    }

    /// Returns whether a rule applies to the socket, below TLS and WebSocket.
    pub fn has_socket_rules(&self) -> bool {
        self.plan_version.plan.rules.iter().any(|rule| rule.layer == FaultLayer::Socket)
    }

    /// Returns whether the rule at `index`, which chooses connections, has chosen this one.
    pub fn is_chosen(&self, index: usize) -> bool {
        self.chosen >> index & 1 == 1
    }

    /// Returns the generator with which the rule at `index` decides about a message of this
    /// connection.
    pub fn random(&self, index: usize, direction: u64, message: u64) -> Random {
        self.plan_version.random(index, &[self.connection, direction, message])
    }

    /// Returns whether a rule refuses the connection, and counts that fault. If so, the caller
    /// resets the connection before it sends a byte.
    pub fn refuse(&self) -> bool {
        let rules = &self.plan_version.plan.rules;
        let refuses = |index: &usize| rules[*index].fault == Fault::Refuse;
        let refusing = (0..rules.len()).filter(refuses).find(|index| self.is_chosen(*index));
        if let Some(index) = refusing {
            self.plan_version.note(index);
        }
        refusing.is_some()
    }
}

impl fmt::Debug for PlanVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edition").field("version", &self.version).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(plan: &str, seed: u64) -> Faults {
        Faults::new(plan.parse().unwrap(), seed)
    }

    fn refused(faults: &Faults, connections: u64) -> Vec<u64> {
        (1..=connections).filter(|_| faults.next_connection().refuse()).collect()
    }

    fn refused_by(plan: &str) -> Vec<u64> {
        refused(&faults(plan, 7), 9)
    }

    #[test]
    fn connections_are_chosen_by_number() {
        assert_eq!(refused_by("refuse first=2"), [1, 2]);
        assert_eq!(refused_by("refuse every=3"), [3, 6, 9]);
        assert_eq!(refused_by("refuse every=3 count=2"), [3, 6]);
        assert_eq!(refused_by("refuse at=5"), [5]);
        assert_eq!(refused_by("refuse p=0"), [0; 0]);
        assert_eq!(refused_by("refuse at=5\nrefuse at=7"), [5, 7]);
    }

    #[test]
    fn the_same_seed_chooses_the_same_connections() {
        let plan = "refuse p=0.5";
        let ours = refused(&faults(plan, 1), 1000);
        assert_eq!(refused(&faults(plan, 1), 1000), ours);
        assert_ne!(refused(&faults(plan, 2), 1000), ours);
        assert!((400..600).contains(&ours.len()), "{}", ours.len());
        let few = refused(&faults("refuse p=0.5 count=3", 1), 1000);
        assert_eq!(few, ours[..3]);
    }

    #[test]
    fn a_new_plan_resets_its_counts_but_not_the_totals() {
        let faults = faults("refuse first=1", 1);
        let old = faults.next_connection();
        assert!(old.refuse() && !faults.next_connection().refuse() && !old.is_outdated());
        assert_eq!(faults.counts(), [("refuse first=1".to_owned(), 1)]);
        faults.set_plan("refuse at=2 # the second").unwrap();
        assert!(old.is_outdated());
        assert_eq!(faults.plan_text(), "refuse at=2\n");
        assert_eq!(faults.counts(), [("refuse at=2".to_owned(), 0)]);
        assert!(!faults.next_connection().refuse() && faults.next_connection().refuse());
        assert_eq!(faults.totals()[FaultKind::Refuse.index()], (FaultKind::Refuse, 2));
        assert!(faults.set_plan("refuse at=none").is_err());
        assert_eq!(faults.plan_text(), "refuse at=2\n");
        faults.clear();
        assert!(faults.plan_text().is_empty() && !faults.next_connection().refuse());
    }
}
