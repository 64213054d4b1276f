//! Snapshots in a stream of their own: each has a subject that says what it is, and its parts are
//! the messages of that subject. One with parts missing is torn, and no snapshot.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, push};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, Info, Stream};
use async_nats::jetstream::{Context, Message};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::time::{sleep, timeout};

use super::super::follower::Snapshot;
use super::super::history::Checksum;
use super::connect::reason;
use super::error::BusError;
use super::life::Life;
use super::names::Names;
use super::options::NatsOptions;
use super::order;
use super::seal::{Purpose, Seal};
use super::shelf::{Label, Proof, fitting, newest, useless};

/// A part at most; smaller where the server takes less.
const PART_BYTES_MAX: usize = 256 << 10;
/// The bytes of a message besides its payload, at most.
const HEAD_BYTES_MAX: usize = 4096;
/// A snapshot at most: forged ones must not fill the memory.
const SNAPSHOT_BYTES_MAX: usize = 256 << 20;
/// For each part of a snapshot to come.
const PART_TIMEOUT: Duration = Duration::from_secs(5);
/// How many snapshots wait to be written; the oldest is the first that is of no use.
const WAITING_MAX: usize = 4;
/// After a snapshot could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// The stream of snapshots, and the snapshots in it.
pub(super) struct Shelf {
    stream: Stream<()>,
    jetstream: Context,
    prefix: String,
}

impl Shelf {
    /// The shelf of this chat; made if it is not there.
    pub(super) async fn open(
        jetstream: &Context,
        options: &NatsOptions,
        names: &Names,
    ) -> Result<Self, BusError> {
        let config = Config {
            name: names.snapshots.clone(),
            subjects: vec![format!("{}.>", names.snapshot_subject)],
            num_replicas: usize::from(options.replicas.max(1)),
            description: Some("Snapshots of an echoline chat".to_owned()),
            ..Config::default()
        };
        if jetstream.get_stream(&names.snapshots).await.is_err() {
            order::create(jetstream, config, names).await?;
        }
        Self::of(jetstream, names).await
    }

    /// The shelf, which is there.
    pub(super) async fn of(jetstream: &Context, names: &Names) -> Result<Self, BusError> {
        let stream = jetstream.get_stream_no_info(&names.snapshots).await;
        let stream = stream.map_err(|error| BusError::Stream {
            stream: names.snapshots.clone(),
            reason: reason(&error),
        })?;
        let (jetstream, prefix) = (jetstream.clone(), names.snapshot_subject.clone());
        Ok(Self { stream, jetstream, prefix })
    }

    /// The complete snapshots of nodes with the key of the cluster.
    pub(super) async fn labels(&self, seal: Option<&Seal>) -> Result<Vec<Label>, String> {
        let subjects = self.stream.info_with_subjects(format!("{}.>", self.prefix)).await;
        let mut subjects = subjects.map_err(|error| reason(&error))?;
        let mut labels = Vec::new();
        while let Some((subject, parts)) =
            subjects.try_next().await.map_err(|error| reason(&error))?
        {
            let label = Label::parse(&self.prefix, &subject);
            let label = label.filter(|label| label.parts == parts);
            labels.extend(label.filter(|label| label.is_authentic(&self.prefix, seal)));
        }
        Ok(labels)
    }

    async fn read(&self, label: &Label) -> Result<Snapshot, String> {
        let config = push::Config {
            deliver_subject: self.jetstream.client().new_inbox(),
            filter_subject: label.subject(&self.prefix),
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            ..push::Config::default()
        };
        let made = self.stream.create_consumer(config).await;
        let consumer: Consumer<push::Config> = made.map_err(|error| reason(&error))?;
        let mut messages = consumer.messages().await.map_err(|error| reason(&error))?;
        let mut state = BytesMut::new();
        for _ in 0..label.parts {
            let part: Option<Result<Message, _>> =
                timeout(PART_TIMEOUT, messages.next()).await.map_err(|_| "a part did not come")?;
            let part = part.ok_or("no more parts came")?.map_err(|error| reason(&error))?;
            if state.len() + part.payload.len() > SNAPSHOT_BYTES_MAX {
                return Err(format!("it is longer than {SNAPSHOT_BYTES_MAX} bytes"));
            }
            state.extend_from_slice(&part.payload);
        }
        let state = state.freeze();
        if checksum(&state) != label.checksum {
            return Err("its checksum is wrong".to_owned());
        }
        if label.proof.as_ref().is_some_and(|proof| proof.digest != digest(&state)) {
            return Err("it is not what its writer signed".to_owned());
        }
        Ok(Snapshot { sequence: label.sequence, state })
    }

