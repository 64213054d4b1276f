//! The process at the other end of a Unix socket.

use tokio::net::unix::UCred;

/// The process at the other end of a Unix socket, as it was when it connected (`SO_PEERCRED`,
/// unix(7)). The system vouches for it.
///
/// ```
/// use echoline::{Closed, Connection};
///
/// // Only root, and the user of this server, may give commands.
/// async fn control(mut client: Connection, own_uid: u32) -> Result<(), Closed> {
///     let uid = client.credentials().map(|peer| peer.uid);
///     if uid != Some(0) && uid != Some(own_uid) {
///         return client.write_line("permission denied").await;
///     }
///     client.write_line("ready").await
/// }
/// # let _ = control;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// The process ID; `None` if the process is in another PID namespace. Later another process may
    /// have the same ID, so decide nothing by it.
    pub pid: Option<i32>,
    /// The effective user ID.
    pub uid: u32,
    /// The effective group ID.
    pub gid: u32,
}

impl PeerCredentials {
    /// Creates the credentials of a process, for a test of a handler.
    #[must_use]
    pub const fn new(pid: Option<i32>, uid: u32, gid: u32) -> Self {
        Self { pid, uid, gid }
    }
}

impl From<UCred> for PeerCredentials {
    fn from(found: UCred) -> Self {
        // The system writes 0 for a process that has no number here.
        Self::new(found.pid().filter(|pid| *pid != 0), found.uid(), found.gid())
    }
}
