//! Settings from the environment: `ECHOLINE_<KEY>` for every command that has the flag, and
//! `ECHOLINE_<COMMAND>_<KEY>` for one command. Each becomes an argument, like the keys of the file.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

use super::keys;
use crate::process::inherited::UPGRADE;

/// The begin of the name of every variable.
const PREFIX: &str = "ECHOLINE_";

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

/// Returns the error message for a variable of echoline, with its value, that sets no flag of any
/// command. An empty one counts as unset.
pub(super) fn unknown(
    program: &Command,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Option<String> {
    let variables = variables.filter(|(_, value)| !value.is_empty());
    let texts = variables.filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
        Some((name, value.to_string_lossy().into_owned()))
    });
    let mut known = vec![UPGRADE.to_owned()];
    add_names(program, &mut known);
    let is_unknown =
        |(name, value): &(String, String)| !known.contains(name) && !is_service_link(name, value);
    // The environment has no order.
    let (name, _) = texts.filter(is_unknown).min()?;
    let bare = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    let bare_known: Vec<String> = known.iter().map(|name| lower(&bare(name))).collect();
    Some(match keys::nearest(&bare(&name), bare_known.iter().map(String::as_str)) {
        Some(near) => format!(
            "{name} sets no flag of any command; did you mean {}?",
            upper(&format!("echoline-{near}"))
        ),
        None => format!(
            "{name} sets no flag of any command: unset it; a variable is {PREFIX} and the name of \
             a flag, for example ECHOLINE_MAX_LINE"
        ),
    })
}

/// Adds the variables of the command and of its subcommands.
fn add_names(command: &Command, names: &mut Vec<String>) {
    for flag in command.get_arguments() {
        let (Some(key), Some(general)) = (flag.get_long(), flag.get_env()) else { continue };
        names.push(general.to_string_lossy().into_owned());
        names.push(own_variable(command, key));
        for former in keys::former_names(flag) {
            names.extend([own_variable(command, former), upper(&format!("echoline-{former}"))]);
        }
    }
    command.get_subcommands().for_each(|command| add_names(command, names));
}

/// Returns whether Kubernetes sets this variable, in each pod beside a Service with a name such as
/// `echoline` or `echoline-chat`: `…_SERVICE_HOST`, `…_SERVICE_PORT`, `…_PORT=tcp://…`,
/// `…_PORT_9000_TCP_ADDR` (<https://kubernetes.io/docs/concepts/services-networking/service/>).
fn is_service_link(name: &str, value: &str) -> bool {
    let is_port_and_protocol = |behind: &str| {
        let mut parts = behind.split('_');
        let port = parts.next().unwrap_or_default();
        port.parse::<u16>().is_ok() && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.ends_with("_PORT") && value.contains("://")
        || name.split_once("_PORT_").is_some_and(|(_, behind)| is_port_and_protocol(behind))
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

/// Returns the name of a flag: `MAX_LINE` is `max-line`.
fn lower(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
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

    /// Returns the error about variables, each with a value.
    fn unknown_of(variables: &[(&str, &str)]) -> Option<String> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        unknown(&Cli::command(), variables)
    }

    #[test]
    fn a_variable_that_sets_no_flag_is_named_with_the_nearest_one() {
        for (name, wanted) in [
            ("ECHOLINE_ECHO_MAX_CONECTIONS", "did you mean ECHOLINE_ECHO_MAX_CONNECTIONS?"),
            ("ECHOLINE_LISTN", "did you mean ECHOLINE_LISTEN?"),
            ("ECHOLINE_XYZZY", "for example ECHOLINE_MAX_LINE"),
        ] {
            let said = unknown_of(&[("ECHOLINE_MAX_LINE", "5"), (name, "5")]).unwrap();
            assert!(said.starts_with(&format!("{name} sets no flag of any command")), "{said}");
            assert!(said.ends_with(wanted), "{said}");
        }
    }

    #[test]
    fn variables_of_other_commands_and_of_kubernetes_are_no_mistakes() {
        for (name, value) in [
            ("ECHOLINE_CLIENTS", "5"),
            ("ECHOLINE_CHAT_DATA", "x"),
            ("ECHOLINE_BACKUP_DATA", "x"),
            ("ECHOLINE_MACHINE", "east"),
            ("ECHOLINE_CHAT_MACHINE", "east"),
            ("ECHOLINE_UPGRADE", "1"),
            ("ECHOLINE_MAX_CONECTIONS", ""),
            ("ECHOLINES", "x"),
            ("ECHOLINE_SERVICE_HOST", "10.0.0.1"),
            ("ECHOLINE_SERVICE_PORT", "9000"),
            ("ECHOLINE_CHAT_SERVICE_PORT_WEB", "9000"),
            ("ECHOLINE_PORT", "tcp://10.0.0.1:9000"),
            ("ECHOLINE_PORT_9000_TCP", "tcp://10.0.0.1:9000"),
            ("ECHOLINE_ECHO_PORT_7_UDP_ADDR", "10.0.0.1"),
        ] {
            assert_eq!(unknown_of(&[(name, value)]), None, "{name}");
        }
        assert!(unknown_of(&[("ECHOLINE_PORT", "9000")]).is_some());
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
