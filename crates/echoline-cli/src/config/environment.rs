//! Settings from the environment: `ECHOLINE_<KEY>` for every command that has the flag, and
//! `ECHOLINE_<COMMAND>_<KEY>` for one command. Each becomes an argument, like the keys of the file.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

use super::keys;

/// The accepted spellings of a switch.
const ON: [&str; 4] = ["1", "true", "yes", "on"];
const OFF: [&str; 4] = ["0", "false", "no", "off"];

/// A variable that applies to the command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EnvironmentSetting {
    pub(super) key: String,
    pub(super) variable: String,
    /// `None` for a switch that is off.
    pub(super) argument: Option<OsString>,
}

/// Returns the variable that sets the flag `key` of `command` alone.
pub(super) fn own_variable(command: &Command, key: &str) -> String {
    upper(&format!("echoline-{}-{key}", command.get_name()))
}

/// Returns the value of an environment variable; `None` if it is missing or empty.
pub(super) fn get(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

/// Returns whether a variable may have set the flag `key`. A variable can apply to several
/// commands, so it is no error if it has no effect in one of them.
pub(crate) fn may_set(key: &str) -> bool {
    let owners = ["", "client-", "echo-", "chat-", "send-", "load-"];
    owners.iter().any(|owner| get(&upper(&format!("echoline-{owner}{key}"))).is_some())
}

/// Returns the settings of `command` that `get` finds, except the flags that are typed.
///
/// # Errors
/// One sentence that names the variable.
pub(super) fn settings(
    command: &Command,
    get: impl Fn(&str) -> Option<OsString>,
    is_typed: impl Fn(&Arg) -> bool,
) -> Result<Vec<EnvironmentSetting>, String> {
    let bare = keys::alone(command);
    let mut settings = Vec::new();
    for flag in command.get_arguments().filter(|flag| !is_typed(flag)) {
        let (Some(key), Some(general)) = (flag.get_long(), flag.get_env()) else { continue };
        let names = [own_variable(command, key), general.to_string_lossy().into_owned()];
        let former = keys::former_names(flag);
        let former =
            former.flat_map(|key| [own_variable(command, key), upper(&format!("echoline-{key}"))]);
        let mut names = names.into_iter().chain(former);
        let found = names.find_map(|name| Some((get(&name)?, name)));
        // An empty value counts as unset.
        let Some((value, variable)) = found.filter(|(value, _)| !value.is_empty()) else {
            continue;
        };
        let argument = argument(flag, key, &value);
        let checked = argument.and_then(|argument| {
            let words = argument.as_ref().and_then(|argument| keys::refusal(&bare, argument));
            words.map_or(Ok(argument), Err)
        });
        let argument = checked.map_err(|words| format!("{variable}: {words}"))?;
        settings.push(EnvironmentSetting { key: key.to_owned(), variable, argument });
    }
    Ok(settings)
}

/// Turns a value into an argument.
fn argument(flag: &Arg, key: &str, value: &OsStr) -> Result<Option<OsString>, String> {
    if !keys::is_switch(flag) {
        let mut argument = OsString::from(format!("--{key}="));
        argument.push(value);
        return Ok(Some(argument));
    }
    let word = value.to_string_lossy().trim().to_ascii_lowercase();
    if ON.contains(&word.as_str()) {
        Ok(Some(format!("--{key}").into()))
    } else if OFF.contains(&word.as_str()) {
        Ok(None)
    } else {
        Err(format!("'{word}' is not a switch: write {} or {}", ON.join(", "), OFF.join(", ")))
    }
}

/// Returns the name of a variable: `echoline-max-line` is `ECHOLINE_MAX_LINE`.
fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::command_line::Cli;

    /// Returns the arguments that these variables give a command, or the error.
    fn read(command: &str, variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let program = Cli::command();
        let command = program.find_subcommand(command).unwrap();
        let get = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(value)).filter(|value| !value.is_empty())
        };
        let arguments = settings(command, get, |_| false)?.into_iter();
        Ok(arguments.filter_map(|found| Some(found.argument?.into_string().unwrap())).collect())
    }

    #[test]
    fn reads_the_former_name_of_a_variable() {
        for variable in ["ECHOLINE_NODE", "ECHOLINE_MACHINE", "ECHOLINE_CHAT_MACHINE"] {
            assert_eq!(read("chat", &[(variable, "east")]).unwrap(), ["--node=east"]);
        }
        let both = [("ECHOLINE_MACHINE", "west"), ("ECHOLINE_NODE", "east")];
        assert_eq!(read("chat", &both).unwrap(), ["--node=east"]);
    }

    /// Issue 11, item 43: a variable of one command takes precedence over one for all commands, and
    /// applies to no other command.
    #[test]
    fn regression_a_variable_holds_for_the_commands_that_have_its_flag() {
        let server = [("ECHOLINE_CERT", "s.pem"), ("ECHOLINE_KEY", "s-key.pem")];
        assert_eq!(read("echo", &server).unwrap(), ["--cert=s.pem", "--key=s-key.pem"]);
        for client in ["send", "load"] {
            assert_eq!(read(client, &server), Ok(Vec::new()));
            let general = [("ECHOLINE_CLIENT_CERT", "c.pem")];
            assert_eq!(read(client, &general).unwrap(), ["--cert=c.pem"]);
        }
        let both = [("ECHOLINE_TIMEOUT", "off"), ("ECHOLINE_LOAD_TIMEOUT", "2s")];
        assert_eq!(read("send", &both).unwrap(), ["--timeout=off"]);
        assert_eq!(read("load", &both).unwrap(), ["--timeout=2s"]);
        assert_eq!(read("load", &both[..1]), Ok(Vec::new()));
        let own = [("ECHOLINE_MAX_LINE", "10"), ("ECHOLINE_CHAT_MAX_LINE", "20")];
        assert_eq!(read("echo", &own).unwrap(), ["--max-line=10"]);
        assert_eq!(read("chat", &own).unwrap(), ["--max-line=20"]);
    }

    /// Issue 11, item 43: an empty variable counts as unset, and a switch accepts the usual words.
    #[test]
    fn regression_empty_is_unset_and_a_switch_takes_the_usual_words() {
        for empty in ["ECHOLINE_MAX_LINE", "ECHOLINE_ECHO_MAX_LINE", "ECHOLINE_UDP_RATE"] {
            assert_eq!(read("echo", &[(empty, "")]), Ok(Vec::new()));
        }
        let own = [("ECHOLINE_MAX_LINE", "10"), ("ECHOLINE_ECHO_MAX_LINE", "")];
        assert_eq!(read("echo", &own).unwrap(), ["--max-line=10"]);
        for on in ["1", "true", "yes", "on", "TRUE", " Yes "] {
            assert_eq!(read("load", &[("ECHOLINE_QUIET", on)]).unwrap(), ["--quiet"], "{on}");
        }
        for off in ["0", "false", "no", "off", "OFF"] {
            assert_eq!(read("load", &[("ECHOLINE_QUIET", off)]), Ok(Vec::new()), "{off}");
        }
    }

    /// Issue 11, item 43: the error about a wrong value names the variable.
    #[test]
    fn regression_a_wrong_value_names_its_variable() {
        for (command, variable, value, sentence) in [
            ("load", "ECHOLINE_QUIET", "maybe", "'maybe' is not a switch: write 1, true, yes, on"),
            ("send", "ECHOLINE_TIMEOUT", "soon", "'soon' is not a time"),
            ("load", "ECHOLINE_LOAD_TIMEOUT", "off", "'off' is not a time"),
            ("echo", "ECHOLINE_ECHO_MODE", "x", "'x' is not one of raw, line, command"),
            ("echo", "ECHOLINE_LISTEN", "127.0.0.1:1,x", "'x' has no port"),
        ] {
            let said = read(command, &[(variable, value)]).unwrap_err();
            assert!(said.starts_with(&format!("{variable}: {sentence}")), "{said}");
            assert!(!said.contains('\n'), "{said:?}");
        }
    }

    /// Issue 11, item 43: the variable of a flag for one command is never the variable of another
    /// flag for all commands.
    #[test]
    fn regression_no_two_flags_share_a_variable() {
        let program = Cli::command();
        let mut general = Vec::new();
        let mut own = Vec::new();
        for command in program.get_subcommands() {
            for flag in command.get_arguments() {
                if let (Some(key), Some(name)) = (flag.get_long(), flag.get_env()) {
                    general.push((name.to_string_lossy().into_owned(), key.to_owned()));
                    own.push((own_variable(command, key), key.to_owned()));
                }
            }
        }
        assert!(general.len() > 50);
        for (name, key) in &own {
            let other = general.iter().find(|(other, of)| other == name && of != key);
            assert_eq!(other, None, "{name}");
        }
    }
}
