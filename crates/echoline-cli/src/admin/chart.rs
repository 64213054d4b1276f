//! Prepares a chart of the last two minutes for drawing. Pure.

use std::time::Duration;

use serde::Serialize;

use echoline_base::amount::figures;

/// A chart of one or two lines.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// The value at the upper edge of the chart, as a number and as text.
    pub(super) top: f64,
    pub(super) top_text: String,
    pub(super) lines: Vec<PanelLine>,
}

/// One line of a chart.
#[derive(Debug, Serialize)]
pub(super) struct PanelLine {
    pub(super) name: &'static str,
    /// The newest value as text.
    pub(super) now: String,
    /// The values, the oldest first; `None` is a gap.
    pub(super) values: Vec<Option<f64>>,
}

/// The values at one point in time, one for each of the two lines.
pub(super) type ChartValues = [Option<f64>; 2];

/// The unit of a chart's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChartUnit {
    Things,
    /// A number per second.
    Rate,
    /// Bytes per second.
    Bytes,
    /// Microseconds.
    Micros,
}

impl Chart {
    /// Creates a chart with a line for each of `names`, up to two.
    pub(super) fn new(
        title: &'static str,
        unit: ChartUnit,
        names: &[&'static str],
        seconds: Vec<ChartValues>,
    ) -> Self {
        let highest = seconds.iter().flatten().flatten().copied().fold(0.0, f64::max);
        let top = unit.round_up(highest);
        let line = |(place, &name): (usize, &&'static str)| {
            let values: Vec<_> = seconds.iter().map(|second| second[place]).collect();
            let newest = values.last().copied().flatten();
            let now = newest.map_or_else(|| "–".to_owned(), |value| unit.text(value));
            PanelLine { name, now, values }
        };
        let lines = names.iter().enumerate().map(line).collect();
        Self { title, top, top_text: unit.text(top), lines }
    }
}

impl ChartUnit {
    fn text(self, value: f64) -> String {
        match self {
            // Saturation is fine for a displayed number.
            Self::Things => figures::count(value.round() as u64),
            Self::Rate => rate(value),
            Self::Bytes => figures::bytes(value) + "/s",
            Self::Micros => figures::time(Duration::from_secs_f64(value / 1e6)),
        }
    }

    /// Returns a round number above `value`, so that the line stays below the upper edge.
    fn round_up(self, value: f64) -> f64 {
        let value = value.max(1.0) * 1.05;
        let base = if self == Self::Bytes { 1024_f64 } else { 1000.0 };
        let unit = base.powf(value.log(base).floor());
        let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
        let step = steps.into_iter().find(|step| value <= step * unit);
        step.unwrap_or(base) * unit
    }
}

/// Returns a rate per second as text.
pub(super) fn rate(per_second: f64) -> String {
    if per_second > 0.0 { figures::rate(per_second) } else { "0/s".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_ends_at_a_round_number() {
        let tops = [0.0, 1.0, 1.1, 4.9, 9.0, 9.9, 512.0, 99_999.0]
            .map(|value| ChartUnit::Rate.round_up(value));
        assert_eq!(tops, [2.0, 2.0, 2.0, 10.0, 10.0, 20.0, 1000.0, 200_000.0]);
        let tops = [900.0, 1024.0, 130.0 * 1024.0, 1e6, 3e6]
            .map(|value| figures::bytes(ChartUnit::Bytes.round_up(value)));
        assert_eq!(tops, ["1.00 KiB", "2.00 KiB", "200 KiB", "2.00 MiB", "5.00 MiB"]);
    }

    #[test]
    fn the_newest_value_is_shown_and_gaps_stay() {
        let seconds = vec![[Some(10.0), None], [None, Some(20.0)], [Some(30.0), None]];
        let chart = Chart::new("Times", ChartUnit::Micros, &["p50", "p99"], seconds);
        assert_eq!((chart.top, chart.top_text.as_str()), (50.0, "50.0 µs"));
        assert_eq!(chart.lines[0].values, [Some(10.0), None, Some(30.0)]);
        assert_eq!((chart.lines[0].now.as_str(), chart.lines[1].now.as_str()), ("30.0 µs", "–"));
    }
}
