//! Reading the order: every entry once, one after the other, without a hole.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, push};
use async_nats::jetstream::stream::Info;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::super::follower::Entry;
use super::connect::reason;
use super::doubt;
use super::error::BusError;
use super::life::Life;
use super::order;
use super::place::Verdict;

/// A server that says nothing for twice as long does not know the reader any more.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How many entries a chat is given at once.
const BATCH_ENTRIES_MAX: usize = 1000;
/// Between two tries to read.
const RETRY: Duration = Duration::from_millis(500);
/// How often another reader is made until one is where the stream is led: one in three is.
const READERS_MAX: u32 = 16;

/// Why the order has to be read anew from where we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// Somebody found a reason to.
    Asked,
    /// An entry is missing.
    Gap,
    /// The server does not send any more.
    Silent,
    /// The entry at our place is another one.
    Fork,
}

impl Life<'_> {
    /// Reads until something is wrong that another try will not mend.
    pub(super) async fn read(&self) -> BusError {
        loop {
            match self.read_on().await {
                Ok(Again::Asked) => {}
                Ok(why) => {
                    tracing::warn!("the order is read anew ({why:?})");
                    self.desk.board.change(|status| status.gaps += 1);
                }
                Err(error) if error.is_final() => return error,
                Err(error) => {
                    self.desk.reading(false);
                    self.desk.complain(&error);
                    tokio::select! {
                        () = tokio::time::sleep(RETRY) => {}
                        () = self.look.notified() => {}
                    }
                }
            }
        }
    }

    async fn read_on(&self) -> Result<Again, BusError> {
        let info = order::open(&self.jetstream, &self.desk.options, &self.desk.names).await?;
        if self.desk.is_starting() {
            let version = self.client.server_info().version;
            order::warn(&info, &version, &self.desk.options, &self.desk.names);
        }
        if let Some(first) = self.found_wrong() {
            self.diverged(first);
            self.desk.reading(false);
            let pause = self.desk.relapses.borrow_mut().next(Instant::now());
            tokio::time::sleep(pause).await;
            return Ok(Again::Asked);
        }
        self.find_place(&info).await?;
        let last = info.state.last_sequence;
        let messages = self.subscribe(&info).await?;
        self.doubt_newest();
        let mut chunks = std::pin::pin!(messages.ready_chunks(BATCH_ENTRIES_MAX));
        self.desk.reading(true);
        self.come_up_to(last)?;
        loop {
            tokio::select! {
                () = self.look.notified() => return Ok(Again::Asked),
                chunk = chunks.next() => {
                    let Some(chunk) = chunk else { return Ok(Again::Silent) };
                    let again = self.take(chunk)?;
                    self.come_up_to(last)?;
                    if let Some(again) = again {
                        return Ok(again);
                    }
                }
            }
        }
    }

    /// Sees to it that the next entry of the chat is one that the stream has.
    async fn find_place(&self, info: &Info) -> Result<(), BusError> {
        let created_ns = info.created.unix_timestamp_nanos();
        let (first, last) = (info.state.first_sequence, info.state.last_sequence);
        self.desk.board.change(|status| {
            status.created_ms = u64::try_from(created_ns / 1_000_000).unwrap_or_default();
            status.last_sequence = last;
        });
        let applied = self.desk.follower.applied();
        let verdict = self.desk.place.borrow_mut().look(created_ns, last, applied);
        match verdict {
            Verdict::Same => {}
            Verdict::Short => {
                let reason = format!("it ends at entry {last}, we are at {applied}");
                return Err(BusError::Stream { stream: self.desk.names.order.clone(), reason });
            }
            Verdict::Another if last < applied => {
                self.begin_anew(
                    created_ns,
                    format!("it ends at entry {last}, we were at {applied}"),
                );
            }
            Verdict::Another => self.begin_anew(created_ns, "it was made anew".to_owned()),
        }
        let applied = self.desk.follower.applied();
        let first = self.desk.place.borrow().first(first, applied);
        if first > applied + 1 && last > 0 {
            self.restore(info, first).await?;
        }
        Ok(())
    }

    /// What we have, from this entry on, is not what the stream has.
    fn diverged(&self, first: u64) {
        let reason = format!("it has another entry {first}");
        let stream = self.desk.names.order.clone();
        let error = BusError::Renewed { stream, reason: reason.clone() };
        tracing::error!("{error}");
        self.desk.board.fail(&error);
        self.desk.board.change(|status| status.divergences += 1);
        self.desk.written.borrow_mut().distrust(first);
        self.snapshot.notify_one();
        let created_ns = self.desk.place.borrow().created_ns;
        self.begin_anew(created_ns.unwrap_or_default(), reason);
    }

    fn begin_anew(&self, created_ns: i128, reason: String) {
        let stream = self.desk.names.order.clone();
        self.desk.board.change(|status| status.renewed_because = Some(reason.clone()));
        self.desk.complain(&BusError::Renewed { stream, reason });
        self.desk.board.change(|status| {
            status.renewals += 1;
            status.applied = 0;
        });
        self.desk.place.borrow_mut().begin_anew(created_ns);
        self.desk.due.borrow_mut().begin_anew();
        self.desk.mailing.borrow_mut().lose();
        self.waiting.borrow_mut().clear();
        self.desk.follower.begin_anew();
        self.moved.send_replace(());
    }

    /// Where we were when we began is reached: the start is done.
    fn come_up_to(&self, last: u64) -> Result<(), BusError> {
        if self.desk.is_starting() && self.desk.follower.applied() >= last {
            if self.desk.found_nothing_authentic() {
                return Err(BusError::NotAuthentic { stream: self.desk.names.order.clone() });
            }
            self.desk.started(Ok(()));
        }
        Ok(())
    }

    /// From the server that leads the stream, if that can be had: others may differ from it. Which
    /// one a reader is put on is left to chance by the servers.
    async fn subscribe(&self, info: &Info) -> Result<push::Messages, BusError> {
        let leader = doubt::leader(info);
        self.leader.replace(leader.map(str::to_owned));
        self.is_clustered.set(info.cluster.is_some());
        let mut tries = 1;
        loop {
            let consumer = self.make_reader().await?;
            let at = consumer.cached_info().cluster.as_ref();
            let at = at.and_then(|cluster| cluster.leader.as_deref());
            let is_there = info.cluster.is_none() || leader.is_some() && at == leader;
            if is_there || leader.is_none() || tries == READERS_MAX {
                tracing::debug!("reads from {at:?} at try {tries}, the leader is {leader:?}");
                return consumer.messages().await.map_err(|error| self.unusable(reason(&error)));
            }
            tries += 1;
            // One that nobody reads from is removed by the server in time.
            let name = &consumer.cached_info().name;
            let _ = self.jetstream.delete_consumer_from_stream(name, &info.config.name).await;
        }
    }

    /// From our place on, with the entries before it: to see that they are those we know.
    async fn make_reader(&self) -> Result<Consumer<push::Config>, BusError> {
        let first_known = self.desk.place.borrow().first_known();
        let applied = self.desk.follower.applied();
        let start_sequence = if first_known == 0 { applied + 1 } else { first_known };
        let config = push::Config {
            deliver_subject: self.client.new_inbox(),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
            ack_policy: AckPolicy::None,
            flow_control: true,
            idle_heartbeat: HEARTBEAT,
            memory_storage: true,
            num_replicas: 1,
            ..push::Config::default()
        };
        let order = &self.desk.names.order;
        let made = self.jetstream.create_consumer_on_stream(config, order.as_str()).await;
        made.map_err(|error| self.unusable(reason(&error)))
    }

    fn unusable(&self, reason: String) -> BusError {
        BusError::Stream { stream: self.desk.names.order.clone(), reason }
    }

    /// Applies what came, as far as it is the continuation of what is there.
    fn take(
        &self,
        chunk: Vec<Result<Message, push::MessagesError>>,
    ) -> Result<Option<Again>, BusError> {
        let mut applied = self.desk.follower.applied();
        let mut entries = Vec::with_capacity(chunk.len());
        let mut again = None;
        for message in chunk {
            let Ok(message) = message else {
                again = Some(Again::Silent);
                break;
            };
            let Some(entry) = entry(&message) else { continue };
            if entry.sequence <= applied {
                again = self.recognise(&entry)?;
                if again.is_some() {
                    break;
                }
                continue;
            }
            if entry.sequence > applied + 1 {
                self.desk.place.borrow_mut().missed(applied, entry.sequence);
                again = Some(Again::Gap);
                break;
            }
            applied = entry.sequence;
            self.desk.due.borrow_mut().count(&entry);
            entries.push(entry);
            if self.is_ours_to_take(&message) {
                // Of exactly this place, as any other machine would take it.
                self.apply(&mut entries)?;
                self.take_snapshot();
            }
        }
        self.apply(&mut entries)?;
        Ok(again)
    }

    fn recognise(&self, entry: &Entry) -> Result<Option<Again>, BusError> {
        let (sequence, known) = (entry.sequence, self.desk.place.borrow().is_known(entry));
        if known {
            return Ok(None);
        }
        if self.is_clustered.get() {
            // It is not the stream that differs, as far as we know: another server may lead it.
            self.doubt(sequence);
            return Err(self.unusable(format!("a server has another entry {sequence} of it")));
        }
        self.diverged(sequence);
        Ok(Some(Again::Fork))
    }

    fn apply(&self, entries: &mut Vec<Entry>) -> Result<(), BusError> {
        let Some(last) = entries.last() else { return Ok(()) };
        let desk = self.desk;
        let opened = desk.opened(entries)?;
        desk.follower.apply(opened.as_deref().unwrap_or(entries));
        let (given, applied) = (last.sequence, desk.follower.applied());
        if applied != given {
            return Err(BusError::NotApplied { applied, given });
        }
        desk.place.borrow_mut().remember(entries);
        desk.board.change(|status| {
            status.applied = applied;
            status.last_sequence = status.last_sequence.max(applied);
            status.entries += entries.len() as u64;
        });
        entries.clear();
        self.moved.send_replace(());
        Ok(())
    }
}

/// The entry in a message; `None` where it is something else, which the server does not send.
fn entry(message: &Message) -> Option<Entry> {
    let info = message.info().ok()?;
    let time_ms = info.published.unix_timestamp_nanos() / 1_000_000;
    Some(Entry {
        sequence: info.stream_sequence,
        time_ms: u64::try_from(time_ms).unwrap_or_default(),
        payload: message.payload.clone(),
    })
}
