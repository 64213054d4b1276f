//! The live page as text and numbers, ready to be shown. Pure.
//!
//! All figures become text here, so that the page without JavaScript and the page that JavaScript
//! renews show the same, and the script has nothing to compute.

use std::time::Duration;

use serde::Serialize;

use super::history::{History, Second};
use super::process::ProcessState;
use crate::load::units;
use crate::net::{Closed, Limits, Phase, Snapshot};

/// What the page shows.
#[derive(Debug, Serialize)]
pub(super) struct View {
    /// One word.
    pub(super) phase: &'static str,
    pub(super) headline: String,
    pub(super) tiles: Vec<Tile>,
    pub(super) charts: Vec<Chart>,
    pub(super) ends: Vec<[String; 3]>,
    pub(super) workers: Vec<[String; 6]>,
    pub(super) limits: Vec<[String; 2]>,
    /// `None` where the server cannot have planned faults.
    pub(super) faults: Option<Vec<[String; 2]>>,
    /// Time, level and text, the newest first.
    pub(super) log: Vec<[String; 3]>,
}

/// One figure in large letters.
#[derive(Debug, Serialize)]
pub(super) struct Tile {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) more: String,
}

/// The last two minutes of something.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// What the upper edge stands for, as a number and as text.
    pub(super) top: f64,
    pub(super) top_text: String,
    pub(super) lines: Vec<Line>,
}

/// One line of a chart.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) name: &'static str,
    /// The newest value as text.
    pub(super) now: String,
    /// The oldest first; `null` is a gap.
    pub(super) values: Vec<Option<f64>>,
}

/// What is shown.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) history: &'a History,
    pub(super) process: &'a ProcessState,
    pub(super) up: Duration,
    pub(super) mode: &'a str,
    pub(super) addresses: &'a [String],
    pub(super) faults: Option<Vec<(String, u64)>>,
    pub(super) log: Vec<[String; 3]>,
}

/// The phase in one word, for people and for `/readyz`.
pub(super) fn word(phase: Option<Phase>) -> &'static str {
    match phase {
        None => "starting",
        Some(Phase::Running) => "serving",
        Some(Phase::Draining) => "draining",
        Some(Phase::Aborting) => "aborting",
    }
}

impl View {
    pub(super) fn new(sources: Sources<'_>) -> Self {
        let Sources { snapshot, history, .. } = sources;
        let counted = |(rule, count)| [rule, units::count(count)];
        Self {
            phase: word(snapshot.phase),
            headline: headline(&sources),
            tiles: tiles(&sources, &history.newest()),
            charts: charts(history),
            ends: ends(snapshot),
            workers: workers(snapshot),
            limits: limits(&snapshot.limits),
            faults: sources.faults.map(|faults| faults.into_iter().map(counted).collect()),
            log: sources.log,
        }
    }
}

fn headline(sources: &Sources<'_>) -> String {
    let places = sources.addresses.join(", ");
    let (mode, up) = (sources.mode, long(sources.up));
    format!("{mode} on {places} · up {up} · echoline {}", env!("CARGO_PKG_VERSION"))
}

fn tiles(sources: &Sources<'_>, newest: &Second) -> Vec<Tile> {
    let (snapshot, process) = (sources.snapshot, sources.process);
    let traffic = snapshot.traffic();
    let tile = |name, value, more| Tile { name, value, more };
    let total = |number| format!("{} in all", units::count(number));
    let room = snapshot.limits.max_connections as u64;
    let cores = snapshot.workers.len();
    vec![
        tile(
            "connections",
            units::count(snapshot.open as u64),
            format!("of {} at most", units::count(room)),
        ),
        tile("new connections", units::rate(newest.accepted), total(snapshot.accepted)),
        tile("messages", units::rate(newest.messages), total(traffic.messages)),
        tile("service time, half", time(newest.p50), "of the last 10 s".to_owned()),
        tile("service time, 99 %", time(newest.p99), "of the last 10 s".to_owned()),
        tile("in", bytes(newest.received) + "/s", bytes(traffic.received as f64) + " in all"),
        tile("out", bytes(newest.sent) + "/s", bytes(traffic.sent as f64) + " in all"),
        tile("workers busy", whole_percent(newest.busy), format!("100 % for each of {cores}")),
        tile(
            "memory",
            process.resident_bytes.map_or_else(none, |resident| bytes(resident as f64)),
            format!("{} descriptors", process.descriptors.map_or_else(none, units::count)),
        ),
    ]
}

