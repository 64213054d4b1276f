//! Parses durations, sizes, rates and shares as users type them in flags, plans and commands, and
//! prints them exactly, in a form that parses again. `figures` prints them rounded. Pure.

use std::fmt;
use std::time::Duration;

pub mod figures;

/// For each unit of time: its names, and its length in nanoseconds. The largest unit comes first.
const TIMES: [(&[&str], u64); 8] = [
    (&["w", "week", "weeks"], 7 * 24 * 3600 * SECOND),
    (&["d", "day", "days"], 24 * 3600 * SECOND),
    (&["h", "hr", "hrs", "hour", "hours"], 3600 * SECOND),
    (&["m", "min", "mins", "minute", "minutes"], 60 * SECOND),
    (&["s", "sec", "secs", "second", "seconds"], SECOND),
    (&["ms", "msec", "msecs", "millisecond", "milliseconds"], 1_000_000),
    (&["us", "µs", "μs", "usec", "usecs", "microsecond", "microseconds"], 1000),
    (&["ns", "nsec", "nanosecond", "nanoseconds"], 1),
];

const SECOND: u64 = 1_000_000_000;

/// Units of sizes in lower case. As in GNU coreutils, `k` and `kib` are 1024 bytes and `kb` is
/// 1000.
const SIZES: [(&[&str], u64); 7] = [
    (&["", "b"], 1),
    (&["k", "kib"], 1 << 10),
    (&["kb"], 1000),
    (&["m", "mib"], 1 << 20),
    (&["mb"], 1_000_000),
    (&["g", "gib"], 1 << 30),
    (&["gb"], 1_000_000_000),
];

/// The longest time, 100 years in seconds. A clock can represent the sum of a few such times.
const LONGEST: u64 = 36_525 * 24 * 3600;

/// The maximum number of digits after a decimal point.
const DECIMALS_MAX: usize = 9;

/// Parses a duration: `500ms`, `1.5s`, `1h30m`, `1 min 30 s`, `2 days`. Each unit occurs at most
/// once, larger units come first, and the maximum is 100 years. Returns `None` for a number without
/// a unit.
pub fn time(text: &str) -> Option<Duration> {
    time_in(text, nanos_of)
}

/// Returns the number of nanoseconds in a unit of time, such as `min` or `minutes`.
pub fn nanos_of(unit: &str) -> Option<u64> {
    TIMES.iter().find(|(names, _)| names.contains(&unit)).map(|(_, nanos)| *nanos)
}

/// Parses a duration as [`time`] does, with the units that `nanos_of` accepts. For each of them it
/// returns the number of nanoseconds.
pub fn time_in(text: &str, nanos_of: impl Fn(&str) -> Option<u64>) -> Option<Duration> {
    let mut rest = text.trim();
    let (mut nanos, mut smallest) = (0u128, u64::MAX);
    while !rest.is_empty() {
        let (number, behind) = number(rest)?;
        let behind = behind.trim_start();
        let end = behind.find(|letter: char| !letter.is_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let size = nanos_of(unit)?;
        if size >= smallest {
            return None;
        }
        smallest = size;
        nanos = nanos.checked_add(number.times(size))?;
        rest = behind.trim_start();
    }
    (smallest < u64::MAX).then_some(())?;
    let seconds = u64::try_from(nanos / u128::from(SECOND)).ok();
    let seconds = seconds.filter(|&seconds| seconds <= LONGEST)?;
    Some(Duration::new(seconds, (nanos % u128::from(SECOND)) as u32))
}

/// Parses a duration as [`time`] does, and a number without a unit as seconds: `30` is `30s`.
pub fn time_or_seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    match number(text)? {
        (_, "") => time(&format!("{text}s")),
        _ => time(text),
    }
}

/// Parses a size: `512`, `64KiB`, `64K` (1024 each), `64KB` (1000 each), `1.5 MiB`. The case does
/// not matter. The result must be a whole number of bytes.
pub fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number(text.trim())?;
    let unit = unit.trim().to_ascii_lowercase();
    let (_, size) = SIZES.iter().find(|(names, _)| names.contains(&unit.as_str()))?;
    number.whole_times(*size)
}

/// Parses a rate in bytes per second: `10KiB/s`, `10K/s`, `1MB/min`. The minimum is one byte per
/// second.
pub fn bytes_per_second(text: &str) -> Option<u64> {
    let (size, unit) = text.split_once('/')?;
    let per = per(unit)?;
    let rate = bytes(size)?.checked_mul(SECOND)? / u64::try_from(per.as_nanos()).ok()?;
    (rate > 0).then_some(rate)
}

