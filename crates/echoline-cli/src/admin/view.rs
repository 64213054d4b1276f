//! Formats the contents of the live page as text and numbers. Pure.
//!
//! All numbers become text here. So the page shows the same text with and without JavaScript, and
//! the script computes nothing.

use std::time::Duration;

use serde::Serialize;

use super::chart::{Chart, ChartUnit, ChartValues, rate};
use super::history::{History, PerSecond};
use super::process::ProcessState;
use echoline::metrics::Snapshot;
use echoline::sources::PenalisedSource;
use echoline::{Closed, Limits, Phase};
use echoline_base::amount::figures::{self, bytes};

/// The contents of the admin page.
#[derive(Debug, Serialize)]
pub(super) struct AdminView {
    /// The server's phase in one word.
    pub(super) phase: &'static str,
    pub(super) headline: String,
    pub(super) shown: VisiblePart,
    pub(super) tiles: Vec<StatTile>,
    pub(super) charts: Vec<Chart>,
    pub(super) ends: Vec<[String; 3]>,
    pub(super) workers: Vec<[String; 6]>,
    pub(super) limits: Vec<[String; 2]>,
    /// `None` if the server cannot have planned faults.
    pub(super) faults: Option<Vec<[String; 2]>>,
    /// Source, action, remaining time and level of each penalty; `None` if penalties are not shown.
    pub(super) penalties: Option<Vec<[String; 4]>>,
    /// The time, level and text of log lines, the newest first.
    pub(super) log: Vec<[String; 3]>,
}

/// The part of the view that a request has the rights to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum VisiblePart {
    All,
    /// The page shows only numbers: no names, no addresses and no log.
    Figures,
    /// The page shows [`Self::Figures`] without the secret, and [`Self::All`] with it.
    FiguresUntilLogin,
}

/// A number in large type.
#[derive(Debug, Serialize)]
pub(super) struct StatTile {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) more: String,
}

/// The data from which the admin page is built.
#[derive(Debug)]
pub(super) struct ViewSources<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) history: &'a History,
    pub(super) process: &'a ProcessState,
    pub(super) up: Duration,
    pub(super) mode: &'a str,
    pub(super) shown: VisiblePart,
    pub(super) addresses: &'a [String],
    pub(super) faults: Option<Vec<(String, u64)>>,
    /// `None` if addresses are not shown.
    pub(super) penalties: Option<Vec<PenalisedSource>>,
    pub(super) log: Vec<[String; 3]>,
}

/// Returns the server's phase in one word, for the page and for `/readyz`.
pub(super) fn word(phase: Option<Phase>) -> &'static str {
    match phase {
        None => "starting",
        Some(Phase::Running) => "serving",
        Some(Phase::Retiring) => "retiring",
        Some(Phase::Draining) => "draining",
        Some(Phase::Aborting) => "aborting",
    }
}

impl AdminView {
    pub(super) fn new(sources: ViewSources<'_>) -> Self {
        let ViewSources { snapshot, history, .. } = sources;
        let counted = |(rule, count)| [rule, figures::count(count)];
        Self {
            phase: word(snapshot.phase),
            headline: headline(&sources),
            shown: sources.shown,
            tiles: tiles(&sources, &history.newest()),
            charts: charts(history),
            ends: ends(snapshot),
            workers: workers(snapshot),
            limits: limits(&snapshot.limits),
            faults: sources.faults.map(|faults| faults.into_iter().map(counted).collect()),
            penalties: sources.penalties.map(penalties),
            log: sources.log,
        }
    }
}

fn headline(sources: &ViewSources<'_>) -> String {
    let mut mode = sources.mode.to_owned();
    if !sources.addresses.is_empty() {
        mode.push_str(&format!(" on {}", sources.addresses.join(", ")));
    }
    let up = figures::long_time(Duration::from_secs(sources.up.as_secs()));
    format!("{mode} · up {up} · echoline {}", env!("CARGO_PKG_VERSION"))
}

