//! Parses typed values of the command line, with one-sentence errors.

use std::fmt::Display;
use std::num::{NonZero, NonZeroU16, NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use echoline::Eol;
use echoline_base::amount;
use echoline_chat::{FloodLimits, Name};
use echoline_load::Rate;

/// The largest number of steps of a ramp.
const STEPS_MAX: u32 = 10_000;

/// The largest number of unanswered messages on a connection. They are kept in memory.
const DEPTH_MAX: u32 = 65_536;

/// The largest number of threads. Each needs descriptors and address space, and more threads than
/// cores only cost time.
const THREADS_MAX: usize = 1024;

/// The longest time to poll.
const POLL_MAX: Duration = Duration::from_secs(1);

/// The largest share: 100 times the whole, which is 10,000 %.
const SHARE_MAX: f64 = 100.0;

/// The line end to send.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum EolName {
    Lf,
    Crlf,
}

impl From<EolName> for Eol {
    fn from(name: EolName) -> Self {
        match name {
            EolName::Lf => Self::Lf,
            EolName::Crlf => Self::CrLf,
        }
    }
}

/// Returns the error message for a value that is not a `thing`.
fn wrong(text: &str, thing: &str, examples: &str) -> String {
    let is_number = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if text.strip_prefix('-').is_some_and(is_number) {
        return format!("'{text}' is negative: write for example {examples}");
    }
    format!("'{text}' is not {thing}: write for example {examples}")
}

/// Parses a length of time: `500ms`, `60s`, `1h30m`; a number without a unit counts seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    amount::time_or_seconds(text)
        .ok_or_else(|| wrong(text, "a time", "500ms, 60s or 1h30m (at most 100 years)"))
}

/// Parses a whole number of at least 1.
pub(crate) fn count<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("'{text}' is not a whole number of at least 1"))
}

/// Parses a whole number in `range`.
pub(crate) fn number_in<N>(text: &str, range: RangeInclusive<N>) -> Result<N, String>
where
    N: FromStr + PartialOrd + Display,
{
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        format!("'{text}' is not a whole number from {} to {}", range.start(), range.end())
    })
}

/// Parses the size of the longest line, at least one byte.
pub(crate) fn line_size(text: &str) -> Result<usize, String> {
    match bytes(text)? {
        0 => Err("a line has at least 1 byte: write for example 64KiB".to_owned()),
        size => Ok(size),
    }
}

/// Parses a number of threads, at least one.
pub(crate) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= THREADS_MAX);
    number.ok_or_else(|| {
        format!("'{text}' is not a number of threads: write one from 1 to {THREADS_MAX}")
    })
}

/// A time-out: a length of time, or `off` (or `0`) for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Option<Duration>);

/// Reads a [`Timeout`].
pub(crate) fn timeout(text: &str) -> Result<Timeout, String> {
    if matches!(text, "off" | "0") {
        return Ok(Timeout(None));
    }
    match duration(text) {
        Ok(Duration::ZERO) => Ok(Timeout(None)),
        Ok(length) => Ok(Timeout(Some(length))),
        Err(wrong) => Err(format!("{wrong}, or 'off'")),
    }
}

/// Parses a length of time that is not zero.
pub(crate) fn some_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("the time must be longer than 0: write for example 5s".to_owned()),
        length => Ok(length),
    }
}

/// Returns a time to poll, at most [`POLL_MAX`].
pub(crate) fn poll_time(text: &str) -> Result<Duration, String> {
    let length = duration(text)?;
    if length > POLL_MAX {
        return Err(format!(
            "'{text}' is too long, because polling uses a whole core: write at most {POLL_MAX:?}, \
             for example 50us"
        ));
    }
    Ok(length)
}

/// Returns the name of a room.
pub(crate) fn room_name(text: &str) -> Result<Name, String> {
    Name::parse_room(text).map_err(|error| clause(&error))
}

/// Returns the name of a user.
pub(crate) fn user_name(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|error| clause(&error))
}

/// Returns a sentence of the chat as a part of a longer one, without its capital letter.
fn clause(sentence: &impl Display) -> String {
    let sentence = sentence.to_string();
    let first = sentence.chars().next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(sentence.chars().skip(1)).collect()
}

/// A rate, or `max` for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MaxRate(pub(crate) Option<Rate>);

/// Reads a [`MaxRate`]: `1000/s`, `0.5/s`, `90/m`, `1/h`, `max`; a bare number is per second.
pub(crate) fn rate(text: &str) -> Result<MaxRate, String> {
    if text == "max" {
        return Ok(MaxRate(None));
    }
    let rate = read_rate(text).map(|rate| MaxRate(Some(rate)));
    rate.ok_or_else(|| wrong(text, "a rate", "1000/s, 90/m or max"))
}