/// Parses a rate of events: `1000/s`, `0.5/s`, `90/m`, `1/h`, `10K/s` (10,000). A number without a
/// unit is a number of events per second. Returns a number of events and the time in which they
/// occur. Neither is zero.
pub fn rate(text: &str) -> Option<(u32, Duration)> {
    let (count, unit) = text.trim().split_once('/').unwrap_or((text.trim(), "s"));
    let (number, unit, per) = {
        let (number, behind) = number(count)?;
        (number, behind.trim(), per(unit)?)
    };
    let thousands: u64 = match unit {
        "" => 1,
        "k" | "K" => 1000,
        "M" => 1_000_000,
        _ => return None,
    };
    let digits = number.digits.checked_mul(u128::from(thousands))?;
    // Finds the smallest whole numbers: 1.5 events in one second are 3 events in two seconds.
    let scale = 10u128.pow(number.decimals);
    let shared = gcd(digits, scale);
    let count = u32::try_from(digits / shared).ok().filter(|&count| count > 0)?;
    let factor = u32::try_from(scale / shared).ok()?;
    Some((count, per.checked_mul(factor)?))
}

/// Parses a rate in events per second: `1000/s`, `90/m`, `10K/s`, and also `0/s`. Returns `None`
/// for a number without a unit.
pub fn events_per_second(text: &str) -> Option<f64> {
    let (count, unit) = text.split_once('/')?;
    match rate(text) {
        Some((count, per)) => Some(f64::from(count) / per.as_secs_f64()),
        None => {
            let is_none = |(number, rest): (Number, &str)| number.digits == 0 && rest.is_empty();
            (number(count).is_some_and(is_none) && unit == "s").then_some(0.0)
        }
    }
}

/// Parses a share in percent, as a fraction of one: `0.1%`, `200 %`.
pub fn share(text: &str) -> Option<f64> {
    let (number, unit) = number(text.trim())?;
    (unit.trim_start() == "%").then(|| number.value() / 100.0)
}

/// Returns the duration of the unit of a rate: `s`, `min`, `hour`.
fn per(unit: &str) -> Option<Duration> {
    nanos_of(unit.trim()).filter(|&nanos| nanos >= SECOND).map(Duration::from_nanos)
}

/// A decimal number, exactly as it was typed: the value is `digits / 10^decimals`.
#[derive(Clone, Copy, Debug)]
struct Number {
    digits: u128,
    decimals: u32,
}

impl Number {
    /// Returns the nearest floating-point number.
    fn value(self) -> f64 {
        self.digits as f64 / 10f64.powi(self.decimals as i32)
    }

    /// Returns this number of `unit`s, rounded down.
    fn times(self, unit: u64) -> u128 {
        self.digits.saturating_mul(unit.into()) / 10u128.pow(self.decimals)
    }

    /// Returns this number of `unit`s. Returns `None` if the result is not a whole number or too
    /// large.
    fn whole_times(self, unit: u64) -> Option<u64> {
        let total = self.digits.checked_mul(unit.into())?;
        let scale = 10u128.pow(self.decimals);
        total.is_multiple_of(scale).then_some(())?;
        u64::try_from(total / scale).ok()
    }
}

/// Splits `text` into the non-negative number at its beginning and the rest.
fn number(text: &str) -> Option<(Number, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, rest) = text.split_at(end.unwrap_or(text.len()));
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let point_without_digits = number.len() > whole.len() && decimals.is_empty();
    if whole.is_empty() || point_without_digits || decimals.len() > DECIMALS_MAX {
        return None;
    }
    let decimals = decimals.trim_end_matches('0');
    let digits: u128 = [whole, decimals].concat().parse().ok()?;
    // This bound is far above every limit, and small enough that no product overflows.
    (digits < 1 << 96).then_some((Number { digits, decimals: decimals.len() as u32 }, rest))
}

/// A duration in whole microseconds. It prints exactly, in one unit, and [`time`] parses the
/// result.
#[derive(Clone, Copy, Debug)]
pub struct ExactTime(pub Duration);

/// A size. It prints exactly, in one unit, and [`bytes`] parses the result.
#[derive(Clone, Copy, Debug)]
pub struct ExactBytes(pub u64);

impl fmt::Display for ExactTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let units: [(&str, u128); 5] =
            [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1000), ("us", 1)];
        match units.iter().find(|(_, unit)| micros > 0 && micros.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", micros / unit),
            None => f.write_str("0s"),
        }
    }
}

