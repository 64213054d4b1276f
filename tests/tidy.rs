//! Keeps the house: what may stand where, how long files and lines may be, what must be tested.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Files that decide without a clock, a socket or a task.
const PURE: &[&str] = &[
    "src/cli/config/example.rs",
    "src/cli/config/file.rs",
    "src/cli/config/keys.rs",
    "src/cli/config/settings.rs",
    "src/cli/log/filter.rs",
    "src/chat/answer_limits.rs",
    "src/chat/audit_log.rs",
    "src/chat/idle_policy.rs",
    "src/chat/history/record.rs",
    "src/chat/history/search_terms.rs",
    "src/chat/history/sql/checksum.rs",
    "src/chat/history/stored_line.rs",
    "src/chat/history/worker/schedule.rs",
    "src/cli/admin/chart.rs",
    "src/cli/admin/view.rs",
    "src/cli/admin/exposition.rs",
    "src/cli/admin/history.rs",
    "src/cli/admin/metrics.rs",
    "src/net/service_times.rs",
    "src/net/snapshot.rs",
    "src/net/sources/limits.rs",
    "src/net/sources/source.rs",
    "src/net/sources/table.rs",
    "src/net/token_bucket.rs",
    "src/net/datagram/bucket.rs",
    "src/net/datagram/guard.rs",
    "src/net/fault/amount.rs",
    "src/net/fault/choice.rs",
    "src/net/fault/datagram.rs",
    "src/net/fault/error.rs",
    "src/net/fault/faults.rs",
    "src/net/fault/held.rs",
    "src/net/fault/kind.rs",
    "src/net/fault/lane.rs",
    "src/net/fault/parse.rs",
    "src/net/fault/plan.rs",
    "src/net/fault/queue.rs",
    "src/net/host_header.rs",
    "src/net/lines.rs",
    "src/net/proxy_header.rs",
    "src/net/websocket/close.rs",
    "src/net/websocket/encode.rs",
    "src/net/websocket/frame.rs",
    "src/net/websocket/policy.rs",
    "src/net/websocket/upgrade.rs",
    "src/net/websocket/utf8.rs",
    "src/net/limits.rs",
    "src/net/tls/certificate.rs",
    "src/net/tls/error.rs",
    "src/net/tls/sentence.rs",
    "src/chat/cluster/inspect.rs",
    "src/chat/cluster/inspect_snapshot.rs",
    "src/chat/nats/blocks.rs",
    "src/chat/nats/names.rs",
    "src/chat/nats/place.rs",
    "src/chat/nats/seal.rs",
    "src/chat/nats/shelf.rs",
    "src/chat/nats/version.rs",
    "src/chat/command_cost.rs",
    "src/chat/page.rs",
    "src/chat/view.rs",
    "src/chat/tokens.rs",
    "src/chat/days.rs",
    "src/chat/echo_suppression.rs",
    "src/chat/replay.rs",
    "src/chat/muted.rs",
    "src/chat/entrance.rs",
    "src/chat/former_users.rs",
    "src/chat/flood_mutes.rs",
    "src/chat/room_operators.rs",
    "src/chat/room_origin.rs",
    "src/chat/source.rs",
    "src/chat/room.rs",
    "src/chat/secret_words.rs",
    "src/chat/log.rs",
    "src/chat/log/older.rs",
    "src/chat/log_limits.rs",
    "src/chat/line.rs",
    "src/chat/batch.rs",
    "src/chat/bans.rs",
    "src/load/answers.rs",
    "src/load/plan.rs",
    "src/load/pacer.rs",
    "src/load/reply.rs",
    "src/load/ledger.rs",
    "src/load/curve.rs",
    "src/load/expect.rs",
    "src/amount.rs",
    "src/cli/cert/name.rs",
    "src/cli/hints.rs",
    "src/cli/send/line_ends.rs",
    "src/cli/send/protocol.rs",
    "src/cli/send/tally.rs",
    "src/load/foregone.rs",
    "src/printable.rs",
    "src/random.rs",
    "src/secret.rs",
    "src/load/record.rs",
    "src/chat/aliases.rs",
    "src/chat/arguments.rs",
    "src/chat/character.rs",
    "src/chat/command.rs",
    "src/chat/command_error.rs",
    "src/chat/command_table.rs",
    "src/chat/duration.rs",
    "src/chat/erase.rs",
    "src/chat/flood.rs",
    "src/chat/misdirected_protocol.rs",
    "src/chat/help.rs",
    "src/chat/key.rs",
    "src/chat/line_end.rs",
    "src/chat/name.rs",
    "src/chat/name_error.rs",
    "src/chat/separators.rs",
    "src/chat/telnet.rs",
    "src/chat/text.rs",
    "src/chat/transcript.rs",
    "src/chat/verify.rs",
    "src/chat/wrap.rs",
    "src/load/compare.rs",
    "src/load/metric.rs",
    "src/load/objective.rs",
    "src/load/outage.rs",
    "src/load/rank.rs",
    "src/load/units.rs",
    "src/load/report/chart.rs",
    "src/load/report/csv.rs",
    "src/load/report/hdr.rs",
    "src/load/report/histogram.rs",
    "src/load/report/html.rs",
    "src/load/report/json.rs",
    "src/load/report/json/format.rs",
    "src/load/report/json/record.rs",
    "src/load/report/json/search.rs",
    "src/load/report/json/seed.rs",
    "src/load/report/merge.rs",
    "src/load/report/text.rs",
    "src/load/report/wall_clock.rs",
    "src/load/strays.rs",
    "src/load/template.rs",
    "src/load/turns.rs",
    "src/load/retry.rs",
    "src/load/search.rs",
    "src/load/series.rs",
    "src/load/times.rs",
    "src/load/trust.rs",
    "src/load/walk.rs",
];

