//! Figures as people read and write them: `7.31 ms`, `0.12 %`, `5ms`. Pure.

use std::time::Duration;

use echoline_base::amount;

/// Three digits and a unit: `1.23 µs`, `28.5 ms`, `5.00 s`.
pub fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        ..999.5 => (micros, "µs"),
        ..999_500.0 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// At least three digits: `1.23`, `28.5`, `12345`.
pub fn three_digits(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A share of one in percent: `0.12 %`. What is not zero is never shown as zero.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.005 {
        return format!("{percent:.1e} %");
    }
    format!("{} %", three_digits(percent))
}

/// A number of things, in groups of three: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Events per second: `12,346/s`; small rates keep decimals: `0.25/s`.
pub fn rate(per_second: f64) -> String {
    if per_second < 99.95 {
        return format!("{}/s", few_per_second(per_second));
    }
    // Saturates, which is what is wanted of a figure for people.
    format!("{}/s", count(per_second.round() as u64))
}

/// A number of events per second without its unit: whole, but `1.50` below ten.
pub fn per_second(rate: f64) -> String {
    if rate < 9.995 { few_per_second(rate) } else { format!("{rate:.0}") }
}

/// Three digits. A rate above zero is never shown as zero: one message per hour is `2.8e-4`.
fn few_per_second(rate: f64) -> String {
    if rate > 0.0 && rate < 0.005 { format!("{rate:.1e}") } else { three_digits(rate) }
}

/// Reads a length of time: `5ms`, `2.5us`, `1m30s`.
pub(super) fn parse_time(text: &str) -> Option<Duration> {
    amount::time(text)
}

/// Reads a rate, in events per second: `1000/s`, `90/m`, `10K/s`, `0/s`.
pub(super) fn parse_rate(text: &str) -> Option<f64> {
    let (number, unit) = split_unit(text)?;
    match amount::rate(text).filter(|_| text.contains('/')) {
        Some((count, per)) => Some(f64::from(count) / per.as_secs_f64()),
        None => (number == 0.0 && unit == "/s").then_some(number),
    }
}

/// A share of one as it is typed, in percent: `0.1%`; `None` where it is none, or over 100%.
pub(super) fn parse_percent(text: &str) -> Option<f64> {
    let (number, unit) = split_unit(text)?;
    (unit == "%" && number <= 100.0).then_some(number / 100.0)
}

/// Splits `text` into the number at its beginning, never negative, and the rest.
fn split_unit(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_have_three_digits() {
        for (nanos, text) in [
            (0, "0.00 µs"),
            (1_234, "1.23 µs"),
            (99_949, "99.9 µs"),
            (99_950, "100 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (28_549_000, "28.5 ms"),
            (5_000_000_000, "5.00 s"),
        ] {
            assert_eq!(time(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn counts_shares_and_rates_are_short() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        for (share, text) in
            [(0.0, "0.00 %"), (0.00123, "0.12 %"), (1.0, "100 %"), (1e-6, "1.0e-4 %")]
        {
            assert_eq!(percent(share), text);
        }
        for (number, text) in [(0.25, "0.25/s"), (20_000.4, "20,000/s"), (f64::MAX, "18,446,")] {
            assert!(rate(number).starts_with(text));
        }
    }

    /// Issue 11, item 34: a rate below ten keeps its decimals.
    #[test]
    fn regression_a_low_rate_keeps_its_decimals() {
        for (number, text) in
            [(0.0, "0.00"), (1.5, "1.50"), (9.99, "9.99"), (9.996, "10"), (102_126.4, "102126")]
        {
            assert_eq!(per_second(number), text);
        }
        // One message per hour is not none.
        assert_eq!(
            (per_second(1.0 / 3600.0).as_str(), rate(1.0 / 3600.0).as_str()),
            ("2.8e-4", "2.8e-4/s")
        );
    }

    #[test]
    fn a_text_from_outside_cannot_steer_a_terminal() {}

    /// Issue 11, item 44: a condition reads what a flag reads; a bare number is no time in it.
    #[test]
    fn regression_what_is_typed_is_read() {
        assert_eq!(parse_time("5ms"), Some(Duration::from_millis(5)));
        assert_eq!(parse_time("2.5us"), Some(Duration::from_nanos(2500)));
        assert_eq!(parse_time("1 s"), Some(Duration::from_secs(1)));
        assert_eq!(parse_time("1m30s"), Some(Duration::from_secs(90)));
        for (text, wanted) in [("1000/s", 1000.0), ("90/m", 1.5), ("10K/s", 1e4), ("0/s", 0.0)] {
            assert_eq!(parse_rate(text), Some(wanted), "{text}");
        }
        assert_eq!((parse_rate("5ms"), parse_rate("5")), (None, None));
        for wrong in ["", "5", "ms", "-5ms", "5 parsecs", "1e3ms", "1..2s", "99999999999999999999s"]
        {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
        assert_eq!(parse_percent("0.1%"), Some(0.001));
        for wrong in ["", "%", "0.1", "101%", "-1%", ".%"] {
            assert_eq!(parse_percent(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_panics(text in "\\PC{0,20}") {
            let _ = (parse_time(&text), parse_percent(&text), split_unit(&text));
        }
    }
}
