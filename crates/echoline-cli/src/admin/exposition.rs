//! Builds the text format of Prometheus, version 0.0.4. Pure.
//!
//! The crate `prometheus-client` writes the text. It adds `_total` to the names of counters and a
//! full stop to each help text. Callers pass names and help texts that already have these endings,
//! and this module removes them first.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{
    EncodeCounterValue, EncodeGaugeValue, EncodeMetric, MetricEncoder, NoLabelSet, prometheus_text,
};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry};

/// The `Content-Type` of the text.
pub(super) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// The metrics of one answer.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// Adds a number that only grows. The name must end in `_total`, and the help in a full stop.
    pub(super) fn counter<N>(&mut self, name: &str, help: &str, value: N)
    where
        N: EncodeCounterValue + fmt::Debug + Send + Sync + 'static,
    {
        self.register(name, help, ConstCounter::new(value));
    }

    /// Adds a number that goes up and down.
    pub(super) fn gauge<N>(&mut self, name: &str, help: &str, value: N)
    where
        N: EncodeGaugeValue + fmt::Debug + Send + Sync + 'static,
    {
        self.register(name, help, ConstGauge::new(value));
    }

    /// Adds a counter with one sample for each value of `label`.
    pub(super) fn counters<V: ToString, N>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        samples: impl IntoIterator<Item = (V, N)>,
    ) where
        N: EncodeCounterValue + fmt::Debug + Send + Sync + 'static,
    {
        let sample =
            |(value, number): (V, N)| (vec![(label, value.to_string())], ConstCounter::new(number));
        self.register(name, help, Labelled(samples.into_iter().map(sample).collect()));
    }

    /// Adds a gauge with one sample for each set of labels.
    pub(super) fn gauges<N>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, N)>,
    ) where
        N: EncodeGaugeValue + fmt::Debug + Send + Sync + 'static,
    {
        let sample = |(labels, number)| (labels, ConstGauge::new(number));
        self.register(name, help, Labelled(samples.into_iter().map(sample).collect()));
    }

    /// Adds a histogram in seconds: the number of samples up to each bound, the number of all
    /// samples, and their sum.
    pub(super) fn times(
        &mut self,
        name: &str,
        help: &str,
        cumulative: impl Iterator<Item = (Duration, u64)>,
        count: u64,
        sum: Duration,
    ) {
        let mut below = 0;
        let buckets = cumulative.map(|(bound, up_to)| {
            let own = up_to - below;
            below = up_to;
            (bound.as_secs_f64(), own)
        });
        let buckets = buckets.collect();
        self.register(name, help, TimeHistogram { buckets, count, sum: sum.as_secs_f64() });
    }

    fn register(&mut self, name: &str, help: &str, metric: impl Metric) {
        let name = match metric.metric_type() {
            MetricType::Counter => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        self.registry.register(name, help.strip_suffix('.').unwrap_or(help), metric);
    }

    /// Returns the metrics as text, in the order in which they were added.
    pub(super) fn into_text(self) -> String {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)
            .expect("a string takes everything, and all counts fit 64 bits");
        text
    }
}

/// The labels of one sample.
pub(super) type Labels = Vec<(&'static str, String)>;

/// A metric with several samples, in the order in which they were added. `Family` of
/// `prometheus-client` does not keep an order.
#[derive(Debug)]
struct Labelled<M>(Vec<(Labels, M)>);

impl<M: EncodeMetric + TypedMetric> EncodeMetric for Labelled<M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let mut samples = self.0.iter();
        samples.try_for_each(|(labels, metric)| metric.encode(encoder.encode_family(labels)?))
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}

/// A histogram whose samples were counted elsewhere.
#[derive(Debug)]
struct TimeHistogram {
    /// The upper bound of each bucket in seconds, and the number of samples in this bucket alone.
    buckets: Vec<(f64, u64)>,
    count: u64,
    sum: f64,
}

impl EncodeMetric for TimeHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_histogram::<NoLabelSet>(self.sum, self.count, &self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_follows_the_format() {
        let mut exposition = Exposition::default();
        exposition.counter("a_total", "All a.", 3u64);
        let label = |value: &str| ("kind", value.to_owned());
        let samples = [
            (vec![label("x\"\\\n")], 0.5),
            (vec![label("y"), ("more", "z".to_owned())], f64::INFINITY),
        ];
        exposition.gauges("b", "Some b.", samples);
        exposition.counters("d_total", "Some d.", "n", [(0, 7u64), (1, 8)]);
        let micros = Duration::from_micros;
        let bounds = [(micros(1), 2), (Duration::from_secs(5), 3)].into_iter();
        exposition.times("c_seconds", "Times.", bounds, 4, micros(1_500_000));
        let text = exposition.into_text();
        assert_eq!(
            text,
            "# HELP a_total All a.\n# TYPE a_total counter\na_total 3\n\
             # HELP b Some b.\n# TYPE b gauge\n\
             b{kind=\"x\\\"\\\\\\n\"} 0.5\nb{kind=\"y\",more=\"z\"} +Inf\n\
             # HELP d_total Some d.\n# TYPE d_total counter\n\
             d_total{n=\"0\"} 7\nd_total{n=\"1\"} 8\n\
             # HELP c_seconds Times.\n# TYPE c_seconds histogram\n\
             c_seconds_bucket{le=\"1e-06\"} 2\nc_seconds_bucket{le=\"5\"} 3\n\
             c_seconds_bucket{le=\"+Inf\"} 4\nc_seconds_sum 1.5\nc_seconds_count 4\n"
        );
    }
}
