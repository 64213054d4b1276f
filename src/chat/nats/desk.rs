//! What the driver knows, from its start to its end. Connections come and go, this stays.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc::UnboundedReceiver, watch};
use tokio::time::Instant;

use super::super::follower::{Follower, Link, Proposal};
use super::doubt::Relapses;
use super::error::BusError;
use super::mailing::Mailing;
use super::names::Names;
use super::options::NatsOptions;
use super::place::Place;
use super::shelf::{Due, Written};
use super::status::Board;
use crate::random::Random;

/// Between two complaints in the log.
const COMPLAINTS_APART: Duration = Duration::from_secs(1);

/// One thread has it: nothing in it is held while somebody waits.
pub(super) struct Desk {
    pub(super) options: NatsOptions,
    pub(super) names: Names,
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

impl Desk {
    pub(super) fn new(
        options: NatsOptions,
        names: Names,
        follower: Arc<dyn Follower>,
        proposals: UnboundedReceiver<Proposal>,
        board: Arc<Board>,
        closing: watch::Receiver<bool>,
        ready: mpsc::Sender<Result<(), BusError>>,
    ) -> Self {
        let due = Due::new(options.snapshot_entries(), options.snapshot_bytes());
        // A chat without random bytes still retries, in step with the others.
        let seed = getrandom::u64().unwrap_or_default();
        Self {
            options,
            names,
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
