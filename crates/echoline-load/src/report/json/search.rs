//! The search for the highest rate, as JSON and back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::times::nanos;
use crate::walk::{Purpose, Step, Walk};

#[derive(Serialize, Deserialize)]
pub(super) struct WalkDocument {
    objective: String,
    highest: Option<f64>,
    verdict: String,
    steps: Vec<StepDocument>,
}

#[derive(Serialize, Deserialize)]
struct StepDocument {
    rate: f64,
    achieved: f64,
    #[serde(with = "PurposeRemote")]
    purpose: Purpose,
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
    #[serde(rename = "p99.9_ns")]
    p999_ns: Option<u64>,
    errors: f64,
    #[serde(skip_deserializing)]
    held: bool,
    broken: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", remote = "Purpose")]
enum PurposeRemote {
    Bracket,
    Bisect,
    Confirm,
}

impl From<&Walk> for WalkDocument {
    fn from(walk: &Walk) -> Self {
        let step = |step: &Step| StepDocument {
            rate: step.rate,
            achieved: step.achieved,
            purpose: step.purpose,
            p50_ns: step.p50.map(nanos),
            p99_ns: step.p99.map(nanos),
            p999_ns: step.p999.map(nanos),
            errors: step.errors,
            held: step.held(),
            broken: step.broken.clone(),
        };
        Self {
            objective: walk.objective.clone(),
            highest: walk.highest,
            verdict: walk.verdict.clone(),
            steps: walk.steps.iter().map(step).collect(),
        }
    }
}

impl From<WalkDocument> for Walk {
    fn from(document: WalkDocument) -> Self {
        let step = |step: StepDocument| Step {
            rate: step.rate,
            achieved: step.achieved,
            purpose: step.purpose,
            p50: step.p50_ns.map(Duration::from_nanos),
            p99: step.p99_ns.map(Duration::from_nanos),
            p999: step.p999_ns.map(Duration::from_nanos),
            errors: step.errors,
            broken: step.broken,
        };
        Self {
            objective: document.objective,
            highest: document.highest,
            verdict: document.verdict,
            steps: document.steps.into_iter().map(step).collect(),
        }
    }
}
