//! Runs the commands of `docs/tls.md` as they are printed.

use std::process::Stdio;

use crate::programs::page::{blocks, shell};
use crate::programs::{Program, nobody, wait_for};

#[test]
fn every_line_of_the_page_works() {
    let folder = tempfile::tempdir().unwrap();
    let ports = [nobody(), nobody()].map(|address| address.port().to_string());
    let mut servers = Vec::new();
    let mut done = 0;
    for line in blocks("tls.md", "sh").concat().lines() {
        let line = line.replace("8443", &ports[0]).replace("8444", &ports[1]);
        let script = |line: &str| {
            let mut shell = shell(line);
            shell.current_dir(folder.path());
            shell
        };
        if line.starts_with("echoline echo") {
            servers.push(Program::start(&mut script(&format!("exec {line}"))));
            servers.last().unwrap().wait_for_stderr("ready");
        } else if line.starts_with("openssl") {
            let mut client = Program::start(&mut script(&format!("exec {line}")));
            client.write(b"hello\n");
            wait_for("an answer", || client.stdout().contains("Echo: hello") || client.has_ended());
            assert!(client.stdout().contains("Echo: hello"), "{line}: {}", client.stderr());
        } else {
            let output = script(&line).stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let expected = match &line {
                line if line.starts_with("echoline cert") => "wrote ",
                line if line.starts_with("echoline send") => "Echo: hello\n",
                line if line.starts_with("echoline load") => "Successful clients: 10/10",
                other => panic!("nothing is known of {other}"),
            };
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.contains(expected), "{line}: {said} {errors}");
        }
        done += 1;
    }
    assert_eq!((servers.len(), done), (2, 8), "a line is missing");
}
