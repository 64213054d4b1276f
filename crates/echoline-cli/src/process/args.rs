//! The flags about the process of a server.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;
use nix::unistd::Uid;

use super::privileges::{ProcessIdentity, UserSpec};
use super::upgrade::UpgradeTimeouts;
use crate::values::{self, Timeout};

/// The flags about the process of every server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct ProcessArgs {
    /// User and group to switch to after binding, if started as root.
    ///
    /// The names or numbers of a user and a group. The switch is permanent: the process cannot
    /// become root again.
    #[arg(long, env = "ECHOLINE_USER", value_name = "NAME[:GROUP]")]
    pub(crate) user: Option<UserSpec>,

    /// Threads that serve connections [default: one per core].
    #[arg(long, env = "ECHOLINE_WORKERS", value_name = "N", value_parser = values::threads)]
    pub(crate) workers: Option<NonZeroUsize>,

    /// Time to poll for work after each message before sleeping.
    ///
    /// For example 50us, at most 1s. With few connections, replies become faster. Each thread uses
    /// a whole core.
    #[arg(long, env = "ECHOLINE_BUSY_POLL", value_name = "TIME", value_parser = values::poll_time)]
    pub(crate) busy_poll: Option<Duration>,
}

/// The flags about the upgrade of a running server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct UpgradeArgs {
    /// Time limit for the start of the new process after SIGUSR2.
    ///
    /// If the new process is not ready by then, the old process ends it and continues to serve.
    #[arg(long, env = "ECHOLINE_UPGRADE_TIMEOUT", value_name = "TIME")]
    #[arg(value_parser = values::some_duration, default_value = "30s")]
    upgrade_timeout: Duration,

    /// Time that connections may stay with the old process after an upgrade, or 'off'.
    ///
    /// After this time, the old process drains its connections, as after SIGTERM.
    #[arg(long, env = "ECHOLINE_RETIRE_TIMEOUT", value_name = "TIME")]
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
}

impl UpgradeArgs {
    pub(crate) fn times(&self) -> UpgradeTimeouts {
        UpgradeTimeouts { ready: self.upgrade_timeout, retire: self.retire_timeout.0 }
    }
}
