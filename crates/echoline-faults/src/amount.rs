//! Parses times, sizes and rates within the bounds of a plan. Pure.

use std::time::Duration;

use echoline_base::amount;

/// The maximum duration in a plan. No test waits for so long, and sums of such durations do not
/// overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The maximum number of bytes in a plan. No test sends as many.
const BYTES_MAX: u64 = 1 << 40;

/// Parses a duration: `50ms`, `1.5s`, `200us`, `1h30m`. The resolution is one microsecond, the
/// maximum one day.
pub(super) fn parse_time(text: &str) -> Option<Duration> {
    let micros = (amount::time(text)? + Duration::from_nanos(500)).as_micros();
    let time = Duration::from_micros(u64::try_from(micros).ok()?);
    (time <= LONGEST).then_some(time)
}

/// Parses a size: `512`, `512B`, `10KiB`, `10K`, `1MB`.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    amount::bytes(text).filter(|&bytes| bytes <= BYTES_MAX)
}

/// Parses a rate of at least one byte per second: `10KiB/s`, `10K/s`.
pub(super) fn parse_rate(text: &str) -> Option<u64> {
    amount::bytes_per_second(text).filter(|&rate| rate <= BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use echoline_base::amount::{ExactBytes, ExactTime};

    /// Issue 11, item 44: a plan parses amounts as a flag does, except that a number without a unit
    /// is not a time.
    #[test]
    fn regression_what_people_write_is_read() {
        assert_eq!(parse_time("50ms"), Some(Duration::from_millis(50)));
        assert_eq!(parse_time("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_time("200µs"), Some(Duration::from_micros(200)));
        assert_eq!(parse_time("24h"), Some(LONGEST));
        assert_eq!(parse_bytes("1KiB"), Some(1024));
        assert_eq!(parse_bytes("7"), Some(7));
        assert_eq!(parse_rate("10KiB/s"), Some(10_240));
        assert_eq!(parse_time("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_bytes("1.5KiB"), Some(1536));
        assert_eq!(parse_bytes("1KB"), Some(1000));
        assert_eq!(parse_rate("10K/s"), Some(10_240));
        for wrong in ["", "ms", "5", "-5ms", "1.2.3s", "25h", "NaNs", "infs", "1e3s"] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
        for wrong in ["", "KiB", "1.3KiB", "-1", "2048GiB", "99999999999999999999"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
        assert_eq!(parse_rate("0/s"), None);
        assert_eq!(parse_rate("10KiB"), None);
    }

    proptest! {
        #[test]
        fn printed_amounts_parse_back(micros in 0u64..=86_400_000_000, size in 0..=BYTES_MAX) {
            let time = Duration::from_micros(micros);
            prop_assert_eq!(parse_time(&ExactTime(time).to_string()), Some(time));
            prop_assert_eq!(parse_bytes(&ExactBytes(size).to_string()), Some(size));
        }
    }
}
