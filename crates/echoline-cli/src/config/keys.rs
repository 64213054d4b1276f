//! Keys of the configuration file are the long flags of a command. The settings of a file become
//! arguments, and the parser of the command line reads them. Pure.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

use super::file::{ConfigFileError, ConfigKey, ConfigTable, ConfigValue};
use crate::config::hints;

/// Flags that choose what a command does. A file can only set the options of a command.
const NOT_IN_A_FILE: [&str; 4] = ["check", "config", "help", "version"];

/// The name of the flag `--config` and of the field with its value.
pub(super) const CONFIG: &str = "config";

/// Returns the flags of `command` that a file can set, in the order of its help.
pub(super) fn flags(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    command
        .get_arguments()
        .filter_map(|flag| Some((flag.get_long()?, flag)))
        .filter(|(key, _)| !NOT_IN_A_FILE.contains(key))
}

/// Returns the commands that a file can configure, each in a separate table.
pub(super) fn configurable(program: &Command) -> impl Iterator<Item = &Command> {
    let has_flag = |command: &&Command| command.get_arguments().any(|flag| flag.get_id() == CONFIG);
    program.get_subcommands().filter(has_flag)
}

/// Returns the former names of a flag, which stay valid.
pub(super) fn former_names(flag: &Arg) -> impl Iterator<Item = &str> {
    flag.get_all_aliases().unwrap_or_default().into_iter()
}

/// Returns whether a flag may be repeated, so that its key takes a list.
pub(super) fn takes_many(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Append)
}

/// Returns whether a flag takes no value, so that its key takes true or false.
pub(super) fn is_switch(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::SetTrue)
}

/// A setting of a file, as arguments.
#[derive(Debug)]
pub(super) struct FileSetting {
    pub(super) key: String,
    /// The line of the key in the file, from 1.
    pub(super) line: usize,
    /// One argument for each value; empty for a switch that is off.
    pub(super) arguments: Vec<OsString>,
}

/// Converts the settings in `table` into arguments for `command`, and checks each of them alone.
pub(super) fn arguments(
    program: &Command,
    command: &Command,
    table: &ConfigTable,
) -> Result<Vec<FileSetting>, ConfigFileError> {
    let bare = alone(command);
    let settings = table.keys.iter().map(|key| {
        let flag = find(program, command, key)?;
        let wrong =
            |text| ConfigFileError { line: key.line, text: format!("{}: {text}", key.name) };
        let arguments = typed(flag, key).map_err(wrong)?;
        for argument in &arguments {
            if let Some(words) = refusal(&bare, argument) {
                return Err(wrong(words));
            }
        }
        let name = flag.get_long().unwrap_or(&key.name).to_owned();
        Ok(FileSetting { key: name, line: key.line, arguments })
    });
    settings.collect()
}

/// Returns the command with all arguments optional and none read from the environment, to check a
/// single flag.
pub(super) fn alone(command: &Command) -> Command {
    let bare = command.clone().no_binary_name(true).subcommand_required(false);
    bare.mut_args(|flag| flag.required(false).env(None))
}

fn find<'a>(
    program: &Command,
    command: &'a Command,
    key: &ConfigKey,
) -> Result<&'a Arg, ConfigFileError> {
    let is_meant = |name: &str, flag: &Arg| {
        name == key.name || former_names(flag).any(|former| former == key.name)
    };
    if let Some((_, flag)) = flags(command).find(|(name, flag)| is_meant(name, flag)) {
        return Ok(flag);
    }
    let (name, table) = (&key.name, command.get_name());
    let text = if NOT_IN_A_FILE.contains(&name.as_str()) {
        format!("'{name}' cannot be set in a file: give --{name} on the command line")
    } else if let Some(sentence) = hints::removed(table, &format!("--{name}")) {
        format!("[{table}] has no key '{name}': {sentence}")
    } else if let Some(other) = owner(program, name) {
        format!("[{table}] has no key '{name}'; it is a key of [{other}]")
    } else if let Some(near) = nearest(name, flags(command).map(|(name, _)| name)) {
        format!("[{table}] has no key '{name}'; did you mean '{near}'?")
    } else {
        format!("[{table}] has no key '{name}'; 'echoline {table} --help' lists all of them")
    };
    Err(ConfigFileError { line: key.line, text })
}

/// Returns the first command that has the flag.
fn owner<'a>(program: &'a Command, key: &str) -> Option<&'a str> {
    let mut commands = configurable(program);
    commands.find(|command| flags(command).any(|(name, _)| name == key)).map(Command::get_name)
}

/// Returns the name that the user probably meant: at most a third of its letters differ.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase().replace('_', "-");
    // No flag has so many letters, and comparing long names takes time.
    if name.len() > 64 {
        return None;
    }
    let distances = names.map(|known| (strsim::damerau_levenshtein(&name, known), known));
    let (distance, known) = distances.min()?;
    (distance <= known.len().div_ceil(3)).then_some(known)
}

/// Returns the arguments for one key.
fn typed(flag: &Arg, key: &ConfigKey) -> Result<Vec<OsString>, String> {
    let argument = |value: &String| OsString::from(format!("--{}={value}", key.name));
    match &key.value {
        ConfigValue::Switch(true) if is_switch(flag) => Ok(vec![format!("--{}", key.name).into()]),
        ConfigValue::Switch(false) if is_switch(flag) => Ok(Vec::new()),
        _ if is_switch(flag) => Err("this is a switch: write true or false".to_owned()),
        ConfigValue::Switch(_) => {
            Err("this is not a switch: write a number, or text in quotes".to_owned())
        }
        ConfigValue::One(value) => Ok(vec![argument(value)]),
        ConfigValue::Many(_) if !takes_many(flag) => {
            Err("this key takes one value, not a list".to_owned())
        }
        ConfigValue::Many(values) if values.is_empty() => {
            Err("the list is empty: add a value, or remove the key".to_owned())
        }
        ConfigValue::Many(values) => Ok(values.iter().map(argument).collect()),
    }
}

