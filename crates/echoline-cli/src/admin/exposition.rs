//! The text format of Prometheus, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>). Pure.

use std::fmt::{Display, Write};
use std::time::Duration;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A text that metrics are written to, family by family.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

/// The samples of one metric.
#[derive(Debug)]
pub(super) struct Family<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Exposition {
    /// Begins a metric; `help` is one line.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let text = &mut self.text;
        put(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family { name, text }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// The only sample of its metric.
    pub(super) fn is(self, value: impl Display) {
        put(self.text, format_args!("{} {value}\n", self.name));
    }

    /// One sample of several, which `label` tells apart.
    pub(super) fn of(&mut self, label: &str, value: &str, number: impl Display) {
        self.labelled(&[(label, value)], number);
    }

    /// One sample for each direction.
    pub(super) fn directions(&mut self, inward: u64, outward: u64) {
        self.of("direction", "in", inward);
        self.of("direction", "out", outward);
    }

    /// One sample with these labels.
    pub(super) fn labelled(&mut self, labels: &[(&str, &str)], number: impl Display) {
        put(self.text, format_args!("{}", self.name));
        for (place, (label, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            put(self.text, format_args!("{before}{label}=\"{}\"", Escaped(value)));
        }
        put(self.text, format_args!("}} {number}\n"));
    }

    /// A histogram in seconds: how many samples each bound is not exceeded by, how many there are,
    /// and what they add up to.
    pub(super) fn times(
        self,
        bounds: impl Iterator<Item = (Duration, u64)>,
        count: u64,
        sum: Duration,
    ) {
        let Self { name, text } = self;
        for (bound, below) in bounds {
            let bound = Seconds(bound);
            put(text, format_args!("{name}_bucket{{le=\"{bound}\"}} {below}\n"));
        }
        put(text, format_args!("{name}_bucket{{le=\"+Inf\"}} {count}\n"));
        put(text, format_args!("{name}_sum {}\n{name}_count {count}\n", Seconds(sum)));
    }
}

/// A length of time as a metric has it: in seconds, without an exponent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds(pub(super) Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_secs_f64().fmt(f)
    }
}

/// A label's value between quotes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_format_asks_for() {
        let mut exposition = Exposition::default();
        exposition.family("a_total", Kind::Counter, "All a.").is(3);
        let mut family = exposition.family("b", Kind::Gauge, "Some b.");
        family.of("kind", "x\"\\\n", 0.5);
        family.labelled(&[("kind", "y"), ("more", "z")], 7);
        let micros = Duration::from_micros;
        let bounds = [(micros(1), 2), (Duration::from_secs(5), 3)].into_iter();
        let family = exposition.family("c_seconds", Kind::Histogram, "Times.");
        family.times(bounds, 4, micros(1_500_000));
        let text = exposition.into_text();
        assert_eq!(
            text,
            "# HELP a_total All a.\n# TYPE a_total counter\na_total 3\n\
             # HELP b Some b.\n# TYPE b gauge\n\
             b{kind=\"x\\\"\\\\\\n\"} 0.5\nb{kind=\"y\",more=\"z\"} 7\n\
             # HELP c_seconds Times.\n# TYPE c_seconds histogram\n\
             c_seconds_bucket{le=\"0.000001\"} 2\nc_seconds_bucket{le=\"5\"} 3\n\
             c_seconds_bucket{le=\"+Inf\"} 4\nc_seconds_sum 1.5\nc_seconds_count 4\n"
        );
    }
}
