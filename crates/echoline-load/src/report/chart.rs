//! Line charts as SVG for a page. Pure.
//!
//! The style sheet of the page selects elements by the value of their colour, and replaces the
//! colour in light and in dark mode. Without a style sheet the original colours are shown.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

/// Units of the drawing per pixel. The library rounds positions to whole units, so smaller units
/// are more exact.
const FINE: i32 = 4;

/// The maximum number of points in a line that are marked by dots. Without a dot, a line of only
/// one point would be invisible.
const MARKED_MAX: usize = 40;

/// The two sizes of each chart. The page shows the size that fits the screen, so that text stays
/// readable.
const WIDE: ChartSize = ChartSize { width: 760, height: 280, ticks: 8 };
const NARROW: ChartSize = ChartSize { width: 360, height: 250, ticks: 4 };

const INK: RGBColor = RGBColor(0x60, 0x66, 0x70);
const GRID: RGBColor = RGBColor(0xd8, 0xdc, 0xe2);

/// The meaning of a line, which determines its colour in all charts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineRole {
    /// A line of typical values: medians, correct replies, service time.
    Usual,
    /// A line of high values: high percentiles, latency.
    Tail,
    /// A line above the other lines, such as the maximum or the sent messages.
    Frame,
    /// Failures.
    Bad,
}

impl LineRole {
    fn color(self) -> RGBColor {
        match self {
            Self::Usual => RGBColor(0x1f, 0x6f, 0xd1),
            Self::Tail => RGBColor(0xd9, 0x5f, 0x0e),
            Self::Frame => RGBColor(0x8a, 0x90, 0x99),
            Self::Bad => RGBColor(0xc9, 0x2a, 0x3a),
        }
    }

    /// Returns the class in the page's style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Tail => "tail",
            Self::Frame => "frame",
            Self::Bad => "bad",
        }
    }
}

/// A line from left to right; interrupted at points without a value.
#[derive(Clone, Debug)]
pub(super) struct ChartLine {
    pub(super) name: String,
    pub(super) role: LineRole,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

impl ChartLine {
    fn segments(&self) -> impl Iterator<Item = Vec<(f64, f64)>> {
        self.points
            .split(|(_, y)| y.is_none())
            .map(|segment| segment.iter().filter_map(|&(x, y)| Some((x, y?))).collect::<Vec<_>>())
    }

    /// Returns whether there is anything to draw.
    pub(super) fn has_figures(&self) -> bool {
        self.values().next().is_some()
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.points.iter().filter_map(|&(_, y)| y)
    }
}

/// The scale of an axis.
#[derive(Clone, Copy, Debug)]
pub(super) enum Axis {
    /// The axis starts at zero and has equal steps.
    Linear(fn(f64) -> String),
    /// Seconds from the start of the run to this value. It is the same for all charts of a run, so
    /// they are aligned.
    Seconds(f64),
    /// Equal distances are equal factors. The steps are at 1, 2 and 5.
    Logarithmic(fn(f64) -> String),
    /// The share of samples beyond a percentile, `-log10(1 - q)`. Each further nine of the
    /// percentile has the same width.
    Tail,
}

/// A chart.
#[derive(Clone, Debug)]
pub(super) struct LineChart {
    /// The description for screen readers.
    pub(super) label: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<ChartLine>,
}

impl LineChart {
    /// Returns the chart in both sizes; empty if there is nothing to draw.
    pub(super) fn svg(&self) -> String {
        if !self.lines.iter().any(ChartLine::has_figures) {
            return String::new();
        }
        [("wide", WIDE), ("narrow", NARROW)].map(|(class, size)| self.draw(class, size)).concat()
    }

    fn draw(&self, class: &str, size: ChartSize) -> String {
        let mut svg = String::new();
        // Writing to a string does not fail, and a chart that cannot be laid out is left out.
        if self.draw_into(&mut svg, size).is_err() {
            return String::new();
        }
        let content = svg.split_once('>').map_or("", |(_, content)| content);
        let (width, height) = (size.width * FINE, size.height * FINE);
        let label = askama::filters::escape(&self.label, askama::filters::Html)
            .map_or(String::new(), |label| label.to_string());
        format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-label=\"{label}\">{content}"
        )
    }

