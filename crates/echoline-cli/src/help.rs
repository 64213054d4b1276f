//! The layout of the help: `-h` shows the most used flags on one screen, `--help` all of them in
//! groups.

use clap::{Arg, Command};

/// The most used flags of the commands with many flags, in the order in which `-h` shows them. For
/// other commands `-h` shows all flags.
const SHORT_HELP: [(&str, &[&str]); 4] = [
    (
        "echo",
        &[
            "listen",
            "mode",
            "prefix",
            "greeting",
            "max-connections",
            "idle-timeout",
            "cert",
            "key",
            "admin",
            "fault",
            "log-level",
            "config",
        ],
    ),
    ("chat", &["listen", "web", "data", "lobby", "flood", "cert", "key", "bus", "admin", "config"]),
    ("send", &["timeout", "eol", "no-half-close", "ca", "insecure", "cert", "key", "config"]),
    (
        "load",
        &[
            "clients",
            "duration",
            "total-messages",
            "rate",
            "size",
            "message",
            "expect",
            "find-max",
            "slo",
            "fail-if",
            "json",
            "html",
            "quiet",
            "config",
        ],
    ),
];

/// The id of `--config`, which every command has whose flags a configuration file can set.
const CONFIG: &str = "config";

/// The heading of the examples, which end the help.
const EXAMPLES: &str = "Examples:\n";

/// Lays out the help of `command`, a subcommand of `echoline`.
pub(crate) fn finish(command: Command) -> Command {
    finish_below("echoline", command)
}

/// Lays out the help of `command`, which is typed after `program`, and of its subcommands.
fn finish_below(program: &str, command: Command) -> Command {
    let path = format!("{program} {}", command.get_name());
    let common = common_flags(&command);
    let is_shown = move |arg: &Arg| {
        arg.is_positional() || common.is_none_or(|flags| flags.iter().any(|flag| is(flag, arg)))
    };
    let mut details = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    if command.get_arguments().any(|arg| arg.get_id() == CONFIG) {
        let examples = details.find(EXAMPLES).unwrap_or(details.len());
        details.insert_str(examples, &sources(&command));
    }
    let pointer = format!("'{path} --help' explains all flags, with examples.");
    let command = command
        .mut_args(|arg| {
            let is_hidden = !is_shown(&arg);
            arg.hide_env(true).hide_short_help(is_hidden)
        })
        .after_help(pointer)
        .mut_subcommands(|below| finish_below(&path, below));
    if details.is_empty() { command } else { command.after_long_help(details) }
}

/// Returns the help's paragraph about environment variables and the configuration file.
fn sources(command: &Command) -> String {
    let name = command.get_name();
    let upper = name.to_uppercase();
    format!(
        "Every flag can also be set by an environment variable (--config by \
         ECHOLINE_{upper}_CONFIG, or by ECHOLINE_CONFIG for all commands) or in the table [{name}] \
         of a configuration file ('echoline check --example' prints one). The command line \
         overrides the environment, and the environment overrides the file.\n\nA TIME is a number \
         with a unit (500ms, 30s, 5m, 1h30m); without a unit it is in seconds.\n\n"
    )
}

/// Returns `program` as `-h` shows it: all flags of a command in one list, without groups.
pub(crate) fn ungrouped(program: Command) -> Command {
    let common = common_flags(&program);
    let place = move |arg: &Arg| common?.iter().position(|flag| is(flag, arg));
    let program = program.mut_args(|arg| match place(&arg) {
        Some(place) => arg.help_heading(None).display_order(place),
        None => arg.help_heading(None),
    });
    program.mut_subcommands(ungrouped)
}

/// Returns `program` as its man pages show it: with the details of all flags.
pub(crate) fn complete(program: Command) -> Command {
    program.mut_args(|arg| arg.hide_short_help(false)).mut_subcommands(complete)
}

/// Returns the flags of `command` in its short help; `None` if it shows all of them.
fn common_flags(command: &Command) -> Option<&'static [&'static str]> {
    let of_command = SHORT_HELP.iter().find(|(name, _)| *name == command.get_name());
    of_command.map(|(_, flags)| *flags)
}

