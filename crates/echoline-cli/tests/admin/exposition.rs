//! A strict parser of Prometheus's text format. Invalid input fails the test.

use std::collections::BTreeMap;

/// All samples, by name and labels as they were written.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Metrics {
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    /// Returns the only sample of a metric, or the one with these labels: `a_total{kind="x"}`.
    #[track_caller]
    pub(crate) fn of(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("there is no {series}"))
    }

    pub(crate) fn series(&self) -> Vec<&str> {
        self.samples.keys().map(String::as_str).collect()
    }

    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no line end");
        let mut metrics = Self::default();
        let mut families = BTreeMap::new();
        let (mut helped, mut family) = (String::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help line has a text");
                assert!(is_name(name) && !help.is_empty() && help.ends_with('.'), "{line}");
                name.clone_into(&mut helped);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, helped, "the help line precedes the type line");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let is_total = name.ends_with("_total");
                assert_eq!(is_total, kind == "counter", "{line}: only counters end in _total");
                let twice = families.insert(name.to_owned(), kind.to_owned());
                assert_eq!(twice, None, "{name} is declared twice");
                name.clone_into(&mut family);
            } else {
                metrics.sample(line, &family, &families[&family]);
            }
        }
        metrics.check_histograms(&families);
        metrics
    }

    #[track_caller]
    fn sample(&mut self, line: &str, family: &str, kind: &str) {
        let (series, value) = line.rsplit_once(' ').expect("a space precedes the value");
        let (name, labels) = match series.split_once('{') {
            Some((name, rest)) => (name, rest.strip_suffix('}').expect("a closing brace")),
            None => (series, ""),
        };
        let suffix =
            name.strip_prefix(family).expect("a sample follows the type line of its metric");
        let suffixes: &[&str] =
            if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(suffixes.contains(&suffix), "{line}");
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (name, value) = label.split_once('=').expect("a label has a value");
            let inside = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            assert!(is_name(name) && !name.contains(':'), "{line}");
            assert!(!inside.expect("quotes").contains(['"', '\\', '\n']), "{line}");
        }
        let number = match value {
            "+Inf" => f64::INFINITY,
            number => number.parse().unwrap_or_else(|_| panic!("{line}")),
        };
        assert!(value == "+Inf" || number.is_finite(), "{line}");
        assert!(kind != "counter" || number >= 0.0, "{line}");
        assert_eq!(self.samples.insert(series.to_owned(), number), None, "{series} is repeated");
    }

    fn check_histograms(&self, families: &BTreeMap<String, String>) {
        for (name, _) in families.iter().filter(|(_, kind)| *kind == "histogram") {
            let mut buckets: Vec<(f64, f64)> = Vec::new();
            for (series, &count) in &self.samples {
                let bound = series.strip_prefix(&format!("{name}_bucket{{le=\""));
                if let Some(bound) = bound.and_then(|rest| rest.strip_suffix("\"}")) {
                    let bound = if bound == "+Inf" { "inf" } else { bound };
                    buckets.push((bound.parse().unwrap(), count));
                }
            }
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{buckets:?}");
            let &(last, all) = buckets.last().expect("a histogram has buckets");
            assert_eq!((last, all), (f64::INFINITY, self.of(&format!("{name}_count"))));
            assert!(self.of(&format!("{name}_sum")) >= 0.0);
        }
    }
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':';
    name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}
