//! Reads a process's state from the system: descriptors, memory, processor time.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Returns the number of open descriptors.
pub(crate) fn descriptors(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count)
}

/// Returns whether the process has the file at this path open.
pub(crate) fn has_open(id: u32, path: &Path) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
    descriptors.into_iter().any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == path))
}

/// Returns the lowest free descriptor. If it is set as the limit, the process can open no further
/// one.
pub(crate) fn descriptor_ceiling(id: u32) -> usize {
    // The number of open descriptors would be too high a limit, because the test runner may have
    // left descriptors with high numbers.
    (0..).find(|number| !fs::exists(format!("/proc/{id}/fd/{number}")).unwrap()).unwrap()
}

/// Sets the soft descriptor limit of a running process.
pub(crate) fn limit_descriptors(id: u32, limit: usize) {
    let (id, limit) = (id.to_string(), format!("--nofile={limit}:"));
    assert!(Command::new("prlimit").args(["--pid", &id, &limit]).status().unwrap().success());
}

/// Returns the resident memory in KiB.
pub(crate) fn resident_kib(id: u32) -> usize {
    number(&fs::read_to_string(format!("/proc/{id}/status")).unwrap(), "VmRSS:")
}

/// Returns the processor time used so far, in user and system mode together.
pub(crate) fn processor_time(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // The name (field 2, in parentheses) may contain spaces; utime and stime are fields 14 and 15.
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    // USER_HZ is 100 on every Linux that Rust runs on.
    Duration::from_millis(ticks * 10)
}

/// Returns the processor time of each thread whose name begins with `prefix`, to the nanosecond.
pub(crate) fn work_of_threads(id: u32, prefix: &str) -> Vec<(String, Duration)> {
    let mut work: Vec<(String, Duration)> = fs::read_dir(format!("/proc/{id}/task"))
        .unwrap()
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let name = fs::read_to_string(folder.join("comm")).ok()?.trim().to_owned();
            let schedule = fs::read_to_string(folder.join("schedstat")).ok()?;
            let nanoseconds = schedule.split_whitespace().next()?.parse().ok()?;
            name.starts_with(prefix).then_some((name, Duration::from_nanos(nanoseconds)))
        })
        .collect();
    work.sort();
    work
}

/// Returns the number of connections of this machine from local port `port` in TIME_WAIT.
pub(crate) fn in_time_wait(port: u16) -> usize {
    let (port, time_wait) = (format!(":{port:04X}"), "06");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.len() > 3 && words[1].ends_with(&port) && words[3] == time_wait)
        .count()
}

fn number(status: &str, label: &str) -> usize {
    let rest = status.split_once(label).unwrap().1;
    rest.split_whitespace().next().unwrap().parse().unwrap()
}