    fn draw_into(
        &self,
        svg: &mut String,
        size: ChartSize,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let pixels = |pixels: i32| pixels * FINE;
        let whole = (pixels(size.width).unsigned_abs(), pixels(size.height).unsigned_abs());
        let area = SVGBackend::with_string(svg, whole).into_drawing_area();
        let all = || self.lines.iter().flat_map(|line| line.points.iter());
        let x = AxisScale::new(self.x, all().map(|&(x, _)| x), size.ticks);
        let y = AxisScale::new(self.y, self.lines.iter().flat_map(ChartLine::values), 6);
        let mut context = ChartBuilder::on(&area)
            .margin_top(pixels(10))
            .margin_right(pixels(34))
            .x_label_area_size(pixels(28))
            .y_label_area_size(pixels(64))
            .build_cartesian_2d(x, y)?;
        // The factor corrects the library, which draws fonts too small.
        let font = ("sans-serif", f64::from(pixels(12)) * 1.24).into_font().color(&INK);
        context
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(FINE.unsigned_abs()))
            // The space between the drawing and its labels.
            .set_all_tick_mark_size(pixels(6))
            .axis_style(GRID.stroke_width(FINE.unsigned_abs()))
            .label_style(font)
            .draw()?;
        for line in &self.lines {
            let width = if line.role == LineRole::Frame { 4 } else { 2 };
            let style = line.role.color().stroke_width(pixels(width).unsigned_abs());
            for segment in line.segments() {
                if line.points.len() <= MARKED_MAX {
                    let dot = |&point: &(f64, f64)| Circle::new(point, pixels(3), style.filled());
                    context.draw_series(segment.iter().map(dot))?;
                }
                context.draw_series(LineSeries::new(segment, style))?;
            }
        }
        area.present()?;
        drop(context);
        Ok(())
    }
}

/// The size in pixels, and the number of ticks on the horizontal axis.
#[derive(Clone, Copy)]
struct ChartSize {
    width: i32,
    height: i32,
    ticks: usize,
}

/// An axis with its range and its ticks.
#[derive(Clone)]
struct AxisScale {
    ends: Range<f64>,
    is_logarithmic: bool,
    ticks: Vec<(f64, String)>,
}

impl AxisScale {
    /// Creates an axis for `values`, with about `count` ticks.
    fn new(axis: Axis, values: impl Iterator<Item = f64>, count: usize) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            (low, high) = (low.min(value), high.max(value));
        }
        match axis {
            Axis::Linear(label) => Self::linear(high, count, label),
            Axis::Seconds(end) => Self::seconds(end.max(high), count),
            Axis::Logarithmic(label) => Self::logarithmic(low, high, count, label),
            Axis::Tail => Self::tail(high),
        }
    }

    fn linear(high: f64, count: usize, label: fn(f64) -> String) -> Self {
        let step = round_up((high / count as f64).max(f64::MIN_POSITIVE));
        let steps = (high / step).ceil().max(1.0);
        let ticks = (0..=steps as usize).map(|number| number as f64 * step);
        let ticks = ticks.map(|value| (value, label(value))).collect();
        Self { ends: 0.0..steps * step, is_logarithmic: false, ticks }
    }

    fn seconds(end: f64, count: usize) -> Self {
        let mut scale = Self::linear(end, count, |seconds| {
            format!("{} s", (seconds * 1000.0).round() / 1000.0)
        });
        scale.ends.end = end.max(f64::MIN_POSITIVE);
        scale.ticks.retain(|&(tick, _)| tick <= end);
        scale
    }

    fn logarithmic(low: f64, high: f64, count: usize, label: fn(f64) -> String) -> Self {
        let (low, high) = (round_down(low.max(1e-9)), round_up(high.max(1e-9) * 1.0001));
        let mut ticks = vec![low];
        while ticks.last().is_some_and(|&last| last < high * 0.999) {
            ticks.extend(ticks.last().map(|&last| round_up(last * 1.5)));
        }
        let ends = low..high;
        if ticks.len() > count + 2 {
            // Keeps only powers of ten. At least one of three neighbouring ticks is a power of ten.
            ticks.retain(|tick| (tick.log10() - tick.log10().round()).abs() < 1e-6);
        }
        let ticks = ticks.into_iter().map(|value| (value, label(value))).collect();
        Self { ends, is_logarithmic: true, ticks }
    }

    fn tail(high: f64) -> Self {
        let marks = [
            (0.0, "0"),
            (2f64.log10(), "p50"),
            (1.0, "p90"),
            (2.0, "p99"),
            (3.0, "p99.9"),
            (4.0, "p99.99"),
            (5.0, "p99.999"),
            (6.0, "p99.9999"),
        ];
        let high = high.max(1.0);
        let ticks = marks.into_iter().filter(|&(x, _)| x <= high + 1e-9);
        let ticks = ticks.map(|(x, label)| (x, label.to_owned())).collect();
        Self { ends: 0.0..high, is_logarithmic: false, ticks }
    }
}

