//! Whether what we have applied is what the stream has. Servers that keep it together may come to
//! differ, and each reader reads what one of them has; what their leader has is the order.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::stream::{Info, RawMessageErrorKind};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep};

use super::super::follower::Entry;
use super::blocks::{self, first_of_block};
use super::connect::reason;
use super::error::BusError;
use super::life::Life;
use super::order;
use echoline_base::backoff::Backoff;

/// Between two looks that must agree who leads the stream.
const LOOKS_APART: Duration = Duration::from_secs(1);
/// How many entries are asked for at once.
const READS_MAX: usize = 16;
/// How many blocks are compared at once, and how many of our newest after another leader.
const DOUBTS_MAX: usize = 8;
const NEWEST: usize = 2;
/// Before the order is read again that has been found wrong twice or more.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After this long without finding anything wrong it is the first time again.
const CALM: Duration = Duration::from_secs(60);

/// What is to be found out, and what was.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Entries up to which a block is to be compared.
    sequences: BTreeSet<u64>,
    /// So are our newest blocks.
    newest: bool,
    /// An entry of ours that is not the stream's: we have to begin anew.
    found: Option<u64>,
}

/// The delays between recent resets of our copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relapses {
    last: Option<Instant>,
    backoff: Backoff,
}

impl Default for Relapses {
    fn default() -> Self {
        Self { last: None, backoff: Backoff::new(PAUSE, PAUSE_MAX) }
    }
}

impl Relapses {
    /// One more; how long to wait.
    pub(super) fn next(&mut self, now: Instant) -> Duration {
        let is_first = self.last.is_none_or(|last| last + CALM < now);
        self.last = Some(now);
        if is_first {
            self.backoff.reset();
            return Duration::ZERO;
        }
        self.backoff.next_delay()
    }
}

/// The server that leads the stream, where several keep it.
pub(super) fn leader(info: &Info) -> Option<&str> {
    let leader = info.cluster.as_ref().and_then(|cluster| cluster.leader.as_deref());
    leader.filter(|leader| !leader.is_empty())
}

