//! Finds the source that has the largest part of a shared resource, so that no source can use up
//! the resource.

use std::collections::BTreeMap;

/// Returns the source that occurs most often. If several sources occur equally often, returns the
/// smallest, so that all nodes of a cluster choose the same source.
pub(crate) fn most_frequent<T: Copy + Ord>(sources: impl Iterator<Item = T>) -> Option<T> {
    let mut counts = BTreeMap::<T, usize>::new();
    sources.for_each(|source| *counts.entry(source).or_default() += 1);
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(source, _)| source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_is_the_same_in_any_order() {
        assert_eq!(most_frequent([3, 1, 2, 3, 1].into_iter()), Some(1));
        assert_eq!(most_frequent([1, 3, 2, 1, 3, 3].into_iter()), Some(3));
        assert_eq!(most_frequent(std::iter::empty::<u8>()), None);
    }
}
