//! The effective settings as text, by key, so that a reload can report the changes. Pure.

use std::collections::BTreeMap;

use clap::{ArgMatches, Command};

use super::keys;
use echoline_base::SecretText;
use echoline_base::secret::without_login;

/// The text for a flag that is not set and has no fixed default.
const UNSET: &str = "default";

/// The effective settings of one command, from all sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EffectiveSettings(BTreeMap<String, SettingValue>);

/// The value of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SettingValue {
    value: SecretText,
    /// The value for the log. Passwords in URLs are removed.
    shown: String,
}

/// A setting that has changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SettingChange {
    pub(crate) key: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

impl EffectiveSettings {
    /// Returns the values in `matches` of the flags of `command`.
    pub(super) fn of(command: &Command, matches: &ArgMatches) -> Self {
        let settings = keys::flags(command).filter_map(|(key, flag)| {
            let values = matches.try_get_raw(flag.get_id().as_str()).ok()??;
            let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            let shown: Vec<_> = values.iter().map(|value| without_login(value)).collect();
            // A value may contain control characters. They must not control the terminal that shows
            // the log.
            let shown = shown.join(", ").escape_debug().to_string();
            Some((key.to_owned(), SettingValue { value: values.join(", ").into(), shown }))
        });
        Self(settings.collect())
    }

    /// Returns the keys whose values differ in `new`.
    pub(crate) fn changes(&self, new: &Self) -> Vec<SettingChange> {
        let mut keys: Vec<&String> = self.0.keys().chain(new.0.keys()).collect();
        keys.sort();
        keys.dedup();
        let text = |settings: &Self, key| {
            settings.0.get(key).map_or(UNSET, |setting| &setting.shown).to_owned()
        };
        keys.into_iter()
            .filter(|key| self.0.get(*key) != new.0.get(*key))
            .map(|key| SettingChange {
                key: key.clone(),
                from: text(self, key),
                to: text(new, key),
            })
            .collect()
    }

    /// Copies one setting from `new`.
    pub(crate) fn take(&mut self, key: &str, new: &Self) {
        match new.0.get(key) {
            Some(value) => self.0.insert(key.to_owned(), value.clone()),
            None => self.0.remove(key),
        };
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::command_line::Cli;

    fn settings(arguments: &[&str]) -> EffectiveSettings {
        let program = Cli::command();
        let echo = program.find_subcommand("echo").unwrap().clone().no_binary_name(true);
        EffectiveSettings::of(&echo, &echo.clone().try_get_matches_from(arguments).unwrap())
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let old = settings(&["--max-connections", "100", "--prefix", "a", "--mode=line"]);
        let new = settings(&["--max-connections", "200", "--listen", "a:1", "--listen", "b:2"]);
        let changes: Vec<String> = old
            .changes(&new)
            .into_iter()
            .map(|SettingChange { key, from, to }| format!("{key}: {from} → {to}"))
            .collect();
        assert_eq!(
            changes,
            ["listen: default → a:1, b:2", "max-connections: 100 → 200", "prefix: a → default"]
        );
        assert_eq!(new.changes(&new), []);
    }

    /// Issue 12, item 2: a reload logs a change of `--bus` without its password.
    #[test]
    fn attack_a_reload_shows_no_password() {
        let program = Cli::command();
        let chat = program.find_subcommand("chat").unwrap().clone().no_binary_name(true);
        let of = |bus: &str| {
            EffectiveSettings::of(
                &chat,
                &chat.clone().try_get_matches_from(["--bus", bus]).unwrap(),
            )
        };
        let changes = of("nats://me:sesame@a").changes(&of("nats://me:seed,cake@b"));
        let [SettingChange { from, to, .. }] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!((&**from, &**to), ("nats://***@a", "nats://***@b"));
        let changes = of("nats://me:sesame@a").changes(&of("nats://me:other@a"));
        assert_eq!(changes.len(), 1, "a new password is a change");
    }

    #[test]
    fn a_copied_setting_is_no_longer_a_change() {
        let (mut old, new) = (settings(&["--prefix=\x1b[2J"]), settings(&["--eol", "crlf"]));
        let changes = old.changes(&new);
        assert_eq!(changes[1].from, "\\u{1b}[2J");
        old.take("prefix", &new);
        old.take("eol", &new);
        assert_eq!(old, new);
    }
}
