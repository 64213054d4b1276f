//! Checks whether another user of this machine can replace or read a file, by owners and modes.

mod secret;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Group, Uid, User};

pub use secret::exposed_secret;

/// Turns the "not found" error of a file that may be missing into `None`.
///
/// # Errors
/// Any other error. Such a file may exist, so the caller must not replace it.
pub fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The user id of root.
const ROOT: u32 = 0;

/// The user id that Linux shows for all users without an id in this user namespace.
const UNMAPPED: u32 = 65_534;

/// The restricted deletion bit: only the owner of a file may rename or remove it.
const STICKY: u32 = 0o1000;

/// The write bits of the group and of all others.
const WRITE_BY_OTHERS: u32 = 0o022;

/// Whether a folder that others may write is safe to use if it has the sticky bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// The folder is safe, because the file already exists and only its owner can replace it.
    Safe,
    /// The folder is not safe, because another user could create a file under a name that this
    /// process uses later.
    Exposed,
}

/// A folder in which another user can replace files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposedFolder {
    path: PathBuf,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The folder belongs to the user with this id.
    Owner(u32),
    /// The mode of the folder lets other users write.
    Mode(u32),
}

impl fmt::Display for ExposedFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.cause {
            Cause::Owner(user) => {
                write!(f, "{path} belongs to user {user}, who can replace the files in it")
            }
            Cause::Mode(mode) => {
                write!(f, "other users can replace the files in {path} (mode {mode:04o})")
            }
        }
    }
}

/// Owner and mode of a file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    user: u32,
    group: u32,
    mode: u32,
}

impl Facts {
    fn of(file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        Ok(Self { user: found.uid(), group: found.gid(), mode: found.mode() & 0o7777 })
    }
}

/// Users and groups that are trusted with a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trusted {
    users: Vec<u32>,
    /// A group that has no other members.
    group: Option<u32>,
}

impl Trusted {
    /// Trusts root, `user` and the private group of `user`.
    fn with(user: u32) -> Self {
        let mut users = vec![ROOT, user];
        users.extend(is_namespace().then_some(UNMAPPED));
        Self { users, group: private_group(user) }
    }

    /// Returns the reason why another user can replace files in such a folder.
    fn cause(&self, folder: Facts, sticky: Sticky) -> Option<Cause> {
        if !self.users.contains(&folder.user) {
            return Some(Cause::Owner(folder.user));
        }
        let others = if self.group == Some(folder.group) { 0o002 } else { WRITE_BY_OTHERS };
        let is_safe =
            folder.mode & others == 0 || (folder.mode & STICKY != 0 && sticky == Sticky::Safe);
        (!is_safe).then_some(Cause::Mode(folder.mode))
    }
}

/// Looks for a folder, from `folder` up to the root, in which a user other than root and `user` can
/// replace files. The search opens `..` of each open folder, so symbolic links cannot mislead it.
///
/// # Errors
/// An error of the system while a folder is opened or examined.
pub fn exposed_folder(
    folder: &File,
    user: u32,
    sticky: Sticky,
) -> io::Result<Option<ExposedFolder>> {
    let trusted = Trusted::with(user);
    let here = open_folder(folder, ".")?;
    match trusted.cause(Facts::of(&here)?, sticky) {
        Some(cause) => Ok(Some(ExposedFolder { path: path_of(&here), cause })),
        None => exposed_above(here, &trusted),
    }
}

/// Works like [`exposed_folder`], for a folder in which this process keeps files. If the process
/// runs as root, the folder may belong to another user, as long as only that user can write to it.
pub fn exposed_data_folder(folder: &File) -> io::Result<Option<ExposedFolder>> {
    let trusted = Trusted::with(Uid::effective().as_raw());
    let here = open_folder(folder, ".")?;
    let facts = Facts::of(&here)?;
    let is_root = Uid::effective().is_root();
    let mine = if is_root { Trusted::with(facts.user) } else { trusted.clone() };
    match mine.cause(facts, Sticky::Exposed) {
        Some(cause) => Ok(Some(ExposedFolder { path: path_of(&here), cause })),
        None => exposed_above(here, &trusted),
    }
}

/// Examines the folders above `here`. The folder below each of them already exists and belongs to a
/// trusted user.
fn exposed_above(mut here: File, trusted: &Trusted) -> io::Result<Option<ExposedFolder>> {
    loop {
        let above = open_folder(&here, "..")?;
        if identity(&above)? == identity(&here)? {
            return Ok(None);
        }
        if let Some(cause) = trusted.cause(Facts::of(&above)?, Sticky::Safe) {
            return Ok(Some(ExposedFolder { path: path_of(&above), cause }));
        }
        here = above;
    }
}

fn open_folder(from: &File, name: &str) -> io::Result<File> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(openat(from, name, flags, Mode::empty())?.into())
}

/// Returns the device and the inode of an open file.
pub fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|found| (found.dev(), found.ino()))
}

fn path_of(file: &File) -> PathBuf {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    std::fs::read_link(link).unwrap_or_else(|_| Path::new("its folder").to_owned())
}

/// Returns whether this process is in a user namespace that does not map every user of the machine.
fn is_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// Returns whether `user` is the id that Linux shows for all users without an id in this user
/// namespace.
pub fn is_unmapped(user: u32) -> bool {
    user == UNMAPPED && is_namespace()
}

/// Returns the private group of `user`: the group of the same name, if it has no other member. Many
/// systems create one for each user, with a umask that lets the group write.
fn private_group(user: u32) -> Option<u32> {
    if user == ROOT {
        return None;
    }
    let user = User::from_uid(Uid::from_raw(user)).ok()??;
    let group = Group::from_gid(user.gid).ok()??;
    let is_private = group.name == user.name && group.mem.iter().all(|name| *name == user.name);
    is_private.then_some(group.gid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(user: u32, group: u32, mode: u32) -> Facts {
        Facts { user, group, mode }
    }

    #[test]
    fn a_folder_is_exposed_by_its_owner_or_its_mode() {
        let trusted = Trusted { users: vec![ROOT, 1000], group: Some(1000) };
        let cause = |facts| trusted.cause(facts, Sticky::Safe);
        assert_eq!(cause(folder(0, 0, 0o755)), None);
        assert_eq!(cause(folder(1000, 1000, 0o700)), None);
        assert_eq!(cause(folder(1000, 1000, 0o775)), None, "the private group of the user");
        assert_eq!(cause(folder(1001, 1000, 0o755)), Some(Cause::Owner(1001)));
        assert_eq!(cause(folder(1000, 100, 0o775)), Some(Cause::Mode(0o775)));
        assert_eq!(cause(folder(0, 0, 0o777)), Some(Cause::Mode(0o777)));
        assert_eq!(cause(folder(0, 0, 0o1777)), None);
        {
            let strict = trusted.cause(folder(0, 0, 0o1777), Sticky::Exposed);
            assert_eq!(strict, Some(Cause::Mode(0o1777)));
        }
    }

    #[test]
    fn an_exposed_folder_above_is_found_and_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let user = Uid::effective().as_raw();
        let parent = tempfile::tempdir().unwrap();
        let below = parent.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let find = || exposed_folder(&File::open(&below).unwrap(), user, Sticky::Safe).unwrap();
        assert_eq!(find(), None);
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(parent.path().join("a"), open).unwrap();
        let found = find().unwrap().to_string();
        let path = parent.path().join("a").canonicalize().unwrap();
        let wanted = format!("other users can replace the files in {} (mode 0777)", path.display());
        assert_eq!(found, wanted);
    }
}
