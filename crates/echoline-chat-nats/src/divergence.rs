//! The divergence check: compares applied blocks with those of the stream's leader.
//!
//! If a stream has lost entries, it gives their sequences to other entries. Its replicas may answer
//! differently for a while, so only the leader's entries count.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::stream::RawMessageErrorKind;
use futures_util::{StreamExt, TryStreamExt, stream::iter};
use tokio::time::sleep;

use super::active_connection::ActiveConnection;
use super::block_digests::first_of_block;
use super::connect::reason;
use super::error::DriverError;
use super::stream;
use echoline_chat_core::StreamEntry;

/// The pause before a check. Requests within this time are checked together.
const DELAY: Duration = Duration::from_secs(1);
/// The maximum number of concurrent reads of entries.
const READS_MAX: usize = 16;
/// The number of newest blocks that are compared after each subscription.
const NEWEST: usize = 2;

impl ActiveConnection<'_> {
    /// Performs the requested checks. Returns only if an error occurs.
    pub(super) async fn check_divergence(&self) -> DriverError {
        loop {
            self.check_requested.notified().await;
            sleep(DELAY).await;
            self.until_connected().await;
            if let Err(error) = self.check_pending().await {
                self.driver.log_throttled(&error);
                self.check_requested.notify_one();
            }
        }
    }

    async fn check_pending(&self) -> Result<(), DriverError> {
        let before = self.leader().await?;
        let (requested, newest) = self.checks.borrow_mut().take();
        let compared = self.compare(&requested, newest).await;
        let after = self.leader().await;
        // The result does not count if the leader has changed during the comparison.
        if compared.is_err() || after.as_ref().ok() != Some(&before) {
            self.checks.borrow_mut().put_back(requested, newest);
            return compared.and(after).and(Err(self.cannot_compare("its leader has changed")));
        }
        // The state may have been reset since.
        let wrong = compared?.and_then(|block| self.driver.cursor.borrow().first_wrong(&block));
        if let Some(wrong) = wrong {
            self.checks.borrow_mut().found(wrong);
            self.reread.notify_one();
        }
        Ok(())
    }

    /// Compares these blocks. Returns the first one that differs from the applied block, with the
    /// leader's entries.
    async fn compare(
        &self,
        requested: &BTreeSet<u64>,
        newest: bool,
    ) -> Result<Option<Vec<StreamEntry>>, DriverError> {
        let mut sequences = requested.clone();
        if newest {
            let digests: Vec<_> = self.driver.cursor.borrow().newest_digests().collect();
            sequences.extend(digests.iter().rev().take(NEWEST).map(|block| block.sequence));
        }
        for sequence in sequences {
            // Blocks that the stream no longer has cannot be compared. The reader detects a stream
            // that ends too early.
            let block = self.read_block(sequence).await?;
            if self.driver.cursor.borrow().first_wrong(&block).is_some() {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// Reads the entries of a block, up to `sequence`. They are read one by one, because only the
    /// leader answers such reads.
    async fn read_block(&self, sequence: u64) -> Result<Vec<StreamEntry>, DriverError> {
        let stream = self.jetstream.get_stream_no_info(&self.driver.names.stream).await;
        let stream = stream.map_err(|error| self.cannot_compare(&reason(&error)))?;
        let read = async |sequence| match stream.get_raw_message(sequence).await {
            Ok(message) => Ok(Some(StreamEntry {
                sequence: message.sequence,
                time_ms: u64::try_from(message.time.unix_timestamp_nanos() / 1_000_000)
                    .unwrap_or_default(),
                payload: message.payload,
            })),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.cannot_compare(&reason(&error))),
        };
        let sequences = iter(first_of_block(sequence)..=sequence);
        let entries: Vec<_> = sequences.map(read).buffered(READS_MAX).try_collect().await?;
        Ok(entries.into_iter().flatten().collect())
    }

    /// Returns the name of the stream's leader, or `None` if the server is not in a cluster.
    async fn leader(&self) -> Result<Option<String>, DriverError> {
        let info = stream::look_up(&self.jetstream, &self.driver.names).await?;
        let info = info.ok_or_else(|| self.cannot_compare("it does not exist"))?;
        let Some(cluster) = info.cluster else { return Ok(None) };
        match cluster.leader.filter(|leader| !leader.is_empty()) {
            None => Err(self.cannot_compare("it has no leader")),
            leader => Ok(leader),
        }
    }

    fn cannot_compare(&self, reason: &str) -> DriverError {
        self.driver.stream_error(format!("cannot compare the applied entries with it: {reason}"))
    }
}
