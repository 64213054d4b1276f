//! What a run must keep to, `p99<5ms,errors<0.1%`: read, and held against figures. Pure.

use std::fmt;

use super::metric::Metric;

/// Objectives of one list; far more than anybody writes.
const OBJECTIVES_MAX: usize = 32;

/// An example that is right, for each kind of list.
const GOAL_EXAMPLE: &str = "p99<5ms,errors<0.1%";
const ALARM_EXAMPLE: &str = "p99>5ms,errors>0.1%";

/// How a figure is held against a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

/// One comparison, `p99<5ms`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// What is measured.
    pub metric: Metric,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what, in the unit of the metric.
    pub limit: f64,
}

/// Whether a list says what must hold or what must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    Goal,
    Alarm,
}

/// A list of comparisons; a run is good when none of them finds anything.
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
/// # Ok::<(), echoline_load::ObjectiveError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Objectives {
    sense: Sense,
    list: Vec<Objective>,
}

/// One objective that a run did not keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Breach {
    sense: Sense,
    /// Which.
    pub objective: Objective,
    /// What was measured; `None` where there were too few samples to tell.
    pub measured: Option<f64>,
}

/// Why a text is no list of objectives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectiveError {
    /// It is empty, or has an empty part.
    #[error("an objective is missing: write for example '{0}'")]
    Missing(&'static str),
    /// More than anybody means.
    #[error("more than {OBJECTIVES_MAX} objectives are too many: write for example '{0}'")]
    TooMany(&'static str),
    /// No comparison sign.
    #[error("'{part}' compares nothing: write for example '{example}'")]
    NoComparison {
        /// What was read.
        part: String,
        /// What would be right.
        example: &'static str,
    },
    /// The first half is no metric.
    #[error(
        "'{name}' is nothing that is measured: write p50, p99.9 (up to p99.999), max, mean, \
         errors, skipped, lost, late, duplicated, reordered or rate, as in '{example}'"
    )]
    NoMetric {
        /// What was read.
        name: String,
        /// What would be right.
        example: &'static str,
    },
    /// The second half is no limit for this metric.
    #[error("'{limit}' is no limit for {metric}: write for example '{example}'")]
    NoLimit {
        /// What was read.
        limit: String,
        /// What it should limit.
        metric: Metric,
        /// What would be right.
        example: &'static str,
    },
    /// A goal where an alarm is asked for, or the other way round.
    #[error("'{part}' is the wrong way round: {meaning}, so write for example '{example}'")]
    WrongWay {
        /// What was read.
        part: String,
        /// What the list says.
        meaning: &'static str,
        /// What would be right.
        example: String,
    },
}

impl Objectives {
    /// Reads what must hold, `p99<5ms,errors<0.1%`.
    ///
    /// # Errors
    /// One sentence that says what was read and what would be right.
    pub fn goals(text: &str) -> Result<Self, ObjectiveError> {
        Self::read(text, Sense::Goal)
    }

    /// Reads what must not happen, `p99>5ms,errors>0.1%`.
    ///
    /// # Errors
    /// One sentence that says what was read and what would be right.
    pub fn alarms(text: &str) -> Result<Self, ObjectiveError> {
        Self::read(text, Sense::Alarm)
    }

    /// The objectives that the figures do not keep. What cannot be told (`None`) is not kept: a
    /// limit that nobody could check must not pass for one that held.
    pub fn check(&self, figure: impl Fn(Metric) -> Option<f64>) -> Vec<Breach> {
        let breach = |&objective: &Objective| {
            let measured = figure(objective.metric);
            let good = match self.sense {
                Sense::Goal => measured.is_some_and(|measured| objective.is_true(measured)),
                Sense::Alarm => measured.is_some_and(|measured| !objective.is_true(measured)),
            };
            (!good).then_some(Breach { sense: self.sense, objective, measured })
        };
        self.list.iter().filter_map(breach).collect()
    }

    /// Each comparison, as written.
    #[must_use]
    pub fn list(&self) -> &[Objective] {
        &self.list
    }

