//! Creates files as another user, while the process has root privileges.

use std::io;

use nix::unistd::{Gid, Uid, getgroups, setfsgid, setfsuid, setgroups};

/// A user and its groups, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileUser {
    /// The user.
    pub user: u32,
    /// The group of new files.
    pub group: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

impl FileUser {
    /// Returns the user id with which this thread accesses files (setfsuid(2)).
    pub(crate) fn present() -> u32 {
        let user = Uid::effective();
        if !user.is_root() {
            return user.as_raw();
        }
        // A seccomp filter may refuse this call, with an error that looks like a user ID.
        match setfsuid(Uid::from_raw(u32::MAX)).as_raw() {
            u32::MAX => user.as_raw(),
            present => present,
        }
    }

    /// Runs `work` with only the file access rights of this user. The user and the group change
    /// only for the calling thread, but the supplementary groups change for all threads.
    ///
    /// # Errors
    /// The errors of `work`, or an error if the process cannot switch to this user or back. The
    /// process must run as root.
    #[doc(hidden)]
    pub fn act<T, E: From<io::Error>>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let before = getgroups().map_err(io::Error::from)?;
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).map_err(io::Error::from)?;
        let worked = take(self.user, self.group).map_err(E::from).and_then(|()| work());
        take(Uid::effective().as_raw(), Gid::effective().as_raw())?;
        setgroups(&before).map_err(io::Error::from)?;
        worked
    }
}

/// Changes the user and the group for file access on this thread. With the user, Linux also removes
/// or restores root's file capabilities.
fn take(user: u32, group: u32) -> io::Result<()> {
    setfsgid(Gid::from_raw(group));
    setfsuid(Uid::from_raw(user));
    // These calls report no errors. They return the previous value, and the value -1 changes
    // nothing.
    let now = (FileUser::present(), setfsgid(Gid::from_raw(u32::MAX)).as_raw());
    if now == (user, group) {
        return Ok(());
    }
    let text = format!("cannot use the rights of user {user} on files");
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}
