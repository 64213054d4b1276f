//! Checks the repository: forbidden code, the length of files and lines, and required tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates without a clock, a socket or a task. They must not depend on a runtime.
const PURE_CRATES: &[&str] = &["echoline-base", "echoline-chat-core", "echoline-faults"];

/// The maximum number of crates that the library needs with its default features, including itself.
const DEPENDENCIES_MAX: usize = 30;

const FILE_LINES_MAX: usize = 500;
const LINE_COLUMNS_MAX: usize = 100;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Returns the path from the root and the text of all files below `folder` that end with one of
/// `endings`.
fn files(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "target" {
                folders.push(path);
            } else if endings.iter().any(|ending| path.extension().is_some_and(|e| e == *ending)) {
                found.push((name(&path), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

fn sources() -> Vec<(String, String)> {
    ["crates", "examples", "bench", "fuzz", "scripts"]
        .iter()
        .flat_map(|folder| files(folder, &["rs", "c", "h", "py", "sh"]))
        .collect()
}

/// Returns the part of a source file before its tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

/// Returns the code of a file without comments.
fn code(text: &str) -> String {
    let lines = without_tests(text).lines();
    lines.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn files_and_lines_are_short() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let count = text.lines().count();
        if count > FILE_LINES_MAX {
            wrong.push(format!("{name} has {count} lines"));
        }
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > LINE_COLUMNS_MAX {
                wrong.push(format!("{name}:{} is too long", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    let words = ["FIX", "TO", "XX"].iter().zip(["ME", "DO", "X"]).map(|(a, b)| format!("{a}{b}"));
    for word in words {
        for (name, text) in sources() {
            assert!(!text.contains(&word), "{name} says {word}");
        }
    }
}

#[test]
fn pure_crates_have_no_runtime() {
    for name in PURE_CRATES {
        let arguments = ["tree", "--locked", "--offline", "-e", "normal", "--prefix", "none", "-p"];
        let mut tree = Command::new(env!("CARGO"));
        let tree = tree.current_dir(root()).args(arguments).arg(name).output().unwrap();
        let crates = String::from_utf8(tree.stdout).unwrap();
        assert!(crates.starts_with(name), "{}", String::from_utf8_lossy(&tree.stderr));
        for runtime in ["tokio ", "mio ", "rand "] {
            assert!(!crates.lines().any(|line| line.starts_with(runtime)), "{name}: {runtime}");
        }
    }
}

/// `cargo add echoline` brings few crates: the default features contain only what a line server
/// needs.
#[test]
fn the_library_has_few_dependencies() {
    let arguments = ["tree", "--locked", "--offline", "-e", "normal", "--prefix", "none"];
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(root()).args(arguments).args(["--no-dedupe", "-p", "echoline"]);
    let tree = tree.output().unwrap();
    let text = String::from_utf8(tree.stdout).unwrap();
    assert!(text.starts_with("echoline "), "{}", String::from_utf8_lossy(&tree.stderr));
    let crates: BTreeSet<&str> = text.lines().collect();
    assert!(crates.len() <= DEPENDENCIES_MAX, "{} crates: {crates:#?}", crates.len());
}

/// Issue 15, item 8: each item at the root of the library has an example in its documentation.
#[test]
fn every_item_of_the_library_root_has_an_example() {
    let sources = files("crates/echoline/src", &["rs"]);
    let (_, root) = sources.iter().find(|(name, _)| name.ends_with("/src/lib.rs")).unwrap();
    let uses = root.lines().filter_map(|line| line.strip_prefix("pub use ")?.strip_suffix(';'));
    let names = uses.flat_map(|path| {
        let last = path.rsplit("::").next().unwrap().trim_matches(['{', '}']);
        last.split(", ")
    });
    let names: Vec<&str> = names.collect();
    assert!(names.contains(&"Server") && names.contains(&"LiveLimits"), "{names:?}");
    for name in names {
        let has_example = sources.iter().any(|(_, text)| doc_of(text, name).contains("/// ```"));
        assert!(has_example, "{name} has no example");
    }
}

/// Returns the documentation and the attributes of the type `name`; empty if it is defined
/// elsewhere.
fn doc_of(text: &str, name: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let defines = |line: &&str| {
        let rest = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
        let rest = rest.and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| !rest.starts_with(|letter: char| letter.is_alphanumeric()))
    };
    let Some(end) = lines.iter().position(defines) else { return String::new() };
    let above = lines[..end].iter().rev();
    let above = above.take_while(|line| line.starts_with("///") || line.starts_with("#["));
    above.map(|line| format!("{line}\n")).collect()
}

/// The modules of the server do not use the modules of the echo dialogue.
#[test]
fn mechanism_knows_no_policy() {
    let mechanism = files("crates/echoline/src", &["rs"]);
    for (name, text) in mechanism.iter().filter(|(name, _)| !name.contains("/echo/")) {
        assert!(!code(text).contains("crate::echo"), "{name} names crate::echo");
    }
}

/// Returns the public names (fields or variants) inside the braces that follow `start`.
fn members(text: &str, start: &str) -> Vec<String> {
    let body = text.split(start).nth(1).unwrap().split("\n}").next().unwrap();
    let names = body.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("pub ");
        let end = line.find([':', ',', '('])?;
        let name = &line[..end];
        let word = name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
        (word && !name.is_empty()).then(|| name.to_owned())
    });
    names.collect()
}

#[test]
fn every_limit_and_every_end_is_tested() {
    let text = fs::read_to_string(root().join("crates/echoline/src/connection/limits.rs")).unwrap();
    let mut tests = String::new();
    for (name, text) in files("crates", &["rs"]) {
        if name.contains("/tests/") && !name.ends_with("tidy.rs") {
            tests.push_str(&text);
        } else {
            tests.extend(text.split_once("#[cfg(test)]").map(|(_, tests)| tests.to_owned()));
        }
    }
    let fields = members(&text, "pub struct Limits {");
    let variants = members(&text, "pub enum Closed {");
    assert!(fields.len() >= 10 && variants.len() >= 14, "{fields:?} {variants:?}");
    for field in fields {
        let flag = format!("--{}", field.replace('_', "-"));
        assert!(
            tests.contains(&format!("{field}:")) || tests.contains(&flag),
            "no test of {field}"
        );
    }
    for variant in variants {
        let named = format!("Closed::{variant}");
        assert!(tests.contains(&named), "no test of {named}");
    }
}

/// The metrics contain each reason of the list from the start. A reason that is missing from the
/// list would appear only after its first occurrence.
#[test]
fn every_label_of_an_end_is_in_the_list() {
    let text = fs::read_to_string(root().join("crates/echoline/src/connection/limits.rs")).unwrap();
    let labels = text.split("fn label(").nth(1).unwrap().split("\n    }").next().unwrap();
    let labels: Vec<&str> = labels.split('"').skip(1).step_by(2).collect();
    assert_eq!(echoline::Closed::LABELS, labels);
    assert_eq!(labels.len(), members(&text, "pub enum Closed {").len());
}

/// Fault 54: in a release build that aborts on panic, a panic of one connection would end the
/// server.
#[test]
fn a_panic_unwinds_in_a_release() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let release = manifest.split("[profile.release]").nth(1).unwrap();
    assert!(release.split("\n[").next().unwrap().contains("panic = \"unwind\""));
}

/// Tests name the rows of the list of faults that they cover.
#[test]
fn tests_name_their_faults() {
    let tests: String = files("crates", &["rs"]).into_iter().map(|(_, text)| text).collect();
    assert!(tests.matches("/// Fault ").count() >= 10);
}

/// Issue 11, item 32: `cargo doc` shows a separate front page, and no doc comment links into the
/// repository, because such a link is dead on docs.rs. The README is still tested.
#[test]
fn regression_the_documentation_has_no_links_into_the_repository() {
    let front = fs::read_to_string(root().join("crates/echoline/src/lib.rs")).unwrap();
    assert!(front.starts_with("//! "), "the crate has a front page");
    let readme = "#[cfg(doctest)]\n#[doc = include_str!(\"../../../README.md\")]";
    assert!(front.contains(readme) && front.matches("include_str!").count() == 1);
    for (name, text) in files("crates", &["rs"]) {
        let documentation = text.lines().filter(|line| {
            let line = line.trim_start();
            line.starts_with("///") || line.starts_with("//!")
        });
        for line in documentation {
            for target in line.split("](").skip(1) {
                let target = target.split(')').next().unwrap();
                let is_path = target.contains(".md") || target.starts_with("docs/");
                assert!(!is_path || target.starts_with("https://"), "{name}: {line}");
            }
        }
    }
}

/// Issue 11, item I: every feature of the library is checked without the others, to find a feature
/// that needs another one.
#[test]
fn regression_every_feature_is_checked_without_the_others() {
    let script = fs::read_to_string(root().join("scripts/test.sh")).unwrap();
    for (package, sets) in [("echoline", 4), ("echoline-chat", 2)] {
        let path = root().join("crates").join(package).join("Cargo.toml");
        let manifest = fs::read_to_string(path).unwrap();
        let features = manifest.split("[features]").nth(1).unwrap().split("\n[").next().unwrap();
        let names: Vec<&str> =
            features.lines().filter_map(|line| line.split_once(" = [")).map(|(n, _)| n).collect();
        let command = format!("-p {package} --");
        let before = script.split(&command).next().unwrap();
        let checked = before.rsplit("for features in ").next().unwrap();
        let checked = checked.split(';').next().unwrap();
        let checked: Vec<Vec<&str>> = checked
            .split_whitespace()
            .map(|set| set.trim_matches('"').split(',').collect())
            .collect();
        assert_eq!(checked.len(), sets, "{package}: {checked:?}");
        assert!(checked.contains(&vec![""]), "{package}: no feature at all: {checked:?}");
        for name in names {
            assert!(checked.iter().any(|set| set.contains(&name)), "{package}: no set has {name}");
        }
    }
}
