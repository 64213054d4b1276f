//! Tests that text from a peer, a file or the environment does not control the user's terminal.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may")]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use super::send;
use crate::programs::{EchoServer, Program, echoline, serve};

/// A text that sets the title, clears the screen, sets a colour with an 8-bit control, and
/// overrides the text direction. It ends with DEL.
const ORDERS: &str = "\u{1b}]0;x\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{7f}";

/// Returns the control characters of a program's output that a terminal would obey.
fn orders(shown: &str) -> Vec<char> {
    let plain = |letter: &char| !letter.is_control() || matches!(letter, '\n' | '\t');
    shown.chars().filter(|letter| !plain(letter) || *letter == '\u{202e}').collect()
}

/// Starts a server that answers each client with `reply`. Returns its address.
fn answering(reply: &'static [u8]) -> String {
    serve(move |mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(reply);
    })
}

const REPLY: &[u8] = "a \u{1b}[2J\u{9b}31m\u{202e}\u{7f} b\n\x1b]0;title\x07 c\n".as_bytes();

/// Issue 12, item 15: `send` with arguments or piped input prints replies without control
/// characters to a terminal, and the bytes unchanged to a pipe.
#[test]
fn attack_a_reply_does_not_control_the_terminal_of_send() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: this needs script(1)");
        return;
    }
    let server = answering(REPLY);
    let ended = send(&server, &["hi", "ho"], b"");
    assert_eq!(ended.stdout, REPLY, "a pipe gets every byte");
    let program = env!("CARGO_BIN_EXE_echoline");
    for shell in
        [format!("{program} send {server} hi ho"), format!("echo hi | {program} send {server}")]
    {
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &shell, "/dev/null"]);
        let ended = Program::start(&mut command).finish();
        // The terminal itself adds the carriage returns.
        let shown = ended.text().replace("\r\n", "\n");
        assert!(shown.contains("a \u{fffd}[2J\u{fffd}31m\u{fffd}\u{fffd} b\n"), "{shown:?}");
        assert_eq!(orders(&shown), [], "{shown:?}");
    }
}

/// Issue 12, item 15: text that a command quotes from a file, its name, the environment or an
/// answer never controls the terminal, and an error is one sentence.
#[test]
fn attack_files_and_peers_do_not_control_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in report_commands(folder.path()).iter().chain(&other_commands(folder.path())) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = Program::start(&mut echoline(&arguments)).finish();
        let shown = ended.text() + &ended.stderr;
        assert_eq!(orders(&shown), [], "{arguments:?}: {shown:?}");
        assert!(!shown.is_empty() && !shown.contains("panicked"), "{arguments:?}: {shown}");
    }
    for name in ["ECHOLINE_LISTEN", "ECHOLINE_MAX_LINE", "RUST_LOG"] {
        let mut command = echoline(&["echo", "--check"]);
        let ended = Program::start(command.env(name, ORDERS)).finish();
        assert_eq!(orders(&(ended.text() + &ended.stderr)), [], "{name}: {}", ended.stderr);
    }
}

/// Writes a file and returns its path.
fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn words(commands: &[&[&str]]) -> Vec<Vec<String>> {
    commands.iter().map(|words| words.iter().map(|&word| word.to_owned()).collect()).collect()
}

/// Returns commands that read reports from a stranger.
fn report_commands(folder: &Path) -> Vec<Vec<String>> {
    let escaped = serde_json::to_string(ORDERS).unwrap();
    let bare = escaped.trim_matches('"');
    let format = write(folder, "format.json", &format!("{{\"format\": {escaped}}}"));
    let named = write(folder, &format!("{ORDERS}.json"), "{}");
    let report = report(&folder.join("run.json"));
    let with = |name: &str, from: &str, to: &str| {
        assert!(report.contains(from), "{from} in {report}");
        write(folder, name, &report.replacen(from, to, 1))
    };
    let unknown = with("loop.json", "\"open\"", &escaped);
    let started = with("started.json", "\"started\": \"", &format!("\"started\": \"{bare}"));
    let target = with("target.json", "\"targets\": [", &format!("\"targets\": [{escaped},"));
    words(&[
        &["compare", &format, &format],
        &["compare", &named, &named],
        &["compare", &unknown, &unknown],
        &["compare", &started, &target],
        &["merge", &format],
        &["merge", &named],
        &["merge", &started],
        &["merge", &target],
        &["merge", &unknown],
        &["merge", &target, "--json", "-"],
        &["check", "--config", &named],
        &["chat", "backup", "--data", &format!("/nowhere/{ORDERS}"), &named],
    ])
}

