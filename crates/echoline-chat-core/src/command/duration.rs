//! Durations as users type them: `10m`, `1h30m`, `3 days`, `1w`.

use std::time::Duration;

use echoline_base::amount;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The longest duration: ten years.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// The maximum number of words in a duration: a number and a unit, for each of the seven units.
const WORDS_MAX: usize = 14;

/// Parses the duration at the beginning of a list of words. Returns it with the number of words
/// that it takes.
///
/// A duration is a sequence of numbers and units, in one word or in several: `90s`, `1h30m`, `1h
/// 30m`, `3 days`. Each unit is smaller than the one before it. Returns `None` if the list does not
/// begin with a duration, or if the duration is zero or longer than ten years.
pub(crate) fn read<'a>(words: impl Iterator<Item = &'a str>) -> Option<(Duration, usize)> {
    let (mut text, mut found) = (String::new(), None);
    for (index, word) in words.take(WORDS_MAX).enumerate() {
        // Decimals are not supported, because a full stop may end the sentence.
        if word.contains('.') {
            break;
        }
        text.extend([" ", word]);
        if let Some(duration) = amount::time_in(&text, nanos_of) {
            found = Some((duration, index + 1));
        }
    }
    found.filter(|(duration, _)| !duration.is_zero() && *duration <= LONGEST)
}

/// Returns whether a word looks like a duration, even if it is not a valid one. Such a word begins
/// with a digit of any script, optionally after a sign, a point or a bracket. Ordinal numbers such
/// as `2nd` are excluded.
pub(crate) fn looks_like_duration(word: &str) -> bool {
    let bare = word.trim_start_matches(|c| "+-\u{2212}\u{2013}~<>=.,([\"'".contains(c));
    let rest = bare.trim_start_matches(char::is_numeric);
    let is_ordinal = ["st", "nd", "rd", "th"].iter().any(|end| rest.eq_ignore_ascii_case(end));
    rest.len() < bare.len() && !is_ordinal
}

/// Returns the length of a unit in nanoseconds; units below a second are refused. The case does not
/// matter, except that `M` alone is refused: it could mean minutes or months.
fn nanos_of(unit: &str) -> Option<u64> {
    let days = |days: u32| u64::try_from((DAY * days).as_nanos()).ok();
    match unit.to_ascii_lowercase().as_str() {
        _ if unit == "M" => None,
        "wk" | "wks" => days(7),
        "mo" | "month" | "months" => days(30),
        "y" | "yr" | "yrs" | "year" | "years" => days(365),
        other => amount::nanos_of(other).filter(|&nanos| nanos >= 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const SECONDS_MAX: u64 = LONGEST.as_secs();

    /// Returns the duration at the front of `text` in seconds, and the words after it.
    fn seconds(text: &str) -> Option<(u64, String)> {
        let (duration, taken) = read(text.split(' '))?;
        let rest: Vec<&str> = text.split(' ').skip(taken).collect();
        Some((duration.as_secs(), rest.join(" ")))
    }

    /// Issue 11, item 12: all forms that users type are parsed.
    #[test]
    fn regression_durations_parse_in_the_forms_that_people_type() {
        for (text, expected) in [
            ("1s", 1),
            ("10m", 10 * MINUTE),
            ("10min", 10 * MINUTE),
            ("2H", 2 * HOUR),
            ("2hours", 2 * HOUR),
            ("1h30m", 90 * MINUTE),
            ("1h 30m", 90 * MINUTE),
            ("1h 30 minutes", 90 * MINUTE),
            ("3 days", 3 * DAY),
            ("1d12h30m5s", DAY + 12 * HOUR + 30 * MINUTE + 5),
            ("1w", 7 * DAY),
            ("2 WEEKS", 14 * DAY),
            ("1mo", 30 * DAY),
            ("1y", 365 * DAY),
            ("1y 2mo 3wk 4d 5h 6m 7s", 450 * DAY + 5 * HOUR + 6 * MINUTE + 7),
            ("1 y 1 mo 1 w 1 d 1 h 1 m 1 s", 403 * DAY + HOUR + MINUTE + 1),
            ("3650d", SECONDS_MAX),
        ] {
            assert_eq!(seconds(text), Some((expected, String::new())), "{text}");
        }
        for (text, expected, rest) in [
            ("10m 2nd time", 10 * MINUTE, "2nd time"),
            ("1w spam", 7 * DAY, "spam"),
            ("1h 30 times", HOUR, "30 times"),
            ("3 days spam", 3 * DAY, "spam"),
            ("10m 1h", 10 * MINUTE, "1h"),
        ] {
            assert_eq!(seconds(text), Some((expected, rest.to_owned())), "{text}");
        }
    }

    #[test]
    fn refuses_words_that_are_not_a_duration() {
        for text in [
            "",
            "m",
            "10",
            "0m",
            "0",
            "-1m",
            "+1m",
            "1.5h",
            "3651d",
            "1й",
            "1M",
            "1h30",
            "1h1h",
            "1m1h",
            "10m,",
            "1h-2h",
            "99999999999999999999d",
            "18446744073709551615w",
            "10 spam",
            "500ms",
            "1.5 h",
            "h",
            "1_000s",
            "１０m",
            "10y 1d",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_word_that_begins_with_a_digit_looks_like_a_duration() {
        for word in ["10", "-1d", "1.5h", ".5h", "10minuts", "(10m)", "１０m", "½h", "~2h", "0"]
        {
            assert!(looks_like_duration(word), "{word}");
        }
        for word in ["", "-", "spam", "2nd", "1ST", "h1", "forever", "#133", "m10"] {
            assert!(!looks_like_duration(word), "{word}");
        }
    }

    proptest! {
        #[test]
        fn every_duration_looks_like_one(
            text in "[0-9]{1,3}(s|min|H|days|w)( [a-z0-9]{0,4}){0,3}",
        ) {
            let first = text.split(' ').next().unwrap();
            prop_assert!(looks_like_duration(first));
            if let Some((duration, taken)) = read(text.split(' ')) {
                prop_assert!(taken >= 1 && !duration.is_zero());
                prop_assert!(duration.as_secs() <= SECONDS_MAX);
            }
        }
    }
}
