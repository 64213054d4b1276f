//! Generates a configuration file with every key from the flags of the commands. Pure.

use clap::{Arg, Command};

use super::keys;

/// The maximum width of the comments, in characters.
const COLUMNS: usize = 100;

const HEAD: &str = "\
# Settings of echoline. Each command has a table, and each key is the name of a flag without the
# dashes. This file lists all keys, commented out, with their defaults or a placeholder. Values are
# text in quotes, numbers, true or false, and lists in brackets. The command line and environment
# variables (ECHOLINE_<KEY>) override the file.
#
#   echoline check --config FILE    checks the file
#   kill -HUP PID                   makes a running server read the file again
";

/// Returns the text of the file.
pub(super) fn text(program: &Command) -> String {
    let mut text = HEAD.to_owned();
    for command in keys::configurable(program) {
        text.push_str(&format!("\n[{}]\n", command.get_name()));
        for (key, flag) in keys::flags(command) {
            text.push('\n');
            for line in wrapped(&words(flag)) {
                text.push_str(&format!("# {line}\n"));
            }
            text.push_str(&format!("#{key} = {}\n", value(flag)));
        }
    }
    text
}

/// Returns the flag's help text and its possible values.
fn words(flag: &Arg) -> String {
    let help = flag.get_long_help().or_else(|| flag.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let help = if help.ends_with([']', '.']) { help } else { help + "." };
    let choices = flag.get_possible_values();
    if choices.is_empty() || keys::is_switch(flag) {
        return help;
    }
    let names: Vec<&str> = choices.iter().map(|choice| choice.get_name()).collect();
    format!("{help} One of: {}.", names.join(", "))
}

/// Returns the default value, or a placeholder for the kind of value if there is no default.
fn value(flag: &Arg) -> String {
    if keys::is_switch(flag) {
        return "false".to_owned();
    }
    let defaults = flag.get_default_values().iter().map(|value| literal(&value.to_string_lossy()));
    let mut values: Vec<String> = defaults.collect();
    if values.is_empty() {
        let names = flag.get_value_names().unwrap_or_default();
        values.extend(names.iter().map(|name| format!("\"{name}\"")));
    }
    if keys::takes_many(flag) { format!("[{}]", values.join(", ")) } else { values.concat() }
}

/// Returns a value in TOML syntax.
fn literal(value: &str) -> String {
    // A number with a leading zero needs quotes, because it is invalid in TOML.
    let number = value.parse::<u32>().is_ok_and(|number| number.to_string() == value);
    if number { value.to_owned() } else { format!("\"{}\"", value.escape_default()) }
}

/// Returns `text` in lines that fit the width of a comment.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() + 3 <= COLUMNS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::command_line::Cli;
    use crate::config::file::ConfigFile;

    /// The shipped example file equals the generated one, except for the address of the chat, which
    /// runs beside the echo server.
    #[test]
    fn the_shipped_file_is_up_to_date() {
        let shipped = include_str!("../../../../packaging/echoline.toml");
        let made = text(&Cli::command());
        let (before, chat) = made.split_once("\n[chat]\n").unwrap();
        let chat = chat.replacen("#listen = [\"ADDR\"]", "listen = [\"127.0.0.1:8000\"]", 1);
        let made = format!("{before}\n[chat]\n{chat}");
        let hint = "run: cargo run -- check --example > packaging/echoline.toml, and set listen \
                    in [chat] to [\"127.0.0.1:8000\"]";
        assert!(shipped == made, "packaging/echoline.toml does not match the flags; {hint}");
    }

    /// A file with every default written out is valid.
    #[test]
    fn every_default_can_be_written_out() {
        let program = Cli::command();
        let mut count = 0;
        for command in keys::configurable(&program) {
            let has_default =
                |flag: &Arg| keys::is_switch(flag) || !flag.get_default_values().is_empty();
            let lines: String = keys::flags(command)
                .filter(|(_, flag)| has_default(flag))
                .map(|(key, flag)| format!("{key} = {}\n", value(flag)))
                .collect();
            assert!(text(&program).contains(&format!("#{}", lines.lines().next().unwrap())));
            let file = ConfigFile::parse(&format!("[{}]\n{lines}", command.get_name())).unwrap();
            let settings = keys::arguments(&program, command, &file.tables[0]);
            count += settings.unwrap_or_else(|mistake| panic!("{mistake}\n{lines}")).len();
        }
        assert!(count > 30, "only {count} keys have a default");
    }

    #[test]
    fn values_are_written_as_toml_reads_them() {
        assert_eq!(literal("1024"), "1024");
        assert_eq!(literal("007"), "\"007\"");
        assert_eq!(literal("30s"), "\"30s\"");
        assert_eq!(literal("a\\\"b"), r#""a\\\"b""#);
    }
}
