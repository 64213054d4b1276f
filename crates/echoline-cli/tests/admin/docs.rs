//! Tests of the metrics in `docs/admin.md`.

use std::fs;
use std::path::Path;

use crate::{get, start};

fn page() -> String {
    fs::read_to_string(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("docs/admin.md"),
    )
    .unwrap()
}

/// Metrics that exist only if the feature that they measure is used.
const OPTIONAL: [&str; 5] = [
    "echoline_datagrams_total",
    "echoline_datagram_bytes_total",
    "echoline_datagrams_dropped_total",
    // All metrics of a cluster, which tests/cluster_program.rs checks.
    "echoline_cluster_",
    "echoline_bus_",
];

/// Every metric is documented, and every documented metric exists.
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
