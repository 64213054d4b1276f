//! Counters of a server's datagrams.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::guard::DatagramRefusal;

/// The counters of a server's datagrams. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct DatagramCounts {
    inner: Arc<CountersInner>,
}

#[derive(Debug, Default)]
struct CountersInner {
    received: AtomicU64,
    received_bytes: AtomicU64,
    answered: AtomicU64,
    answered_bytes: AtomicU64,
    taken: AtomicU64,
    not_sent: AtomicU64,
    refused: [AtomicU64; DatagramRefusal::ALL.len()],
    /// The overflow count that was read from the system when a socket was closed.
    overflowed: AtomicU64,
    /// The inodes of the sockets, by which the system's counts of dropped datagrams are found; 0
    /// for a closed socket.
    sockets: Vec<AtomicU64>,
}

/// The counters at one moment. Without planned faults, `received` is the sum of `answered`,
/// `taken`, `not_sent` and `refused`, except for datagrams in progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatagramSnapshot {
    /// The number of received datagrams.
    pub received: u64,
    /// The number of bytes in the received datagrams.
    pub received_bytes: u64,
    /// The number of sent answers.
    pub answered: u64,
    /// The number of bytes in the sent answers.
    pub answered_bytes: u64,
    /// The number of datagrams that intentionally got no answer at once: the server discards them,
    /// or a planned fault has dropped or delayed them.
    pub taken: u64,
    /// The number of answers that the system did not send.
    pub not_sent: u64,
    /// The number of datagrams that were refused an answer, for each reason in
    /// [`DatagramRefusal::ALL`], in that order.
    pub refused: [u64; DatagramRefusal::ALL.len()],
    /// The number of datagrams that the system dropped because they arrived faster than they were
    /// read. No other counter includes them.
    pub overflowed: u64,
}

impl DatagramCounts {
    /// Creates counters for the sockets with these inodes.
    pub(super) fn of(sockets: impl IntoIterator<Item = u64>) -> Self {
        let sockets = sockets.into_iter().map(AtomicU64::new).collect();
        Self { inner: Arc::new(CountersInner { sockets, ..CountersInner::default() }) }
    }

    /// Returns the current counts.
    #[must_use]
    pub fn read(&self) -> DatagramSnapshot {
        let inner = &self.inner;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DatagramSnapshot {
            received: load(&inner.received),
            received_bytes: load(&inner.received_bytes),
            answered: load(&inner.answered),
            answered_bytes: load(&inner.answered_bytes),
            taken: load(&inner.taken),
            not_sent: load(&inner.not_sent),
            refused: std::array::from_fn(|reason| load(&inner.refused[reason])),
            overflowed: load(&inner.overflowed)
                + overflowed(&inner.sockets.iter().map(load).collect::<Vec<_>>()),
        }
    }

    pub(super) fn note_received(&self, datagrams: u64, bytes: u64) {
        self.inner.received.fetch_add(datagrams, Ordering::Relaxed);
        self.inner.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn note_answered(&self, datagrams: u64, bytes: u64) {
        self.inner.answered.fetch_add(datagrams, Ordering::Relaxed);
        self.inner.answered_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn note_taken(&self) {
        self.inner.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_not_sent(&self) {
        self.inner.not_sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_refused(&self, refusal: DatagramRefusal) {
        self.inner.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps the system's count of dropped datagrams for the socket with this inode. Call it before
    /// the socket is closed.
    pub(super) fn close(&self, socket: u64) {
        let open = self.inner.sockets.iter().find(|open| open.load(Ordering::Relaxed) == socket);
        if let Some(open) = open {
            self.inner.overflowed.fetch_add(overflowed(&[socket]), Ordering::Relaxed);
            open.store(0, Ordering::Relaxed);
        }
    }
}

impl DatagramSnapshot {
    /// Returns the number of refused datagrams for each reason that occurred.
    pub fn refusals(&self) -> impl Iterator<Item = (DatagramRefusal, u64)> {
        DatagramRefusal::ALL.into_iter().zip(self.refused).filter(|(_, count)| *count > 0)
    }
}

/// Returns the number of datagrams that the system dropped for these sockets.
fn overflowed(sockets: &[u64]) -> u64 {
    let tables = ["/proc/net/udp", "/proc/net/udp6"];
    let tables = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    tables.map(|table| drops(&table, sockets)).sum()
}

/// Returns the last column of a table of proc(5) for the rows with these inodes.
fn drops(table: &str, sockets: &[u64]) -> u64 {
    let row = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let inode = columns.get(9)?.parse().ok()?;
        let is_ours = inode != 0 && sockets.contains(&inode);
        if is_ours { columns.last()?.parse::<u64>().ok() } else { None }
    };
    table.lines().filter_map(row).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_proc_writes_it() {
        let table = concat!(
            "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  ",
            "timeout inode ref pointer drops\n",
            "   73: 0100007F:1B58 00000000:0000 07 00000000:00000000 00:00000000 00000000     0 ",
            "       0 4711 2 0000000000000000 17\n",
            "   74: 00000000:1B59 00000000:0000 07 00000000:00000000 00:00000000 00000000     0 ",
            "       0 4712 2 0000000000000000 5\n",
        );
        assert_eq!(drops(table, &[4711]), 17);
        assert_eq!(drops(table, &[4712, 4711]), 22);
        assert_eq!(drops(table, &[1, 0]), 0);
        assert_eq!(drops("", &[4711]), 0);
    }

    #[test]
    fn clones_count_the_same() {
        let counts = DatagramCounts::default();
        let same = counts.clone();
        same.note_refused(DatagramRefusal::Rate);
        counts.note_refused(DatagramRefusal::Rate);
        let read = counts.read();
        assert_eq!(read.refusals().collect::<Vec<_>>(), [(DatagramRefusal::Rate, 2)]);
        assert_eq!(read.refused.iter().sum::<u64>(), 2);
    }
}
