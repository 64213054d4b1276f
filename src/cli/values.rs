//! Values as they are typed on the command line, and the sentences that say what is wrong.

use std::time::Duration;

/// A length of time: `500ms`, `60s`, `1m 30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no length of time: write for example 500ms, 60s or 2m");
    let length: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(length).map_err(|_| wrong())
}

/// A time-out: a length of time, or `off` (or `0`) for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeout(pub(super) Option<Duration>);

/// Reads a [`Timeout`].
pub(super) fn timeout(text: &str) -> Result<Timeout, String> {
    if matches!(text, "off" | "0") {
        return Ok(Timeout(None));
    }
    match duration(text) {
        Ok(Duration::ZERO) => Ok(Timeout(None)),
        Ok(length) => Ok(Timeout(Some(length))),
        Err(wrong) => Err(format!("{wrong}, or 'off'")),
    }
}

/// A number of bytes: `512`, `64KiB`, `1MiB`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "K" | "KiB" => 1024,
        "M" | "MiB" => 1024 * 1024,
        "G" | "GiB" => 1024 * 1024 * 1024,
        _ => 0,
    };
    digits
        .parse::<usize>()
        .ok()
        .filter(|_| unit > 0)
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| format!("'{text}' is no size: write for example 512, 64KiB or 1MiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_read() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("50us"), Ok(Duration::from_micros(50)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(timeout("off"), Ok(Timeout(None)));
        assert_eq!(timeout("0s"), Ok(Timeout(None)));
        assert_eq!(timeout("2m"), Ok(Timeout(Some(Duration::from_secs(120)))));
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("10"), Ok(10));
    }

    #[test]
    fn what_cannot_be_read_gets_an_example() {
        for wrong in ["", "ten", "5", "-5s", "5 parsecs"] {
            let sentence = duration(wrong).unwrap_err();
            assert!(sentence.contains("write for example"), "{sentence}");
        }
        for wrong in ["", "KiB", "5 parsecs", "-1", "99999999999999999999", "20000000000GiB"] {
            let sentence = bytes(wrong).unwrap_err();
            assert!(sentence.contains("write for example"), "{sentence}");
        }
    }
}
