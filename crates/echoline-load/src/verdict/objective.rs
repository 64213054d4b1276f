//! Parses and checks the objectives of a run, for example `p99<5ms,errors<0.1%`. Pure.

use std::fmt;

use crate::verdict::Metric;

/// The maximum number of objectives in a list.
const OBJECTIVES_MAX: usize = 32;

/// A valid example of each kind of list.
const GOAL_EXAMPLE: &str = "p99<5ms,errors<0.1%";
const ALARM_EXAMPLE: &str = "p99>5ms,errors>0.1%";

/// The operator between a figure and its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComparisonOperator {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

/// One comparison, for example `p99<5ms`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// The metric.
    pub metric: Metric,
    /// The operator.
    pub comparison: ComparisonOperator,
    /// The limit, in the unit of the metric.
    pub limit: f64,
}

/// Whether a list contains goals, which must be met, or alarms, which must not be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ObjectiveKind {
    Goal,
    Alarm,
}

/// A list of objectives.
///
/// ```
/// use echoline_load::{Metric, Objectives};
///
/// let goals = Objectives::goals("p99<5ms,errors<0.1%")?;
/// let breaches = goals.check(|metric| match metric {
///     Metric::Percentile(_) => Some(0.0073),
///     _ => Some(0.0),
/// });
/// assert_eq!(breaches[0].to_string(), "p99<5ms does not hold: measured 7.30 ms");
/// assert_eq!(breaches.len(), 1);
/// # Ok::<(), echoline_load::verdict::ObjectiveError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Objectives {
    sense: ObjectiveKind,
    list: Vec<Objective>,
}

/// An objective that a run did not meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Breach {
    sense: ObjectiveKind,
    /// The objective.
    pub objective: Objective,
    /// The measured value; `None` if there were too few samples.
    pub measured: Option<f64>,
}

/// The error for a text that is not a list of objectives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectiveError {
    /// The list or a part of it is empty.
    #[error("an objective is missing: write for example '{0}'")]
    Missing(&'static str),
    /// There are too many objectives.
    #[error("too many objectives: the limit is {OBJECTIVES_MAX}; write for example '{0}'")]
    TooMany(&'static str),
    /// A part has no operator.
    #[error("'{part}' has no comparison: write for example '{example}'")]
    NoComparison {
        /// The invalid text.
        part: String,
        /// A valid example.
        example: &'static str,
    },
    /// The left side is not a metric.
    #[error(
        "'{name}' is not a metric: write p50, p99.9 (up to p99.999), max, mean, \
         errors, skipped, lost, late, duplicated, reordered or rate, as in '{example}'"
    )]
    NoMetric {
        /// The invalid text.
        name: String,
        /// A valid example.
        example: &'static str,
    },
    /// The right side is not a valid limit for the metric.
    #[error("'{limit}' is not a limit for {metric}: write for example '{example}'")]
    NoLimit {
        /// The invalid text.
        limit: String,
        /// The metric.
        metric: Metric,
        /// A valid example.
        example: &'static str,
    },
    /// The operator of a goal is that of an alarm, or the reverse.
    #[error("'{part}' is the wrong way round: {meaning}, so write for example '{example}'")]
    WrongWay {
        /// The invalid text.
        part: String,
        /// The meaning of the list.
        meaning: &'static str,
        /// A valid example.
        example: String,
    },
}

impl Objectives {
    /// Parses goals, which must be met, for example `p99<5ms,errors<0.1%`.
    ///
    /// # Errors
    /// [`ObjectiveError`] with the offending text and a valid example.
    pub fn goals(text: &str) -> Result<Self, ObjectiveError> {
        Self::read(text, ObjectiveKind::Goal)
    }

    /// Parses alarms, which must not be met, for example `p99>5ms,errors>0.1%`.
    ///
    /// # Errors
    /// [`ObjectiveError`] with the offending text and a valid example.
    pub fn alarms(text: &str) -> Result<Self, ObjectiveError> {
        Self::read(text, ObjectiveKind::Alarm)
    }

    /// Returns the goals that the figures do not meet, or the alarms that they meet. A metric
    /// without a value (`None`) always counts as a breach.
    pub fn check(&self, figure: impl Fn(Metric) -> Option<f64>) -> Vec<Breach> {
        let breach = |&objective: &Objective| {
            let measured = figure(objective.metric);
            let good = match self.sense {
                ObjectiveKind::Goal => measured.is_some_and(|measured| objective.is_true(measured)),
                ObjectiveKind::Alarm => {
                    measured.is_some_and(|measured| !objective.is_true(measured))
                }
            };
            (!good).then_some(Breach { sense: self.sense, objective, measured })
        };
        self.list.iter().filter_map(breach).collect()
    }

    /// Returns the objectives in their order.
    #[must_use]
    pub fn list(&self) -> &[Objective] {
        &self.list
    }