impl fmt::Display for ExactBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match units.iter().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Issue 11, item 44: durations are accepted in the forms that users type.
    #[test]
    fn regression_times_are_read_as_people_type_them() {
        for (text, millis) in [
            ("500ms", 500),
            ("1.5s", 1500),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1m 30s", 90_000),
            ("2 minutes 3 seconds", 123_000),
            ("10min", 600_000),
            ("2hours", 7_200_000),
            ("1d", 86_400_000),
            ("1w", 604_800_000),
            (" 0.5h ", 1_800_000),
            ("0s", 0),
            ("36525d", 3_155_760_000_000),
        ] {
            assert_eq!(time(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(time("1.5us"), Some(Duration::from_nanos(1500)));
        assert_eq!(time("2µs"), time("2us"));
        for wrong in [
            "",
            " ",
            "ten",
            "5",
            "ms",
            "-5s",
            "5 parsecs",
            "1.2.3s",
            "1..2s",
            "1.s",
            ".5s",
            "1e3s",
            "30m1h",
            "1m1m",
            "5M",
            "99999999999999999999999999s",
            "18446744073709551615.999999999s",
            "36526d",
            "NaNs",
            "infs",
            "0.1234567891s",
            "1h30",
            "1h,30m",
        ] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
        for (text, seconds) in [("30", 30.0), ("1.5", 1.5), ("2m", 120.0), ("0", 0.0)] {
            assert_eq!(time_or_seconds(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        assert_eq!(time_or_seconds("1h30"), None);
    }

    /// Issue 11, item 44: K and KiB are 1024 bytes, KB is 1000.
    #[test]
    fn regression_sizes_are_read_as_people_type_them() {
        for (text, wanted) in [
            ("7", 7),
            ("7B", 7),
            ("64KiB", 65_536),
            ("64k", 65_536),
            ("64K", 65_536),
            ("1KB", 1000),
            ("1kB", 1000),
            ("1.5KiB", 1536),
            ("0.5 MB", 500_000),
            ("2G", 2 << 30),
            ("0", 0),
        ] {
            assert_eq!(bytes(text), Some(wanted), "{text}");
        }
        for wrong in [
            "",
            "KiB",
            "1.3B",
            "-1",
            "5 parsecs",
            "99999999999999999999",
            "20000000000GiB",
            "1KiBs",
        ] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
        assert_eq!(bytes_per_second("10KiB/s"), Some(10_240));
        assert_eq!(bytes_per_second("10K/s"), Some(10_240));
        assert_eq!(bytes_per_second("6KB/min"), Some(100));
        for wrong in ["0/s", "10KiB", "10KiB/", "1/h", "/s", "10/ms"] {
            assert_eq!(bytes_per_second(wrong), None, "{wrong}");
        }
    }

    /// Issue 11, item 44: rates below one in every unit. A number without a unit is a rate per
    /// second.
    #[test]
    fn regression_rates_are_read_as_people_type_them() {
        for (text, count, seconds) in [
            ("1000/s", 1000, 1),
            ("500", 500, 1),
            ("0.5/s", 1, 2),
            ("1.5/s", 3, 2),
            ("90/m", 90, 60),
            ("90/min", 90, 60),
            ("1/h", 1, 3600),
            ("1/day", 1, 86_400),
            ("10k/s", 10_000, 1),
            ("10K/s", 10_000, 1),
            ("0.5K/sec", 500, 1),
            ("1M/s", 1_000_000, 1),
        ] {
            assert_eq!(rate(text), Some((count, Duration::from_secs(seconds))), "{text}");
        }
        for wrong in ["", "0/s", "0", "-1/s", "/s", "1/", "1/ms", "1/s/s", "99999999999/s", "x/s"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    /// Issue 11, item 44: in a condition, a number without a unit is neither a rate nor a share.
    #[test]
    fn regression_conditions_name_their_units() {
        for (text, wanted) in
            [("1000/s", 1000.0), ("90/m", 1.5), ("10K/s", 1e4), ("0/s", 0.0), ("0.0/s", 0.0)]
        {
            assert_eq!(events_per_second(text), Some(wanted), "{text}");
        }
        for wrong in ["", "5", "5ms", "/s", "0", "0/m", "-1/s", "x/s"] {
            assert_eq!(events_per_second(wrong), None, "{wrong}");
        }
        for (text, wanted) in [("0.1%", 0.001), ("5 %", 0.05), ("200%", 2.0), ("0%", 0.0)] {
            assert_eq!(share(text), Some(wanted), "{text}");
        }
        for wrong in ["", "%", "0.1", "-1%", ".%", "NaN%", "inf%", "5%%"] {
            assert_eq!(share(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn exact_text_parses_to_the_same_value(micros in 0u64..=1 << 50, size in 0u64..=1 << 40) {
            let length = Duration::from_micros(micros);
            prop_assert_eq!(time(&ExactTime(length).to_string()), Some(length));
            prop_assert_eq!(bytes(&ExactBytes(size).to_string()), Some(size));
        }

        #[test]
        fn no_input_causes_a_panic(
            text in "[0-9.]{0,40}[a-zA-Zµ/ ]{0,4}[0-9.]{0,3}[a-z]{0,3}",
        ) {
            let _ = (time(&text), time_or_seconds(&text), bytes(&text));
            let _ = (rate(&text), bytes_per_second(&text));
            let _ = (events_per_second(&text), share(&text));
        }
    }
}
