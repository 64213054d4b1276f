//! The stored form of the source for which rooms, tokens and memories of users are counted, so that
//! no source can use up what there is for all. Pure.

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::net::Source;

/// As text: `192.0.2.1`, `2001:db8::/64`, `uid 1000` or `unknown`.
impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The source that occurs most often. Of several it is the first in their order, so that all nodes
/// of a cluster choose the same one.
pub(super) fn most_frequent<T: Copy + Ord>(sources: impl Iterator<Item = T>) -> Option<T> {
    let mut counts = BTreeMap::<T, usize>::new();
    sources.for_each(|source| *counts.entry(source).or_default() += 1);
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(source, _)| source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_stored_as_text() {
        for text in ["192.0.2.7", "2001:db8:0:1::/64", "uid 1000", "unknown"] {
            let stored = serde_json::to_string(&text.parse::<Source>().unwrap()).unwrap();
            assert_eq!(stored, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Source>(&stored).unwrap(), text.parse().unwrap());
        }
        for wrong in ["\"192.0.2.0/24\"", "\"\"", "7", "null"] {
            assert!(serde_json::from_str::<Source>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_most_frequent_is_the_same_in_any_order() {
        assert_eq!(most_frequent([3, 1, 2, 3, 1].into_iter()), Some(1));
        assert_eq!(most_frequent([1, 3, 2, 1, 3, 3].into_iter()), Some(3));
        assert_eq!(most_frequent(std::iter::empty::<u8>()), None);
    }
}