    fn read(text: &str, sense: ObjectiveKind) -> Result<Self, ObjectiveError> {
        let list: Vec<_> = text
            .split(',')
            .take(OBJECTIVES_MAX + 1)
            .map(|part| sense.read(part.trim()))
            .collect::<Result<_, _>>()?;
        if list.len() > OBJECTIVES_MAX {
            return Err(ObjectiveError::TooMany(sense.example()));
        }
        Ok(Self { sense, list })
    }
}

impl ObjectiveKind {
    fn example(self) -> &'static str {
        match self {
            Self::Goal => GOAL_EXAMPLE,
            Self::Alarm => ALARM_EXAMPLE,
        }
    }

    fn read(self, part: &str) -> Result<Objective, ObjectiveError> {
        let example = self.example();
        if part.is_empty() {
            return Err(ObjectiveError::Missing(example));
        }
        let no_comparison = || ObjectiveError::NoComparison { part: part.to_owned(), example };
        let sign = part.find(['<', '>']).ok_or_else(no_comparison)?;
        let (name, rest) = part.split_at(sign);
        let (comparison, limit) = ComparisonOperator::split(rest).ok_or_else(no_comparison)?;
        let (name, limit) = (name.trim(), limit.trim());
        let metric: Metric = name
            .parse()
            .map_err(|()| ObjectiveError::NoMetric { name: name.to_owned(), example })?;
        let limit = metric.read_limit(limit).ok_or_else(|| {
            let example = metric.example(comparison.is_upper());
            ObjectiveError::NoLimit { limit: limit.to_owned(), metric, example }
        })?;
        let objective = Objective { metric, comparison, limit };
        if comparison.is_upper() == self.wants_upper(metric) {
            Ok(objective)
        } else {
            Err(self.wrong_way(part, objective))
        }
    }

    /// Returns whether the operator must be `<` or `<=`. The rate is the only metric of which more
    /// is better.
    fn wants_upper(self, metric: Metric) -> bool {
        (metric == Metric::Rate) != (self == Self::Goal)
    }

    fn wrong_way(self, part: &str, objective: Objective) -> ObjectiveError {
        let meaning = match self {
            Self::Goal => "this list says what must hold",
            Self::Alarm => "this list says what must not happen",
        };
        let turned = Objective { comparison: objective.comparison.turned(), ..objective };
        ObjectiveError::WrongWay { part: part.to_owned(), meaning, example: turned.to_string() }
    }
}

impl ComparisonOperator {
    /// Splits the operator from the beginning of `text`.
    fn split(text: &str) -> Option<(Self, &str)> {
        [("<=", Self::AtMost), (">=", Self::AtLeast), ("<", Self::Below), (">", Self::Above)]
            .into_iter()
            .find_map(|(sign, comparison)| Some((comparison, text.strip_prefix(sign)?)))
    }

    fn is_upper(self) -> bool {
        matches!(self, Self::Below | Self::AtMost)
    }

    fn turned(self) -> Self {
        match self {
            Self::Below => Self::Above,
            Self::AtMost => Self::AtLeast,
            Self::Above => Self::Below,
            Self::AtLeast => Self::AtMost,
        }
    }
}

impl Objective {
    pub(crate) fn is_true(&self, measured: f64) -> bool {
        match self.comparison {
            ComparisonOperator::Below => measured < self.limit,
            ComparisonOperator::AtMost => measured <= self.limit,
            ComparisonOperator::Above => measured > self.limit,
            ComparisonOperator::AtLeast => measured >= self.limit,
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            ComparisonOperator::Below => "<",
            ComparisonOperator::AtMost => "<=",
            ComparisonOperator::Above => ">",
            ComparisonOperator::AtLeast => ">=",
        };
        write!(f, "{}{sign}{}", self.metric, self.metric.write_limit(self.limit))
    }
}

