//! Negative values behind a flag, such as `--idle-timeout -5s`. The parser takes such a word for a
//! flag, so it is joined with its flag, and the parser of the value reports it. Pure.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// Returns the arguments with each flag and its negative value as one argument.
pub(super) fn joined(program: &Command, typed: &[OsString]) -> Vec<OsString> {
    let mut command = program;
    let mut joined: Vec<OsString> = Vec::with_capacity(typed.len());
    let mut words = typed.iter();
    for word in words.by_ref() {
        if word == "--" {
            joined.push(word.clone());
            break;
        }
        let text = word.to_string_lossy();
        let flag = joined.last().and_then(|flag| flag_with_value(command, &flag.to_string_lossy()));
        match joined.last_mut().filter(|_| flag.is_some() && is_negative(command, &text)) {
            Some(flag) => {
                flag.push("=");
                flag.push(word);
            }
            None => {
                command = command.find_subcommand(&*text).unwrap_or(command);
                joined.push(word.clone());
            }
        }
    }
    joined.extend(words.cloned());
    joined
}

/// Returns the flag of `command` that `word` is, if a value must follow it.
fn flag_with_value<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let is_meant = |flag: &&Arg| {
        let (long, short) = (flag.get_long(), flag.get_short());
        long.is_some_and(|long| word.strip_prefix("--") == Some(long))
            || short.is_some_and(|short| word.strip_prefix('-') == Some(short.to_string().as_str()))
    };
    let takes_value = |flag: &&Arg| matches!(flag.get_action(), ArgAction::Set | ArgAction::Append);
    command.get_arguments().filter(takes_value).find(is_meant)
}

/// Returns whether `word` begins like a negative number and is no flag of `command`, such as `-4`.
fn is_negative(command: &Command, word: &str) -> bool {
    let Some(rest) = word.strip_prefix('-') else { return false };
    let mut flags = command.get_arguments().filter_map(Arg::get_short);
    rest.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && !flags.any(|short| rest == short.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::command_line::Cli;

    #[test]
    fn a_negative_value_is_joined_with_its_flag() {
        for (typed, wanted) in [
            ("echo --idle-timeout -5s", "echo --idle-timeout=-5s"),
            ("echo --prefix -1 --max-line -.5", "echo --prefix=-1 --max-line=-.5"),
            ("load a:1 -c -5 --grace -4s", "load a:1 -c=-5 --grace=-4s"),
            ("load --timeout -4 a:1", "load --timeout -4 a:1"),
            ("load --rst -5 a:1", "load --rst -5 a:1"),
            ("chat export --data -5 lobby", "chat export --data=-5 lobby"),
            ("send a:1 --timeout 5s -- --timeout -5s", "send a:1 --timeout 5s -- --timeout -5s"),
            ("echo --idle-timeout --rst", "echo --idle-timeout --rst"),
        ] {
            let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(joined(&Cli::command(), &words(typed)), words(wanted), "{typed}");
        }
    }
}