fn is(flag: &str, arg: &Arg) -> bool {
    arg.get_long() == Some(flag)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::command_line::Cli;

    /// The heading of flags without a group.
    const OPTIONS: &str = "Options";

    type Groups = &'static [(&'static str, &'static str)];

    /// The groups of every server.
    const SERVER: Groups = &[
        (
            "Listening",
            "allow-origin backlog proxy-from ready-file reuse-port unix-group unix-mode web-host",
        ),
        (
            "Limits",
            "drain-timeout idle-timeout line-timeout max-connections max-line max-per-ip \
             source-limit stall-timeout",
        ),
        ("TLS", "alpn cert client-auth client-ca key"),
        ("Files", "allow-shared-files"),
        ("Administration", "admin admin-allow-remote admin-group admin-mode admin-secret-file"),
        ("Fault injection", "fault fault-file fault-seed"),
        ("Logging", "access-log access-log-format log-file log-format log-level log-messages"),
        ("Configuration", "config"),
    ];

    const ECHO: Groups = &[
        (OPTIONS, "eol greeting listen mode prefix"),
        (
            "Datagrams (--listen udp://HOST:PORT)",
            "udp-allow-amplification udp-allow-any-port udp-rate udp-total-rate",
        ),
        ("Process", "busy-poll retire-timeout upgrade-timeout user workers"),
    ];

    const CHAT: Groups = &[
        (OPTIONS, "bot check listen web"),
        ("History", "data history history-sync replay"),
        (
            "Rooms and users",
            "burst flood idle-when-full lobby login-timeout max-rooms max-rooms-per-ip \
             operator-password-file",
        ),
        (
            "Clustering (--bus)",
            "bus bus-ca bus-cert bus-credentials bus-entries bus-key bus-login bus-replicas \
             bus-timeout cluster cluster-key node",
        ),
        ("Process", "busy-poll user workers"),
    ];

    const CLIENT: Groups = &[("Files", "allow-shared-files"), ("Configuration", "config")];

    const SEND: Groups = &[
        (OPTIONS, "eol no-half-close timeout"),
        ("Connections", "proxy"),
        ("TLS", "alpn ca cert insecure key server-name"),
    ];

    const LOAD: Groups = &[
        (
            "Traffic",
            "arrival clients connect-rate depth duration grace messages messages-per-connection \
             over rate reconnect steps think timeout total-messages warmup when-late",
        ),
        ("Messages", "eol expect message messages-from prefix reply-lines seed size skip-greeting"),
        (
            "Connections",
            "busy-poll ipv4 ipv6 nodelay proxy proxy-source receive-buffer resolve rst \
             send-buffer source workers",
        ),
        ("TLS", "alpn ca cert insecure key server-name tls-resume"),
        ("Search", "find-max slo"),
        ("Reports", "csv fail-if hdr html json keep-going percentiles quiet"),
    ];

    const DOCTOR: Groups = &[
        (
            "Clustering (--bus)",
            "bus bus-ca bus-cert bus-credentials bus-key bus-login bus-replicas cluster \
             cluster-key",
        ),
        ("Files", "allow-shared-files"),
    ];

    /// The groups of each command, in any order.
    const GROUPS: &[(&str, &[Groups])] = &[
        ("echo", &[ECHO, SERVER]),
        ("chat", &[CHAT, SERVER]),
        ("send", &[SEND, CLIENT]),
        ("load", &[LOAD, CLIENT]),
        ("compare", &[&[(OPTIONS, "after before max-worse tolerance")]]),
        ("merge", &[&[("Reports", "csv fail-if hdr html json not-at-once percentiles")]]),
        ("check", &[&[(OPTIONS, "config example")]]),
        ("cert", &[&[(OPTIONS, "ca days expired force name not-yet-valid out")]]),
        ("verify", &[&[(OPTIONS, "lobby")]]),
        ("doctor", &[DOCTOR]),
        ("backup", &[&[(OPTIONS, "data force")]]),
        ("restore", &[&[(OPTIONS, "data"), ("Files", "allow-shared-files")]]),
        ("export", &[&[(OPTIONS, "data json")]]),
        ("erase", &[&[(OPTIONS, "data"), ("Files", "allow-shared-files")]]),
        ("hash-password", &[]),
        ("generate", &[]),
        ("man", &[]),
        ("completions", &[]),
    ];

    /// Calls `test` with every command below `program`.
    fn for_each_command(program: &mut Command, test: &mut dyn FnMut(&mut Command)) {
        for command in program.get_subcommands_mut() {
            if command.get_name() != "help" {
                test(command);
                for_each_command(command, test);
            }
        }
    }

    fn built(program: Command) -> Command {
        let mut program = program;
        program.build();
        program
    }

    /// Issue 14, item 0: every flag is in the group that it belongs to, and no heading of a group
    /// covers the flags after it.
    #[test]
    fn every_flag_is_in_its_group() {
        let mut seen = 0;
        for_each_command(&mut built(Cli::command()), &mut |command| {
            let name = command.get_name().to_owned();
            let groups = GROUPS.iter().find(|(known, _)| *known == name);
            let groups = groups.unwrap_or_else(|| panic!("{name} is not in the list")).1;
            let wanted: BTreeSet<(String, String)> = groups
                .iter()
                .flat_map(|groups| groups.iter())
                .flat_map(|(heading, flags)| {
                    flags.split(' ').map(|flag| ((*heading).to_owned(), flag.to_owned()))
                })
                .collect();
            let flags = command.get_arguments().filter(|arg| !arg.is_positional());
            let found: BTreeSet<(String, String)> = flags
                .filter(|arg| arg.get_id() != "help")
                .map(|arg| {
                    let heading = arg.get_help_heading().unwrap_or(OPTIONS);
                    (heading.to_owned(), arg.get_long().unwrap().to_owned())
                })
                .collect();
            assert_eq!(found, wanted, "{name}");
            seen += found.len();
        });
        assert!(seen > 150, "{seen}");
    }

    /// Issue 14, item 0: `-h` fits on one screen, and names `--help`.
    #[test]
    fn the_short_help_fits_on_one_screen() {
        let mut program = built(ungrouped(Cli::command()));
        let mut check = |command: &mut Command| {
            let text = command.render_help().to_string();
            assert!(text.lines().count() <= 30, "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            assert!(text.contains("--help"), "{text}");
            let is_heading = |line: &&str| line.ends_with(':') && !line.starts_with(' ');
            let headings: Vec<&str> = text.lines().filter(is_heading).collect();
            let known = ["Arguments:", "Commands:", "Options:", "Examples:"];
            assert!(headings.iter().all(|line| known.contains(line)), "{headings:?}");
        };
        check(&mut program);
        for_each_command(&mut program, &mut check);
    }

    #[test]
    fn the_short_help_has_the_common_flags_in_their_order() {
        let mut program = built(ungrouped(Cli::command()));
        for (name, flags) in SHORT_HELP {
            let text = program.find_subcommand_mut(name).unwrap().render_help().to_string();
            let is_flag = |word: &&str| word.starts_with("--") && *word != "--help";
            let begin = |line: &str| line.find('-').unwrap_or(usize::MAX);
            let is_first = |line: &&str| begin(line) <= 6 && line.trim_start().starts_with('-');
            let shown = text.lines().filter(is_first);
            let shown: Vec<&str> = shown.filter_map(|line| line.split(' ').find(is_flag)).collect();
            let wanted: Vec<String> = flags.iter().map(|flag| format!("--{flag}")).collect();
            assert_eq!(shown, wanted, "{text}");
        }
    }

    /// Issue 14, item 0: a help text begins with one short sentence; details come after an empty
    /// line.
    #[test]
    fn the_help_of_a_flag_begins_with_one_short_sentence() {
        for_each_command(&mut built(Cli::command()), &mut |command| {
            let name = command.get_name().to_owned();
            let about = command.get_about().unwrap().to_string();
            assert!(about.chars().count() <= 64 && !about.contains(". "), "{name}: {about}");
            for arg in command.get_arguments() {
                let first = arg.get_help().unwrap_or_default().to_string();
                assert!(!first.is_empty() && first.chars().count() <= 80, "{name} {arg}: {first}");
                assert!(!first.contains(". "), "{name} {arg}: {first}");
                let begin = first.chars().next().unwrap();
                assert!(begin.is_ascii_uppercase(), "{name} {arg}: {first}");
            }
        });
    }

    /// Issue 14, item 0: variables are explained once, and the examples are at the end.
    #[test]
    fn the_long_help_ends_with_examples_and_explains_variables_once() {
        for_each_command(&mut built(Cli::command()), &mut |command| {
            let text = command.render_long_help().to_string();
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            assert!(!text.contains("[env: "), "{text}");
            let has_config = command.get_arguments().any(|arg| arg.get_id() == CONFIG);
            let times = text.matches("set by an environment variable").count();
            assert_eq!(times, usize::from(has_config), "{text}");
            if ["man", "completions"].contains(&command.get_name()) {
                return;
            }
            let examples = text.rsplit("\n\n").next().unwrap();
            assert!(examples.starts_with(EXAMPLES), "{text}");
            let lines: Vec<&str> = examples.trim_end().lines().skip(1).collect();
            let is_example = |line: &&str| line.contains("echoline ") && line.starts_with("  ");
            assert!(!lines.is_empty() && lines.iter().all(is_example), "{examples}");
        });
    }

    /// Every flag of the short help exists, and its own attributes do not hide it.
    #[test]
    fn the_short_help_names_flags_of_the_command() {
        let program = Cli::command();
        for (name, flags) in SHORT_HELP {
            let command = program.find_subcommand(name).unwrap();
            for flag in flags {
                let arg = command.get_arguments().find(|arg| is(flag, arg));
                assert!(arg.is_some_and(|arg| !arg.is_hide_short_help_set()), "{name} --{flag}");
            }
        }
    }
}