impl fmt::Display for Objectives {
    /// Formats the list so that the text parses to the same list.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<_> = self.list.iter().map(ToString::to_string).collect();
        f.write_str(&list.join(","))
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { objective, .. } = self;
        let Some(measured) = self.measured else {
            let metric = objective.metric;
            return write!(f, "{objective} cannot be decided: too few samples for {metric}");
        };
        let shown = objective.metric.show(measured);
        match self.sense {
            ObjectiveKind::Goal => write!(f, "{objective} does not hold: measured {shown}"),
            ObjectiveKind::Alarm => write!(f, "{objective} is true: measured {shown}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sentence(result: Result<Objectives, ObjectiveError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn parses_and_formats_objectives() {
        for (text, shown) in [
            ("p99<5ms,errors<0.1%", "p99<5ms,errors<0.1%"),
            (" p99.90 <= 250us , max < 1s", "p99.9<=250µs,max<1s"),
            ("rate>=20000/s,skipped<=0%,mean<1.5ms", "rate>=20000/s,skipped<=0%,mean<1.5ms"),
        ] {
            assert_eq!(Objectives::goals(text).unwrap().to_string(), shown);
        }
        // Alarms accept the units of flags.
        let alarms = Objectives::alarms("p99>1h,max>1m30s,rate<10K/s").unwrap();
        let limits: Vec<f64> = alarms.list().iter().map(|alarm| alarm.limit).collect();
        assert_eq!(limits, [3600.0, 90.0, 10_000.0]);
        let alarms = Objectives::alarms("p5>1ms,rate<7.5/s").unwrap();
        assert_eq!("p5".parse(), Ok(alarms.list()[0].metric));
        assert_eq!(alarms.to_string(), "p5>1ms,rate<7.5/s");
    }

    #[test]
    fn rejects_invalid_objectives_with_an_example() {
        for (text, wanted) in [
            ("", "an objective is missing: write for example 'p99<5ms,errors<0.1%'"),
            ("p99<5ms,", "an objective is missing"),
            ("p99", "'p99' has no comparison"),
            ("p99=5ms", "'p99=5ms' has no comparison"),
            ("p100<5ms", "'p100' is not a metric"),
            ("p99.9999<5ms", "'p99.9999' is not a metric"),
            ("p.9<5ms", "'p.9' is not a metric"),
            ("p0<5ms", "'p0' is not a metric"),
            ("latency<5ms", "'latency' is not a metric"),
            ("p99<5", "'5' is not a limit for p99: write for example 'p99<5ms'"),
            ("errors<5ms", "'5ms' is not a limit for errors: write for example 'errors<0.1%'"),
            ("errors<101%", "'101%' is not a limit for errors"),
            ("rate>5", "'5' is not a limit for rate: write for example 'rate>1000/s'"),
            ("p99>5ms", "this list says what must hold, so write for example 'p99<5ms'"),
            ("rate<5/s", "'rate<5/s' is the wrong way round"),
        ] {
            let sentence = sentence(Objectives::goals(text));
            assert!(sentence.contains(wanted), "{text}: {sentence}");
        }
        let wrong_way = sentence(Objectives::alarms("p99<=5ms"));
        assert!(wrong_way.contains("must not happen, so write for example 'p99>=5ms'"));
        let many = vec!["p99<5ms"; OBJECTIVES_MAX + 1].join(",");
        assert!(sentence(Objectives::goals(&many)).contains("too many"));
        assert!(Objectives::goals(&many[8..]).is_ok());
    }

    #[test]
    fn the_operator_decides_at_the_limit() {
        let broken =
            |objectives: Objectives, seconds: f64| !objectives.check(|_| Some(seconds)).is_empty();
        for (goal, alarm, at_limit_broken) in
            [("p99<5ms", "p99>=5ms", true), ("p99<=5ms", "p99>5ms", false)]
        {
            for objectives in [Objectives::goals(goal), Objectives::alarms(alarm)] {
                let objectives = objectives.unwrap();
                assert!(!broken(objectives.clone(), 0.0049));
                assert_eq!(broken(objectives.clone(), 0.005), at_limit_broken);
                assert!(broken(objectives, 0.0051));
            }
        }
    }

    #[test]
    fn describes_a_breach_in_one_sentence() {
        let figure = |metric| match metric {
            Metric::Percentile(p) if p.quantile() < 0.999 => Some(0.00731),
            Metric::Errors => Some(0.0125),
            Metric::Rate => Some(950.0),
            _ => None,
        };
        let alarms = Objectives::alarms("p99>5ms,errors>0.1%,rate<1000/s,p99.9>1s").unwrap();
        let sentences: Vec<_> = alarms.check(figure).iter().map(ToString::to_string).collect();
        assert_eq!(
            sentences,
            [
                "p99>5ms is true: measured 7.31 ms",
                "errors>0.1% is true: measured 1.25 %",
                "rate<1000/s is true: measured 950/s",
                "p99.9>1s cannot be decided: too few samples for p99.9",
            ]
        );
    }

    proptest! {
        #[test]
        fn never_panics_on_any_input(text in "\\PC{0,40}") {
            let _ = (Objectives::goals(&text), Objectives::alarms(&text));
        }

        #[test]
        fn formatted_objectives_parse_as_the_same(
            whole in 1u32..100, thousandths in 0u32..1000, micros in 0u64..10_000_000,
            basis_points in 0u32..=10_000,
        ) {
            let text = format!("p{whole}.{thousandths:03}<{micros}us,errors<={}.{:02}%",
                basis_points / 100, basis_points % 100);
            let goals = Objectives::goals(&text).unwrap();
            prop_assert_eq!(Objectives::goals(&goals.to_string()).unwrap(), goals);
        }
    }
}
