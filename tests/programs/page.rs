//! The pages of docs/: what they say to paste is pasted, and what they show must come.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Program, nobody};

/// Runs every ` ```console ` block of a page of `docs/`, each in a shell and a folder of its own.
/// Behind `$` are commands, below them what they print; `…` stands for anything within a line.
/// Ports from 8080 to 8089 become free ones.
pub(crate) fn paste(name: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    let text = fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> =
        text.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty(), "{name} has nothing to paste");
    for block in blocks {
        try_block(block);
    }
}

fn try_block(block: &str) {
    let mut text = block.to_owned();
    for port in 8080..8090 {
        if block.contains(&format!(":{port}")) {
            text = text.replace(&format!(":{port}"), &format!(":{}", nobody().port()));
        }
    }
    let (mut script, mut wanted) = (String::new(), Vec::new());
    for line in text.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => script.push_str(&format!("{command}\n")),
            None => wanted.push(line),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_echoline")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("exec 2>&1\n{script}")]).env("PATH", path).current_dir(&folder);
    let heard = Program::start(&mut shell).finish().text();
    let lines: Vec<&str> = heard.lines().collect();
    let right = lines.len() == wanted.len()
        && lines.iter().zip(&wanted).all(|(line, wanted)| matches(line, wanted));
    assert!(right, "pasted:\n{script}\nwanted:\n{}\nheard:\n{heard}", wanted.join("\n"));
}

fn matches(line: &str, wanted: &str) -> bool {
    let Some((start, end)) = wanted.split_once('…') else { return line == wanted };
    line.len() >= start.len() + end.len() && line.starts_with(start) && line.ends_with(end)
}
