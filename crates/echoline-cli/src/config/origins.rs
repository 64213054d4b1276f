//! The origins of settings that are not on the command line, for error messages. Pure.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::keys;

/// The settings of a command that a variable or the configuration file has set.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingOrigins(Vec<SettingOrigin>);

/// The origin of one setting.
#[derive(Clone, Debug)]
struct SettingOrigin {
    key: String,
    /// A variable, or a file with a line number.
    origin: String,
    /// The arguments of the setting; empty for a switch that is off.
    arguments: Vec<OsString>,
}

impl SettingOrigins {
    /// Adds a setting with its origin and its arguments.
    pub(super) fn add(&mut self, key: &str, origin: String, arguments: &[OsString]) {
        let (key, arguments) = (key.to_owned(), arguments.to_vec());
        self.0.push(SettingOrigin { key, origin, arguments });
    }

    /// Returns a sentence for each setting whose flag is a word of `text`.
    pub(crate) fn of_flags_in(&self, text: &str) -> Vec<String> {
        let is_named = |setting: &&SettingOrigin| {
            let flag = format!("--{}", setting.key);
            text.split([' ', ',', '=', ':', ';', '(', ')', '\'']).any(|word| word == flag)
        };
        self.0.iter().filter(is_named).map(SettingOrigin::sentence).collect()
    }

    /// Returns a sentence for each setting that caused `error`. The parser returned `error` for the
    /// `typed` command.
    pub(super) fn of_error(
        &self,
        error: &clap::Error,
        bare: &Command,
        typed: &[OsString],
    ) -> Vec<String> {
        let named: Vec<String> = [ContextKind::InvalidArg, ContextKind::PriorArg]
            .into_iter()
            .filter_map(|kind| error.get(kind).map(ToString::to_string))
            .collect();
        let mut tips = self.of_flags_in(&named.join(" "));
        if error.kind() == ErrorKind::MissingRequiredArgument {
            let command = typed.get(1).and_then(|name| name.to_str());
            let command = command.and_then(|name| bare.find_subcommand(name));
            let needs = |setting: &&SettingOrigin| {
                command.is_some_and(|command| setting.needs(command, error))
            };
            tips.extend(self.0.iter().filter(needs).map(SettingOrigin::sentence));
        }
        tips
    }
}

impl SettingOrigin {
    fn sentence(&self) -> String {
        format!("--{} comes from {}", self.key, self.origin)
    }

    /// Returns whether this setting of `command` requires a flag that `error` reports as missing.
    fn needs(&self, command: &Command, error: &clap::Error) -> bool {
        let alone = keys::alone(command).try_get_matches_from(&self.arguments);
        let Err(alone) = alone else { return false };
        alone.kind() == ErrorKind::MissingRequiredArgument
            && missing(&alone).iter().any(|flag| missing(error).contains(flag))
    }
}

/// Returns the flags that `error` reports as missing.
fn missing(error: &clap::Error) -> Vec<String> {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(flags)) => flags.clone(),
        Some(ContextValue::String(flag)) => vec![flag.clone()],
        _ => Vec::new(),
    }
}
