//! The flags about the creation of listening sockets.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use clap::Args;
use nix::unistd::Group;

use echoline::ListenerOptions;

/// The flags about the creation of listening sockets.
#[derive(Debug, Args)]
#[command(next_help_heading = "Listening")]
pub(crate) struct SocketArgs {
    /// Permissions of Unix sockets (unix:PATH), in octal.
    ///
    /// For example 0660. Connecting needs write permission. A socket from the service manager keeps
    /// its own permissions.
    #[arg(long, env = "ECHOLINE_UNIX_MODE", value_name = "MODE", default_value = "0600")]
    #[arg(value_parser = mode)]
    unix_mode: u32,

    /// Group of Unix sockets, by name or number [default: that of the process].
    #[arg(long, env = "ECHOLINE_UNIX_GROUP", value_name = "GROUP", value_parser = group)]
    unix_group: Option<u32>,

    /// Share the port with other processes that set this flag (SO_REUSEPORT).
    ///
    /// The system distributes connections and datagrams among these processes. When one of them
    /// ends, the connections that it has not accepted yet are reset.
    #[arg(long, env = "ECHOLINE_REUSE_PORT")]
    reuse_port: bool,
}

impl SocketArgs {
    /// Returns the permissions of the files of Unix sockets.
    pub(crate) fn unix_mode(&self) -> u32 {
        self.unix_mode
    }

    /// Sets the values of these flags in `options`.
    pub(crate) fn apply(&self, options: ListenerOptions) -> ListenerOptions {
        ListenerOptions {
            reuse_port: self.reuse_port,
            unix_mode: self.unix_mode,
            unix_group: self.unix_group,
            ..options
        }
    }
}

/// Reads a mode as chmod(1) does: octal digits.
pub(crate) fn mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = !digits.is_empty() && digits.bytes().all(|digit| (b'0'..b'8').contains(&digit));
    let mode = u32::from_str_radix(digits, 8).ok().filter(|&mode| is_octal && mode <= 0o777);
    mode.ok_or_else(|| {
        format!("'{text}' is not a file mode: write octal digits, for example 0600, 0660 or 0666")
    })
}

/// Reads a group, by name or number.
pub(crate) fn group(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let found = Group::from_name(text).ok().flatten();
    let found = found.ok_or_else(|| format!("there is no group '{text}' on this host"))?;
    Ok(found.gid.as_raw())
}

/// Returns whether every user of this host may connect to the bound Unix socket at `path`. This is
/// the case if the mode of its file allows it, or if its name is in the abstract namespace, which
/// has no permissions.
pub(crate) fn admits_everybody(path: &str) -> bool {
    let found = fs::symlink_metadata(path);
    path.starts_with('@') || found.map_or(true, |found| found.mode() & 0o002 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 5: a mode is octal as for chmod(1), and an error names the form.
    #[test]
    fn regression_a_mode_is_read_as_chmod_reads_it() {
        for (text, wanted) in [("0660", 0o660), ("600", 0o600), ("0o777", 0o777), ("0", 0)] {
            assert_eq!(mode(text), Ok(wanted), "{text}");
        }
        for text in ["", "0o", "8", "01000", "rw-rw----", "+600", "0x1ff", "99999999999999"] {
            assert!(mode(text).unwrap_err().contains("octal"), "{text}");
        }
    }

    #[test]
    fn a_group_is_a_name_or_a_number() {
        assert_eq!(group("54321"), Ok(54_321));
        assert_eq!(group("root"), Ok(0));
        let error = group("no-such-group").unwrap_err();
        assert_eq!(error, "there is no group 'no-such-group' on this host");
    }
}
