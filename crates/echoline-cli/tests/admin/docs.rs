//! The metrics in `docs/admin.md`.

use std::fs;
use std::path::Path;

use crate::{get, start};

fn page() -> String {
    fs::read_to_string(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("docs/admin.md"),
    )
    .unwrap()
}

/// Metrics that are there only where what they tell of is.
const OPTIONAL: [&str; 5] = [
    "echoline_datagrams_total",
    "echoline_datagram_bytes_total",
    "echoline_datagrams_dropped_total",
    // All of a chat on several machines: tests/cluster_program.rs looks at those.
    "echoline_cluster_",
    "echoline_bus_",
];

/// Every metric is explained, and nothing is that is not there.
#[test]
fn the_table_of_metrics_is_whole() {
    let (page, server) = (page(), start(&[]));
    let text = get(server.admin(), "/metrics").body;
    let mut names: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let first = rows.map(|line| line.split('|').nth(1).unwrap());
    let mut told: Vec<&str> = first
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(|name| name.split('{').next().unwrap())
        .collect();
    let is_optional = |name: &&str| OPTIONAL.iter().any(|optional| name.starts_with(optional));
    told.retain(|name| names.contains(name) || !is_optional(name));
    names.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, names);
}
