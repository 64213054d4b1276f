//! Somebody who is in the chat, as the others can reach them.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::answer_limits::{AWAY_CHARACTERS_MAX, start_of};
use super::bans::{Suspect, network_of};
use super::crowd::Crowd;
use super::flood_mutes::{ContinuedMute, Writer};
use super::mailbox::{Ending, Letter, Mailbox};
use super::name::Name;
use super::perform::{Actor, GOES_ON};
use super::room::{Seat, Who};
use crate::SecretText;

/// One session's person.
#[derive(Debug)]
pub(super) struct Person {
    /// The number of the session, which no other has.
    pub(super) session: u64,
    /// The number of the user, which is the same in all sessions that a token restored.
    pub(super) lineage: u64,
    /// When the session began (milliseconds since 1970).
    pub(super) since_ms: u64,
    /// Whether this machine serves them: of the others here is only what everybody sees.
    pub(super) is_here: bool,
    /// Whom this machine serves under this session, while the others know nothing of what they did
    /// last, and they are to come back: they hear what this one is told.
    served: Option<Arc<Self>>,
    /// The machine that serves them; changes when it comes back after it was taken for gone.
    node: AtomicU32,
    /// Where they come from; `None` over a stream without addresses.
    pub(super) address: Option<IpAddr>,
    pub(super) mailbox: Mailbox,
    /// When they said something last, or else when they came (milliseconds since 1970); known on
    /// the node that serves them.
    spoke_ms: AtomicU64,
    operator: AtomicBool,
    /// Goes on in another session.
    retired: AtomicBool,
    /// The last of their acts that was performed, where there are several machines.
    last: AtomicU64,
    /// Whether that one came to nothing.
    was_refused: AtomicBool,
    card: Mutex<Card>,
}

#[derive(Debug)]
struct Card {
    name: Name,
    /// The rooms that they are in, and their places there.
    seats: Vec<(Arc<Crowd>, Seat)>,
    /// Made for the first of it: most people need none.
    more: Option<Box<More>>,
}

#[derive(Debug, Default)]
struct More {
    /// The away text.
    away: Option<Arc<str>>,
    /// Restores name, rooms and positions in another connection; made when it is first asked for.
    token: Option<SecretText>,
    /// A mute for writing too fast that the session began with.
    flood_mute: Option<ContinuedMute>,
    /// The hash of the operators' password that they gave; known on the node that serves them.
    operator_proof: Option<Arc<str>>,
}

impl Person {
    pub(super) fn new(actor: Actor, address: Option<IpAddr>, name: Name, lineage: u64) -> Self {
        Self {
            session: actor.session,
            lineage,
            since_ms: actor.now_ms,
            is_here: actor.is_here,
            served: None,
            node: AtomicU32::new(actor.node),
            address,
            mailbox: Mailbox::default(),
            spoke_ms: AtomicU64::new(actor.now_ms),
            operator: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            last: AtomicU64::new(0),
            was_refused: AtomicBool::new(false),
            // One room is what most are in.
            card: Mutex::new(Card { name, seats: Vec::with_capacity(1), more: None }),
        }
    }

    /// The session began at another time than now.
    pub(super) fn since(self, since_ms: u64) -> Self {
        Self { since_ms, ..self }
    }

    /// Stands for somebody whom this machine serves, until they are back.
    pub(super) fn standing_for(self, served: Option<Arc<Self>>) -> Self {
        Self { served, ..self }
    }

    pub(super) fn stands_for_another(&self) -> bool {
        self.served.is_some()
    }

    /// Whose mail is read on this machine.
    fn reader(&self) -> Option<&Self> {
        if self.is_here { Some(self) } else { self.served.as_deref() }
    }

