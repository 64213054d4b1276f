//! Builds the filter of the log from --log-level, else from RUST_LOG, else from `info`. Pure.

use std::str::FromStr as _;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use echoline_base::printable::printable;

/// The target of the NATS client. At level info only its warnings and errors are logged, because
/// the chat itself logs the events of the bus.
const BUS_CLIENT: &str = "async_nats";

/// Returns the filter for `level` (a flag), or else for `rust_log`, or else for `info`.
///
/// # Errors
/// One sentence about the error in `rust_log`.
pub(super) fn filter(level: Option<Level>, rust_log: Option<&str>) -> Result<Targets, String> {
    match (level, rust_log.map(str::trim).filter(|text| !text.is_empty())) {
        (Some(level), _) => Ok(everywhere(LevelFilter::from_level(level))),
        (None, Some(text)) => parse(text),
        (None, None) => Ok(everywhere(LevelFilter::INFO)),
    }
}

/// Returns a filter with one level for the whole program, except for the NATS client.
pub(super) fn everywhere(level: LevelFilter) -> Targets {
    Targets::new().with_default(level).with_target(BUS_CLIENT, level_of_bus_client(level))
}

fn level_of_bus_client(level: LevelFilter) -> LevelFilter {
    if level > LevelFilter::INFO { level } else { level.min(LevelFilter::WARN) }
}

/// The target of all log events of the library.
const LIBRARY: &str = "echoline";

/// Parses levels and `TARGET=LEVEL`, separated by commas. Targets that are not named log at `info`
/// and above, so that a variable for other programs does not silence this one.
fn parse(text: &str) -> Result<Targets, String> {
    let wrong = |part: &str| {
        let shown: String = part.chars().take(40).collect();
        let shown = printable(&shown);
        format!(
            "RUST_LOG is ignored: '{shown}' is neither a level (off, error, warn, info, debug, \
             trace) nor TARGET=LEVEL, for example echoline::server=debug"
        )
    };
    let (mut default, mut targets) = (LevelFilter::INFO, Vec::new());
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (target, level) = match part.split_once('=') {
            Some((target, level)) => (Some(target.trim()), level.trim()),
            None => (None, part),
        };
        // `LevelFilter::from_str` would also accept numbers and an empty word.
        let is_word = !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_alphabetic());
        let level = LevelFilter::from_str(level).ok().filter(|_| is_word);
        let level = level.ok_or_else(|| wrong(part))?;
        let is_target = |letter: char| letter.is_ascii_alphanumeric() || "_:-".contains(letter);
        match target {
            None => default = level,
            Some(target) if !target.is_empty() && target.chars().all(is_target) => {
                // Filters written for earlier versions name `echoline::net`, which is now
                // `echoline`.
                let target =
                    target.strip_suffix("::net").filter(|t| *t == LIBRARY).unwrap_or(target);
                targets.push((target.to_owned(), level));
            }
            Some(_) => return Err(wrong(part)),
        }
    }
    let all = everywhere(default);
    Ok(targets.into_iter().fold(all, |all, (target, level)| all.with_target(target, level)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(filter: &Targets, target: &str, level: Level) -> bool {
        filter.would_enable(target, &level)
    }

    /// Issue 11, item 29: RUST_LOG is used in its simple forms, unless --log-level is given.
    #[test]
    fn regression_rust_log_is_used() {
        let from = |level, text| filter(level, Some(text)).unwrap();
        let net = "echoline::server::handler_task";
        for text in ["debug", " DEBUG ", "echoline=debug", "warn,echoline::net=debug", "debug,"] {
            assert!(logs(&from(None, text), net, Level::DEBUG), "{text}");
        }
        assert!(!logs(&from(None, "error"), net, Level::WARN));
        assert!(!logs(&from(None, "off"), net, Level::ERROR));
        assert!(!logs(&from(Some(Level::INFO), "debug"), net, Level::DEBUG), "the flag wins");
        // A variable for another program changes nothing.
        for text in ["sqlx=trace", "", " "] {
            let filter = from(None, text);
            assert!(logs(&filter, net, Level::INFO) && !logs(&filter, net, Level::DEBUG), "{text}");
        }
        assert!(!logs(&from(None, "info"), "async_nats::connector", Level::INFO));
        assert!(logs(&from(None, "async_nats=info"), "async_nats::connector", Level::INFO));
    }

    /// Issue 11, item 29: an invalid RUST_LOG causes a warning in one sentence, and no failure.
    #[test]
    fn regression_a_wrong_rust_log_causes_a_warning() {
        for text in ["loud", "3", "echoline=", "=debug", "echoline=loud", "a[b{c}]=debug", "x=\x1b"]
        {
            let said = filter(None, Some(text)).unwrap_err();
            assert!(said.contains("RUST_LOG is ignored") && !said.contains('\x1b'), "{said}");
        }
    }
}