fn read_rate(text: &str) -> Option<Rate> {
    let (count, per) = amount::rate(text)?;
    Rate::new(count, per)
}

/// Parses a rate that is a whole number per second: `5/s`, `5`, `300/m`.
fn whole_per_second<N: TryFrom<u32>>(text: &str) -> Option<N> {
    let (count, per) = amount::rate(text)?;
    let seconds = u32::try_from(per.as_secs()).ok()?;
    let count = count.is_multiple_of(seconds).then_some(count / seconds)?;
    N::try_from(count).ok()
}

/// The rate limit of one user's lines, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FloodRate(Option<NonZeroU16>);

impl FloodRate {
    /// Returns the limits of a chat, with at most `burst` lines at once.
    pub(crate) fn limits(self, burst: NonZeroU16) -> Option<FloodLimits> {
        let rate_per_second = self.0?.get();
        Some(FloodLimits { rate_per_second, burst: burst.get(), ..FloodLimits::default() })
    }
}

/// Reads a [`FloodRate`]: `5/s`, `off`.
pub(crate) fn flood(text: &str) -> Result<FloodRate, String> {
    if text == "off" {
        return Ok(FloodRate(None));
    }
    let rate = whole_per_second(text).and_then(NonZeroU16::new);
    let wrong = || wrong(text, "a rate of lines", "5/s, or off");
    rate.map(|rate| FloodRate(Some(rate))).ok_or_else(wrong)
}

/// Replies per second, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswerRate(pub(crate) Option<NonZeroU32>);

/// Reads an [`AnswerRate`]: `100/s`, `off`.
pub(crate) fn answer_rate(text: &str) -> Result<AnswerRate, String> {
    if text == "off" {
        return Ok(AnswerRate(None));
    }
    let rate = whole_per_second(text).and_then(NonZeroU32::new);
    let wrong = || wrong(text, "a rate of replies", "100/s, or off");
    rate.map(|rate| AnswerRate(Some(rate))).ok_or_else(wrong)
}

/// A share, typed in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share(pub(crate) f64);

/// Reads a [`Share`]: `5%`, `0.5%`, `200%`.
pub(crate) fn share(text: &str) -> Result<Share, String> {
    amount::share(text)
        .filter(|&share| share <= SHARE_MAX)
        .map(Share)
        .ok_or_else(|| wrong(text, "a percentage", "5% or 0.5%"))
}

/// A range of rates; both ends are the same for a single rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateRange {
    pub(crate) from: Rate,
    pub(crate) to: Rate,
}

/// Reads a [`RateRange`]: `5000/s`, `1000..20000/s`.
pub(crate) fn rate_range(text: &str) -> Result<RateRange, String> {
    let wrong = || wrong(text, "a rate", "5000/s or 1000..20000/s");
    let read = |text: &str| read_rate(text).ok_or_else(wrong);
    let Some((first, last)) = text.split_once("..") else {
        return read(text).map(|rate| RateRange { from: rate, to: rate });
    };
    // The unit of the last rate applies to both, unless the first one has its own unit.
    let (_, unit) = last.split_once('/').unwrap_or((last, "s"));
    let first = if first.contains('/') { first.to_owned() } else { format!("{first}/{unit}") };
    Ok(RateRange { from: read(&first)?, to: read(last)? })
}

/// Parses a number of steps, at least two.
pub(crate) fn from_two(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (2..=STEPS_MAX).contains(number));
    number.ok_or_else(|| {
        format!("'{text}' is not a number of steps: write one from 2 to {STEPS_MAX}")
    })
}

/// Parses the number of messages in flight on one connection.
pub(crate) fn depth(text: &str) -> Result<NonZero<u32>, String> {
    let number = text.parse().ok().filter(|&number| number <= DEPTH_MAX).and_then(NonZero::new);
    number.ok_or_else(|| format!("'{text}' is not a depth: write a number from 1 to {DEPTH_MAX}"))
}