fn tiles(sources: &ViewSources<'_>, newest: &PerSecond) -> Vec<StatTile> {
    let (snapshot, process) = (sources.snapshot, sources.process);
    let traffic = snapshot.traffic();
    let tile = |name, value, more| StatTile { name, value, more };
    let total = |number| format!("{} in total", figures::count(number));
    let room = snapshot.limits.max_connections as u64;
    let cores = snapshot.workers.len();
    vec![
        tile(
            "connections",
            figures::count(snapshot.open as u64),
            format!("limit {}", figures::count(room)),
        ),
        tile("new connections", rate(newest.accepted), total(snapshot.accepted)),
        tile("messages", rate(newest.messages), total(traffic.messages)),
        tile("service time p50", time(newest.p50), "over the last 10 s".to_owned()),
        tile("service time p99", time(newest.p99), "over the last 10 s".to_owned()),
        tile(
            "received",
            bytes(newest.received) + "/s",
            bytes(traffic.received as f64) + " in total",
        ),
        tile("sent", bytes(newest.sent) + "/s", bytes(traffic.sent as f64) + " in total"),
        tile("worker load", whole_percent(newest.busy), format!("limit {} %", 100 * cores)),
        tile(
            "memory",
            process.resident_bytes.map_or_else(none, |resident| bytes(resident as f64)),
            "resident".to_owned(),
        ),
        tile(
            "descriptors",
            process.descriptors.map_or_else(none, figures::count),
            format!("limit {}", process.descriptors_max.map_or_else(none, figures::count)),
        ),
    ]
}

fn charts(history: &History) -> Vec<Chart> {
    let micros = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e6);
    let chart =
        |title, unit, names: &[&'static str], values: &dyn Fn(&PerSecond) -> ChartValues| {
            Chart::new(title, unit, names, history.seconds().map(values).collect())
        };
    vec![
        chart("Connections", ChartUnit::Things, &["open"], &|s| [Some(s.open as f64), None]),
        chart("Messages", ChartUnit::Rate, &["per second"], &|s| [Some(s.messages), None]),
        chart("Bytes", ChartUnit::Bytes, &["received", "sent"], &|s| {
            [Some(s.received), Some(s.sent)]
        }),
        chart("Service time", ChartUnit::Micros, &["p50", "p99"], &|s| {
            [micros(s.p50), micros(s.p99)]
        }),
    ]
}

/// Returns the name, meaning and count of each reason for closed connections, most frequent first.
fn ends(snapshot: &Snapshot) -> Vec<[String; 3]> {
    let mut ends: Vec<_> = snapshot.ends.iter().collect();
    ends.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let row = |(closed, count): (&Closed, &u64)| {
        [closed.label().to_owned(), closed.to_string(), figures::count(*count)]
    };
    ends.into_iter().map(row).collect()
}

fn workers(snapshot: &Snapshot) -> Vec<[String; 6]> {
    let row = |(number, worker): (usize, &echoline::metrics::WorkerState)| {
        let traffic = &worker.traffic;
        [
            number.to_string(),
            figures::count(worker.connections as u64),
            figures::count(traffic.messages),
            bytes(traffic.received as f64),
            bytes(traffic.sent as f64),
            figures::long_time(worker.busy),
        ]
    };
    snapshot.workers.iter().enumerate().map(row).collect()
}

/// Returns the penalties as text, in the given order: the longest remaining time first.
fn penalties(penalties: Vec<PenalisedSource>) -> Vec<[String; 4]> {
    let row = |penalty: PenalisedSource| {
        let remaining = Duration::from_secs(penalty.remaining.as_secs().max(1));
        let (source, action) = (penalty.source.to_string(), penalty.action.to_string());
        [source, action, figures::long_time(remaining), penalty.level.to_string()]
    };
    penalties.into_iter().map(row).collect()
}

/// Returns the name of each limit's flag, and its value.
fn limits(limits: &Limits) -> Vec<[String; 2]> {
    let length = |time: Option<Duration>| time.map_or_else(|| "off".to_owned(), figures::long_time);
    let number = |number: Option<usize>| {
        number.map_or_else(|| "off".to_owned(), |n| figures::count(n as u64))
    };
    [
        ("--max-connections", number(Some(limits.max_connections))),
        ("--max-per-ip", number(limits.max_per_ip)),
        ("--max-line", bytes(limits.max_line as f64)),
        ("--idle-timeout", length(limits.idle_timeout)),
        ("--line-timeout", length(limits.line_timeout)),
        ("--stall-timeout", length(limits.stall_timeout)),
        ("--drain-timeout", length(Some(limits.drain_timeout))),
    ]
    .map(|(name, value)| [name.to_owned(), value])
    .into()
}

fn none() -> String {
    "–".to_owned()
}

fn time(time: Option<Duration>) -> String {
    time.map_or_else(none, figures::time)
}

fn whole_percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
