//! Creates and removes the file of a Unix socket. Only one server at a time creates a file in a
//! directory.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, fchownat};
use socket2::{Domain, SockAddr, Socket, Type};

use super::address::Address;
use super::file_user::FileUser;
use super::socket_folder::{FolderLock, SocketFolder};
use echoline_base::file_access::identity;

/// The maximum wait of a starting server for another one that starts in the same directory. A start
/// takes about a millisecond.
const BIND_PATIENCE: Duration = Duration::from_secs(1);

/// The maximum wait of a stopping server for the lock of the directory. After this time, the server
/// leaves its file behind.
const REMOVE_PATIENCE: Duration = Duration::from_millis(20);

/// The permissions, the owner and the group of the file of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileRights {
    /// The permission bits, at most 0o777. A client needs write permission to connect.
    pub(crate) mode: u32,
    /// The group of the file; `None` keeps the default group.
    pub(crate) group: Option<u32>,
    /// The owner, if the process runs as root; `None` keeps the user of the process.
    pub(crate) user: Option<FileUser>,
}

/// The name to which a Unix socket was bound. Its file is removed when this value is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    /// The path as the user typed it. A name that begins with `@` is abstract and has no file.
    path: String,
    /// The file to remove, if there is one.
    ours: Option<OurFile>,
}

/// A file that this process created or took over, and that it removes.
#[derive(Debug)]
struct OurFile {
    folder: SocketFolder,
    /// The device and the inode of the file.
    identity: (u64, u64),
}

impl SocketFile {
    /// Returns a path whose file this process does not own.
    pub(crate) fn foreign(path: &str) -> Self {
        Self { path: path.to_owned(), ours: None }
    }

    /// Returns the file that a predecessor created at `path`. If this process runs as root, it sets
    /// the owner in `rights`, unless the predecessor has already set it.
    ///
    /// # Errors
    /// If another user can replace the file whose owner is set.
    pub(crate) fn take_over(path: &str, rights: &FileRights) -> io::Result<Self> {
        let found = SocketFolder::open(Path::new(path)).and_then(|folder| {
            let file = folder.file()?;
            Ok((folder, file))
        });
        // The socket works even if another program has removed its file.
        let Ok((folder, file)) = found else { return Ok(Self::foreign(path)) };
        let found = file.metadata()?;
        let is_new_owner = rights.new_owner().is_some_and(|user| user.user != found.uid());
        if is_new_owner && found.file_type().is_socket() {
            folder.refuse_exposed()?;
            rights.give(&file)?;
        }
        Ok(Self { path: path.to_owned(), ours: Some(OurFile::new(folder, &file)?) })
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.ours.is_some()
    }

    /// Leaves the file to another process.
    pub(crate) fn leave(&mut self) {
        self.ours = None;
    }

    pub(crate) fn address(&self) -> Address {
        let text = format!("unix:{}", self.path);
        text.parse().expect("the path was that of an address")
    }
}

