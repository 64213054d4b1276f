//! Tests of the contents of a package: units, man pages, completions.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod programs;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use programs::{echoline, run};

fn packaging() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("packaging")
}

fn units() -> Vec<PathBuf> {
    let units = fs::read_dir(packaging()).unwrap().map(|entry| entry.unwrap().path());
    let is_unit = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "service" || ending == "socket")
    };
    let units: Vec<PathBuf> = units.filter(is_unit).collect();
    assert_eq!(units.len(), 3, "{units:?}");
    units
}

fn has(name: &str) -> bool {
    let mut command = Command::new(name);
    let found = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        let text = format!("SKIPPED, not passed: this test needs {name}, which is not installed\n");
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    found.is_ok()
}

/// The checks of systemd find no errors in the units, and rate them as secure.
#[test]
fn systemd_has_no_complaint_about_the_units() {
    if !has("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = echoline(&[]).get_program().to_str().unwrap().to_owned();
    for unit in units() {
        // The program and its man pages are not installed on the machine of this test.
        let text = fs::read_to_string(&unit).unwrap().replace("/usr/bin/echoline", &program);
        let text = text.lines().filter(|line| !line.starts_with("Documentation="));
        let text: String = text.map(|line| format!("{line}\n")).collect();
        fs::write(folder.path().join(unit.file_name().unwrap()), text).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").current_dir(folder.path());
    let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let verify = verify.args(files.map(|name| Path::new(".").join(name))).output().unwrap();
    let said = String::from_utf8_lossy(&verify.stderr);
    assert!(verify.status.success() && said.is_empty(), "{said}");
    for service in ["echoline.service", "echoline-chat.service"] {
        let mut security = Command::new("systemd-analyze");
        let threshold = ["security", "--offline=true", "--no-pager", "--threshold=10"];
        let security = security.args(threshold).arg(Path::new(".").join(service));
        let security = security.current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&security.stdout);
        assert!(security.status.success(), "worse than 1.0 of 10: {said}");
    }
}

/// Issue 12, item 22: a compromised service sees no other user, cannot take all memory, and leaves
/// no core dump. systemd rates the remaining exposure at 1.0 of 10 or less.
#[test]
fn attack_a_compromised_service_is_confined() {
    for service in ["echoline.service", "echoline-chat.service"] {
        let text = fs::read_to_string(packaging().join(service)).unwrap();
        for line in [
            "PrivateUsers=yes",
            "PrivateMounts=yes",
            "PrivateIPC=yes",
            "DevicePolicy=closed",
            "MemoryMax=50%",
            "LimitCORE=0",
            "TasksMax=1024",
            "IPAddressDeny=any",
            "IPAddressAllow=any",
            "CapabilityBoundingSet=",
        ] {
            assert!(text.lines().any(|found| found == line), "{service}: {line}");
        }
    }
}

/// The flags in the units exist, and the service notifies systemd as the units expect.
#[test]
fn units_use_existing_flags() {
    for unit in units() {
        let text = fs::read_to_string(&unit).unwrap();
        let Some(start) = text.lines().find_map(|line| line.strip_prefix("ExecStart=")) else {
            continue;
        };
        let words: Vec<&str> = start.split_whitespace().collect();
        assert_eq!(words[0], "/usr/bin/echoline");
        let help = run(&[words[1], "--help"], b"").text();
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(&format!("{flag} <")), "{}: {flag}", unit.display());
        }
        assert!(text.contains("\nType=notify\n") && text.contains("\nNotifyAccess=main\n"));
    }
}

/// A variable in a unit would override the file that the user edits.
#[test]
fn the_installed_file_decides_about_the_address_of_the_chat() {
    for unit in units() {
        let text = fs::read_to_string(&unit).unwrap();
        assert!(!text.contains("Environment=ECHOLINE_"), "{}", unit.display());
    }
    let installed = packaging().join("echoline.toml");
    let folder = tempfile::tempdir().unwrap();
    let edited = folder.path().join("echoline.toml");
    let text = fs::read_to_string(&installed).unwrap();
    fs::write(&edited, text.replace("127.0.0.1:8000", "127.0.0.2:8001")).unwrap();
    for (file, address) in [(&installed, "127.0.0.1:8000"), (&edited, "127.0.0.2:8001")] {
        let checked = run(&["check", "chat", "--config", file.to_str().unwrap()], b"").text();
        assert!(checked.contains(&format!("Users connect to {address}.")), "{checked}");
    }
}

/// Returns the long flags that a text names.
fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'));
    let flags = words.filter(|word| word.starts_with("--") && word.len() > 3);
    flags.map(|word| word.trim_end_matches('-').to_owned()).collect()
}

/// Every command has a page, every flag is in it, and man(1) can read it.
#[test]
fn every_command_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(run(&["generate", "man", path], b"").code(), Some(0));
    let help = run(&["--help"], b"").text();
    let commands = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: Vec<&str> = commands.filter(|name| !name.is_empty() && *name != "help").collect();
    assert!(commands.len() >= 6 && !commands.contains(&"generate"), "{commands:?}");
    for command in commands {
        let page = folder.path().join(format!("echoline-{command}.1"));
        let text = fs::read_to_string(&page).unwrap().replace("\\-", "-");
        let wanted = flags(&run(&[command, "--help"], b"").text());
        let missing: Vec<&String> = wanted.iter().filter(|flag| !text.contains(*flag)).collect();
        assert!(missing.is_empty(), "{}: {missing:?}", page.display());
        if has("man") {
            let mut man = Command::new("man");
            man.args(["--local-file", "--warnings"]).arg(&page).env("MANPAGER", "cat");
            let shown = man.env("LC_ALL", "C.UTF-8").output().unwrap();
            assert!(shown.status.success() && shown.stderr.is_empty(), "{shown:?}");
        }
    }
    for (page, is_service) in [("echoline-echo.1", true), ("echoline-send.1", false)] {
        let text = fs::read_to_string(folder.path().join(page)).unwrap();
        assert_eq!(text.contains("SIGUSR2"), is_service, "{page}");
    }
    let nowhere = run(&["generate", "man", "/no/such/folder"], b"");
    assert_eq!(nowhere.code(), Some(1));
    assert!(nowhere.stderr.contains("cannot write pages to /no/such/folder"));
}

/// bash completes commands and flags.
#[test]
fn shells_complete_commands_and_flags() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("echoline.bash");
    fs::write(&file, run(&["generate", "completions", "bash"], b"").stdout).unwrap();
    let complete = |typed: &str| {
        let script = format!(
            "source {}; COMP_WORDS=(echoline {typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _echoline echoline \"${{COMP_WORDS[COMP_CWORD]}}\" \
             \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; echo \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        let shell = Command::new("bash").args(["--norc", "-c", &script]).output().unwrap();
        String::from_utf8_lossy(&shell.stdout).trim().to_owned()
    };
    assert_eq!(complete("ec"), "echo");
    assert_eq!(complete("echo --retire"), "--retire-timeout");
    assert_eq!(complete("echo --mode com"), "command");
    for shell in ["zsh", "fish"] {
        let text = run(&["generate", "completions", shell], b"").text();
        assert!(text.contains("retire-timeout"), "{shell}");
    }
}