    /// Returns the properties that a ban may apply to; `name` is the user's.
    pub(super) fn suspect<'a>(&self, name: &'a Name) -> Suspect<'a> {
        Suspect { name: Some(name), address: self.address, lineage: Some(self.lineage) }
    }

    /// The user as a mute for writing too fast finds them.
    pub(super) fn writer(&self) -> Writer {
        let (key, network) = (self.name().key().clone(), self.address.map(network_of));
        Writer { key, lineage: self.lineage, network }
    }

    /// The mute for writing too fast that the session began with.
    pub(super) fn flood_mute(&self) -> Option<ContinuedMute> {
        self.card().more.as_ref()?.flood_mute
    }

    pub(super) fn set_flood_mute(&self, mute: Option<ContinuedMute>) {
        if mute.is_some() {
            self.card().more.get_or_insert_default().flood_mute = mute;
        }
    }

    /// When they said something last, or else when they came.
    pub(super) fn spoke_ms(&self) -> u64 {
        self.spoke_ms.load(Ordering::Relaxed)
    }

    /// They say something now, to all or to one.
    pub(super) fn note_speech(&self, now_ms: u64) {
        self.spoke_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whose seats are theirs.
    pub(super) fn who(&self) -> Who {
        Who { session: self.session, lineage: self.lineage, is_here: self.is_here }
    }

    /// Delivers a letter; `false` where too many wait already. Whom another machine serves hears
    /// of it there.
    pub(super) fn deliver(&self, letter: Letter) -> bool {
        self.reader().is_none_or(|person| person.mailbox.deliver(letter))
    }

    /// Tells them that they are out of a room.
    pub(super) fn hear_of_leaving(&self, room: Name, words: String) {
        if let Some(person) = self.reader() {
            person.mailbox.insist(Letter::Expelled { room, words });
        }
    }

    /// Has them go, with these words.
    pub(super) fn end(&self, words: &str) {
        self.end_because(words, None);
    }

    /// Has them go, with these words; a page shows the reason.
    pub(super) fn end_because(&self, words: &str, reason: Option<&str>) {
        if let Some(person) = self.reader() {
            let (words, reason) = (words.to_owned(), reason.map(str::to_owned));
            person.mailbox.end(Ending { words, reason });
        }
    }

    /// The rooms that they are in, and their places there.
    pub(super) fn seats(&self) -> Vec<(Arc<Crowd>, Seat)> {
        self.card().seats.clone()
    }

    /// All places, which are given back with that.
    pub(super) fn take_seats(&self) -> Vec<(Arc<Crowd>, Seat)> {
        std::mem::take(&mut self.card().seats)
    }

    pub(super) fn take_seat(&self, crowd: Arc<Crowd>, seat: Seat) {
        self.card().seats.push((crowd, seat));
    }

    pub(super) fn seat_in(&self, crowd: &Arc<Crowd>) -> Option<Seat> {
        let card = self.card();
        let mut seats = card.seats.iter();
        seats.find(|(theirs, _)| Arc::ptr_eq(theirs, crowd)).map(|&(_, seat)| seat)
    }

    /// Their place in a room, which is given back with that.
    pub(super) fn leave_seat(&self, crowd: &Arc<Crowd>) -> Option<Seat> {
        let mut card = self.card();
        let index = card.seats.iter().position(|(theirs, _)| Arc::ptr_eq(theirs, crowd))?;
        Some(card.seats.remove(index).1)
    }

    /// Where this one is out, whom it stands for does not come back to.
    pub(super) fn lose_seat_to_come(&self, crowd: &Arc<Crowd>) {
        if let Some(seat) = self.served.as_ref().and_then(|served| served.seat_in(crowd)) {
            crowd.with(|room| room.give_up(seat));
        }
    }

    /// They are in another session now, or in none.
    pub(super) fn go_on_elsewhere(&self) {
        self.retire();
        self.end(GOES_ON);
    }

    /// Whether this machine serves them and they go on: they come back with it.
    pub(super) fn comes_back(&self) -> bool {
        self.is_here && !self.is_retired() && self.mailbox.ending().is_none()
    }

    /// The machine that serves them.
    pub(super) fn node(&self) -> u32 {
        self.node.load(Ordering::Relaxed)
    }

    pub(super) fn set_node(&self, node: u32) {
        self.node.store(node, Ordering::Relaxed);
    }

    /// The number of the last of their acts that was performed.
    pub(super) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    pub(super) fn set_last(&self, number: u64) {
        self.last.store(number, Ordering::Relaxed);
    }

    /// Whether the last of their acts came to nothing.
    pub(super) fn was_refused(&self) -> bool {
        self.was_refused.load(Ordering::Relaxed)
    }

    pub(super) fn set_refused(&self, was_refused: bool) {
        self.was_refused.store(was_refused, Ordering::Relaxed);
    }

    pub(super) fn name(&self) -> Name {
        self.card().name.clone()
    }

    pub(super) fn set_name(&self, name: Name) {
        self.card().name = name;
    }

    /// The away text.
    pub(super) fn away(&self) -> Option<Arc<str>> {
        self.card().more.as_ref()?.away.clone()
    }

    /// Sets these words, or their beginning: an earlier version may have kept longer ones.
    pub(super) fn set_away(&self, words: Option<&str>) {
        let words = words.map(|words| start_of(words, AWAY_CHARACTERS_MAX));
        self.card().more.get_or_insert_default().away = words.map(Arc::from);
    }

    /// The person's token, made by `make` if there is none yet.
    pub(super) fn token_or(&self, make: impl FnOnce() -> SecretText) -> SecretText {
        self.card().more.get_or_insert_default().token.get_or_insert_with(make).clone()
    }

    pub(super) fn token(&self) -> Option<SecretText> {
        self.card().more.as_ref()?.token.clone()
    }

    /// Whether they may do everything, in every room.
    pub(super) fn is_operator(&self) -> bool {
        self.operator.load(Ordering::Relaxed)
    }

    /// Makes them an operator of the whole chat, or no longer.
    pub(super) fn make_operator(&self, is_operator: bool) {
        self.operator.store(is_operator, Ordering::Relaxed);
    }

    /// The proof that they are an operator of the chat, for the saved session; `None` if they are
    /// none now.
    pub(super) fn operator_proof(&self) -> Option<Arc<str>> {
        let card = self.card();
        card.more.as_ref()?.operator_proof.clone().filter(|_| self.is_operator())
    }

    pub(super) fn set_operator_proof(&self, proof: Option<Arc<str>>) {
        self.card().more.get_or_insert_default().operator_proof = proof;
    }

    /// Whether they go on in another session, so that this one has nothing to come back to.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    fn card(&self) -> MutexGuard<'_, Card> {
        self.card.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
