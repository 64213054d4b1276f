//! The Mann–Whitney U test: whether two groups of figures differ by more than chance. Pure.
//!
//! The test depends only on the order of the figures. It makes no assumption about the distribution
//! of latencies, and one outlier does not decide it. The p-value is exact for any number of ties:
//! all ways to assign the ranks to the two groups are counted. (Mann and Whitney, 1947; ties as in
//! Lehmann, *Nonparametrics*, 1975.)

/// The maximum number of figures in a group. The cost grows with the cube of this number.
pub(crate) const GROUP_MAX: usize = 50;

/// Returns the two-sided p-value of two groups; 1 if a group is empty.
///
/// Only the first [`GROUP_MAX`] figures of a group are used. NaN is ignored.
pub(crate) fn p_value(one: &[f64], other: &[f64]) -> f64 {
    let (one, other) = (numbers(one), numbers(other));
    if one.is_empty() || other.is_empty() {
        return 1.0;
    }
    let ranks = doubled_ranks(&one, &other);
    let observed: usize = ranks[..one.len()].iter().sum();
    // Twice the mean sum of ranks of a group of this size.
    let middle = one.len() * (ranks.len() + 1);
    let ways = ways_by_sum(&ranks, one.len());
    let all: f64 = ways.iter().sum();
    let distance = observed.abs_diff(middle);
    let uneven: f64 = ways
        .iter()
        .enumerate()
        .filter(|(sum, _)| sum.abs_diff(middle) >= distance)
        .map(|(_, ways)| ways)
        .sum();
    (uneven / all).min(1.0)
}

/// Returns the smallest p-value of groups of these sizes. It occurs if all figures of one group are
/// smaller than all figures of the other.
pub(crate) fn p_value_least(one: usize, other: usize) -> f64 {
    let ways: f64 = (1..=one).map(|number| (other + number) as f64 / number as f64).product();
    (2.0 / ways).min(1.0)
}

/// Corrects p-values for multiple comparisons. (Holm, 1979.)
pub(crate) fn corrected(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut corrected = vec![1.0; p_values.len()];
    let mut least = 0.0_f64;
    for (place, &index) in order.iter().enumerate() {
        let factor = (p_values.len() - place) as f64;
        least = least.max((p_values[index] * factor).min(1.0));
        corrected[index] = least;
    }
    corrected
}

/// Returns the median; `None` if there are no figures.
pub(crate) fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let high = *sorted.get(sorted.len() / 2)?;
    let low = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(low, high))
}

fn numbers(figures: &[f64]) -> Vec<f64> {
    figures.iter().copied().filter(|figure| !figure.is_nan()).take(GROUP_MAX).collect()
}

/// Returns twice the rank of each figure among all. Equal figures share the mean of their ranks,
/// and twice that mean is a whole number.
fn doubled_ranks(one: &[f64], other: &[f64]) -> Vec<usize> {
    let all: Vec<f64> = one.iter().chain(other).copied().collect();
    let rank = |figure: &f64| {
        let below = all.iter().filter(|other| *other < figure).count();
        let equal = all.iter().filter(|other| *other == figure).count();
        2 * below + equal + 1
    };
    all.iter().map(rank).collect()
}

/// Counts the ways in which `size` of the ranks add up to each sum.
fn ways_by_sum(ranks: &[usize], size: usize) -> Vec<f64> {
    let total: usize = ranks.iter().sum();
    let mut ways = vec![vec![0.0; total + 1]; size + 1];
    ways[0][0] = 1.0;
    for &rank in ranks {
        // The loop begins with the largest group, so that no rank is used twice.
        for taken in (0..size).rev() {
            for sum in (rank..=total).rev() {
                let more = ways[taken][sum - rank];
                ways[taken + 1][sum] += more;
            }
        }
    }
    ways.swap_remove(size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() < 1e-9
    }

    #[test]
    fn separate_groups_reach_the_smallest_p_value() {
        for (size, ways) in [(1u32, 2.0), (2, 6.0), (3, 20.0), (4, 70.0), (5, 252.0)] {
            let low: Vec<_> = (0..size).map(f64::from).collect();
            let high: Vec<_> = (0..size).map(|number| 1e6 + f64::from(number)).collect();
            let p = p_value(&low, &high);
            assert!(close(p, f64::min(2.0 / ways, 1.0)), "{size}: {p}");
            assert!(close(p, p_value_least(low.len(), high.len())), "{size}: {p}");
        }
        assert!(p_value_least(GROUP_MAX, GROUP_MAX) < 1e-20);
    }

    /// The expected values are those of R's `wilcox.test(c(1.1, 2.3, 3.8, 4.4), c(2.9, 5.1, 6.2,
    /// 7.7, 8.0))` and of `scipy.stats.mannwhitneyu(…, method="exact")`.
    #[test]
    fn agrees_with_r_and_scipy() {
        let p = p_value(&[1.1, 2.3, 3.8, 4.4], &[2.9, 5.1, 6.2, 7.7, 8.0]);
        assert!(close(p, 0.063_492_063_492_063_49), "{p}");
    }

    #[test]
    fn equal_or_missing_figures_do_not_differ() {
        assert!(close(p_value(&[1.0; 5], &[1.0; 5]), 1.0));
        assert!(close(p_value(&[], &[1.0]), 1.0));
        assert!(close(p_value(&[f64::NAN], &[1.0]), 1.0));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }

    #[test]
    fn corrects_as_holm_does() {
        let shown = corrected(&[0.01, 0.04, 0.03, 0.005]);
        for (found, wanted) in shown.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!(close(*found, wanted), "{shown:?}");
        }
    }

    /// Returns the p-value by enumeration.
    fn by_hand(one: &[f64], other: &[f64]) -> f64 {
        let ranks = doubled_ranks(one, other);
        let middle = one.len() * (ranks.len() + 1);
        let sum = |mask: u32| -> usize {
            (0..ranks.len()).filter(|bit| mask >> bit & 1 == 1).map(|bit| ranks[bit]).sum()
        };
        let observed = sum((1 << one.len()) - 1).abs_diff(middle);
        let masks = || (0u32..1 << ranks.len()).filter(|m| m.count_ones() as usize == one.len());
        let uneven = masks().filter(|&mask| sum(mask).abs_diff(middle) >= observed).count();
        uneven as f64 / masks().count() as f64
    }

    proptest! {
        #[test]
        fn is_exact_with_ties(
            one in prop::collection::vec(0u8..6, 1..6),
            other in prop::collection::vec(0u8..6, 1..6),
        ) {
            let floats = |group: &[u8]| group.iter().map(|&n| f64::from(n)).collect::<Vec<_>>();
            let (one, other) = (floats(&one), floats(&other));
            prop_assert!(close(p_value(&one, &other), by_hand(&one, &other)));
            prop_assert!(close(p_value(&one, &other), p_value(&other, &one)));
        }
    }
}
