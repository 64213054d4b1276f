//! Hints for flags of other programs, removed flags and addresses without a flag. Pure.

use echoline::Address;

/// Hints for flags of `ab`, `wrk`, `hey`, `oha`, `nc` and web servers. Each entry has the flags,
/// the commands in which they get the hint, and the hint. `{}` in the hint becomes the typed value.
const HINTS: [(&[&str], &[&str], &str); 26] = [
    (&["--connections", "--concurrency", "--users"], LOAD, "use '--clients {}'"),
    (
        &["--requests", "--count", "--number"],
        LOAD,
        "use '--total-messages {}', or '--messages {}' for the messages of each client",
    ),
    (&["-z", "--time"], LOAD, "use '--duration {}'"),
    (&["-q", "-r", "--qps", "--rps"], LOAD, "use '--rate {}'"),
    (&["-t", "--threads"], LOAD, "use '--workers {}', or '--timeout {}' for a time-out"),
    (&["-s", "--message-size", "--bytes"], LOAD, "use '--size {}'"),
    (&["-m", "--text", "--payload"], LOAD, "use '--message {}'"),
    (&["-o", "--output"], LOAD, "use '--json {}', or '--csv {}'"),
    (&["-p", "--pipeline"], LOAD, "use '--depth {}'"),
    (&["-k"], CLIENTS, "use '--insecure' to accept any certificate"),
    (&["--cacert", "--cafile"], CLIENTS, "use '--ca {}'"),
    (&["-w", "--wait"], SEND, "use '--timeout {}'"),
    (&["-C", "--crlf"], SEND, "use '--eol crlf'"),
    (&["-u", "--udp"], SEND, "write the address as udp://HOST:PORT"),
    (&["-U", "--unixsock", "--unix"], ALL, "write the address as unix:PATH"),
    (&["-N", "-q"], SEND, "not needed: 'send' closes its sending side at the end of the input"),
    (&["--ssl", "--tls", "--https"], ALL, "write the address as tls://HOST:PORT"),
    (&["--host", "--bind", "--address", "-b", "-a"], SERVERS, "use '--listen {}:PORT'"),
    (&["-p", "--port", "-l"], SERVERS, "use '--listen 127.0.0.1:{}'"),
    (&["-p", "--port", "--host"], SEND, "write the server as HOST:PORT, without a flag"),
    (&["--port", "--host", "--url", "-u"], LOAD, "write the server as HOST:PORT, without a flag"),
    (&["-v", "--verbose", "--debug"], SERVERS, "use '--log-level debug'"),
    (&["-q", "--quiet", "--silent"], SERVERS, "use '--log-level error'"),
    (&["-d", "--daemon"], SERVERS, "run it as a service: see docs/service.md"),
    (&["--max-clients", "--maxclients", "-m"], SERVERS, "use '--max-connections {}'"),
    (&["--timeout", "-t"], SERVERS, "use '--idle-timeout {}'"),
];

const LOAD: &[&str] = &["load"];
const SEND: &[&str] = &["send"];
const CLIENTS: &[&str] = &["send", "load"];
const SERVERS: &[&str] = &["echo", "chat"];
const ALL: &[&str] = &["echo", "chat", "send", "load"];

/// Removed flags: the flag, its command, and the reason of the removal.
const REMOVED: [(&str, &str, &str); 3] = [
    (
        "--on-loss",
        "chat",
        "--on-loss was removed: while the link to the other nodes is lost, lines always wait (50 \
         of each user, for 60 s)",
    ),
    ("--upgrade-timeout", "chat", NO_UPGRADE),
    ("--retire-timeout", "chat", NO_RETIREMENT),
];

const NO_UPGRADE: &str = "--upgrade-timeout was removed: a chat cannot be upgraded while it runs, \
    so restart it";

const NO_RETIREMENT: &str = "--retire-timeout was removed: a chat cannot be upgraded while it \
    runs, so restart it";

/// Returns the sentence for a `flag` of an earlier version of `command`.
pub(crate) fn removed(command: &str, flag: &str) -> Option<&'static str> {
    let is_meant = |(known, owner, _): &&(&str, &str, &str)| (*owner, *known) == (command, flag);
    REMOVED.iter().find(is_meant).map(|&(_, _, sentence)| sentence)
}

/// Returns the hint for a `flag` that `command` does not have, typed with `value`.
pub(crate) fn hint(command: &str, flag: &str, value: Option<&str>) -> Option<String> {
    let is_meant = |(flags, commands, _): &&(&[&str], &[&str], &str)| {
        flags.contains(&flag) && commands.contains(&command)
    };
    if let Some(sentence) = removed(command, flag) {
        return Some(sentence.to_owned());
    }
    let (_, _, words) = HINTS.iter().find(is_meant)?;
    Some(words.replace("{}", value.unwrap_or("N")))
}

/// Returns the flag of another program that differs from `flag` by one letter, if `command` has a
/// hint for it.
pub(crate) fn near(command: &str, flag: &str) -> Option<&'static str> {
    let of_command = HINTS.iter().filter(|(_, commands, _)| commands.contains(&command));
    let mut flags = of_command.flat_map(|(flags, _, _)| flags.iter().copied());
    let is_near =
        |known: &&str| known.starts_with("--") && strsim::damerau_levenshtein(flag, known) == 1;
    flags.find(is_near)
}

