//! The flags about the life of a serving process.

use std::time::Duration;

use clap::Args;
use nix::unistd::Uid;

use super::privileges::{ProcessIdentity, UserSpec};
use super::upgrade::UpgradeTimeouts;
use crate::values::{self, Timeout};

/// The flags about the life of the process.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct ProcessArgs {
    /// Once all addresses are bound, be this user and group and never root again: NAME,
    /// NAME:GROUP, or numbers.
    #[arg(long, env = "ECHOLINE_USER", value_name = "NAME[:GROUP]")]
    pub(crate) user: Option<UserSpec>,

    /// How long the new process may take to be ready after SIGUSR2; then this one goes on.
    #[arg(long, env = "ECHOLINE_UPGRADE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::some_duration, default_value = "30s")]
    upgrade_timeout: Duration,

    /// How long connections may stay with the old process after SIGUSR2 before it drains.
    #[arg(long, env = "ECHOLINE_RETIRE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::timeout, default_value = "10m")]
    retire_timeout: Timeout,
}

impl ProcessArgs {
    /// Runs `work`, which accesses files, with the rights that the server has after its start.
    pub(crate) fn as_user<T>(&self, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        match &self.user {
            Some(account) if Uid::effective().is_root() => {
                ProcessIdentity::of(account)?.file_user().act(work)
            }
            _ => work(),
        }
    }

    pub(crate) fn times(&self) -> UpgradeTimeouts {
        UpgradeTimeouts { ready: self.upgrade_timeout, retire: self.retire_timeout.0 }
    }
}
