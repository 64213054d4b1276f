//! Wall-clock times of reports, as RFC 3339 writes them. Pure.

use std::time::Duration;

use jiff::Timestamp;

/// `2026-11-30T09:00:00.250Z` for the time so long after the beginning of 1970 in UTC; empty if it
/// is beyond the year 9999.
pub(super) fn rfc_3339(since_epoch: Duration) -> String {
    let millis = i64::try_from(since_epoch.as_millis()).ok();
    let timestamp = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    timestamp.map_or_else(String::new, |timestamp| format!("{timestamp:.3}"))
}

/// Reads a time, to the millisecond from the beginning of 1970 in UTC; `None` if `text` is no time
/// with an offset, or one before that.
pub(super) fn since_epoch(text: &str) -> Option<Duration> {
    let timestamp: Timestamp = text.parse().ok()?;
    u64::try_from(timestamp.as_millisecond()).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_and_read() {
        let millis = Duration::from_millis(1_796_000_400_250);
        assert_eq!(rfc_3339(millis), "2026-11-30T01:00:00.250Z");
        assert_eq!(since_epoch(&rfc_3339(millis)), Some(millis));
        assert_eq!(since_epoch("2026-11-30T02:00:00.25+01:00"), Some(millis));
        assert_eq!(rfc_3339(Duration::ZERO), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc_3339(Duration::MAX), "");
        for wrong in ["", "noon", "2026-11-30T02:00:00", "1969-12-31T23:59:59Z"] {
            assert_eq!(since_epoch(wrong), None, "{wrong}");
        }
    }
}