/// Returns the hint for a `word` that `command` does not accept at this position.
pub(crate) fn word_hint(command: &str, word: &str) -> Option<String> {
    let is_port = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let address = if is_port { format!("127.0.0.1:{word}") } else { word.to_owned() };
    match command {
        "echo" | "chat" => {
            address.parse::<Address>().ok().map(|_| format!("use '--listen {address}'"))
        }
        "completions" | "man" => Some(format!("use 'echoline generate {word}'")),
        "chat hash-password" => {
            Some("leave the password out: the command asks for it, or reads a pipe".to_owned())
        }
        "compare" => {
            Some("for several runs on each side use '--before FILE... --after FILE...'".to_owned())
        }
        _ => None,
    }
}

/// Returns the value that the user typed with an unknown `flag`: `-c 50`, `-c50`, `-c=50` or
/// `--count=50`.
pub(crate) fn value<'a>(typed: &'a [String], flag: &str) -> Option<&'a str> {
    let place = typed.iter().position(|argument| argument.starts_with(flag))?;
    let behind = &typed[place][flag.len()..];
    let behind = behind.strip_prefix('=').unwrap_or(behind);
    if !behind.is_empty() {
        return Some(behind);
    }
    typed.get(place + 1).map(String::as_str).filter(|next| !next.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::command_line::Cli;

    fn typed(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    /// Issue 11, item 44: flags of other programs get a hint with the right flag.
    #[test]
    fn regression_flags_of_other_programs_get_a_hint() {
        for (text, flag, wanted) in [
            ("load a:1 -q 50", "-q", "use '--rate 50'"),
            ("load a:1 -q50", "-q", "use '--rate 50'"),
            ("load a:1 --connections=50", "--connections", "use '--clients 50'"),
            ("load --requests 10 a:1", "--requests", "use '--total-messages 10', or '--messages"),
            ("load -z --quiet", "-z", "use '--duration N'"),
            ("echo -p 7", "-p", "use '--listen 127.0.0.1:7'"),
            ("send -u a:1 x", "-u", "write the address as udp://HOST:PORT"),
            ("chat -v", "-v", "use '--log-level debug'"),
        ] {
            let typed = typed(text);
            let said = hint(&typed[0], flag, value(&typed, flag)).unwrap();
            assert!(said.starts_with(wanted), "{text}: {said}");
        }
        assert_eq!(hint("load", "-x", None), None);
        assert_eq!(hint("cert", "-c", None), None);
    }

    #[test]
    fn a_misspelled_flag_of_another_program_is_recognized() {
        assert_eq!(near("echo", "--prot"), Some("--port"));
        assert_eq!(near("load", "--conections"), Some("--connections"));
        assert_eq!(near("load", "--prefix"), None);
        assert_eq!(near("cert", "--prot"), None);
    }

    /// Issue 14, item 0: an address without a flag gets the flag.
    #[test]
    fn an_address_without_its_flag_gets_a_hint() {
        for (command, word, wanted) in [
            ("echo", "127.0.0.1:8080", Some("use '--listen 127.0.0.1:8080'")),
            ("chat", "unix:/run/chat", Some("use '--listen unix:/run/chat'")),
            ("echo", "8080", Some("use '--listen 127.0.0.1:8080'")),
            ("chat", "verfy", None),
            ("send", "8080", None),
        ] {
            assert_eq!(word_hint(command, word).as_deref(), wanted, "{command} {word}");
        }
        assert!(word_hint("compare", "c.json").unwrap().contains("--before"));
    }

    #[test]
    fn a_removed_flag_is_explained_and_is_no_flag_any_more() {
        let program = Cli::command();
        for (flag, command, sentence) in REMOVED {
            assert_eq!(hint(command, flag, None).as_deref(), Some(sentence));
            assert!(sentence.starts_with(&format!("{flag} was removed")));
            let command = program.find_subcommand(command).unwrap();
            let long = flag.strip_prefix("--");
            assert!(command.get_arguments().all(|known| known.get_long() != long), "{flag}");
        }
    }

    /// The command of a hint does not have the hint's flag, and every flag that a hint names
    /// exists.
    #[test]
    fn hints_name_existing_flags_for_missing_ones() {
        let program = Cli::command();
        for (flags, commands, words) in HINTS {
            for name in commands {
                let command = program.find_subcommand(name).unwrap();
                let long = |flag: &str| {
                    command.get_arguments().any(|known| known.get_long() == Some(flag))
                };
                for flag in flags {
                    let bare = flag.trim_start_matches('-');
                    // The command may have the flag itself. Then this hint is never used.
                    assert!(flag.len() > 1 && !bare.is_empty(), "{flag}");
                }
                let named =
                    words.split([' ', '\'', ',']).filter_map(|word| word.strip_prefix("--"));
                for flag in named {
                    let comes = flag == "total-messages";
                    assert!(long(flag) || comes, "{name}: --{flag} of {words:?}");
                }
            }
        }
    }
}
