//! The snapshots on the servers. They are in one stream, in which each snapshot has its own
//! subject. The end of the subject is the label of the snapshot, and the messages are its parts. A
//! snapshot without all parts is ignored.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, push};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{Context, Message};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::cluster_key::{ClusterKey, TagPurpose};
use super::connect::reason;
use super::error::DriverError;
use super::options::NatsOptions;
use super::options::StreamNames;
use super::snapshot_label::{SnapshotLabel, SnapshotProof};
use super::stream;
use echoline_base::checksum::CRC_32C;
use echoline_chat_core::StateSnapshot;

/// The maximum size of a part, in bytes. Parts are smaller if the server accepts only smaller
/// messages.
const PART_BYTES_MAX: usize = 256 << 10;
/// The maximum size of a message without its payload, in bytes.
const HEAD_BYTES_MAX: usize = 4096;
/// The maximum size of a snapshot, in bytes. Without this limit, a forged snapshot could fill the
/// memory.
const SNAPSHOT_BYTES_MAX: usize = 256 << 20;
/// The time-out for reading or writing one part.
const PART_TIMEOUT: Duration = Duration::from_secs(5);

/// The stream of snapshots.
pub(super) struct SnapshotCatalog {
    stream: Stream<()>,
    jetstream: Context,
    prefix: String,
}

impl SnapshotCatalog {
    /// Opens the catalog. Creates its stream if it does not exist.
    pub(super) async fn open_or_create(
        jetstream: &Context,
        options: &NatsOptions,
        names: &StreamNames,
    ) -> Result<Self, DriverError> {
        let config = Config {
            name: names.snapshot_stream.clone(),
            subjects: vec![format!("{}.>", names.snapshot_subject)],
            num_replicas: usize::from(options.replicas.max(1)),
            description: Some("Snapshots of an echoline chat".to_owned()),
            ..Config::default()
        };
        if jetstream.get_stream(&names.snapshot_stream).await.is_err() {
            stream::create(jetstream, config, names).await?;
        }
        Self::open(jetstream, names).await
    }

    /// Opens the catalog. Its stream must exist.
    pub(super) async fn open(
        jetstream: &Context,
        names: &StreamNames,
    ) -> Result<Self, DriverError> {
        let stream = jetstream.get_stream_no_info(&names.snapshot_stream).await;
        let stream = stream.map_err(|error| DriverError::Stream {
            stream: names.snapshot_stream.clone(),
            reason: reason(&error),
        })?;
        let (jetstream, prefix) = (jetstream.clone(), names.snapshot_subject.clone());
        Ok(Self { stream, jetstream, prefix })
    }

    /// Returns the labels of all snapshots that are complete and authentic.
    pub(super) async fn labels(
        &self,
        key: Option<&ClusterKey>,
    ) -> Result<Vec<SnapshotLabel>, String> {
        let subjects = self.stream.info_with_subjects(format!("{}.>", self.prefix)).await;
        let mut subjects = subjects.map_err(|error| reason(&error))?;
        let mut labels = Vec::new();
        while let Some((subject, parts)) =
            subjects.try_next().await.map_err(|error| reason(&error))?
        {
            let label = SnapshotLabel::parse(&self.prefix, &subject);
            let label = label.filter(|label| label.parts == parts);
            labels.extend(label.filter(|label| label.is_authentic(&self.prefix, key)));
        }
        Ok(labels)
    }

    /// Reads a snapshot, and verifies its checksum and its proof.
    pub(super) async fn read(&self, label: &SnapshotLabel) -> Result<StateSnapshot, String> {
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
        if CRC_32C.checksum(&state) != label.checksum {
            return Err("its checksum is wrong".to_owned());
        }
        if label.proof.as_ref().is_some_and(|proof| proof.digest != digest(&state)) {
            return Err("it differs from the state that its writer signed".to_owned());
        }
        Ok(StateSnapshot { sequence: label.sequence, state })
    }

    /// Returns the label of a new snapshot. `time_ms` is the time of its last entry, `created_ns`
    /// the creation time of the stream, and `writer` a random number.
    pub(super) fn label(
        &self,
        (snapshot, time_ms): (&StateSnapshot, u64),
        created_ns: i128,
        writer: u32,
        key: Option<&ClusterKey>,
    ) -> SnapshotLabel {
        let mut label = SnapshotLabel {
            created_ns,
            sequence: snapshot.sequence,
            time_ms,
            writer,
            parts: snapshot.state.len().div_ceil(self.part_bytes()).max(1),
            checksum: CRC_32C.checksum(&snapshot.state),
            proof: None,
        };
        label.proof = key.map(|key| {
            let (digest, prefix) = (digest(&snapshot.state), &self.prefix);
            let tag = key.tag(TagPurpose::Label { prefix }, label.proven(&digest).as_bytes());
            SnapshotProof { digest, tag }
        });
        label
    }

    /// Writes all parts of a snapshot. If this fails, removes the parts that were written.
    pub(super) async fn write(&self, label: &SnapshotLabel, state: &Bytes) -> Result<(), String> {
        let subject = label.subject(&self.prefix);
        let part_bytes = state.len().div_ceil(label.parts).max(1);
        for (number, start) in (0..label.parts).map(|number| (number, number * part_bytes)) {
            let part = state.slice(start.min(state.len())..state.len().min(start + part_bytes));
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

    /// Removes a snapshot.
    pub(super) async fn remove(&self, label: &SnapshotLabel) -> Result<(), String> {
        let purge = self.stream.purge().filter(label.subject(&self.prefix));
        purge.await.map(|_| ()).map_err(|error| reason(&error))
    }

    /// Returns the maximum size of a part on the connected server, in bytes.
    fn part_bytes(&self) -> usize {
        let payload = self.jetstream.client().max_payload();
        payload.saturating_sub(HEAD_BYTES_MAX).clamp(1, PART_BYTES_MAX)
    }
}

/// Returns the SHA-256 of a state as hexadecimal digits.
fn digest(state: &[u8]) -> String {
    format!("{:x}", Sha256::digest(state))
}