impl OurFile {
    fn new(folder: SocketFolder, file: &File) -> io::Result<Self> {
        Ok(Self { folder, identity: identity(file)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Some(OurFile { folder, identity: ours }) = &self.ours else { return };
        // Without the lock another server could create its file between the comparison and the
        // removal. If the file stays, the next server finds that it is stale.
        let Ok(_lock) = folder.lock(REMOVE_PATIENCE) else { return };
        if folder.file().and_then(|file| identity(&file)).is_ok_and(|there| there == *ours) {
            let _ = folder.remove();
        }
    }
}

/// Binds a socket to a file and makes it listen. This happens under the lock of the directory, so
/// that two servers that start at the same time on one path cannot mistake each other's new socket
/// for a stale one. A stale file, whose server was killed, is replaced. A socket with a running
/// server, and any other file, is left unchanged.
///
/// A root process creates the file with the rights of the later owner. In a directory that this
/// user may not write, root creates the file itself and changes its owner. It does so only if no
/// other user can replace files there, because such a user could substitute another file or a link.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] if the path is served, or an error of the system.
pub(crate) fn bind(
    path: &str,
    rights: &FileRights,
    backlog: i32,
) -> io::Result<(Socket, SocketFile)> {
    let as_self = || {
        let owners =
            if FileUser::present() == 0 { FolderOwners::OnlyRoot } else { FolderOwners::Folder };
        NewSocket::make(path, rights, owners)
    };
    let made = match rights.new_owner() {
        Some(user) => match user.act(|| NewSocket::make(path, rights, FolderOwners::Folder)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => as_self(),
            made => made,
        },
        None => as_self(),
    };
    made?.listen(path, rights, backlog)
}

/// The users who may be able to replace files in the folder of a new socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FolderOwners {
    /// Only root is trusted. Another user could make this process change the owner or the mode of
    /// any file.
    OnlyRoot,
    /// Every user is trusted, because the process has no rights that another user could misuse.
    Folder,
}

/// A socket that is bound to its new file.
struct NewSocket {
    socket: Socket,
    folder: SocketFolder,
    lock: FolderLock,
    /// The file itself, even if its path leads to another file later.
    file: File,
}

impl NewSocket {
    fn make(path: &str, rights: &FileRights, owners: FolderOwners) -> io::Result<Self> {
        let address = SockAddr::unix(path)?;
        let folder = SocketFolder::open(Path::new(path))?;
        if owners == FolderOwners::OnlyRoot {
            folder.refuse_exposed()?;
        }
        let lock = folder.lock(BIND_PATIENCE)?;
        folder.remove_stale()?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Linux creates the file with the mode of the socket, reduced by the umask. So the umask,
        // which all threads share, need not be changed. The owner and the group are set before the
        // final mode.
        let is_given = rights.group.is_some() || rights.new_owner().is_some();
        let first = if is_given { rights.mode & 0o700 } else { rights.mode };
        fchmod(&socket, Mode::from_bits_truncate(first))?;
        socket.bind(&address)?;
        let file = folder.file()?;
        let found = file.metadata()?;
        let is_of_another = Uid::effective().is_root() && found.uid() != FileUser::present();
        if !found.file_type().is_socket() || is_of_another {
            let text = "another program replaced the new socket file";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Ok(Self { socket, folder, lock, file })
    }

    /// Sets the rights of the file, and makes the socket listen.
    fn listen(
        self,
        path: &str,
        rights: &FileRights,
        backlog: i32,
    ) -> io::Result<(Socket, SocketFile)> {
        let Self { socket, folder, lock, file } = self;
        let ours = Some(OurFile::new(folder, &file)?);
        let socket_file = SocketFile { path: path.to_owned(), ours };
        let made = rights.give(&file).and_then(|()| socket.listen(backlog));
        // If listening failed, dropping `socket_file` removes the new file. It takes the lock
        // itself, so the lock is released first.
        drop(lock);
        made.map(|()| (socket, socket_file))
    }
}

impl FileRights {
    /// Returns the new owner of the file, if the process can set one.
    fn new_owner(&self) -> Option<&FileUser> {
        self.user.as_ref().filter(|_| Uid::effective().is_root())
    }

