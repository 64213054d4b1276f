//! Drops root privileges permanently.

use std::ffi::CString;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{
    Gid, Group, Uid, User, getgrouplist, getgroups, getresgid, getresuid, setgid, setgroups, setuid,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use crate::usage_error::UsageError;
use echoline::listener::FileUser;

/// The user and group to switch to, as typed: `NAME`, `NAME:GROUP`, or numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserSpec {
    user: String,
    group: Option<String>,
}

impl FromStr for UserSpec {
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

impl fmt::Display for UserSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(f, "{}:{group}", self.user),
            None => f.write_str(&self.user),
        }
    }
}

const NO_CAPABILITIES: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// The reason why the process cannot switch to an account.
#[derive(Debug, thiserror::Error)]
enum WrongAccount {
    #[error("there is no user '{0}'")]
    NoUser(String),
    #[error("there is no group '{0}'")]
    UnknownGroup(String),
    #[error("this is root; name a user without its rights")]
    Root,
    #[error("group 0 has the rights of root; name another group")]
    RootGroup,
    #[error("the group of user {0} is unknown: write {0}:GROUP")]
    NoGroup(Uid),
}

/// The user id and the group ids of an account.
#[derive(Debug)]
pub(crate) struct ProcessIdentity {
    /// The account as typed, for error messages.
    account: UserSpec,
    user: Uid,
    group: Gid,
    /// The supplementary groups: those that the user is a member of, or only `group`.
    groups: Vec<Gid>,
}

impl ProcessIdentity {
    /// Looks up the account.
    ///
    /// # Errors
    /// One sentence that names the flag. An account that does not exist or is root's is a
    /// [`UsageError`].
    pub(crate) fn of(account: &UserSpec) -> anyhow::Result<Self> {
        Self::find(account).map_err(|error| match error.downcast::<WrongAccount>() {
            Ok(wrong) => UsageError::new(format!("--user {account}: {wrong}")).into(),
            Err(error) => error.context(format!("--user {account}")),
        })
    }

    fn find(account: &UserSpec) -> anyhow::Result<Self> {
        let number = account.user.parse().ok().map(Uid::from_raw);
        let known = known(match number {
            Some(id) => User::from_uid(id),
            None => User::from_name(&account.user),
        });
        let known = known.context("cannot look up the user")?;
        let user = known.as_ref().map(|user| user.uid).or(number);
        let user = user.ok_or_else(|| WrongAccount::NoUser(account.user.clone()))?;
        ensure!(!user.is_root(), WrongAccount::Root);
        let (group, groups) = match (&account.group, known) {
            (Some(group), _) => {
                let group = find_group(group)?;
                (group, vec![group])
            }
            (None, Some(user)) => {
                let groups = getgrouplist(&CString::new(user.name)?, user.gid);
                (user.gid, groups.context("cannot look up the groups of the user")?)
            }
            (None, None) => bail!(WrongAccount::NoGroup(user)),
        };
        ensure!(group.as_raw() != 0, WrongAccount::RootGroup);
        Ok(Self { account: account.clone(), user, group, groups })
    }

    /// Returns the user that new files belong to.
    pub(crate) fn file_user(&self) -> FileUser {
        let groups = self.groups.iter().map(|group| group.as_raw()).collect();
        FileUser { user: self.user.as_raw(), group: self.group.as_raw(), groups }
    }

    /// Switches to this account permanently, and prevents this process and the programs that it
    /// starts from gaining privileges. Call it before other threads exist: some steps only affect
    /// the calling thread and the threads that it starts.
    ///
    /// # Errors
    /// One sentence that names the flag. The process must then end, because it still has privileges
    /// that it was configured to give up.
    pub(crate) fn assume_for_good(&self) -> anyhow::Result<()> {
        let assume = || {
            self.assume()?;
            prctl::set_no_new_privs().context("cannot forbid new privileges")
        };
        assume().with_context(|| format!("--user {}", self.account))
    }

