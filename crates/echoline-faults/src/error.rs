//! The errors in a plan. Each of them prints as one sentence. Pure.

use super::kind::FaultKind;
use super::plan::RULES_MAX;

/// The keys of rules.
pub(crate) const KEYS: &[&str] = &[
    "p",
    "skip",
    "first",
    "every",
    "at",
    "count",
    "after",
    "offset",
    "direction",
    "per",
    "rate",
    "gap",
    "layer",
];

/// The error in the text of a plan. It prints as one sentence, which shows the wrong text and how
/// to correct it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// A rule is empty.
    #[error("an empty rule: write for example 'delay=50ms p=0.1'")]
    Empty,
    /// No fault has this name.
    #[error("'{rule}': there is no fault '{kind}'{}", hint(.nearest))]
    UnknownKind {
        /// The text of the rule.
        rule: String,
        /// The first word of the rule.
        kind: String,
        /// The most similar kind of fault.
        nearest: Option<&'static str>,
    },
    /// No rule accepts a key of this name.
    #[error("'{rule}': there is no '{key}'{}", key_hint(.nearest))]
    UnknownKey {
        /// The text of the rule.
        rule: String,
        /// The key.
        key: String,
        /// The most similar key.
        nearest: Option<&'static str>,
    },
    /// The value of a key is invalid.
    #[error("'{rule}': '{value}' is not a {wanted}")]
    WrongValue {
        /// The text of the rule.
        rule: String,
        /// The invalid value.
        value: String,
        /// A description of the expected value, with an example.
        wanted: &'static str,
    },
    /// The key occurs twice.
    #[error("'{rule}': '{key}' occurs twice; keep one of them")]
    Twice {
        /// The text of the rule.
        rule: String,
        /// The key.
        key: String,
    },
    /// This fault does not accept the key.
    #[error("'{rule}': {kind} takes no {key}; leave it out, as in '{}'", .kind.example())]
    Misplaced {
        /// The text of the rule.
        rule: String,
        /// The fault.
        kind: FaultKind,
        /// The key or value that this kind does not accept.
        key: String,
    },
    /// A value that the fault requires is missing.
    #[error("'{rule}': {kind} needs {what}: write for example '{}'", .kind.example())]
    Missing {
        /// The text of the rule.
        rule: String,
        /// The fault.
        kind: FaultKind,
        /// The missing value.
        what: &'static str,
    },
    /// The plan has more than 64 rules.
    #[error("there are more than {RULES_MAX} rules: remove some")]
    TooMany,
    /// The error in a plan of several lines.
    #[error("line {number}: {error}")]
    Line {
        /// The number of the line, counted from 1.
        number: usize,
        /// The error in that line.
        error: Box<Self>,
    },
}

fn hint(nearest: &Option<&'static str>) -> String {
    let names = || FaultKind::ALL.map(FaultKind::name).join(", ");
    match nearest {
        Some(name) => format!("; did you mean '{name}'?"),
        None => format!("; there are {}", names()),
    }
}

fn key_hint(nearest: &Option<&'static str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean '{name}'?"),
        None => format!("; there are {}", KEYS.join(", ")),
    }
}
