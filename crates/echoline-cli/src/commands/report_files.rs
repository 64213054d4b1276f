//! Reads the reports that earlier runs wrote with `--json`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use echoline_base::printable::printable;
use echoline_load::LoadReport;

/// The maximum size of a file in bytes. A usual report has a few hundred kilobytes.
const SIZE_MAX: u64 = 64 << 20;

/// The maximum number of files.
const FILES_MAX: usize = 200;

/// A report with the name of its file.
#[derive(Debug)]
pub(crate) struct LoadedReport {
    pub(crate) name: String,
    pub(crate) report: LoadReport,
    text: String,
}

/// Reads reports; `-` is stdin.
///
/// # Errors
/// An error with the name of the file and the problem; also if a file is given twice.
pub(crate) fn load(paths: &[PathBuf]) -> anyhow::Result<Vec<LoadedReport>> {
    ensure!(paths.len() <= FILES_MAX, "too many files: the limit is {FILES_MAX}");
    let mut loaded: Vec<LoadedReport> = Vec::new();
    for path in paths {
        let next = load_one(path)?;
        if let Some(twin) = loaded.iter().find(|known| known.text == next.text) {
            bail!(
                "{} and {} are the same run: give each run once, or its messages count twice",
                twin.name,
                next.name
            );
        }
        loaded.push(next);
    }
    Ok(loaded)
}

fn load_one(path: &Path) -> anyhow::Result<LoadedReport> {
    let name = if path == Path::new("-") {
        "stdin".to_owned()
    } else {
        printable(&path.display().to_string()).into_owned()
    };
    let bytes = read(path).with_context(|| format!("cannot read {name}"))?;
    ensure!(
        bytes.len() as u64 <= SIZE_MAX,
        "{name} is not a report of echoline load: it is larger than {} MiB",
        SIZE_MAX >> 20
    );
    let text = String::from_utf8(bytes)
        .with_context(|| format!("{name} is not a report of echoline load"))?;
    let report = LoadReport::from_json(&text)
        .map_err(|error| anyhow::anyhow!("{name}: {}", printable(&error.to_string())))?;
    Ok(LoadedReport { name, report, text })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(SIZE_MAX + 1).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(SIZE_MAX + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
