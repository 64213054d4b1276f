//! The numbers of a report file: their limits, their encodings, and the error of numbers out of
//! range.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

use crate::statistics::nanos::nanos;

/// The format name in the first field of every file. Its number changes when the meaning of a field
/// changes.
pub const FORMAT: &str = "echoline-load/1";

/// The largest number in a file. JSON readers that use doubles represent all integers up to it
/// exactly.
pub(super) const NUMBER_MAX: u64 = 1 << 53;

/// The maximum number of connections in a file. No system has more descriptors.
pub(super) const CLIENTS_MAX: u32 = 1 << 24;

/// The error for a text that is not a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The text is not JSON, or a field is missing.
    #[error("not a report of echoline load ({0})")]
    Json(#[from] serde_json::Error),
    /// The JSON has another format.
    #[error(
        "not a report of echoline load: its \"format\" is {0}, not \"{FORMAT}\"; give a file that \
         load --json wrote"
    )]
    Format(String),
    /// A field has an impossible value.
    #[error("its field {field} is wrong: {problem}")]
    Field {
        /// The path of the field, for example `measured.service.hdr`.
        field: String,
        /// A description of the problem.
        problem: &'static str,
    },
}

impl ReadError {
    pub(super) fn field(field: impl Into<String>, problem: &'static str) -> Self {
        Self::Field { field: field.into(), problem }
    }
}

/// Checks that a number is at most [`NUMBER_MAX`], so that sums do not overflow.
pub(super) fn bounded(number: u64, field: &str) -> Result<u64, ReadError> {
    let fits = number <= NUMBER_MAX;
    fits.then_some(number).ok_or_else(|| ReadError::field(field, "it is over 2^53"))
}

/// Reads a time from nanoseconds.
pub(super) fn time(nanos: u64, field: &str) -> Result<Duration, ReadError> {
    bounded(nanos, field).map(Duration::from_nanos)
}

/// Checks a time of a file.
pub(super) fn bounded_time(time: Duration, field: &str) -> Result<Duration, ReadError> {
    bounded(nanos(time), field).map(|_| time)
}

/// A seed: a number, or a string if many readers would round it. Older files have a number of any
/// size.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seed {
    Number(u64),
    Text(String),
}

pub(super) fn serialize_seed<S: Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    if *seed <= NUMBER_MAX { serializer.serialize_u64(*seed) } else { serializer.collect_str(seed) }
}

pub(super) fn deserialize_seed<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<u64, D::Error> {
    match Seed::deserialize(deserializer)? {
        Seed::Number(seed) => Ok(seed),
        Seed::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::super::sample;
    use crate::report::LoadReport;

    /// Issue 11, item 45: a reader whose numbers are doubles gets every seed exactly.
    #[test]
    fn regression_seeds_survive_readers_with_doubles() {
        for seed in [0, 7, 1 << 53, (1 << 53) + 1, u64::MAX] {
            let mut report = sample::open();
            report.settings.seed = seed;
            let json = report.to_json();
            let mut document: Value = serde_json::from_str(&json).unwrap();
            let written = &document["settings"]["seed"];
            let exact = written.as_u64().is_some_and(|number| number <= 1 << 53);
            assert!(exact || written.as_str() == Some(&seed.to_string()), "{written}");
            assert_eq!(LoadReport::from_json(&json).unwrap().settings.seed, seed);
            // Older versions wrote the seed as a number.
            document["settings"]["seed"] = seed.into();
            let old = LoadReport::from_json(&document.to_string()).unwrap();
            assert_eq!((old.settings.seed, old.to_json()), (seed, json));
        }
        let mut wrong: Value = serde_json::from_str(&sample::open().to_json()).unwrap();
        wrong["settings"]["seed"] = "-1".into();
        let error = LoadReport::from_json(&wrong.to_string()).unwrap_err().to_string();
        assert!(error.contains("invalid digit"), "{error}");
    }
}
