//! Finds the flags that the text of a page names outside of its blocks.

use std::collections::BTreeSet;

use crate::programs::run;

/// All commands whose flags a page may name.
const COMMANDS: &[&[&str]] = &[
    &["cert"],
    &["chat"],
    &["chat", "backup"],
    &["chat", "doctor"],
    &["chat", "erase"],
    &["chat", "export"],
    &["chat", "hash-password"],
    &["chat", "restore"],
    &["chat", "verify"],
    &["check"],
    &["compare"],
    &["echo"],
    &["load"],
    &["merge"],
    &["send"],
];

/// Flags of other programs, and former names that still work.
const OTHER: &[&str] =
    &["--data-binary", "--delay", "--exec", "--machine", "--max-conns", "--secret", "--version"];

/// Returns all flags that the program has, and those of other programs that pages name.
pub(crate) fn known() -> BTreeSet<String> {
    let help = |command: &&[&str]| run(&[command, &["--help"][..]].concat(), b"").text();
    let mut flags: BTreeSet<String> =
        COMMANDS.iter().map(help).flat_map(|help| named(&help, " ")).collect();
    flags.extend(OTHER.iter().map(|flag| (*flag).to_owned()));
    flags
}

/// Returns the flags in a text that directly follow `before`.
pub(crate) fn named(text: &str, before: &str) -> Vec<String> {
    let is_part =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let start = format!("{before}--");
    let behind = text.split(&start).skip(1);
    let names = behind.map(|rest| rest.split(|letter| !is_part(letter)).next().unwrap_or(""));
    names.filter(|name| !name.is_empty()).map(|name| format!("--{name}")).collect()
}
