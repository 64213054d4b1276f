//! The destination of output: a file that is written completely or not at all, a device, or stdout.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::files::links::ResolvedPath;
use crate::files::output;
use echoline_base::file_access::if_there;

/// The mode of new files, before the umask applies. Without it, temporary files would be private.
const MODE: u32 = 0o666;

/// A destination of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// `-` or `/dev/stdout`.
    Stdout,
    /// The file at this path.
    File(PathBuf),
}

impl From<PathBuf> for Destination {
    fn from(path: PathBuf) -> Self {
        if path == Path::new("-") || path == Path::new("/dev/stdout") {
            Self::Stdout
        } else {
            Self::File(path)
        }
    }
}

impl Destination {
    /// Writes all of `text`. It is no error if a reader closes the pipe early.
    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        match self {
            Self::Stdout => output::print_file(text),
            Self::File(path) => match write_file(path, text.as_bytes()) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                other => other,
            },
        }
    }

    /// Checks whether a later write is likely to succeed. The error says why it would fail.
    pub(crate) fn probe(&self) -> io::Result<()> {
        match self {
            Self::File(path) => {
                let path = ResolvedPath::from(path)?.path;
                if is_special(&path)? { Ok(()) } else { beside(&path).map(drop) }
            }
            Self::Stdout => Ok(()),
        }
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Writes the whole file or nothing.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Without this, the rename would replace a symbolic link instead of its target.
    let followed = ResolvedPath::from(path)?;
    let path = &followed.path;
    if is_special(path)? {
        return followed.open(OpenOptions::new().write(true), 0)?.write_all(bytes);
    }
    let mut file = beside(path)?;
    file.write_all(bytes)?;
    // The new file gets the permissions of the old one.
    if let Some(old) = if_there(fs::symlink_metadata(path))?.filter(fs::Metadata::is_file) {
        file.as_file().set_permissions(old.permissions())?;
    }
    // Closes the file before it becomes visible under its final name.
    file.into_temp_path().persist(path).map_err(|error| error.error)
}

/// Returns whether `path` is a device, a pipe or a folder, which no file can replace.
fn is_special(path: &Path) -> io::Result<bool> {
    Ok(if_there(fs::metadata(path))?.is_some_and(|found| !found.is_file()))
}

/// Creates a temporary file in the same folder, so that it can be renamed. Dropping it removes it.
fn beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // If the folder is missing, this call fails first. Its error does not name the temporary file.
    fs::metadata(folder)?;
    tempfile::Builder::new()
        .prefix(".echoline-")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_replaced_file_is_complete_and_keeps_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("report"), folder.path().join("link"));
        Destination::from(path.clone()).write("old").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o600, 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        Destination::from(link.clone()).write("new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(link).unwrap().is_symlink());
        assert_eq!(names(folder.path()).len(), 2);
    }

    /// Issue 11, item A: a destination that cannot be examined is not replaced. A symbolic link
    /// that leads to itself cannot be followed (ELOOP), even by root.
    #[test]
    fn regression_an_unreadable_destination_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&link, &link).unwrap();
        let destination = Destination::from(link.clone());
        assert!(destination.probe().is_err() && destination.write("new").is_err());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(folder.path()), ["link"]);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        for wrong in [folder.path().join("none/report"), folder.path().to_owned()] {
            assert!(Destination::from(wrong).write("text").is_err());
        }
        assert!(Destination::from(folder.path().join("none/report")).probe().is_err());
        assert!(Destination::from(folder.path().join("report")).probe().is_ok());
        assert_eq!(names(folder.path()), Vec::<String>::new());
        let full = Destination::from(PathBuf::from("/dev/full"));
        assert_eq!(full.write("text").unwrap_err().kind(), ErrorKind::StorageFull);
    }

    /// Issue 12, item 1: root writes no file through a link of another user.
    #[test]
    fn attack_a_link_in_place_of_a_report_overwrites_nothing() {
        if !nix::unistd::Uid::effective().is_root() {
            eprintln!("SKIPPED, not passed: this test needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (precious, link) = (folder.path().join("precious"), folder.path().join("link"));
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(54_321), Some(54_321)).unwrap();
        let destination = Destination::from(link);
        assert!(destination.probe().is_err());
        let error = destination.write("report").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }

    #[test]
    fn stdout_has_two_names() {
        for name in ["-", "/dev/stdout"] {
            assert_eq!(Destination::from(PathBuf::from(name)), Destination::Stdout);
        }
    }
}
