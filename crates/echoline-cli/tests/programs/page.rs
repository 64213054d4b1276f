//! The pages of docs/: runs their commands and compares the output.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Program, nobody};

/// Returns the code blocks in this language of a page of `docs/`, without their fences.
pub(crate) fn blocks(name: &str, language: &str) -> Vec<String> {
    let page = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("docs").join(name);
    let page = fs::read_to_string(page).unwrap();
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// Returns a shell that runs `script` and finds the program by its name.
pub(crate) fn shell(script: &str) -> Command {
    let bin = Path::new(env!("CARGO_BIN_EXE_echoline")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-c", script]).env("PATH", path);
    shell
}

/// Returns the output of `line` in such a shell, stdout and stderr together.
pub(crate) fn output(line: &str) -> String {
    let program = Program::start(&mut shell(&format!("( {line} ) 2>&1")));
    String::from_utf8(program.finish().stdout).unwrap()
}

/// Runs every ` ```console ` block of a page of `docs/`, each in a separate shell and folder. Lines
/// with `$` are commands, and the lines below them are the expected output; `…` matches any text
/// within a line. Ports from 8080 to 8089 are replaced by free ones.
pub(crate) fn paste(name: &str) {
    let blocks = blocks(name, "console");
    assert!(!blocks.is_empty(), "{name} has nothing to paste");
    for block in blocks {
        try_block(&block);
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
    let mut shell = shell(&format!("exec 2>&1\n{script}"));
    let heard = Program::start(shell.current_dir(&folder)).finish().text();
    let lines: Vec<&str> = heard.lines().collect();
    let right = lines.len() == wanted.len()
        && lines.iter().zip(&wanted).all(|(line, wanted)| matches(line, wanted));
    assert!(right, "pasted:\n{script}\nwanted:\n{}\nheard:\n{heard}", wanted.join("\n"));
}

fn matches(line: &str, wanted: &str) -> bool {
    let Some((start, end)) = wanted.split_once('…') else { return line == wanted };
    line.len() >= start.len() + end.len() && line.starts_with(start) && line.ends_with(end)
}
