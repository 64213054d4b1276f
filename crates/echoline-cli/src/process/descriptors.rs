//! The descriptor limit, and the number of connections that it leaves room for.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The default limit of simultaneous connections, as in Redis.
const CONNECTIONS_DEFAULT: usize = 10_000;

/// Descriptors reserved for everything except connections, if the limit allows it.
const RESERVE: usize = 64;

/// Descriptors of a load run that belong to no client: standard streams, poller, resolver.
const CLIENT_RESERVE: usize = 32;

/// The descriptor limit of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    pub(crate) limit: usize,
}

/// The number of connections that the descriptor limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionCapacity {
    pub(crate) connections: usize,
    /// Number of refused connections that may linger, in addition to `connections`.
    pub(crate) lingering: usize,
}

impl Descriptors {
    /// Raises the soft limit to the hard limit, as far as the system permits.
    pub(crate) fn raise() -> Self {
        let files = Resource::RLIMIT_NOFILE;
        let limit = match getrlimit(files) {
            Ok((soft, hard)) => setrlimit(files, hard, hard).map_or(soft, |()| hard),
            Err(_) => 1024,
        };
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX) }
    }

    /// Returns the configured number of connections, or fewer if there are too few descriptors.
    pub(crate) fn places(
        self,
        asked: Option<usize>,
        listeners: usize,
        workers: usize,
    ) -> ConnectionCapacity {
        // Each worker needs descriptors for a poller and its wakers.
        let own = RESERVE.min(self.limit / 4) + listeners + 4 * workers;
        let room = self.limit.saturating_sub(own).max(1);
        let connections = asked.unwrap_or(CONNECTIONS_DEFAULT).min(room);
        let left = room - connections + RESERVE.min(self.limit / 4) / 2;
        ConnectionCapacity { connections, lingering: left.min(1024) }
    }
}

impl Descriptors {
    /// Returns an error if there are not enough descriptors for this number of clients.
    pub(crate) fn fit_clients(self, clients: u32) -> Result<(), String> {
        let needed = usize::try_from(clients).unwrap_or(usize::MAX).saturating_add(CLIENT_RESERVE);
        if needed <= self.limit {
            return Ok(());
        }
        Err(format!(
            "--clients {clients} needs {needed} open files and this process may have {}: use fewer \
             clients, or raise the limit with 'ulimit -n {needed}'",
            self.limit
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fault 3: the descriptor limit takes precedence over the configured number of connections.
    #[test]
    fn connections_never_need_more_descriptors_than_there_are() {
        let places = |limit, asked| Descriptors { limit }.places(asked, 1, 2);
        assert_eq!(places(20_000, None).connections, 10_000);
        assert_eq!(places(20_000, Some(50_000)).connections, 19_927);
        assert_eq!(
            places(256, Some(10_000)),
            ConnectionCapacity { connections: 183, lingering: 32 }
        );
        assert_eq!(places(64, None).connections, 39);
        assert_eq!(places(8, None).connections, 1);
        assert_eq!(places(1024, Some(10)).connections, 10);
    }

    #[test]
    fn too_many_clients_are_refused_with_a_remedy() {
        let descriptors = Descriptors { limit: 1024 };
        assert_eq!(descriptors.fit_clients(992), Ok(()));
        let sentence = descriptors.fit_clients(993).unwrap_err();
        assert!(sentence.contains("--clients 993") && sentence.contains("ulimit -n 1025"));
    }
}