    /// Sets the owner and the group of the file, and the mode bits that the umask removed. It uses
    /// the open `file` and not its path, which could be redirected to another file.
    fn give(&self, file: &File) -> io::Result<()> {
        let user = self.new_owner().map(|user| user.user);
        let group = self.group.or(self.new_owner().map(|user| user.group));
        let found = file.metadata()?;
        if user.is_some_and(|user| user != found.uid())
            || group.is_some_and(|group| group != found.gid())
        {
            let (user, gid) = (user.map(Uid::from_raw), group.map(Gid::from_raw));
            fchownat(file, "", user, gid, AtFlags::AT_EMPTY_PATH).map_err(|error| {
                let group = group.unwrap_or(found.gid());
                let text = format!(
                    "cannot give the socket file to group {group}: {}; only root can use a group \
                     that the user of this process is not in",
                    io::Error::from(error)
                );
                io::Error::new(io::Error::from(error).kind(), text)
            })?;
        }
        if found.mode() & 0o7777 != self.mode {
            let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
            fs::set_permissions(itself, fs::Permissions::from_mode(self.mode))?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    pub(crate) const OWNER: FileRights = rights(0o600);

    pub(crate) const fn rights(mode: u32) -> FileRights {
        FileRights { mode, group: None, user: None }
    }

    /// Returns a folder, and the path of a socket in it.
    pub(crate) fn folder() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock").to_str().unwrap().to_owned();
        (folder, path)
    }

    /// Issue 11, item 5: if many servers start at once on one path with a stale file, exactly one
    /// serves. Clients reach it, and the others fail with one sentence.
    #[test]
    fn regression_of_servers_that_start_at_once_exactly_one_serves() {
        const SERVERS: usize = 8;
        for _ in 0..50 {
            let (_folder, path) = folder();
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            let start = Barrier::new(SERVERS);
            let bound = thread::scope(|scope| {
                let one = || {
                    start.wait();
                    bind(&path, &OWNER, 8)
                };
                let all = [(); SERVERS].map(|()| scope.spawn(one));
                all.map(|thread| thread.join().unwrap())
            });
            let (served, refused): (Vec<_>, Vec<_>) = bound.into_iter().partition(Result::is_ok);
            assert_eq!((served.len(), refused.len()), (1, SERVERS - 1));
            for error in refused.into_iter().filter_map(Result::err) {
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
            }
            let file = fs::symlink_metadata(&path).unwrap();
            let ours = served[0].as_ref().unwrap().1.ours.as_ref().unwrap();
            assert_eq!(ours.identity, (file.dev(), file.ino()));
        }
    }

    /// Issue 11, item 5: the umask does not affect the mode of the socket file. The umask itself
    /// does not change, so files of other threads are not affected.
    #[test]
    fn regression_the_umask_of_the_process_stays_as_it_is() {
        let umask = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            status.lines().find(|line| line.starts_with("Umask:")).unwrap().to_owned()
        };
        let before = umask();
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let watching = thread::spawn(move || {
            let mut seen = std::collections::BTreeSet::new();
            while is_done.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                seen.insert(umask());
            }
            seen
        });
        for mode in [0o600, 0o660, 0o666, 0o777].repeat(200) {
            let (_folder, path) = folder();
            let bound = bind(&path, &rights(mode), 8).unwrap();
            let made = fs::symlink_metadata(&path).unwrap();
            assert_eq!(made.mode() & 0o7777, mode);
            drop(bound);
            assert!(!fs::exists(&path).unwrap());
        }
        drop(done);
        assert_eq!(watching.join().unwrap().into_iter().collect::<Vec<_>>(), [before]);
    }

    /// Issue 11, item 5: a symbolic link is not followed, and the mode of its target does not
    /// change.
    #[test]
    fn regression_a_symbolic_link_is_not_followed() {
        let (folder, path) = folder();
        let target = folder.path().join("target");
        fs::write(&target, "precious").unwrap();
        let before = fs::metadata(&target).unwrap().mode();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let error = bind(&path, &rights(0o666), 8).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
        assert_eq!(fs::metadata(&target).unwrap().mode(), before);
    }

    /// Issue 11, item 5: a server with a full queue counts as running, and the check does not wait
    /// for it.
    #[test]
    fn regression_a_server_with_a_full_queue_is_not_replaced() {
        let (_folder, path) = folder();
        let served = bind(&path, &OWNER, 0).unwrap();
        let _queued = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let error = bind(&path, &OWNER, 8).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(served);
    }

    /// Issue 11, item 5: the file gets its group, and the error names a group that is not
    /// permitted.
    #[test]
    fn regression_the_group_of_the_file_is_the_one_asked_for() {
        let (folder, path) = folder();
        // Every user may give a file to the user's own group.
        let group = fs::metadata(folder.path()).unwrap().gid();
        let rights = FileRights { mode: 0o660, group: Some(group), user: None };
        let bound = bind(&path, &rights, 8).unwrap();
        let made = fs::symlink_metadata(&path).unwrap();
        assert_eq!((made.gid(), made.mode() & 0o7777), (group, 0o660));
        drop(bound);
        let other = FileRights { group: Some(54_321), ..rights };
        let error =
            thread::scope(|scope| scope.spawn(|| bind_without_rights(&path, &other)).join());
        let error = error.unwrap().unwrap_err();
        assert!(error.to_string().contains("group 54321"), "{error}");
        assert!(!fs::exists(&path).unwrap(), "a file is left behind");
    }

