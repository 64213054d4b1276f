//! What the driver knows, from its start to its end. Connections come and go, this stays.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc::UnboundedReceiver, watch};
use tokio::time::Instant;

use bytes::Bytes;

use super::super::follower::{Entry, Follower, Link, Proposal};
use super::doubt::Relapses;
use super::error::BusError;
use super::mailing::Mailing;
use super::names::Names;
use super::options::NatsOptions;
use super::place::Place;
use super::seal::{Purpose, Seal, is_sealed};
use super::shelf::{Due, Written};
use super::status::Board;
use echoline_base::random::Random;

/// Between two complaints in the log.
const COMPLAINTS_APART: Duration = Duration::from_secs(1);

/// One thread has it: nothing in it is held while somebody waits.
pub(super) struct Desk {
    pub(super) options: NatsOptions,
    pub(super) names: Names,
    /// Authenticates what nodes send, if the cluster has a key.
    pub(super) seal: Option<Seal>,
    pub(super) follower: Arc<dyn Follower>,
    pub(super) board: Arc<Board>,
    /// True once the driver is to end.
    pub(super) closing: watch::Receiver<bool>,
    /// Held by the connection that there is.
    pub(super) proposals: Mutex<UnboundedReceiver<Proposal>>,
    /// What was taken from there and is not settled.
    pub(super) mailing: RefCell<Mailing>,
    pub(super) place: RefCell<Place>,
    pub(super) due: RefCell<Due>,
    pub(super) relapses: RefCell<Relapses>,
    /// What we wrote of late that others may go on from.
    pub(super) written: RefCell<Written>,
    /// Tells [`start`](super::start) how it went; `None` once it was told.
    pub(super) ready: RefCell<Option<mpsc::Sender<Result<(), BusError>>>>,
    pub(super) random: RefCell<Random>,
    /// What the follower was told last; it takes for granted that the link is down at first.
    told: Cell<Link>,
    complained: Cell<Option<Instant>>,
    connected: Cell<bool>,
    reading: Cell<bool>,
    stuck: Cell<bool>,
}

/// The ends of the channels that the thread of the bus has.
#[derive(Debug)]
pub(super) struct Channels {
    /// The proposals of the chat.
    pub(super) proposals: UnboundedReceiver<Proposal>,
    /// Becomes true when the bus is to end.
    pub(super) closing: watch::Receiver<bool>,
    /// Takes the result of the first connection.
    pub(super) ready: mpsc::Sender<Result<(), BusError>>,
}

impl Desk {
    pub(super) fn new(
        options: NatsOptions,
        names: Names,
        seal: Option<Seal>,
        follower: Arc<dyn Follower>,
        board: Arc<Board>,
        channels: Channels,
    ) -> Self {
        let Channels { proposals, closing, ready } = channels;
        let due = Due::new(options.snapshot_entries(), options.snapshot_bytes());
        // A chat without random bytes still retries, in step with the others.
        let seed = getrandom::u64().unwrap_or_default();
        Self {
            options,
            names,
            seal,
            follower,
            board,
            closing,
            proposals: Mutex::new(proposals),
            mailing: RefCell::default(),
            place: RefCell::default(),
            due: RefCell::new(due),
            relapses: RefCell::default(),
            written: RefCell::default(),
            ready: RefCell::new(Some(ready)),
            random: RefCell::new(Random::of(&[seed])),
            told: Cell::new(Link::Down),
            complained: Cell::new(None),
            connected: Cell::new(false),
            reading: Cell::new(false),
            stuck: Cell::new(false),
        }
    }

    /// Returns the message for a proposal: with a tag of this stream, if the cluster has a key.
    pub(super) fn sealed(&self, payload: &Bytes) -> Result<Bytes, String> {
        let Some(seal) = &self.seal else { return Ok(payload.clone()) };
        let created_ns = self.place.borrow().created_ns;
        let created_ns = created_ns.ok_or("the stream has not been looked at yet")?;
        Ok(seal.seal(Purpose::Entry { stream: &self.names.order, created_ns }, payload))
    }

