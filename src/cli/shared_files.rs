//! The flag that accepts files and folders which other users of the machine can read or write.

use clap::Args;

use crate::chat::history::SharedFolder;

/// The flag of every command that reads secrets, or keeps files in a folder.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct SharedFilesFlag {
    /// Accept files with secrets that other users of this machine can read, and a folder for
    /// --data in which they can replace files.
    #[arg(long, env = "ECHOLINE_ALLOW_SHARED_FILES")]
    allow_shared_files: bool,
}

impl SharedFilesFlag {
    /// The treatment of a folder in which other users can replace files.
    pub(super) fn folder(&self) -> SharedFolder {
        if self.allow_shared_files { SharedFolder::Allow } else { SharedFolder::Refuse }
    }
}