    fn read(text: &str, sense: Sense) -> Result<Self, ObjectiveError> {
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

impl Sense {
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
        let (comparison, limit) = Comparison::split(rest).ok_or_else(no_comparison)?;
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

    /// Less is better in everything but the rate; an alarm says what is worse.
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

impl Comparison {
    /// The sign that `text` begins with, and what follows it.
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
    pub(super) fn is_true(&self, measured: f64) -> bool {
        match self.comparison {
            Comparison::Below => measured < self.limit,
            Comparison::AtMost => measured <= self.limit,
            Comparison::Above => measured > self.limit,
            Comparison::AtLeast => measured >= self.limit,
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            Comparison::Below => "<",
            Comparison::AtMost => "<=",
            Comparison::Above => ">",
            Comparison::AtLeast => ">=",
        };
        write!(f, "{}{sign}{}", self.metric, self.metric.write_limit(self.limit))
    }
}

impl fmt::Display for Objectives {
    /// As it was written, so that it can be typed again.
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
            return write!(f, "{objective} cannot be told: too few samples for {metric}");
        };
        let shown = objective.metric.show(measured);
        match self.sense {
            Sense::Goal => write!(f, "{objective} does not hold: measured {shown}"),
            Sense::Alarm => write!(f, "{objective} came true: measured {shown}"),
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
    fn what_people_write_is_read_and_shown_again() {
        for (text, shown) in [
            ("p99<5ms,errors<0.1%", "p99<5ms,errors<0.1%"),
            (" p99.90 <= 250us , max < 1s", "p99.9<=250µs,max<1s"),
            ("rate>=20000/s,skipped<=0%,mean<1.5ms", "rate>=20000/s,skipped<=0%,mean<1.5ms"),
        ] {
            assert_eq!(Objectives::goals(text).unwrap().to_string(), shown);
        }
        // A condition reads what a flag reads.
        let alarms = Objectives::alarms("p99>1h,max>1m30s,rate<10K/s").unwrap();
        let limits: Vec<f64> = alarms.list().iter().map(|alarm| alarm.limit).collect();
        assert_eq!(limits, [3600.0, 90.0, 10_000.0]);
        let alarms = Objectives::alarms("p5>1ms,rate<7.5/s").unwrap();
        assert_eq!("p5".parse(), Ok(alarms.list()[0].metric));
        assert_eq!(alarms.to_string(), "p5>1ms,rate<7.5/s");
    }

    #[test]
    fn what_cannot_be_read_says_what_would_be_right() {
        for (text, wanted) in [
            ("", "an objective is missing: write for example 'p99<5ms,errors<0.1%'"),
            ("p99<5ms,", "an objective is missing"),
            ("p99", "'p99' compares nothing"),
            ("p99=5ms", "'p99=5ms' compares nothing"),
            ("p100<5ms", "'p100' is nothing that is measured"),
            ("p99.9999<5ms", "'p99.9999' is nothing that is measured"),
            ("p.9<5ms", "'p.9' is nothing"),
            ("p0<5ms", "'p0' is nothing"),
            ("latency<5ms", "'latency' is nothing that is measured"),
            ("p99<5", "'5' is no limit for p99: write for example 'p99<5ms'"),
            ("errors<5ms", "'5ms' is no limit for errors: write for example 'errors<0.1%'"),
            ("errors<101%", "'101%' is no limit for errors"),
            ("rate>5", "'5' is no limit for rate: write for example 'rate>1000/s'"),
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
    fn a_limit_is_kept_up_to_its_sign() {
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
    fn a_breach_is_one_sentence() {
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
                "p99>5ms came true: measured 7.31 ms",
                "errors>0.1% came true: measured 1.25 %",
                "rate<1000/s came true: measured 950/s",
                "p99.9>1s cannot be told: too few samples for p99.9",
            ]
        );
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_panics(text in "\\PC{0,40}") {
            let _ = (Objectives::goals(&text), Objectives::alarms(&text));
        }

        #[test]
        fn what_is_shown_is_read_as_the_same(
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
