//! Tests of the program `echoline chat verify`: its output about transcripts, and its exit codes.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::process::{Command, Output};

fn verify(texts: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_echoline"));
    command.args(["chat", "verify"]).current_dir(folder.path());
    for (name, text) in ["ann.txt", "bob.txt"].iter().zip(texts) {
        std::fs::write(folder.path().join(name), text).unwrap();
        command.arg(name);
    }
    command.output().unwrap()
}

const ANN: &str = "#1 *** ann joined the chat ***\n#2 *** bob joined the chat ***\n#3 ann: hi\n";

#[test]
fn transcripts_that_agree_exit_with_0() {
    let bob = serde_json::json!({
        "kind": "said", "name": "ann", "number": 3, "own": false, "room": "lobby", "text": "hi",
        "time_ms": 9,
    });
    let output = verify(&[ANN, &format!("{bob}\r\n")]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("2 transcripts, 1 room, 3 lines, each seen 1.3 times\n"), "{text}");
    assert!(text.contains("All transcripts have the same order"), "{text}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn contradictions_exit_with_3_and_name_file_line_and_number() {
    let output = verify(&[ANN, "#3 ann: ho\n#5 ann: x\n"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "bob.txt:1: #3 of lobby is a different line than in ann.txt:3");
    assert_eq!(lines[1], "bob.txt:2: #5 of lobby comes after #3, without a notice");
    assert!(text.ends_with("There are 2 contradictions.\n"), "{text}");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_transcript_without_numbers_is_refused_in_one_sentence() {
    let output = verify(&["ann: hi\n"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("ann.txt has no line numbers") && text.contains("/numbers on"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(verify(&[]).status.code(), Some(2), "no transcript at all");
}