/// Returns the reason why the command can never accept `argument`; `None` if it can.
pub(super) fn refusal(bare: &Command, argument: &OsString) -> Option<String> {
    let error = bare.clone().try_get_matches_from([argument]).err()?;
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    match error.kind() {
        // Dependencies between flags are checked when all of them are parsed together.
        ErrorKind::ArgumentConflict | ErrorKind::MissingRequiredArgument => None,
        ErrorKind::InvalidValue => {
            let value = text(ContextKind::InvalidValue);
            Some(format!("'{value}' is not one of {}", text(ContextKind::ValidValue)))
        }
        ErrorKind::ValueValidation => {
            let value = text(ContextKind::InvalidValue);
            let words = std::error::Error::source(&error).map(ToString::to_string);
            let words = words.unwrap_or_else(|| "the value is not valid".to_owned());
            Some(if words.contains(&value) { words } else { format!("'{value}': {words}") })
        }
        _ => Some(sentence(&error)),
    }
}

/// Returns the parser's error message without the usage, in one line.
pub(super) fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> =
        text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let line = lines.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::command_line::Cli;
    use crate::config::file::ConfigFile;

    fn read(text: &str) -> Result<Vec<FileSetting>, String> {
        let program = Cli::command();
        let file = ConfigFile::parse(text).unwrap();
        let table = &file.tables[0];
        let command = program.find_subcommand(&table.name).unwrap();
        arguments(&program, command, table).map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn keys_become_the_arguments_that_a_user_would_type() {
        let text = "[echo]\nlisten = ['a:1', 'b:2']\nmax-connections = 5\ngreeting = ['a, b']\n";
        let typed: Vec<OsString> =
            read(text).unwrap().into_iter().flat_map(|setting| setting.arguments).collect();
        let wanted = ["--listen=a:1", "--listen=b:2", "--max-connections=5", "--greeting=a, b"];
        assert_eq!(typed, wanted);
        let switches = read("[load]\nquiet = true\nrst = false\n").unwrap();
        assert_eq!(switches[0].arguments, ["--quiet"]);
        assert!(switches[1].arguments.is_empty());
    }

    /// Fault 61: an error is one sentence with the line, the key and the remedy.
    #[test]
    fn every_mistake_is_a_sentence() {
        for (text, sentence) in [
            (
                "[echo]\nmax-connectons = 5",
                "line 2: [echo] has no key 'max-connectons'; did you mean 'max-connections'?",
            ),
            ("[echo]\nmax_connections = 5", "did you mean 'max-connections'?"),
            ("[echo]\ndata = 'x'", "[echo] has no key 'data'; it is a key of [chat]"),
            ("[echo]\nxyzzy = 1", "'echoline echo --help' lists all of them"),
            (
                "[chat]\non-loss = 'local'",
                "line 2: [chat] has no key 'on-loss': --on-loss was removed",
            ),
            (
                "[echo]\nconfig = 'x'",
                "'config' cannot be set in a file: give --config on the command",
            ),
            ("[chat]\ncheck = true", "'check' cannot be set in a file"),
            ("[echo]\n\nbacklog = 'x'", "line 3: backlog: 'x' is not a whole number from 0"),
            ("[echo]\nmode = 'x'", "mode: 'x' is not one of raw, line, command"),
            ("[echo]\nidle-timeout = -60", "idle-timeout: '-60' is negative: write for"),
            ("[echo]\nlisten = ['127.0.0.1:1', 'x']", "line 2: listen: 'x' has no port"),
            ("[echo]\nlisten = []", "listen: the list is empty"),
            ("[echo]\nprefix = ['a', 'b']", "prefix: this key takes one value, not a list"),
            ("[echo]\nmode = true", "mode: this is not a switch"),
            ("[load]\nquiet = 'yes'", "quiet: this is a switch: write true or false"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(sentence), "{text:?}: {said}");
            assert!(!said.contains('\n'), "{text:?}: {said:?}");
        }
    }

    /// A single key is checked without the flags that it requires.
    #[test]
    fn a_key_that_needs_another_is_valid_alone() {
        assert!(read("[load]\nfind-max = true\n").is_ok());
    }

    #[test]
    fn accepts_the_former_name_of_a_key() {
        for key in ["node", "machine"] {
            assert!(read(&format!("[chat]\n{key} = \"east\"\n")).is_ok(), "{key}");
        }
    }

    /// Every flag that a file can set can also be set by the environment, under the same name.
    #[test]
    fn every_key_has_its_variable() {
        let program = Cli::command();
        for command in configurable(&program) {
            for (key, flag) in flags(command) {
                let owner = match (command.get_name(), key) {
                    // These flags have another meaning in other commands, so their variables have a
                    // prefix.
                    ("send" | "load", "alpn" | "cert" | "key") => "CLIENT_",
                    ("load", "timeout") => "LOAD_",
                    _ => "",
                };
                let wanted = format!("ECHOLINE_{owner}{}", key.to_uppercase().replace('-', "_"));
                let variable = flag.get_env().and_then(|name| name.to_str());
                assert_eq!(variable, Some(wanted.as_str()), "{} --{key}", command.get_name());
            }
        }
    }
}
