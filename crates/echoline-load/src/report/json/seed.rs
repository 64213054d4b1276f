//! A seed as JSON: a number, or a text if many readers would round it.

use serde::{Deserialize, Deserializer, Serializer};

use super::NUMBER_MAX;

/// Older files have a number of any size.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seed {
    Number(u64),
    Text(String),
}

pub(super) fn serialize<S: Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    if *seed <= NUMBER_MAX { serializer.serialize_u64(*seed) } else { serializer.collect_str(seed) }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match Seed::deserialize(deserializer)? {
        Seed::Number(seed) => Ok(seed),
        Seed::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::super::sample;
    use crate::Report;

    /// Issue 11, item 45: a reader whose numbers are doubles gets every seed whole.
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
            assert_eq!(Report::from_json(&json).unwrap().settings.seed, seed);
            // As it was written before.
            document["settings"]["seed"] = seed.into();
            let old = Report::from_json(&document.to_string()).unwrap();
            assert_eq!((old.settings.seed, old.to_json()), (seed, json));
        }
        let mut wrong: Value = serde_json::from_str(&sample::open().to_json()).unwrap();
        wrong["settings"]["seed"] = "-1".into();
        let error = Report::from_json(&wrong.to_string()).unwrap_err().to_string();
        assert!(error.contains("invalid digit"), "{error}");
    }
}
