//! The file of --ready-file.

use std::path::Path;

use anyhow::Context as _;

use crate::files::destination::Destination;
use echoline::Address;
use echoline_base::file_access::if_there;

/// Removes the ready file if it exists.
pub(crate) fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = if_there(std::fs::remove_file(path)).map(drop);
    removed.with_context(|| format!("cannot remove --ready-file {}", path.display()))
}

/// Writes the ready file atomically, because a program that waits for it must never see an
/// incomplete file.
pub(crate) fn write_ready(
    path: &Path,
    addresses: &[Address],
    admin_at: &[Address],
) -> anyhow::Result<()> {
    let served = addresses.iter().map(|address| format!("{address}\n"));
    let admin = admin_at.iter().map(|address| format!("admin {address}\n"));
    let lines: String = served.chain(admin).collect();
    Destination::File(path.to_owned())
        .write(&lines)
        .with_context(|| format!("cannot write --ready-file {}", path.display()))
}
