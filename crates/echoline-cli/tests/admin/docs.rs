//! Runs the commands of `docs/admin.md` as they are printed.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::access::SECRET;
use crate::support::has;
use crate::{get, start};

fn page() -> String {
    fs::read_to_string(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("docs/admin.md"),
    )
    .unwrap()
}

/// Returns the lines of all `sh` blocks.
fn lines(page: &str) -> Vec<&str> {
    let blocks = page.split("```sh\n").skip(1);
    blocks.flat_map(|block| block.split("```").next().unwrap().lines()).collect()
}

#[test]
fn every_line_of_the_page_does_what_it_says() {
    if !has("curl") {
        return;
    }
    let page = page();
    let server = start(&[]);
    let at = server.admin().to_string();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("admin.secret"), SECRET).unwrap();
    for line in lines(&page).into_iter().filter(|line| line.starts_with("curl")) {
        let line = line.replace("127.0.0.1:9090", &at);
        let output =
            Command::new("bash").args(["-c", &line]).current_dir(&folder).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let expected = match &line {
            line if line.contains("/faults") && !line.contains("-u") => "this needs the secret",
            line if line.contains("/faults") => "# seed ",
            line if line.contains("evil.example") => "accepts only the names",
            line if line.contains("/metrics") => "echoline_closed_total{reason=\"busy\"} 0\n",
            line if line.contains("/healthz") => "ok\n",
            line if line.contains("/readyz") => "serving\n",
            line if line.contains("/snapshot.json") => "{\"phase\":\"serving\",",
            line if line.contains("-sI") => "content-type: text/html; charset=utf-8\r\n",
            other => panic!("nothing is known of {other}"),
        };
        assert!(output.status.success() && said.contains(expected), "{line}: {said}");
    }
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