const FILE_LINES_MAX: usize = 500;
const LINE_COLUMNS_MAX: usize = 100;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` that end with one of `endings`, with their paths from the root.
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
    ["src", "tests", "examples", "bench", "fuzz", "scripts"]
        .iter()
        .flat_map(|folder| files(folder, &["rs", "c", "h", "py", "sh"]))
        .collect()
}

/// The part of a source file that is no test.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

/// What is said in code, comments left out.
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
fn pure_files_have_no_clock_no_socket_no_task() {
    for name in PURE {
        let text = fs::read_to_string(root().join(name)).expect("every file of the list is there");
        for word in ["tokio", "std::net", "Instant::now", "SystemTime", "std::thread", "rand::"] {
            assert!(!code(&text).contains(word), "{name} names {word}");
        }
    }
}

#[test]
fn mechanism_knows_no_policy() {
    let policies = ["crate::echo", "crate::load", "crate::chat", "crate::cli"];
    for (folder, strangers) in [
        ("src/net", &policies[..]),
        ("src/echo", &["crate::load", "crate::cli", "crate::chat"]),
        ("src/load", &["crate::echo", "crate::cli", "crate::chat"]),
        ("src/chat", &["crate::echo", "crate::load", "crate::cli"]),
    ] {
        for (name, text) in files(folder, &["rs"]) {
            for stranger in strangers {
                assert!(!code(&text).contains(stranger), "{name} names {stranger}");
            }
        }
    }
}

/// The public names inside the braces that follow `start`: fields or variants.
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
    let text = fs::read_to_string(root().join("src/net/limits.rs")).unwrap();
    let mut tests: String = files("tests", &["rs"])
        .into_iter()
        .filter(|(name, _)| name != "tests/tidy.rs")
        .map(|(_, text)| text)
        .collect();
    for (_, text) in files("src", &["rs"]) {
        tests.extend(text.split_once("#[cfg(test)]").map(|(_, tests)| tests.to_owned()));
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

/// A reason that is not in the list would be in no metric until it happens.
#[test]
fn every_label_of_an_end_is_in_the_list() {
    let text = fs::read_to_string(root().join("src/net/limits.rs")).unwrap();
    let listed = text.split("LABELS: &[&str] = &[").nth(1).unwrap().split("];").next().unwrap();
    let labels = text.split("fn label(").nth(1).unwrap().split("\n    }").next().unwrap();
    let labels: Vec<&str> = labels.split('"').skip(1).step_by(2).collect();
    assert_eq!(listed.split('"').skip(1).step_by(2).collect::<Vec<_>>(), labels);
    assert_eq!(labels.len(), members(&text, "pub enum Closed {").len());
}

/// Fault 54: a release that aborts on panic would end the server with one connection.
#[test]
fn a_panic_unwinds_in_a_release() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let release = manifest.split("[profile.release]").nth(1).unwrap();
    assert!(release.split("\n[").next().unwrap().contains("panic = \"unwind\""));
}

/// A fault that a test covers is named by its row in the list of faults.
#[test]
fn faults_are_named() {
    let tests: String = files("tests", &["rs"]).into_iter().map(|(_, text)| text).collect();
    assert!(tests.matches("/// Fault ").count() >= 10);
}

/// Issue 11, item 32: `cargo doc` shows a front page of its own, and no documentation of the code
/// has a link into the repository, which leads nowhere on docs.rs. The README is still tested.
#[test]
fn regression_the_documentation_has_no_links_into_the_repository() {
    let front = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert!(front.starts_with("//! "), "the crate has a front page");
    let readme = "#[cfg(doctest)]\n#[doc = include_str!(\"../README.md\")]";
    assert!(front.contains(readme) && front.matches("include_str!").count() == 1);
    for (name, text) in files("src", &["rs"]) {
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

/// Issue 11, item I: every feature is in a set that the tests check by itself, so that a feature
/// that needs another one is seen.
#[test]
fn regression_every_feature_is_checked_without_the_others() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let features = manifest.split("[features]").nth(1).unwrap().split("\n[").next().unwrap();
    let names = features.lines().filter_map(|line| line.split_once(" = [")).map(|(name, _)| name);
    let names: Vec<&str> = names.filter(|name| !["default", "cli"].contains(name)).collect();
    assert!(names.contains(&"report") && names.len() >= 7, "{names:?}");
    let script = fs::read_to_string(root().join("scripts/test.sh")).unwrap();
    let sets = script.split("feature_sets=(").nth(1).unwrap().split(')').next().unwrap();
    let sets: Vec<Vec<&str>> =
        sets.split_whitespace().map(|set| set.trim_matches('"').split(',').collect()).collect();
    assert!(sets.contains(&vec![""]), "no feature at all: {sets:?}");
    assert!(sets.contains(&vec!["chat", "proxy", "websocket"]), "{sets:?}");
    for name in names {
        assert!(sets.iter().any(|set| set.contains(&name)), "no set has {name}: {sets:?}");
    }
}