    /// The entries as the chat is given them: without their tags, and those that no node with the
    /// key has sent without their payloads.
    pub(super) fn opened(&self, entries: &[Entry]) -> Result<Option<Vec<Entry>>, BusError> {
        let stream = &self.names.order;
        let Some(seal) = &self.seal else {
            return match entries.iter().any(|entry| is_sealed(&entry.payload)) {
                true => Err(BusError::NoKey { stream: stream.clone() }),
                false => Ok(None),
            };
        };
        let created_ns = self.place.borrow().created_ns.unwrap_or_default();
        let purpose = Purpose::Entry { stream, created_ns };
        let mut authentic = 0;
        let open = |entry: &Entry| {
            let opened = seal.open(purpose, &entry.payload);
            authentic += u64::from(opened.is_ok());
            Entry { payload: opened.unwrap_or_default(), ..*entry }
        };
        let opened: Vec<Entry> = entries.iter().map(open).collect();
        self.board.change(|status| status.authentic += authentic);
        self.refused(entries.len() as u64 - authentic);
        Ok(Some(opened))
    }

    /// A message outside of the stream with a tag, if the cluster has a key.
    pub(super) fn sealed_message(&self, subject: &str, message: Bytes) -> Bytes {
        let seal = self.seal.as_ref();
        seal.map_or(message.clone(), |seal| seal.seal(Purpose::Message { subject }, &message))
    }

    /// Such a message without its tag; `None` if it comes from no node with the key.
    pub(super) fn opened_message(&self, subject: &str, message: &Bytes) -> Option<Bytes> {
        let Some(seal) = &self.seal else { return Some(message.clone()) };
        let opened = seal.open(Purpose::Message { subject }, message).ok();
        self.refused(u64::from(opened.is_none()));
        opened
    }

    /// Counts messages that come from no node with the key, and tells the log now and then.
    fn refused(&self, count: u64) {
        let mut now = 0;
        self.board.change(|status| {
            status.refused += count;
            now = status.refused;
        });
        let before = now - count;
        // At the first one, and each time that there are twice as many.
        if count > 0 && before.checked_ilog2() != now.checked_ilog2() {
            tracing::error!(
                messages = now,
                "refused what comes from no node with the key of the cluster: a stranger may \
                 publish on the bus, or a node has another key"
            );
        }
    }

    /// Whether all that the stream has was refused.
    pub(super) fn found_nothing_authentic(&self) -> bool {
        let status = self.board.read();
        status.refused > 0 && status.authentic == 0 && status.restores == 0
    }

    pub(super) fn connected(&self, connected: bool) {
        self.connected.set(connected);
        self.tell_link();
    }

    pub(super) fn reading(&self, reading: bool) {
        self.reading.set(reading);
        self.tell_link();
    }

    /// There is nothing any more.
    pub(super) fn down(&self) {
        self.reading.set(false);
        self.connected(false);
    }

    /// Whether what we propose has not got through for a while.
    pub(super) fn stuck(&self, stuck: bool) {
        self.stuck.set(stuck);
        self.tell_link();
    }

    /// The link is up while the order can be read and written: a connection alone is of no use to
    /// a chat.
    fn tell_link(&self) {
        let is_up = self.connected.get() && self.reading.get() && !self.stuck.get();
        let link = if is_up { Link::Up } else { Link::Down };
        if self.told.replace(link) != link {
            self.board.change(|status| status.link = link);
            self.follower.link(link);
        }
    }

    /// Tells who waits for the start that it is done, or why not. True if somebody waited.
    pub(super) fn started(&self, outcome: Result<(), BusError>) -> bool {
        let waiting = self.ready.borrow_mut().take();
        waiting.is_some_and(|waiting| waiting.send(outcome).is_ok())
    }

    pub(super) fn is_starting(&self) -> bool {
        self.ready.borrow().is_some()
    }

    /// Something went wrong that is tried again: it is said once, not at every try, nor in turn
    /// with something else.
    pub(super) fn complain(&self, error: &BusError) {
        let (is_new, now) = (self.board.fail(error), Instant::now());
        if is_new && self.complained.get().is_none_or(|then| then + COMPLAINTS_APART <= now) {
            self.complained.set(Some(now));
            tracing::warn!("{error}");
        } else {
            tracing::debug!("{error}");
        }
    }
}
