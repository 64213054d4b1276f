//! Prints figures for people, rounded to three digits, with a unit: `7.31 ms`, `0.12 %`,
//! `12,346/s`. Pure.

use std::time::Duration;

/// Formats a duration with three digits and a unit: `1.23 µs`, `28.5 ms`, `5.00 s`.
pub fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        ..999.5 => (micros, "µs"),
        ..999_500.0 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// Formats a duration, which may be several days, in its two largest units: `3 min 20 s`, `0.25 s`.
pub fn long_time(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |large: u64, name, small: u64, below| match small {
        0 => format!("{large} {name}"),
        _ => format!("{large} {name} {small} {below}"),
    };
    match seconds {
        0..10 if time.subsec_millis() > 0 => format!("{:.2} s", time.as_secs_f64()),
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// Formats a number of bytes: `0 B`, `512 B`, `1.50 KiB`, `3.2 GiB`.
pub fn bytes(number: f64) -> String {
    let mut value = number;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 999.5 {
            let shown = if unit == "B" { format!("{value:.0}") } else { three_digits(value) };
            return format!("{shown} {unit}");
        }
        value /= 1024.0;
    }
    format!("{} TiB", three_digits(value))
}

/// Formats `value` with at least three digits: `1.23`, `28.5`, `12345`.
fn three_digits(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Formats a fraction of one in percent: `0.12 %`. A share above zero is never shown as zero.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.005 {
        return format!("{percent:.1e} %");
    }
    format!("{} %", three_digits(percent))
}

/// Formats a number with its digits in groups of three: `1,234,567`.
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

/// Formats a rate in events per second: `12,346/s`. Small rates keep decimals: `0.25/s`.
pub fn rate(per_second: f64) -> String {
    if per_second < 99.95 {
        return format!("{}/s", few_per_second(per_second));
    }
    // The conversion saturates. A reader needs no exact digits of such a large rate.
    format!("{}/s", count(per_second.round() as u64))
}

/// Formats a rate in events per second without its unit. A rate below ten keeps two decimals
/// (`1.50`), and any other rate becomes a whole number.
pub fn per_second(rate: f64) -> String {
    if rate < 9.995 { few_per_second(rate) } else { format!("{rate:.0}") }
}

/// Formats a rate below ten with three digits. A rate above zero is never shown as zero: one
/// message per hour is `2.8e-4`.
fn few_per_second(rate: f64) -> String {
    if rate > 0.0 && rate < 0.005 { format!("{rate:.1e}") } else { three_digits(rate) }
}

#[cfg(test)]
mod tests {
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
    fn long_times_have_two_units() {
        let shown: Vec<String> = [0, 250, 30_000, 200_000, 7_200_000, 100_000_000]
            .into_iter()
            .map(|millis| long_time(Duration::from_millis(millis)))
            .collect();
        assert_eq!(shown, ["0 s", "0.25 s", "30 s", "3 min 20 s", "2 h", "1 d 3 h"]);
    }

    #[test]
    fn bytes_have_three_digits_and_a_unit() {
        let shown: Vec<String> =
            [0.0, 999.0, 1000.0, 1536.0, 1e9, 1e16].into_iter().map(bytes).collect();
        assert_eq!(shown, ["0 B", "999 B", "0.98 KiB", "1.50 KiB", "954 MiB", "9095 TiB"]);
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
        // One message per hour is not shown as zero.
        assert_eq!(
            (per_second(1.0 / 3600.0).as_str(), rate(1.0 / 3600.0).as_str()),
            ("2.8e-4", "2.8e-4/s")
        );
    }
}