impl Life<'_> {
    /// What another machine has told of its order.
    pub(super) fn hear_checkpoints(&self, told: &[u8]) {
        let Some((created_ns, checkpoints)) = blocks::read(told) else { return };
        let place = self.desk.place.borrow();
        if place.created_ns != Some(created_ns) {
            return;
        }
        let differing = place.differing(&checkpoints);
        // Where it begins, and how it is now.
        for &sequence in differing.first().into_iter().chain(differing.last()) {
            self.doubt(sequence);
        }
    }

    /// The block of this entry may be another one than the stream's.
    pub(super) fn doubt(&self, sequence: u64) {
        let mut doubts = self.doubts.borrow_mut();
        if doubts.sequences.len() < DOUBTS_MAX {
            doubts.sequences.insert(sequence);
        }
        self.doubted.notify_one();
    }

    /// What the others are told of ours.
    pub(super) fn checkpoints(&self) -> Option<String> {
        let place = self.desk.place.borrow();
        Some(blocks::write(place.created_ns?, place.checkpoints()))
    }

    /// Our newest entries may be others than the stream's.
    pub(super) fn doubt_newest(&self) {
        self.doubts.borrow_mut().newest = true;
        self.doubted.notify_one();
    }

    /// The first entry that was found to be wrong, once.
    pub(super) fn found_wrong(&self) -> Option<u64> {
        self.doubts.borrow_mut().found.take()
    }

    /// Compares with the stream's leader what there is a doubt of.
    pub(super) async fn verify(&self) -> BusError {
        loop {
            self.doubted.notified().await;
            // What is settled by then is compared, and nobody makes us compare all the time.
            sleep(LOOKS_APART).await;
            self.until_connected().await;
            if let Err(error) = self.settle_doubts().await {
                self.desk.complain(&error);
                self.doubted.notify_one();
            }
        }
    }

    async fn settle_doubts(&self) -> Result<(), BusError> {
        let before = self.leader_now().await?;
        sleep(LOOKS_APART).await;
        if self.leader_now().await? != before {
            return Err(self.cannot("its leader changes"));
        }
        let (doubted, newest) = self.doubted();
        let compared = self.compare(&doubted).await;
        let after = self.leader_now().await;
        let mut doubts = self.doubts.borrow_mut();
        // Another leader may have answered, or one that was none any more.
        if compared.is_err() || after.as_ref().ok() != Some(&before) {
            doubts.sequences.extend(doubted);
            doubts.newest |= newest;
            return compared.and(after).and(Err(self.cannot("its leader has changed")));
        }
        // It may have begun anew meanwhile.
        let wrong = compared?.and_then(|block| self.desk.place.borrow().first_wrong(&block));
        if wrong.is_some() {
            (doubts.found, doubts.newest) = (wrong, false);
            doubts.sequences.clear();
            self.look.notify_one();
        }
        Ok(())
    }

    /// All that there is a doubt of, which is none any more; and whether our newest blocks are in
    /// it for being that.
    fn doubted(&self) -> (BTreeSet<u64>, bool) {
        let mut doubts = self.doubts.borrow_mut();
        let mut doubted = std::mem::take(&mut doubts.sequences);
        let newest = std::mem::take(&mut doubts.newest);
        if newest {
            let newest: Vec<_> = self.desk.place.borrow().checkpoints().collect();
            doubted.extend(newest.iter().rev().take(NEWEST).map(|newest| newest.sequence));
        }
        (doubted, newest)
    }

    /// The first of these blocks that is not as ours, as the stream has it.
    async fn compare(&self, doubted: &BTreeSet<u64>) -> Result<Option<Vec<Entry>>, BusError> {
        for &sequence in doubted {
            // What is not there any more cannot be compared; that a stream ends before is looked
            // for elsewhere.
            let block = self.block_of_leader(sequence).await?;
            if self.desk.place.borrow().first_wrong(&block).is_some() {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// The block of this entry up to it, read one by one, which only the leader answers.
    async fn block_of_leader(&self, sequence: u64) -> Result<Vec<Entry>, BusError> {
        let order = self.jetstream.get_stream_no_info(&self.desk.names.order).await;
        let order = order.map_err(|error| self.cannot(&reason(&error)))?;
        let read = async |sequence| match order.get_raw_message(sequence).await {
            Ok(message) => Ok(Some(Entry {
                sequence: message.sequence,
                time_ms: u64::try_from(message.time.unix_timestamp_nanos() / 1_000_000)
                    .unwrap_or_default(),
                payload: message.payload,
            })),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.cannot(&reason(&error))),
        };
        let sequences = stream::iter(first_of_block(sequence)..=sequence);
        let entries: Vec<_> = sequences.map(read).buffered(READS_MAX).try_collect().await?;
        Ok(entries.into_iter().flatten().collect())
    }

    /// Who leads the stream; `None` where one server keeps it.
    async fn leader_now(&self) -> Result<Option<String>, BusError> {
        let info = order::look(&self.jetstream, &self.desk.names).await?;
        let info = info.ok_or_else(|| self.cannot("it is not there"))?;
        match leader(&info) {
            None if info.cluster.is_some() => Err(self.cannot("no server leads it")),
            leader => Ok(leader.map(str::to_owned)),
        }
    }

    fn cannot(&self, reason: &str) -> BusError {
        let reason = format!("what we have cannot be compared with it, for {reason}");
        BusError::Stream { stream: self.desk.names.order.clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_begins_anew_again_and_again_does_so_more_slowly() {
        let (mut relapses, now) = (Relapses::default(), Instant::now());
        let pauses: Vec<_> = (0..8).map(|_| relapses.next(now).as_secs()).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(relapses.next(now + CALM * 2), Duration::ZERO);
    }
}
