//! Reads the stream, and applies every entry once, in order and without gaps.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, push};
use async_nats::jetstream::stream::Info;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep};

use super::active_connection::ActiveConnection;
use super::connect::reason;
use super::error::DriverError;
use super::stream;
use super::stream_cursor::StreamIdentity;
use echoline_chat_core::StreamEntry;

/// The interval between heartbeats of an idle consumer. If two are missing, the server has lost the
/// consumer.
const IDLE_HEARTBEAT: Duration = Duration::from_secs(2);
/// The maximum number of entries that are applied at once.
const BATCH_ENTRIES_MAX: usize = 1000;
/// The pause between two attempts to read.
const RETRY: Duration = Duration::from_millis(500);

/// The reason why reading must continue with a new consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RereadReason {
    /// Another task requested a new consumer.
    Requested,
    /// An entry is missing.
    Gap,
    /// The server has stopped sending.
    Silent,
}

impl ActiveConnection<'_> {
    /// Reads entries until an error occurs that another attempt does not solve.
    pub(super) async fn read(&self) -> DriverError {
        loop {
            match self.read_on().await {
                Ok(RereadReason::Requested) => {}
                Ok(reason) => {
                    tracing::warn!("reading the stream again ({reason:?})");
                    self.driver.status.update(|status| status.gaps += 1);
                }
                Err(error) if error.is_final() => return error,
                Err(error) => {
                    self.driver.set_reading(false);
                    self.driver.log_throttled(&error);
                    tokio::select! {
                        () = sleep(RETRY) => {}
                        () = self.reread.notified() => {}
                    }
                }
            }
        }
    }

    async fn read_on(&self) -> Result<RereadReason, DriverError> {
        let driver = self.driver;
        let (options, names) = (&driver.options, &driver.names);
        let version = self.client.server_info().version;
        let info = stream::open_or_create(&self.jetstream, &version, options, names).await?;
        if driver.is_starting() {
            stream::warn(&info, options, names);
        }
        let wrong = self.checks.borrow_mut().take_found();
        if let Some(wrong) = wrong {
            self.reset_diverged(wrong);
            driver.set_reading(false);
            let pause = driver.reset_backoff.borrow_mut().next(Instant::now());
            sleep(pause).await;
            return Ok(RereadReason::Requested);
        }
        self.find_position(&info).await?;
        let last = info.state.last_sequence;
        let messages = self.subscribe().await?;
        self.request_newest_check();
        let mut chunks = std::pin::pin!(messages.ready_chunks(BATCH_ENTRIES_MAX));
        driver.set_reading(true);
        self.report_if_started(last)?;
        loop {
            tokio::select! {
                () = self.reread.notified() => return Ok(RereadReason::Requested),
                chunk = chunks.next() => {
                    let Some(chunk) = chunk else { return Ok(RereadReason::Silent) };
                    let reason = self.take(chunk)?;
                    self.report_if_started(last)?;
                    if let Some(reason) = reason {
                        return Ok(reason);
                    }
                }
            }
        }
    }

    /// Ensures that the entry after the last applied one can be read. Resets the state if the
    /// stream was replaced. Restores a snapshot if entries are missing.
    async fn find_position(&self, info: &Info) -> Result<(), DriverError> {
        let driver = self.driver;
        let created_ns = info.created.unix_timestamp_nanos();
        let (first, last) = (info.state.first_sequence, info.state.last_sequence);
        driver.status.update(|status| {
            status.created_ms = u64::try_from(created_ns / 1_000_000).unwrap_or_default();
            status.last_sequence = last;
        });
        let applied = driver.state.applied();
        let identity = driver.cursor.borrow_mut().compare(created_ns, last, applied);
        let too_short = || format!("it ends at entry {last}, and entry {applied} was applied");
        match identity {
            StreamIdentity::Same => {}
            StreamIdentity::TooShort => return Err(driver.stream_error(too_short())),
            StreamIdentity::Replaced if last < applied => self.reset(created_ns, too_short()),
            StreamIdentity::Replaced => self.reset(created_ns, "it was created again".to_owned()),
        }
        let applied = driver.state.applied();
        let first = driver.cursor.borrow().first_readable(first, applied);
        if first > applied + 1 && last > 0 {
            self.restore(info, first).await?;
        }
        Ok(())
    }

    /// Resets the state, because the stream has a different entry with the sequence `first`.
    fn reset_diverged(&self, first: u64) {
        let driver = self.driver;
        let reason = format!("it has another entry {first}");
        let stream = driver.names.stream.clone();
        let error = DriverError::Reset { stream, reason: reason.clone() };
        tracing::error!("{error}");
        driver.status.record_error(&error);
        driver.status.update(|status| status.divergences += 1);
        driver.written.borrow_mut().diverged_at(first);
        self.snapshot_requested.notify_one();
        let created_ns = driver.cursor.borrow().created_ns;
        self.reset(created_ns.unwrap_or_default(), reason);
    }

    fn reset(&self, created_ns: i128, reason: String) {
        let driver = self.driver;
        let stream = driver.names.stream.clone();
        driver.status.update(|status| status.reset_reason = Some(reason.clone()));
        driver.log_throttled(&DriverError::Reset { stream, reason });
        driver.status.update(|status| {
            status.resets += 1;
            status.applied = 0;
        });
        driver.cursor.borrow_mut().reset(created_ns);
        driver.schedule.borrow_mut().reset();
        driver.in_flight.borrow_mut().stream_replaced();
        self.snapshots.borrow_mut().clear();
        driver.state.reset();
        self.moved.send_replace(());
    }

    /// Reports the success of the start when entry `last` has been applied. It was the last entry
    /// of the stream when the start began.
    fn report_if_started(&self, last: u64) -> Result<(), DriverError> {
        if self.driver.is_starting() && self.driver.state.applied() >= last {
            if self.driver.has_nothing_authentic() {
                let stream = self.driver.names.stream.clone();
                return Err(DriverError::NotAuthentic { stream });
            }
            self.driver.report_start(Ok(()));
        }
        Ok(())
    }

    /// Creates a consumer. It begins with the most recent applied entries, so that they can be
    /// compared with those of the stream.
    async fn subscribe(&self) -> Result<push::Messages, DriverError> {
        let first_recent = self.driver.cursor.borrow().first_recent();
        let applied = self.driver.state.applied();
        let start_sequence = if first_recent == 0 { applied + 1 } else { first_recent };
        let config = push::Config {
            deliver_subject: self.client.new_inbox(),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
            ack_policy: AckPolicy::None,
            flow_control: true,
            idle_heartbeat: IDLE_HEARTBEAT,
            memory_storage: true,
            num_replicas: 1,
            ..push::Config::default()
        };
        let unusable = |error: &dyn std::error::Error| self.driver.stream_error(reason(error));
        let stream = self.driver.names.stream.as_str();
        let made = self.jetstream.create_consumer_on_stream(config, stream).await;
        let consumer: Consumer<push::Config> = made.map_err(|error| unusable(&error))?;
        consumer.messages().await.map_err(|error| unusable(&error))
    }

    /// Applies the messages that come after the last applied entry. Earlier ones are compared.
    fn take(
        &self,
        chunk: Vec<Result<Message, push::MessagesError>>,
    ) -> Result<Option<RereadReason>, DriverError> {
        let driver = self.driver;
        let mut applied = driver.state.applied();
        let mut entries = Vec::with_capacity(chunk.len());
        let mut reason = None;
        for message in chunk {
            let Ok(message) = message else {
                reason = Some(RereadReason::Silent);
                break;
            };
            let Some(entry) = entry(&message) else { continue };
            if entry.sequence <= applied {
                self.compare_with_applied(&entry)?;
                continue;
            }
            if entry.sequence > applied + 1 {
                driver.cursor.borrow_mut().record_gap(applied, entry.sequence);
                reason = Some(RereadReason::Gap);
                break;
            }
            applied = entry.sequence;
            driver.schedule.borrow_mut().count(&entry);
            entries.push(entry);
            if self.is_snapshot_due(&message) {
                // All nodes take their snapshots after the same entries.
                self.apply(&mut entries)?;
                self.take_snapshot();
            }
        }
        self.apply(&mut entries)?;
        Ok(reason)
    }

    /// Requests a divergence check if the entry differs from the applied one.
    fn compare_with_applied(&self, entry: &StreamEntry) -> Result<(), DriverError> {
        let sequence = entry.sequence;
        if self.driver.cursor.borrow().matches(entry) {
            return Ok(());
        }
        self.request_check(sequence);
        Err(self.driver.stream_error(format!("a server has another entry {sequence}")))
    }

    fn apply(&self, entries: &mut Vec<StreamEntry>) -> Result<(), DriverError> {
        let Some(last) = entries.last() else { return Ok(()) };
        let driver = self.driver;
        let verified = driver.verify_entries(entries)?;
        driver.state.apply(verified.as_deref().unwrap_or(entries));
        let (given, applied) = (last.sequence, driver.state.applied());
        if applied != given {
            return Err(DriverError::NotApplied { applied, given });
        }
        driver.cursor.borrow_mut().record(entries);
        driver.status.update(|status| {
            status.applied = applied;
            status.last_sequence = status.last_sequence.max(applied);
            status.entries += entries.len() as u64;
        });
        entries.clear();
        self.moved.send_replace(());
        Ok(())
    }
}

/// Returns the entry in a message, or `None` if the message is not from a stream.
fn entry(message: &Message) -> Option<StreamEntry> {
    let info = message.info().ok()?;
    let time_ms = info.published.unix_timestamp_nanos() / 1_000_000;
    Some(StreamEntry {
        sequence: info.stream_sequence,
        time_ms: u64::try_from(time_ms).unwrap_or_default(),
        payload: message.payload.clone(),
    })
}