fn charts(history: &History) -> Vec<Chart> {
    let micros = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e6);
    let micros_text = |micros: f64| units::time(Duration::from_secs_f64(micros / 1e6));
    let chart = |title,
                 names: &[&'static str],
                 text: &dyn Fn(f64) -> String,
                 values: &dyn Fn(&Second) -> Vec<Option<f64>>| {
        let seconds: Vec<_> = history.seconds().map(values).collect();
        let all = seconds.iter().flatten().flatten();
        let top = round_up(all.copied().fold(0.0, f64::max));
        let line = |(place, &name)| {
            let values: Vec<_> = seconds.iter().map(|second| second[place]).collect();
            let now = values.last().copied().flatten().map_or_else(none, text);
            Line { name, now, values }
        };
        let lines = names.iter().enumerate().map(line).collect();
        Chart { title, top, top_text: text(top), lines }
    };
    vec![
        chart("Connections", &["open"], &whole, &|s| vec![Some(s.open as f64)]),
        chart("Messages", &["a second"], &units::rate, &|s| vec![Some(s.messages)]),
        chart("Bytes", &["in", "out"], &|n| bytes(n) + "/s", &|s| {
            vec![Some(s.received), Some(s.sent)]
        }),
        chart("Service time", &["half", "99 %"], &micros_text, &|s| {
            vec![micros(s.p50), micros(s.p99)]
        }),
    ]
}

/// Every reason, those that have happened first, the most frequent at the top.
fn ends(snapshot: &Snapshot) -> Vec<[String; 3]> {
    let mut ends: Vec<_> =
        Closed::LABELS.iter().map(|&label| (snapshot.ended(label), label)).collect();
    ends.sort_by_key(|&(count, _)| std::cmp::Reverse(count));
    let all: u64 = ends.iter().map(|(count, _)| count).sum();
    let row = |(count, label): (u64, &str)| {
        let share = if all == 0 { 0.0 } else { count as f64 / all as f64 };
        [label.replace('_', " "), units::count(count), units::percent(share)]
    };
    ends.into_iter().map(row).collect()
}

fn workers(snapshot: &Snapshot) -> Vec<[String; 6]> {
    let row = |(number, worker): (usize, &crate::net::WorkerState)| {
        let traffic = &worker.traffic;
        [
            number.to_string(),
            units::count(worker.connections as u64),
            units::count(traffic.messages),
            bytes(traffic.received as f64),
            bytes(traffic.sent as f64),
            long(worker.busy),
        ]
    };
    snapshot.workers.iter().enumerate().map(row).collect()
}

fn limits(limits: &Limits) -> Vec<[String; 2]> {
    let length = |time: Option<Duration>| time.map_or_else(|| "off".to_owned(), long);
    let number =
        |number: Option<usize>| number.map_or_else(|| "off".to_owned(), |n| units::count(n as u64));
    [
        ("connections", number(Some(limits.max_connections))),
        ("connections from one address", number(limits.max_per_ip)),
        ("longest line", bytes(limits.max_line as f64)),
        ("time for the next line", length(limits.idle_timeout)),
        ("time for one line", length(limits.line_timeout)),
        ("time to take nothing", length(limits.stall_timeout)),
        ("time to finish at the end", length(Some(limits.drain_timeout))),
    ]
    .map(|(name, value)| [name.to_owned(), value])
    .into()
}

fn none() -> String {
    "–".to_owned()
}

fn time(time: Option<Duration>) -> String {
    time.map_or_else(none, units::time)
}

fn whole(number: f64) -> String {
    // Saturates, which is what is wanted of a figure for people.
    units::count(number.round() as u64)
}

fn whole_percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// `0 B`, `512 B`, `1.50 KiB`, `3.2 GiB`.
fn bytes(number: f64) -> String {
    let mut value = number;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 999.5 {
            let shown =
                if unit == "B" { format!("{value:.0}") } else { units::three_digits(value) };
            return format!("{shown} {unit}");
        }
        value /= 1024.0;
    }
    format!("{} TiB", units::three_digits(value))
}

/// A length of time that may be days, in its two largest units: `3 min 20 s`, `0.25 s`.
fn long(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |large: u64, name, small: u64, below| match small {
        0 => format!("{large} {name}"),
        _ => format!("{large} {name} {small} {below}"),
    };
    match seconds {
        0..10 if time.subsec_millis() > 0 => format!("{:.2} s", time.as_secs_f64()),
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// The next of 1, 2, 5, 10, 20 … that `value` does not exceed.
fn round_up(value: f64) -> f64 {
    if value <= 1.0 {
        return 1.0;
    }
    let unit = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * unit);
    steps.into_iter().find(|&step| value <= step).unwrap_or(10.0 * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let shown: Vec<String> =
            [0.0, 999.0, 1000.0, 1536.0, 1e9, 1e16].into_iter().map(bytes).collect();
        assert_eq!(shown, ["0 B", "999 B", "0.98 KiB", "1.50 KiB", "954 MiB", "9095 TiB"]);
        let shown: Vec<String> = [0, 250, 30_000, 200_000, 7_200_000, 100_000_000]
            .into_iter()
            .map(|millis| long(Duration::from_millis(millis)))
            .collect();
        assert_eq!(shown, ["0 s", "0.25 s", "30 s", "3 min 20 s", "2 h", "1 d 3 h"]);
    }

    #[test]
    fn a_chart_ends_at_a_round_figure() {
        let tops = [0.0, 0.3, 1.0, 1.1, 4.9, 10.0, 11.0, 512.0, 99_999.0].map(round_up);
        assert_eq!(tops, [1.0, 1.0, 1.0, 2.0, 5.0, 10.0, 20.0, 1000.0, 100_000.0]);
    }
}
