//! Compares the messages in `text` blocks with the string literals of the source.
//!
//! Such a block shows what several terminals, another version or a broken network would print, so
//! the test cannot type it. But each message in it must be one that the program can print.

use std::fs;
use std::path::Path;

use crate::page::Block;

/// The begins of lines that the program prints. Other lines of a block are typed by users.
const BEGINS: [&str; 10] = [
    "*** ",
    "echoline: ",
    "INFO ",
    PROMPT,
    "Load on ",
    "Planned ",
    "Sent ",
    "Successful clients: ",
    "do not trust this run: ",
    "Online: ",
];

/// The share of a message that its literal must cover; the rest are names and numbers.
const COVERED_MIN: f64 = 0.4;

/// The least length of a part that counts, in bytes. Shorter parts are in too many messages.
const PART_MIN: usize = 5;

/// The begins of messages that are composed of several literals. Only the share of these is
/// checked.
const COMPOSED: [&str; 6] = [
    "You banned ",
    "They are connected from ",
    "Not delivered, ",
    "Load on ",
    "Sent ",
    "do not trust this run: the tester itself",
];

/// The prompt of a chat. The rest of its line is typed by a user.
const PROMPT: &str = "Enter your name: ";

/// The folder of the programs that measure, whose commands are on the page of the figures.
const BENCH: &str = "bench/";

/// The string literals of all crates, each as the texts between its placeholders.
pub(crate) struct Literals(Vec<Vec<String>>);

impl Literals {
    /// Reads the sources of all crates.
    pub(crate) fn read() -> Self {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let mut found = Vec::new();
        for entry in fs::read_dir(root).unwrap() {
            add_folder(&entry.unwrap().path().join("src"), &mut found);
        }
        Self(found)
    }

    /// Returns the messages of a block that no literal makes; `None` if it shows no message.
    pub(crate) fn unknown(&self, block: &Block) -> Option<Vec<String>> {
        let messages = messages(&block.lines);
        let commands = block.lines.iter().filter(|line| line.starts_with(BENCH));
        let missing = commands.clone().filter(|line| !is_script(line)).cloned();
        let unknown = messages.iter().filter(|message| !self.makes(message)).cloned();
        let is_compared = !messages.is_empty() || commands.clone().next().is_some();
        is_compared.then(|| unknown.chain(missing).collect())
    }

    /// Returns whether one of the literals makes the message, or its end after a context.
    fn makes(&self, message: &str) -> bool {
        let least = (message.len() as f64 * COVERED_MIN) as usize;
        let is_one = self.0.iter().any(|parts| {
            let covered: usize = parts.iter().map(String::len).sum();
            covered >= least.max(PART_MIN) && is_made(message, parts)
        });
        let is_composed = COMPOSED.iter().any(|begin| message.starts_with(begin));
        is_one || is_composed && self.covered(message) >= least
    }

    /// Returns the number of bytes of the message that long parts of literals cover.
    fn covered(&self, message: &str) -> usize {
        let mut is_covered = vec![false; message.len()];
        for part in self.0.iter().flatten().filter(|part| part.len() >= PART_MIN) {
            for (place, _) in message.match_indices(part.as_str()) {
                is_covered[place..place + part.len()].fill(true);
            }
        }
        is_covered.into_iter().filter(|is_covered| *is_covered).count()
    }
}

/// Returns the messages in the lines of a block. A line that continues a message of more than one
/// line is joined with it.
fn messages(lines: &[String]) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    let mut continues = false;
    for line in lines {
        let text = line.trim();
        let is_begin = BEGINS.iter().any(|begin| text.starts_with(begin));
        match messages.last_mut() {
            Some(message) if continues && !is_begin && !text.is_empty() => {
                message.push(' ');
                message.push_str(text);
            }
            _ if text.starts_with(PROMPT) => messages.push(PROMPT.to_owned()),
            _ if is_begin => messages.push(bare(text).to_owned()),
            _ => {}
        }
        let wraps = ["echoline: ", "do not trust"].iter().any(|begin| text.starts_with(begin));
        continues = wraps || continues && !is_begin && !text.is_empty();
    }
    messages
}

