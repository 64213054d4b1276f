//! Fewer rights: from root to somebody else, for good.

use std::ffi::CString;
use std::fmt;
use std::os::unix::fs::chown;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{
    Gid, Group, Uid, User, getresgid, getresuid, initgroups, setgid, setgroups, setuid,
};

/// Who the process is to be, as typed: `NAME`, `NAME:GROUP`, or numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Account {
    user: String,
    group: Option<String>,
}

impl FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        if user.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
            return Err("write NAME or NAME:GROUP, for example nobody:nogroup".to_owned());
        }
        Ok(Self { user: user.to_owned(), group: group.map(str::to_owned) })
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(f, "{}:{group}", self.user),
            None => f.write_str(&self.user),
        }
    }
}

/// Becomes `account` for good, which becomes the owner of the `files` (the group beside a file is
/// its group; `None` means the account's), and takes no rights from any program that it may start.
/// To be called before there are other threads: the last step holds for the calling one and for
/// those that it starts.
///
/// # Errors
/// One sentence that names the flag. The process must end then: it has rights that it was told to
/// give up.
pub(in crate::cli) fn drop_to<'a>(
    account: &Account,
    files: impl Iterator<Item = (&'a Path, Option<u32>)>,
) -> anyhow::Result<()> {
    let drop = || -> anyhow::Result<()> {
        let identity = Identity::find(account)?;
        for (file, group) in files {
            let group = group.unwrap_or(identity.group.as_raw());
            chown(file, Some(identity.user.as_raw()), Some(group))
                .with_context(|| format!("cannot give {} to it", file.display()))?;
        }
        identity.assume()?;
        prctl::set_no_new_privs().context("cannot forbid new privileges")
    };
    drop().with_context(|| format!("--user {account}"))
}

/// An account as the system numbers it.
#[derive(Debug)]
struct Identity {
    user: Uid,
    group: Gid,
    groups: Groups,
}

/// The further groups.
#[derive(Debug)]
enum Groups {
    /// Those that the user is a member of.
    OfUser(CString),
    /// None.
    Alone,
}

impl Identity {
    fn find(account: &Account) -> anyhow::Result<Self> {
        let number = account.user.parse().ok().map(Uid::from_raw);
        let known = known(match number {
            Some(id) => User::from_uid(id),
            None => User::from_name(&account.user),
        });
        let known = known.context("cannot look the user up")?;
        let user = known.as_ref().map(|user| user.uid).or(number);
        let user = user.with_context(|| format!("there is no user '{}'", account.user))?;
        ensure!(!user.is_root(), "root is who the rights are to be taken from: name another user");
        let (group, groups) = match (&account.group, known) {
            (Some(group), _) => (find_group(group)?, Groups::Alone),
            (None, Some(user)) => (user.gid, Groups::OfUser(CString::new(user.name)?)),
            (None, None) => bail!("user {user} is in no list of users: write {user}:GROUP"),
        };
        ensure!(group.as_raw() != 0, "group 0 is root's: name another one");
        Ok(Self { user, group, groups })
    }

    /// In this order: each step needs the rights that the next one gives up.
    fn assume(&self) -> anyhow::Result<()> {
        if self.is_assumed()? {
            // An upgraded process is who its predecessor was.
            return Ok(());
        }
        if !Uid::effective().is_root() {
            bail!("only root can become another user: start as root, or without --user");
        }
        match &self.groups {
            Groups::OfUser(name) => initgroups(name, self.group),
            Groups::Alone => setgroups(&[self.group]),
        }
        .context("cannot set the groups")?;
        setgid(self.group).context("cannot set the group")?;
        setuid(self.user).context("cannot set the user")?;
        self.verify()
    }

    fn is_assumed(&self) -> anyhow::Result<bool> {
        let (user, group) = (getresuid()?, getresgid()?);
        Ok([user.real, user.effective, user.saved] == [self.user; 3]
            && [group.real, group.effective, group.saved] == [self.group; 3])
    }

    /// The system says that it was done; whether it was shows when one tries to go back.
    fn verify(&self) -> anyhow::Result<()> {
        let back = setuid(Uid::from_raw(0)).is_ok() || setgid(Gid::from_raw(0)).is_ok();
        ensure!(self.is_assumed()? && !back, "the system let this process become root again");
        Ok(())
    }
}

/// getpwnam(3) has many ways to say that there is nobody, a list that is missing among them.
fn known<T>(found: nix::Result<Option<T>>) -> nix::Result<Option<T>> {
    match found {
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        found => found,
    }
}

fn find_group(name: &str) -> anyhow::Result<Gid> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    let found = known(Group::from_name(name)).context("cannot look the group up")?;
    found.map(|group| group.gid).ok_or_else(|| anyhow!("there is no group '{name}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> anyhow::Result<Identity> {
        Identity::find(&text.parse().unwrap())
    }

    #[test]
    fn an_account_is_read_as_it_is_written() {
        for text in ["nobody", "nobody:nogroup", "65534:65534"] {
            assert_eq!(text.parse::<Account>().unwrap().to_string(), text);
        }
        for text in ["", ":", "nobody:", ":nogroup", "a:b:c"] {
            assert!(text.parse::<Account>().unwrap_err().contains("NAME:GROUP"), "{text}");
        }
    }

    #[test]
    fn an_account_that_would_be_no_drop_is_refused() {
        for (text, sentence) in [
            ("root", "name another user"),
            ("0:65534", "name another user"),
            ("65533:0", "group 0 is root's"),
            ("no-such-user-here", "there is no user 'no-such-user-here'"),
            ("65533:no-such-group", "there is no group 'no-such-group'"),
            ("3999999999", "write 3999999999:GROUP"),
        ] {
            let error = format!("{:#}", find(text).unwrap_err());
            assert!(error.contains(sentence), "{text}: {error}");
        }
    }

    #[test]
    fn numbers_need_no_list_of_users() {
        let identity = find("3999999999:3999999998").unwrap();
        assert_eq!(identity.user.as_raw(), 3_999_999_999);
        assert_eq!(identity.group.as_raw(), 3_999_999_998);
        assert!(matches!(identity.groups, Groups::Alone));
    }
}
