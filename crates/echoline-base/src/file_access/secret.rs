//! Checks whether other users of this host can read or change a secret, by owner and mode.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use super::{Facts, ROOT, WRITE_BY_OTHERS, is_unmapped, private_group};

/// The users who can read or change a file with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExposedSecret {
    /// Every user of the machine can read or change it.
    All { mode: u32 },
    /// The members of this group can read or change it.
    Group { group: u32, mode: u32 },
}

impl fmt::Display for ExposedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All { mode } => {
                write!(f, "every user of this host can use it (mode {mode:04o})")
            }
            Self::Group { group, mode } => {
                write!(f, "all members of group {group} can use it (mode {mode:04o})")
            }
        }
    }
}

impl ExposedSecret {
    /// Decides by owner and mode. A group may read a file that belongs to root: root chose that
    /// group on purpose, as for `/etc/ssl/private` and for systemd credentials. The group of
    /// any other file is usually the default group of its owner, and not a choice for this file.
    fn of(file: Facts, is_private_group: bool) -> Option<Self> {
        let Facts { user, group, mode } = file;
        let may_group = match (user, is_private_group) {
            (_, true) => 0o070,
            (ROOT, false) => 0o040,
            (_, false) => 0,
        };
        if mode & 0o007 != 0 {
            Some(Self::All { mode })
        } else if mode & 0o070 & !may_group != 0 {
            Some(Self::Group { group, mode })
        } else {
            None
        }
    }
}

/// Finds out which other users have rights on a file with a secret. `path` is the name by which the
/// file was opened. Pipes and terminals are never exposed.
///
/// # Errors
/// An error of the system while the file is examined.
pub fn exposed_secret(file: &File, path: &Path) -> io::Result<Option<ExposedSecret>> {
    let facts = Facts::of(file)?;
    if !file.metadata()?.is_file() || (facts.is_roots_to_write() && is_mounted_secret(path)) {
        return Ok(None);
    }
    let is_private_group = private_group(facts.user) == Some(facts.group);
    Ok(ExposedSecret::of(facts, is_private_group))
}

/// Returns whether the file is in a Kubernetes secret volume, which only the processes of one
/// container see. There `NAME` links to `..data/NAME`, and `..data` links to `..2026_11_30_…`.
fn is_mounted_secret(path: &Path) -> bool {
    let Ok(real) = std::fs::canonicalize(path) else { return false };
    let Some(version) = real.parent() else { return false };
    let Some((volume, name)) = version.parent().zip(version.file_name()) else { return false };
    let is_version = name.as_encoded_bytes().starts_with(b"..");
    is_version && std::fs::read_link(volume.join("..data")).is_ok_and(|link| link == *name)
}

impl Facts {
    /// Returns whether root alone can change the file.
    fn is_roots_to_write(self) -> bool {
        let is_roots = self.user == ROOT || is_unmapped(self.user);
        is_roots && self.mode & WRITE_BY_OTHERS == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(user: u32, mode: u32) -> Facts {
        Facts { user, group: 50, mode }
    }

    /// Issue 12, item 18: the rights of other users on a secret depend on its owner, group and
    /// mode.
    #[test]
    fn attack_a_secret_that_others_can_use_is_found() {
        let of = |user, mode| ExposedSecret::of(file(user, mode), false);
        for (user, mode) in [(1000, 0o600), (1000, 0o400), (0, 0o600), (0, 0o640), (0, 0o440)] {
            assert_eq!(of(user, mode), None, "{mode:o}");
        }
        for (user, mode) in [(1000, 0o640), (1000, 0o620), (0, 0o660), (0, 0o620), (0, 0o650)] {
            let group = ExposedSecret::Group { group: 50, mode };
            assert_eq!(of(user, mode), Some(group), "{mode:o}");
            let private = ExposedSecret::of(file(user, mode), true);
            assert_eq!(private, None, "{mode:o}");
        }
        for (user, mode) in [(0, 0o644), (0, 0o444), (1000, 0o602), (1000, 0o601)] {
            assert_eq!(of(user, mode), Some(ExposedSecret::All { mode }), "{mode:o}");
            let private = ExposedSecret::of(file(user, mode), true);
            assert_eq!(private, Some(ExposedSecret::All { mode }), "{mode:o}");
        }
    }
}