/// Returns a message without the marks of its kind.
fn bare(text: &str) -> &str {
    let text = text.strip_prefix("*** ").map_or(text, |rest| rest.trim_end_matches(" ***"));
    ["echoline: ", "INFO "].iter().find_map(|mark| text.strip_prefix(mark)).unwrap_or(text)
}

/// Whether the parts follow each other in the message, the last one at its end.
fn is_made(message: &str, parts: &[String]) -> bool {
    let mut rest = message;
    for part in parts {
        let Some((_, behind)) = rest.split_once(part.as_str()) else { return false };
        rest = behind;
    }
    parts.last().is_some_and(|last| last.is_empty() || message.ends_with(last.as_str()))
        || rest.is_empty()
}

/// Whether the program of a command exists, and has its flags.
fn is_script(line: &str) -> bool {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
    let program = words.next().unwrap_or_default();
    let flags = fs::read_to_string(root.join("bench/side_by_side.py")).unwrap();
    root.join(program).exists()
        && words.filter(|word| word.starts_with("--")).all(|flag| flags.contains(flag))
}

fn add_folder(folder: &Path, found: &mut Vec<Vec<String>>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_folder(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            // The sentences of tests are not printed.
            let text = text.split("\nmod tests {").next().unwrap_or_default();
            found.extend(literals(text).iter().map(|literal| parts(literal)));
        }
    }
}

/// Returns the string literals of a source file. Comments end at the end of their line.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut letters = source.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        match letter {
            '/' if letters.peek() == Some(&'/') => {
                letters.by_ref().find(|letter| *letter == '\n');
            }
            '\'' if letters.peek() == Some(&'"') => {
                letters.next();
            }
            '"' if before != '\\' => found.push(literal(&mut letters)),
            _ => {}
        }
        before = letter;
    }
    found
}

/// Reads a literal behind its opening quote.
fn literal(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => match letters.next() {
                Some('n') => text.push('\n'),
                Some('\n') => while letters.next_if(|letter| letter.is_whitespace()).is_some() {},
                Some(other) => text.push(other),
                None => {}
            },
            other => text.push(other),
        }
    }
    text
}

/// Returns the texts between the placeholders of a literal.
fn parts(literal: &str) -> Vec<String> {
    let literal = literal.trim_end_matches('\n');
    let mut parts = vec![String::new()];
    let mut letters = literal.chars().peekable();
    while let Some(letter) = letters.next() {
        let last = parts.last_mut().expect("there is one");
        match letter {
            '{' | '}' if letters.next_if_eq(&letter).is_some() => last.push(letter),
            '{' => {
                letters.by_ref().find(|letter| *letter == '}');
                parts.push(String::new());
            }
            other => last.push(other),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_compared_with_the_literals() {
        let source = "tell(\"{count} lines missed\"); // \"no\"\n\
                      bail!(\"{a} replicas need \\\n     NATS {b}: upgrade\")";
        let literals = Literals(literals(source).iter().map(|literal| parts(literal)).collect());
        for (message, is_known) in [
            ("37 lines missed", true),
            ("37 rows missed", false),
            ("cannot use --bus x: 3 replicas need NATS 2: upgrade", true),
            ("cannot use --bus x: 3 replicas need NATS 2: upgrade it", false),
            ("no", false),
        ] {
            assert_eq!(literals.makes(message), is_known, "{message}");
        }
    }

    #[test]
    fn a_block_has_messages_and_lines_of_users() {
        let lines = ["/users", "*** ann left ***", "echoline: a", "b", "", "c"].map(str::to_owned);
        assert_eq!(messages(&lines), ["ann left", "a b"]);
    }
}
