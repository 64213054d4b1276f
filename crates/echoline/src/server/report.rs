//! The report of a server that has ended. Pure.

use std::collections::BTreeMap;

use crate::connection::limits::Closed;

/// The report of a server that has ended. It counts every connection once.
///
/// ```
/// use echoline::testing::TestServer;
/// use echoline::{Closed, Connection};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let server = TestServer::new(async |mut client: Connection| client.echo().await);
/// let mut client = server.connect();
/// client.shutdown_write().await;
/// client.expect_end().await;
/// let report = server.stop().await;
/// assert_eq!((report.accepted, report.count(Closed::EndOfStream)), (1, 1));
/// assert!(report.is_clean());
/// for (closed, count) in &report.ends {
///     println!("{}: {count}", closed.label());
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The number of accepted connections, including refused ones.
    pub accepted: u64,
    /// The number of connections whose handler did not end after the server had aborted them.
    pub still_open: u64,
    /// The number of connections for each close reason.
    pub ends: BTreeMap<Closed, u64>,
}

impl Report {
    /// Returns the number of connections that ended as `closed`.
    #[must_use]
    pub fn count(&self, closed: Closed) -> u64 {
        self.ends.get(&closed.counted()).copied().unwrap_or_default()
    }

    /// Returns whether every connection ended in order: none was aborted, and none is still open.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.count(Closed::Aborted) == 0 && self.still_open == 0
    }
}