    /// Binds as a user who cannot set an arbitrary group. This thread keeps the user afterwards.
    fn bind_without_rights(path: &str, rights: &FileRights) -> io::Result<()> {
        let folder = Path::new(path).parent().unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777))?;
        // On Linux each thread has its own user for file access. A user other than root has no
        // `CAP_CHOWN`.
        nix::unistd::setfsuid(54_321.into());
        bind(path, rights, 8).map(drop)
    }

    /// A user that owns no file on this host.
    const USER: u32 = 54_321;

    fn for_user(mode: u32) -> FileRights {
        let user = FileUser { user: USER, group: USER, groups: vec![USER] };
        FileRights { user: Some(user), ..rights(mode) }
    }

    fn is_root() -> bool {
        let is_root = Uid::effective().is_root();
        if !is_root {
            eprintln!("SKIPPED, not passed: this test needs root");
        }
        is_root
    }

    fn owner(path: impl AsRef<Path>) -> (u32, u32, u32) {
        let found = fs::symlink_metadata(path).unwrap();
        (found.uid(), found.gid(), found.mode() & 0o7777)
    }

    /// Issue 12, item 1: root creates the file for another user with only that user's rights, so
    /// that a symbolic link of that user cannot lead to a directory that the user may not write.
    #[test]
    fn attack_a_file_for_another_user_is_made_without_roots_rights() {
        if !is_root() {
            return;
        }
        let (folder, path) = folder();
        std::os::unix::fs::chown(folder.path(), Some(USER), Some(USER)).unwrap();
        let bound = bind(&path, &for_user(0o660), 8).unwrap();
        assert_eq!(owner(&path), (USER, USER, 0o660));
        drop(bound);
        assert!(!fs::exists(&path).unwrap());
        let groups = nix::unistd::getgroups().unwrap();
        // Only root may set this group.
        let bound = bind(&path, &FileRights { group: Some(12_345), ..for_user(0o620) }, 8).unwrap();
        assert_eq!(owner(&path), (USER, 12_345, 0o620));
        assert_eq!((FileUser::present(), nix::unistd::getgroups().unwrap()), (0, groups));
        drop(bound);
        // The path leads to a directory that the user may not write. A symbolic link of that user
        // could lead there.
        let (precious, _) = self::folder();
        fs::set_permissions(precious.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(precious.path(), &link).unwrap();
        let user = for_user(0o600).user.unwrap();
        let through = link.join("s");
        let made = user.act(|| {
            NewSocket::make(through.to_str().unwrap(), &for_user(0o600), FolderOwners::Folder)
                .map(drop)
        });
        assert_eq!(made.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(fs::read_dir(precious.path()).unwrap().count(), 0);
    }

    /// Issue 12, item 1: root changes the owner of a file only in a directory in which no other
    /// user can replace it.
    #[test]
    fn attack_root_gives_no_file_away_in_a_folder_of_others() {
        if !is_root() {
            return;
        }
        let (folder, path) = folder();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let bound = bind(&path, &for_user(0o600), 8).unwrap();
        assert_eq!(owner(&path), (USER, USER, 0o600));
        drop(bound);
        let other = |mode| {
            std::os::unix::fs::chown(folder.path(), Some(USER + 1), None).unwrap();
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        };
        other(0o755);
        for rights in [for_user(0o600), rights(0o666)] {
            let error = bind(&path, &rights, 8).unwrap_err().to_string();
            assert!(error.contains(&format!("belongs to user {}", USER + 1)), "{error}");
            assert!(!fs::exists(&path).unwrap());
        }
        // In a directory with the sticky bit, like /tmp, no other user can remove the file.
        std::os::unix::fs::chown(folder.path(), Some(0), None).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(bind(&path, &rights(0o666), 8).is_err());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        bind(&path, &rights(0o666), 8).unwrap();
    }

    /// Issue 12, item 1: an upgrade sets the owner of an inherited socket file only under the same
    /// conditions as a start.
    #[test]
    fn attack_an_upgrade_gives_no_file_away_in_a_folder_of_others() {
        if !is_root() {
            return;
        }
        let (folder, path) = folder();
        let served = std::os::unix::net::UnixListener::bind(&path).unwrap();
        std::os::unix::fs::chown(folder.path(), Some(USER + 1), None).unwrap();
        let error = SocketFile::take_over(&path, &for_user(0o600)).unwrap_err();
        assert!(error.to_string().contains("can replace the files"), "{error}");
        assert_eq!(owner(&path).0, 0);
        std::os::unix::fs::chown(folder.path(), Some(0), None).unwrap();
        drop(SocketFile::take_over(&path, &for_user(0o600)).unwrap());
        assert!(!fs::exists(&path).unwrap(), "dropping the value removes the file");
        drop(served);
    }
}
