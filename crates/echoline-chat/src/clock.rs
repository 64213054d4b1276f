//! The wall clock of a chat, and its display in local time. The order of lines never depends on it.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Returns the time in milliseconds since 1970, UTC.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Formats a time as `17:04`.
pub(super) fn time_of_day(time_ms: u64) -> String {
    local(time_ms, "%H:%M")
}

/// Formats a date as `Monday 23 November 2026`.
pub(super) fn date(time_ms: u64) -> String {
    local(time_ms, DATE)
}

const DATE: &str = "%A %-d %B %Y";

/// Formats a time as `2026-11-23 17:04 +01:00`: local time with its offset from UTC.
pub(super) fn moment(time_ms: u64) -> String {
    local(time_ms, "%Y-%m-%d %H:%M %:z")
}

fn local(time_ms: u64, format: &str) -> String {
    within(TimeZone::system(), time_ms, format)
}

fn within(zone: TimeZone, time_ms: u64, format: &str) -> String {
    let time_ms = i64::try_from(time_ms).unwrap_or(i64::MAX);
    match Timestamp::from_millisecond(time_ms) {
        Ok(time) => time.to_zoned_datetime(zone).strftime(format).to_string(),
        Err(_) => "the end of time".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 12: the end of a ban is a date and a time with its offset.
    #[test]
    fn regression_a_moment_has_date_time_and_offset() {
        let shown = moment(1_800_000_000_000);
        let offset = &shown["2027-01-15 08:00 ".len()..];
        assert!(shown.starts_with("2027-01-1"), "{shown}");
        assert_eq!((offset.len(), &offset[3..4]), ("+01:00".len(), ":"), "{shown}");
        assert_eq!(moment(u64::MAX), "the end of time");
    }

    /// Issue 11, item 16.
    #[test]
    fn regression_a_day_is_shown_in_words() {
        let shown = |time_ms| within(TimeZone::UTC, time_ms, DATE);
        assert_eq!(shown(1_795_788_180_000), "Friday 27 November 2026");
        assert_eq!(shown(0), "Thursday 1 January 1970");
        assert_eq!(shown(u64::MAX), "the end of time");
    }
}
