//! Reports that earlier runs wrote with `--json`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use echoline_base::printable::printable;
use echoline_load::Report;

/// Bytes of one file, at most: a report has a few hundred kilobytes.
const SIZE_MAX: u64 = 64 << 20;

/// Files at once, at most.
const FILES_MAX: usize = 200;

/// A report and the file that it is from.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) name: String,
    pub(super) report: Report,
    text: String,
}

/// Reads reports; `-` is stdin.
///
/// # Errors
/// One sentence that names the file and what is wrong with it, also where a file is given twice.
pub(super) fn load(paths: &[PathBuf]) -> anyhow::Result<Vec<Loaded>> {
    ensure!(paths.len() <= FILES_MAX, "more than {FILES_MAX} files at once are too many");
    let mut loaded: Vec<Loaded> = Vec::new();
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

fn load_one(path: &Path) -> anyhow::Result<Loaded> {
    let name = if path == Path::new("-") {
        "stdin".to_owned()
    } else {
        printable(&path.display().to_string()).into_owned()
    };
    let bytes = read(path).with_context(|| format!("cannot read {name}"))?;
    ensure!(
        bytes.len() as u64 <= SIZE_MAX,
        "{name} is no report of echoline load: it is larger than {} MiB",
        SIZE_MAX >> 20
    );
    let text = String::from_utf8(bytes)
        .with_context(|| format!("{name} is no report of echoline load"))?;
    let report = Report::from_json(&text)
        .map_err(|error| anyhow::anyhow!("{name}: {}", printable(&error.to_string())))?;
    Ok(Loaded { name, report, text })
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