    /// Writes all parts, or removes those that were written.
    async fn write(&self, label: &Label, state: &Bytes, part_bytes: usize) -> Result<(), String> {
        let subject = label.subject(&self.prefix);
        for (number, start) in (0..label.parts).map(|number| (number, number * part_bytes)) {
            let part = state.slice(start..state.len().min(start + part_bytes));
            let message =
                PublishMessage::build().payload(part).message_id(format!("{subject}.{number}"));
            let sent = async { self.jetstream.send_publish(subject.clone(), message).await?.await };
            if let Err(error) = sent.await {
                self.remove(label).await?;
                return Err(reason(&error));
            }
        }
        Ok(())
    }

    async fn remove(&self, label: &Label) -> Result<(), String> {
        let purge = self.stream.purge().filter(label.subject(&self.prefix));
        purge.await.map(|_| ()).map_err(|error| reason(&error))
    }
}

/// SHA-256, in hexadecimal digits.
fn digest(state: &[u8]) -> String {
    format!("{:x}", Sha256::digest(state))
}

fn checksum(state: &[u8]) -> u32 {
    Checksum::new().bytes(state).end()
}

impl Life<'_> {
    /// Goes on from the best snapshot after which the stream can be read, from `first` on.
    pub(super) async fn restore(&self, info: &Info, first: u64) -> Result<(), BusError> {
        let desk = self.desk;
        let last = info.state.last_sequence;
        let missing = BusError::NoSnapshot { stream: desk.names.order.clone(), first };
        let unusable = |reason| BusError::Stream { stream: desk.names.snapshots.clone(), reason };
        let shelf = Shelf::open(&self.jetstream, &desk.options, &desk.names).await?;
        let mut labels = shelf.labels(desk.seal.as_ref()).await.map_err(unusable)?;
        labels.retain(|label| {
            let is_wrong = desk.written.borrow().is_wrong(label);
            label.created_ns == info.created.unix_timestamp_nanos() && !is_wrong
        });
        let applied = desk.follower.applied();
        let mut refusal = missing;
        for label in fitting(&labels, applied, first, last) {
            if label.sequence >= first && !self.is_of_this_order(label).await.map_err(unusable)? {
                tracing::warn!("the snapshot after entry {} is of lost entries", label.sequence);
                continue;
            }
            let restored = match shelf.read(label).await {
                Ok(snapshot) => desk.follower.restore(&snapshot),
                Err(reason) => Err(reason),
            };
            let Err(reason) = restored else {
                self.restored(label.sequence);
                return Ok(());
            };
            let sequence = label.sequence;
            refusal = unusable(format!("the snapshot after entry {sequence}: {reason}"));
            desk.complain(&refusal);
        }
        Err(refusal)
    }

    /// Whether the entry that the snapshot ends with is the one in the stream.
    async fn is_of_this_order(&self, label: &Label) -> Result<bool, String> {
        let stream = self.jetstream.get_stream_no_info(&self.desk.names.order).await;
        let stream = stream.map_err(|error| reason(&error))?;
        let entry = stream.get_raw_message(label.sequence).await.map_err(|error| reason(&error))?;
        Ok(entry.time.unix_timestamp_nanos() / 1_000_000 == i128::from(label.time_ms))
    }

    fn restored(&self, sequence: u64) {
        tracing::info!("went on from the snapshot after entry {sequence}");
        self.desk.place.borrow_mut().forget();
        self.desk.due.borrow_mut().found(sequence);
        self.desk.board.change(|status| {
            status.restores += 1;
            status.applied = sequence;
        });
        self.moved.send_replace(());
    }

    /// Whether a snapshot is due after the entry in this message, and we are to take it. Where
    /// nobody did for a while, it is looked into apart from reading.
    pub(super) fn is_ours_to_take(&self, message: &Message) -> bool {
        let due = self.desk.due.borrow();
        if due.is_wanted() && self.is_ours(message) {
            return true;
        }
        if due.is_overdue() {
            self.snapshot.notify_one();
        }
        false
    }

    fn is_ours(&self, message: &Message) -> bool {
        let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
        id.is_some_and(|id| self.desk.mailing.borrow().is_ours(id.as_str()))
    }

    pub(super) fn take_snapshot(&self) {
        let Some(snapshot) = self.snapshot_now() else { return };
        let mut waiting = self.waiting.borrow_mut();
        waiting.push_back(snapshot);
        if waiting.len() > WAITING_MAX {
            waiting.pop_front();
        }
        self.snapshot.notify_one();
    }

    /// Of the place where we are, with the time of the entry there.
    fn snapshot_now(&self) -> Option<(Snapshot, u64)> {
        let time_ms = self.desk.place.borrow().time_ms()?;
        let snapshot = self.desk.follower.snapshot();
        self.desk.due.borrow_mut().found(snapshot.sequence);
        Some((snapshot, time_ms))
    }

    /// Writes snapshots when they are due, and removes those that are of no use any more.
    pub(super) async fn keep_snapshots(&self) -> BusError {
        loop {
            self.snapshot.notified().await;
            if let Err(error) = self.keep_one().await {
                self.desk.complain(&error);
                sleep(RETRY).await;
            }
        }
    }

    async fn keep_one(&self) -> Result<(), BusError> {
        let desk = self.desk;
        let unusable = |reason| BusError::Stream { stream: desk.names.snapshots.clone(), reason };
        let shelf = Shelf::open(&self.jetstream, &desk.options, &desk.names).await?;
        let Some(created_ns) = desk.place.borrow().created_ns else { return Ok(()) };
        let mut labels = shelf.labels(desk.seal.as_ref()).await.map_err(unusable)?;
        labels.retain(|label| desk.written.borrow().is_wrong(label));
        for label in &labels {
            shelf.remove(label).await.map_err(unusable)?;
        }
        let waiting = self.waiting.borrow_mut().pop_front();
        let snapshot = match waiting {
            Some(snapshot) => Some(snapshot),
            None => self.overdue(&shelf, created_ns).await.map_err(unusable)?,
        };
        let Some(snapshot) = snapshot else { return Ok(()) };
        self.write(&shelf, created_ns, snapshot).await.map_err(unusable)?;
        desk.board.change(|status| status.snapshots += 1);
        if !self.waiting.borrow().is_empty() {
            self.snapshot.notify_one();
        }
        let Some(info) = order::look(&self.jetstream, &desk.names).await? else { return Ok(()) };
        let created_ns = info.created.unix_timestamp_nanos();
        let (first, last) = (info.state.first_sequence, info.state.last_sequence);
        let labels = shelf.labels(desk.seal.as_ref()).await.map_err(unusable)?;
        for label in useless(&labels, created_ns, first, last) {
            shelf.remove(label).await.map_err(unusable)?;
        }
        Ok(())
    }

    /// A snapshot of now, where no other machine has written one.
    async fn overdue(
        &self,
        shelf: &Shelf,
        created_ns: i128,
    ) -> Result<Option<(Snapshot, u64)>, String> {
        let labels = shelf.labels(self.desk.seal.as_ref()).await?;
        let last = self.desk.board.read().last_sequence.max(self.desk.follower.applied());
        let newest = newest(&labels, created_ns, last);
        self.desk.due.borrow_mut().found(newest);
        let is_overdue = self.desk.due.borrow().is_overdue();
        if !is_overdue || self.desk.place.borrow().created_ns != Some(created_ns) {
            return Ok(None);
        }
        // Between two calls of `apply`: nothing else runs on this thread.
        Ok(self.snapshot_now())
    }

    async fn write(
        &self,
        shelf: &Shelf,
        created_ns: i128,
        (snapshot, time_ms): (Snapshot, u64),
    ) -> Result<(), String> {
        let room = self.client.max_payload().saturating_sub(HEAD_BYTES_MAX);
        let part_bytes = room.clamp(1, PART_BYTES_MAX);
        let mut label = Label {
            created_ns,
            sequence: snapshot.sequence,
            time_ms,
            writer: (self.desk.random.borrow_mut().next() >> 32) as u32,
            parts: snapshot.state.len().div_ceil(part_bytes).max(1),
            checksum: checksum(&snapshot.state),
            proof: None,
        };
        label.proof = self.desk.seal.as_ref().map(|seal| {
            let (digest, prefix) = (digest(&snapshot.state), &shelf.prefix);
            let tag = seal.tag(Purpose::Label { prefix }, label.proven(&digest).as_bytes());
            Proof { digest, tag }
        });
        self.desk.written.borrow_mut().add(&label);
        shelf.write(&label, &snapshot.state, part_bytes).await
    }
}