/// Returns commands that read other files, or connect to a stranger's server.
fn other_commands(folder: &Path) -> Vec<Vec<String>> {
    let escape = |order: char| format!("\\u{:04x}", u32::from(order));
    let escaped: String = ORDERS
        .chars()
        .map(|c| if c.is_ascii_control() { escape(c) } else { c.to_string() })
        .collect();
    let key = write(folder, "key.toml", &format!("[echo]\n\"{escaped}\" = 1\n"));
    let value = write(folder, "value.toml", &format!("[echo]\nlisten = \"{escaped}:x\"\n"));
    let syntax = write(folder, "syntax.toml", &format!("[echo]\n{ORDERS} = 1\n"));
    let talk = format!("#1 ann: {ORDERS}\n#3 {ORDERS}: x\n#2 {ORDERS}\n");
    let talk = write(folder, "talk", &talk);
    let nowhere = format!("unix:/nowhere/{ORDERS}");
    let http = answering("HTTP/1.1 200 \u{1b}[2J\u{9b}\r\n\r\n".as_bytes());
    let hostile = answering(REPLY);
    words(&[
        &["check", "--config", &key],
        &["check", "--config", &value],
        &["check", "--config", &syntax],
        &["echo", "--config", &key],
        &["echo", "--config", &value],
        &["echo", "--listen", ORDERS],
        &["echo", "--listen", &nowhere],
        &["echo", "--fault", ORDERS],
        &[ORDERS],
        &["chat", "verify", &talk],
        &["chat", "verify", &format!("/nowhere/{ORDERS}")],
        &["send", &nowhere, "x"],
        &["send", &format!("tls://{hostile}"), "x"],
        &["send", &format!("ws://{http}/"), "x"],
        &["load", &hostile, "--messages", "1", "--clients", "1"],
        &["cert", "--out", &format!("/nowhere/{ORDERS}"), ORDERS],
    ])
}

/// Issue 12, item 15: on a terminal, where the command line parser uses colours, a wrong value and
/// a variable in the help do not control the terminal either.
#[test]
fn attack_wrong_usage_does_not_control_the_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: this needs script(1)");
        return;
    }
    let program = env!("CARGO_BIN_EXE_echoline");
    for arguments in
        ["echo --listen \"$ORDERS\"", "echo --max-line \"$ORDERS\"", "\"$ORDERS\"", "echo --help"]
    {
        let shell = format!("{program} {arguments}");
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &shell, "/dev/null"]);
        command.env("ORDERS", "\u{1b}]0;x\u{7}\u{1b}[2J\u{9b}31m\u{7f}");
        command.env("ECHOLINE_LISTEN", "\u{1b}]0;x\u{7}\u{1b}[2J").env("TERM", "xterm");
        let ended = Program::start(&mut command).finish();
        let shown = ended.text().replace("\r\n", "\n");
        // The program's own colours: red for an error, bold and underlined in the help.
        let mut shown = shown.replace("\u{1b}[1;31merror:\u{1b}[0m", "error:");
        if arguments == "echo --help" {
            for colour in ["\u{1b}[1m", "\u{1b}[4m", "\u{1b}[0m"] {
                shown = shown.replace(colour, "");
            }
        }
        assert!(shown.contains("--help") || shown.contains("help"), "{shown:?}");
        assert_eq!(orders(&shown), [], "{arguments}: {shown:?}");
    }
}

/// Writes the report of a short run to this file.
fn report(path: &Path) -> String {
    let server = EchoServer::start(&[]);
    let path = path.to_str().unwrap();
    let arguments = [
        "load",
        &server.address,
        "--rate",
        "200/s",
        "--messages",
        "20",
        "--clients",
        "1",
        "--json",
        path,
    ];
    let ended = Program::start(&mut echoline(&arguments)).finish();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    fs::read_to_string(path).unwrap()
}
