//! Runs the commands of docs/udp.md.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;

use programs::page::{blocks, output};
use programs::{Program, echoline, wait_for};

mod programs;

/// The addresses of the servers on the page.
const TCP: &str = "127.0.0.1:7007";
const UDP: &str = "udp://127.0.0.1:7007";

/// Runs one block. Returns it with the output that the commands printed.
fn replay(block: &str) -> String {
    let first = block.lines().next().unwrap();
    let server = first.strip_prefix("$ echoline ").and_then(|rest| rest.strip_suffix(" &"));
    let Some(flags) = server else {
        let shown = output(first.strip_prefix("$ ").unwrap());
        return format!("{first}\n{}\n", shown.lines().next().unwrap());
    };
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let flags = output(&format!("printf '%s\\n' {}", flags.replace(":7007", ":0")));
    let mut command = echoline(&flags.lines().collect::<Vec<_>>());
    command.arg("--ready-file").arg(&ready).args(["--log-level", "error"]);
    let _server = Program::start(&mut command);
    wait_for("the ready file", || ready.exists());
    let bound = fs::read_to_string(&ready).unwrap();
    let find = |is_udp: bool| bound.lines().find(|line| line.starts_with("udp:") == is_udp);
    let real = [(UDP, find(true).unwrap_or(UDP)), (TCP, find(false).unwrap_or(TCP))];
    let mut shown = format!("{first}\n");
    for line in block.lines().filter_map(|line| line.strip_prefix("$ ")).skip(1) {
        let [udp, tcp] = real;
        let said = output(&line.replace(udp.0, udp.1).replace(tcp.0, tcp.1));
        shown.push_str(&format!("$ {line}\n{}", said.replace(udp.1, udp.0)));
    }
    shown
}

#[test]
fn every_line_of_the_page_works() {
    let blocks = blocks("udp.md", "console");
    assert!(blocks.len() >= 9, "{}", blocks.len());
    for block in blocks {
        assert_eq!(replay(&block).replace('\r', ""), block);
    }
}