/// Parses a number of bytes: `512`, `64KiB` or `64K` (units of 1024), `64KB` (units of 1000).
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let bytes = amount::bytes(text).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| wrong(text, "a size", "512, 64KiB or 1MiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_value_is_called_negative() {
        for (text, said) in [
            ("-5s", duration("-5s").map(drop)),
            ("-5s", timeout("-5s").map(drop)),
            ("-.5/s", rate("-.5/s").map(drop)),
            ("-1..5/s", rate_range("-1..5/s").map(drop)),
            ("-5/s", flood("-5/s").map(drop)),
            ("-5%", share("-5%").map(drop)),
            ("-1KiB", bytes("-1KiB").map(drop)),
        ] {
            let said = said.unwrap_err();
            assert!(
                said.starts_with(&format!("'{text}' is negative: write for example")),
                "{said}"
            );
        }
        assert!(duration("-x").unwrap_err().starts_with("'-x' is not a time"));
    }

    #[test]
    fn a_sentence_of_the_chat_continues_the_sentence_of_the_parser() {
        assert!(room_name("a b").unwrap_err().starts_with("a room name is 1 to 32"));
        assert!(user_name("a b").unwrap_err().starts_with("a name is"));
    }

    /// Issue 11, item 44: every unambiguous form is accepted.
    #[test]
    fn regression_common_forms_of_amounts_are_accepted() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("50us"), Ok(Duration::from_micros(50)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(some_duration("1d"), Ok(Duration::from_secs(86_400)));
        assert_eq!(timeout("5"), Ok(Timeout(Some(Duration::from_secs(5)))));
        assert_eq!(timeout("off"), Ok(Timeout(None)));
        assert_eq!(timeout("0s"), Ok(Timeout(None)));
        assert_eq!(timeout("2m"), Ok(Timeout(Some(Duration::from_secs(120)))));
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("10"), Ok(10));
        let per = |count, seconds| MaxRate(Rate::new(count, Duration::from_secs(seconds)));
        assert_eq!(rate("1000/s"), Ok(per(1000, 1)));
        assert_eq!(rate("90/m"), Ok(per(90, 60)));
        assert_eq!(rate("0.5/s"), Ok(per(1, 2)));
        assert_eq!(rate("1/h"), Ok(per(1, 3600)));
        assert_eq!(rate("500"), Ok(per(500, 1)));
        assert_eq!(bytes("1KB"), Ok(1000));
        for same in ["5/s", "5", "300/m"] {
            assert_eq!(flood(same), Ok(FloodRate(NonZeroU16::new(5))), "{same}");
            assert_eq!(answer_rate(same), Ok(AnswerRate(NonZeroU32::new(5))), "{same}");
        }
        assert!(flood("0.5/s").is_err() && flood("70000/s").is_err() && flood("0").is_err());
        assert_eq!(rate("max"), Ok(MaxRate(None)));
        let second = |count| Rate::new(count, Duration::from_secs(1)).unwrap();
        let range = |from, to| Ok(RateRange { from: second(from), to: second(to) });
        assert_eq!(rate_range("7/s"), range(7, 7));
        for same in ["1000..20000/s", "1000..20000", "1000/s..20000/s", "1K..20K/s"] {
            assert_eq!(rate_range(same), range(1000, 20_000), "{same}");
        }
    }

    #[test]
    fn an_invalid_value_gets_an_example() {
        for wrong in ["", "ten", "-5s", "5 parsecs", "30m1h"] {
            let sentence = duration(wrong).unwrap_err();
            assert!(sentence.contains("write for example"), "{sentence}");
        }
        for wrong in ["", "0/s", "-1/s", "/s", "1/ms", "99999999999/s"] {
            let sentence = rate(wrong).unwrap_err();
            assert!(sentence.contains("write for example"), "{sentence}");
        }
        assert_eq!(share("0.5%"), Ok(Share(0.005)));
        for wrong in ["", "5", "%", "-1%", "NaN%", "inf%", "99999%"] {
            let sentence = share(wrong).unwrap_err();
            assert!(sentence.contains("write for example"), "{sentence}");
        }
        for wrong in ["", "max", "5..", "..6/s", "0..6/s", "5/ms..6/s"] {
            let sentence = rate_range(wrong).unwrap_err();
            assert!(sentence.contains("1000..20000/s"), "{sentence}");
        }
        for wrong in ["", "1", "-1", "10001"] {
            assert!(from_two(wrong).unwrap_err().contains("from 2 to 10000"));
        }
        for wrong in ["", "0", "65537"] {
            assert!(depth(wrong).unwrap_err().contains("from 1 to 65536"));
        }
        for wrong in ["", "0", "1025", "1000000"] {
            assert!(threads(wrong).unwrap_err().contains("from 1 to 1024"));
        }
        for wrong in ["", "x", "-1", "0", "6", "256"] {
            assert!(number_in(wrong, 1..=5_u8).unwrap_err().contains("from 1 to 5"), "{wrong}");
        }
        assert!(line_size("0").is_err() && line_size("0KiB").is_err());
        assert_eq!(line_size("1"), Ok(1));
        assert!(some_duration("0s").is_err());
        assert_eq!(poll_time("1s"), Ok(POLL_MAX));
        assert!(poll_time("5h").unwrap_err().contains("at most 1s"));
        for wrong in ["", "KiB", "5 parsecs", "-1", "99999999999999999999", "20000000000GiB"] {
            let sentence = bytes(wrong).unwrap_err();
            assert!(sentence.contains("write for example"), "{sentence}");
        }
    }
}
