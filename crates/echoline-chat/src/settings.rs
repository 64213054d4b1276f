//! The settings of a chat.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use echoline::sources::{SourceLimits, Sources};
use echoline_base::SecretText;
use echoline_chat_core::room::LogLimits;
use echoline_chat_core::{FloodLimits, Name};

/// The settings of a chat. Each field states its default.
#[derive(Clone)]
pub struct ChatSettings {
    /// The room that every user joins first. Default: `lobby`.
    pub lobby: Name,
    /// The maximum number of rooms, including empty rooms with a history. Default: 1,000.
    pub max_rooms: usize,
    /// The maximum number of existing rooms that users of one address (IPv6: of one /64 network)
    /// have created. Default: 100, enough for a school class behind one address.
    pub max_rooms_per_ip: usize,
    /// The maximum number of rooms that one user can be in. Default: 10.
    pub max_rooms_each: usize,
    /// The limits of each room's lines in memory.
    pub log: LogLimits,
    /// The number of earlier lines that a new member sees. Default: 0, as in the lesson.
    pub replay: u64,
    /// The maximum time for a client to log in. Default: 30 s.
    pub login_timeout: Duration,
    /// The limits on the rate of lines of one user; `None` for no limit.
    pub flood: Option<FloodLimits>,
    /// The lifetime of a resume token. Default: 7 days.
    pub token_lifetime: Duration,
    /// The rates and penalties of each source: logins, wrong passwords, new rooms, tokens,
    /// moderation, expensive commands. Default: no limits, because all users are one source if the
    /// stream has no addresses. (The program uses [`SourceLimits::default`].)
    pub sources: Arc<Sources>,
    /// The password that makes a user an operator of the chat (`/oper`). Default: none, so that
    /// only rooms have operators.
    pub operator_password: Option<SecretText>,
    /// The time of silence after which [`Chat::end_idle_users`](super::Chat::end_idle_users) may
    /// end a user's session; `None` for never. Default: 5 minutes.
    pub idle_when_full: Option<Duration>,
    /// Returns the wall-clock time, in milliseconds since 1970 (UTC). Used for display only.
    /// Default: the system's clock.
    pub clock: fn() -> u64,
    /// Formats the time of a line. Default: the local time of day.
    pub time: fn(u64) -> String,
    /// Formats the day of a line. Default: the local date, for example `Friday 27 November 2026`.
    pub date: fn(u64) -> String,
    /// Formats a time that may be days away. Default: the local date and time.
    pub moment: fn(u64) -> String,
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self {
            lobby: Name::parse_room("lobby").expect("`lobby` is a valid name"),
            max_rooms: 1000,
            max_rooms_per_ip: 100,
            max_rooms_each: 10,
            log: LogLimits::default(),
            replay: 0,
            login_timeout: Duration::from_secs(30),
            flood: Some(FloodLimits::default()),
            token_lifetime: Duration::from_secs(7 * 24 * 3600),
            sources: Arc::new(Sources::new(SourceLimits::off())),
            operator_password: None,
            idle_when_full: Some(Duration::from_secs(300)),
            clock: now_ms,
            time: time_of_day,
            date,
            moment,
        }
    }
}

impl std::fmt::Debug for ChatSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatSettings")
            .field("lobby", &self.lobby)
            .field("log", &self.log)
            .field("flood", &self.flood)
            .finish_non_exhaustive()
    }
}

/// Returns the current time in milliseconds since 1970 (UTC).
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Formats a time as the local time of day, for example `17:04`.
pub(super) fn time_of_day(time_ms: u64) -> String {
    local(time_ms, "%H:%M")
}

/// Formats a time as the local date, for example `Monday 23 November 2026`.
pub(super) fn date(time_ms: u64) -> String {
    local(time_ms, DATE)
}

const DATE: &str = "%A %-d %B %Y";

/// Formats a time as local date and time with the offset from UTC, for example `2026-11-23 17:04
/// +01:00`.
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

    /// Issue 11, item 12: the end of a ban is shown as date and time with the offset from UTC.
    #[test]
    fn regression_a_moment_has_date_time_and_offset() {
        let shown = moment(1_800_000_000_000);
        let offset = &shown["2027-01-15 08:00 ".len()..];
        assert!(shown.starts_with("2027-01-1"), "{shown}");
        assert_eq!((offset.len(), &offset[3..4]), ("+01:00".len(), ":"), "{shown}");
        assert_eq!(moment(u64::MAX), "the end of time");
    }

    /// Issue 11, item 16: the separator between days shows the date in words.
    #[test]
    fn regression_a_day_is_shown_in_words() {
        let shown = |time_ms| within(TimeZone::UTC, time_ms, DATE);
        assert_eq!(shown(1_795_788_180_000), "Friday 27 November 2026");
        assert_eq!(shown(0), "Thursday 1 January 1970");
        assert_eq!(shown(u64::MAX), "the end of time");
    }
}
