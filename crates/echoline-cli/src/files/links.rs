//! Resolves the symbolic links of a path before a file is written. A link is followed only if root
//! or the user of this process made it. In a folder that other users can write, a link of such a
//! user could lead to any file of this user.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use echoline_base::file_access::if_there;

/// The maximum number of links to follow, as in Linux (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// A path that does not lead through a symbolic link of another user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedPath {
    pub(crate) path: PathBuf,
    /// Whether the path is a link to an open file of this process, for example /dev/fd/63.
    is_descriptor: bool,
}

impl ResolvedPath {
    /// Follows the symbolic links at the end of `path`. The file need not exist.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] if a link belongs neither to root nor to the user of this
    /// process, or an error of the system.
    pub(crate) fn from(path: &Path) -> io::Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..LINKS_MAX {
            let found = if_there(fs::symlink_metadata(&path))?;
            let Some(link) = found.filter(fs::Metadata::is_symlink) else {
                return Ok(Self { path, is_descriptor: false });
            };
            if ![0, Uid::effective().as_raw()].contains(&link.uid()) {
                let text = format!(
                    "{} is a symbolic link of user {}: name its target instead",
                    path.display(),
                    link.uid()
                );
                return Err(io::Error::new(ErrorKind::PermissionDenied, text));
            }
            let target = path.parent().unwrap_or(Path::new("/")).join(fs::read_link(&path)?);
            let is_named = if_there(fs::symlink_metadata(&target))?.is_some();
            if !is_named && if_there(fs::metadata(&path))?.is_some() {
                return Ok(Self { path, is_descriptor: true });
            }
            path = target;
        }
        Err(io::Error::from_raw_os_error(libc::ELOOP))
    }

    /// Opens the file. Returns an error if another user has put a link there meanwhile. `flags` are
    /// further flags of open(2).
    pub(crate) fn open(&self, options: &mut OpenOptions, flags: i32) -> io::Result<File> {
        let no_link = if self.is_descriptor { 0 } else { libc::O_NOFOLLOW };
        options.custom_flags(flags | no_link).open(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    fn open(path: &Path) -> io::Result<File> {
        ResolvedPath::from(path)?.open(File::options().write(true), 0)
    }

    #[test]
    fn a_link_of_this_user_is_followed_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let [file, first, second] =
            ["file", "first", "second"].map(|name| folder.path().join(name));
        symlink("second", &first).unwrap();
        symlink(&file, &second).unwrap();
        assert_eq!(ResolvedPath::from(&first).unwrap().path, file, "the file may be missing");
        fs::write(&file, "").unwrap();
        open(&first).unwrap();
        symlink("loop", folder.path().join("loop")).unwrap();
        assert!(ResolvedPath::from(&folder.path().join("loop")).is_err());
    }

    #[test]
    fn a_link_of_the_system_to_an_open_file_is_followed() {
        let pipe = io::pipe().unwrap();
        let path = PathBuf::from(format!("/dev/fd/{}", pipe.1.as_raw_fd()));
        open(&path).unwrap();
    }

    /// Issue 12, item 1: a link of another user is not followed, whatever its target. Neither is a
    /// link that replaces a file after the check.
    #[test]
    fn attack_a_link_of_another_user_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
        fs::write(&file, "precious").unwrap();
        let followed = ResolvedPath::from(&link).unwrap();
        symlink(&file, &link).unwrap();
        assert!(followed.open(File::options().write(true), 0).is_err(), "the link is new");
        if !Uid::effective().is_root() {
            eprintln!("SKIPPED, not passed: the rest of this test needs root");
            return;
        }
        lchown(&link, Some(54_321), Some(54_321)).unwrap();
        let error = open(&link).unwrap_err().to_string();
        assert!(error.contains("symbolic link of user 54321"), "{error}");
    }
}