    /// Switches to the account. The order of the steps matters: each step needs rights that the
    /// next one gives up.
    fn assume(&self) -> anyhow::Result<()> {
        forbid_capabilities();
        // A process of an upgrade already has the user and the group of its predecessor.
        if !self.has_ids()? {
            if !Uid::effective().is_root() {
                bail!("only root can switch to another user: start as root, or without --user");
            }
            setgroups(&self.groups).context("cannot set the groups")?;
            setgid(self.group).context("cannot set the group")?;
            setuid(self.user).context("cannot set the user")?;
        }
        self.leave_other_groups()?;
        give_up_capabilities()?;
        self.verify()
    }

    fn has_ids(&self) -> anyhow::Result<bool> {
        let (user, group) = (getresuid()?, getresgid()?);
        Ok([user.real, user.effective, user.saved] == [self.user; 3]
            && [group.real, group.effective, group.saved] == [self.group; 3])
    }

    /// Removes the supplementary groups that the account is not in. Returns an error if the process
    /// lacks the right to remove them.
    fn leave_other_groups(&self) -> anyhow::Result<()> {
        let others = self.other_groups()?;
        if others.is_empty() || setgroups(&self.groups).is_ok() {
            return Ok(());
        }
        let others: Vec<String> = others.iter().map(ToString::to_string).collect();
        bail!(
            "this process is in groups that the account is not in ({}), and cannot leave them: \
             start it without these groups, or as root",
            others.join(", ")
        )
    }

    fn other_groups(&self) -> anyhow::Result<Vec<Gid>> {
        let groups = getgroups().context("cannot read the groups")?;
        let is_other = |group: &Gid| *group != self.group && !self.groups.contains(group);
        Ok(groups.into_iter().filter(is_other).collect())
    }

    /// Checks the new identity. It also tries to become root again, which must fail.
    fn verify(&self) -> anyhow::Result<()> {
        let back = setuid(Uid::from_raw(0)).is_ok() || setgid(Gid::from_raw(0)).is_ok();
        ensure!(self.has_ids()? && !back, "the system let this process become root again");
        ensure!(self.other_groups()?.is_empty(), "the system did not remove the groups");
        ensure!(!has_capabilities()?, "the system did not remove the capabilities");
        Ok(())
    }
}

/// Removes every capability from the bounding set, so that this process cannot regain one by
/// starting a program. Needs CAP_SETPCAP. Without it, [`no_new_privs`](prctl::set_no_new_privs) has
/// the same effect.
fn forbid_capabilities() {
    let all = (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number));
    // The first error means that there are no more capabilities, or that the process may not drop
    // them.
    all.map(remove_capability_from_bounding_set).find(Result::is_err);
}

/// Clears the ambient, inheritable, permitted and effective capabilities of this thread.
fn give_up_capabilities() -> anyhow::Result<()> {
    if has_capabilities()? {
        // Kernels before 4.3 have no ambient set and return an error.
        let _ = clear_ambient_capability_set();
        set_capabilities(None, NO_CAPABILITIES).context("cannot give up capabilities")?;
    }
    Ok(())
}

/// Returns whether this thread has any capability. The ambient set is not read, because it is
/// always a subset of the permitted set.
fn has_capabilities() -> anyhow::Result<bool> {
    let sets = capabilities(None).context("cannot read the capabilities")?;
    Ok(sets != NO_CAPABILITIES)
}

/// Maps the errors with which getpwnam(3) reports a missing user, or a missing user database, to
/// `None`.
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
    let found = known(Group::from_name(name)).context("cannot look up the group")?;
    let group = found.map(|group| group.gid);
    group.ok_or_else(|| WrongAccount::UnknownGroup(name.to_owned()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> anyhow::Result<ProcessIdentity> {
        ProcessIdentity::find(&text.parse().unwrap())
    }

    #[test]
    fn an_account_is_read_as_it_is_written() {
        for text in ["nobody", "nobody:nogroup", "65534:65534"] {
            assert_eq!(text.parse::<UserSpec>().unwrap().to_string(), text);
        }
        for text in ["", ":", "nobody:", ":nogroup", "a:b:c"] {
            assert!(text.parse::<UserSpec>().unwrap_err().contains("NAME:GROUP"), "{text}");
        }
    }

    #[test]
    fn an_account_with_the_rights_of_root_is_refused() {
        for (text, sentence) in [
            ("root", "name a user without its rights"),
            ("0:65534", "name a user without its rights"),
            ("65533:0", "group 0 has the rights of root"),
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
        assert_eq!(identity.groups, [identity.group]);
    }
}
