//! Checks the Russian translations of the page. The key of each is an English sentence of the
//! server.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::path::Path;

const SENTENCES: &str = include_str!("../web/sentences.js");

/// Returns the source code that contains the sentences. Line continuations are joined, and the
/// arguments of formats are removed.
fn sources() -> String {
    let mut text = String::new();
    for source in ["src", "../echoline-chat-core/src", "../echoline/src/sources"] {
        add_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(source), &mut text);
    }
    let mut joined = String::new();
    let mut parts = text.split("\\\n");
    joined.push_str(parts.next().unwrap_or_default());
    parts.for_each(|part| joined.push_str(part.trim_start()));
    joined
}

fn add_files(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_files(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Returns the English keys: the strings before a colon.
fn keys() -> Vec<String> {
    let entries = SENTENCES.lines().filter_map(|line| line.strip_prefix("  \""));
    let keys = entries.filter_map(|entry| entry.split("\":").next());
    keys.map(str::to_owned).collect()
}

/// Returns the parts of a sentence that do not vary.
fn fixed_parts(key: &str) -> Vec<String> {
    let parts = key.split(['{', '<']).enumerate();
    parts.map(|(index, part)| if index == 0 { part } else { &part[2..] }.to_owned()).collect()
}

#[test]
fn the_page_translates_only_sentences_that_the_server_says() {
    let sources = sources();
    let keys = keys();
    assert!(keys.len() > 150, "{}", keys.len());
    for key in &keys {
        for part in fixed_parts(key) {
            let part = part.trim_matches([' ', '-', ':', '\'', ',', '(', ')', '.', '*']);
            let part = part.strip_prefix("You ").unwrap_or(part);
            assert!(sources.contains(part), "{part:?} of {key:?}");
        }
    }
}