/// Returns the smallest of 1, 2, 5, 10, 20 … that is not below `value`.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].into_iter().find(|round| round * power >= value * 0.999_999);
    round.unwrap_or(10.0) * power
}

/// Returns the largest of 1, 2, 5, 10, 20 … that is not above `value`.
fn round_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let round = [5.0, 2.0, 1.0].into_iter().find(|round| round * power <= value * 1.000_001);
    round.unwrap_or(1.0) * power
}

impl Ranged for AxisScale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let place = |value: f64| if self.is_logarithmic { value.max(1e-9).log10() } else { value };
        let (low, high) = (place(self.ends.start), place(self.ends.end));
        let share = if high > low { (place(*value) - low) / (high - low) } else { 0.5 };
        limit.0 + (f64::from(limit.1 - limit.0) * share.clamp(0.0, 1.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|&(value, _)| value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.ends.clone()
    }
}

impl ValueFormatter<f64> for AxisScale {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|(tick, _)| tick == value);
        tick.map_or_else(String::new, |(_, label)| label.clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn label(value: f64) -> String {
        format!("{value}")
    }

    fn labels(scale: &AxisScale) -> Vec<&str> {
        scale.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&AxisScale::linear(37.0, 4, label)), ["0", "10", "20", "30", "40"]);
        assert_eq!(labels(&AxisScale::linear(0.0, 4, label)).len(), 2);
        assert_eq!(
            labels(&AxisScale::logarithmic(3.0, 40.0, 6, label)),
            ["2", "5", "10", "20", "50"]
        );
        assert_eq!(labels(&AxisScale::logarithmic(1.0, 9e5, 4, label)).len(), 7);
        assert_eq!(labels(&AxisScale::seconds(7.1, 4)), ["0 s", "2 s", "4 s", "6 s"]);
        assert_eq!(labels(&AxisScale::seconds(0.0, 4)), ["0 s"]);
        assert_eq!(labels(&AxisScale::tail(2.4)), ["0", "p50", "p90", "p99"]);
    }

    #[test]
    fn a_chart_without_values_is_empty() {
        let line =
            ChartLine { name: String::new(), role: LineRole::Bad, points: vec![(1.0, None)] };
        let axis = Axis::Linear(label);
        let chart = LineChart { label: String::new(), x: axis, y: axis, lines: vec![line] };
        assert_eq!(chart.svg(), "");
    }

    proptest! {
        #[test]
        fn any_figures_can_be_drawn(
            points in prop::collection::vec((0.0..1e12f64, prop::option::of(0.0..1e12f64)), 1..50),
            is_linear: bool,
        ) {
            let line = ChartLine { name: "any".to_owned(), role: LineRole::Tail, points };
            let axis = if is_linear { Axis::Linear(label) } else { Axis::Logarithmic(label) };
            for x in [axis, Axis::Tail, Axis::Seconds(1.5)] {
                let lines = vec![line.clone()];
                let svg = LineChart { label: "<&\"".to_owned(), x, y: axis, lines }.svg();
                let is_empty = line.values().next().is_none();
                prop_assert_eq!(svg.matches("</svg>").count(), if is_empty { 0 } else { 2 });
                prop_assert!(!svg.contains("NaN") && !svg.contains("label=\"<"));
            }
        }
    }
}
