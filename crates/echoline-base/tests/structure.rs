//! Tests of the structure of the workspace: the files of a crate do not import each other in a
//! circle, and no two types have the same name.
//!
//! The tests read the sources as text. They look at `use` declarations and paths, and ignore
//! comments, strings and tests. A re-export (`pub use`) does not count as a use.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "structure/circles.rs"]
mod circles;
#[path = "structure/source.rs"]
mod source;

use std::collections::BTreeMap;

use source::{Crate, crates};

/// Type names that more than one module may define.
const CONVENTIONAL: &[&str] = &["Builder", "Config", "Error", "State"];

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut wrong = Vec::new();
    for krate in crates() {
        for circle in circles::of(&krate) {
            wrong.push(format!("{}: {}", krate.name, circle.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "circles of files:\n{}", wrong.join("\n"));
}

#[test]
fn a_type_name_is_defined_once() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for krate in crates() {
        for (name, file) in krate.types() {
            places.entry(name).or_default().push(file);
        }
    }
    places.retain(|name, files| files.len() > 1 && !CONVENTIONAL.contains(&name.as_str()));
    let lines: Vec<String> =
        places.iter().map(|(name, files)| format!("{name}: {}", files.join(", "))).collect();
    assert!(lines.is_empty(), "{} names are defined twice:\n{}", lines.len(), lines.join("\n"));
}

/// The parser of sources finds a circle, and ignores facades and tests.
#[test]
fn finds_a_circle_and_ignores_facades_and_tests() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::One;\n"),
        ("a.rs", "use crate::b::Two;\npub struct One;\n"),
        ("b.rs", "// use crate::c::Three;\npub struct Two(crate::One);\n"),
        ("c.rs", "pub struct Three;\n#[cfg(test)]\nmod tests { use crate::a::One; }\n"),
    ];
    let krate = Crate::new("example", files.map(|(name, text)| (name.into(), text.into())));
    assert_eq!(circles::of(&krate), [["a.rs", "b.rs"]]);
    let names: Vec<String> = krate.types().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["One", "Two", "Three"]);
}
