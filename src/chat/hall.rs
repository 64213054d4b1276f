//! The whole chat: who is in it, which rooms there are, who may come in.
//!
//! Locks are taken in one order, the hall's, then a room's, then a mailbox's, and never held across
//! an await. What is said takes its room's lock only.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::archive::Archive;
use super::bans::{Ban, Bans, Scope};
use super::crowd::Crowd;
use super::history::Kind;
use super::key::Key;
use super::log::Log;
use super::mailbox::Ending;
use super::name::Name;
use super::person::Person;
use super::relay::Relays;
use super::room::{Entrance, Room, Seat, See};
use super::rules::LiveRules;
use super::settings::Settings;
use super::tokens::{Place, Tokens};

/// A chat: all its rooms and everybody who is in them. Shared by its sessions.
#[derive(Debug)]
pub struct Hall {
    /// As the chat began; what may have changed since is in `rules`.
    pub(super) settings: Settings,
    pub(super) rules: LiveRules,
    pub(super) archive: Archive,
    pub(super) relays: Relays,
    pub(super) lobby: Arc<Crowd>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: u64,
    people: HashMap<u64, Arc<Person>>,
    /// Every key of every name that is in use, and whose it is.
    names: HashMap<Key, u64>,
    /// The lobby too.
    rooms: BTreeMap<Key, Arc<Crowd>>,
    bans: Bans,
    tokens: Tokens,
    /// Higher than the number of any line of a room that was forgotten: a room of the same name
    /// does not begin in the middle of it.
    numbers_from: u64,
}

/// What a store brings back.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) rooms: Vec<Room>,
    pub(super) bans: Bans,
    pub(super) tokens: Tokens,
}

/// Somebody's place in a room.
#[derive(Debug)]
pub(super) struct Seated {
    pub(super) crowd: Arc<Crowd>,
    pub(super) room: Name,
    pub(super) seat: Seat,
    /// The number of the line that says that they came.
    pub(super) joined: u64,
}

/// Why somebody cannot have a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NameTaken {
    /// Somebody has it.
    Taken(Name),
    /// Somebody has one that looks like it.
    LooksLike(Name),
    /// It is banned: the sentence.
    Banned(String),
}

/// Why somebody cannot enter a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotIn {
    Already,
    Banned(String),
    Invited,
    /// It needs the words whose hash this is.
    Password(Arc<str>),
    TooManyRooms,
    TooManyOfYours,
}

/// What a newcomer to a room has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass<'a> {
    Nothing,
    /// They know the words of which this is the hash.
    Password(&'a str),
    /// A token says that they were in.
    Token {
        operator: bool,
    },
}

impl Hall {
    /// An empty chat that keeps everything in memory.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::open(settings, Archive::default(), Kept::default())
    }

    /// A chat with what was kept.
    pub(super) fn open(settings: Settings, archive: Archive, kept: Kept) -> Self {
        let mut rooms = BTreeMap::new();
        for room in kept.rooms {
            rooms.insert(room.name.key().clone(), Arc::new(Crowd::new(room)));
        }
        let lobby = rooms.entry(settings.lobby.key().clone()).or_insert_with(|| {
            let mut room = Room::new(settings.lobby.clone(), Log::new(settings.log, 1, 0));
            room.log.holds = archive.holds;
            Arc::new(Crowd::new(room))
        });
        let lobby = Arc::clone(lobby);
        let Kept { bans, tokens, .. } = kept;
        let state = Mutex::new(State { rooms, bans, tokens, ..State::default() });
        let rules = LiveRules::new(&settings);
        Self { settings, rules, archive, relays: Relays::default(), lobby, state }
    }

    pub(super) fn now_ms(&self) -> u64 {
        (self.settings.clock)()
    }

    /// The sentence for somebody who may not come from `address`.
    pub(super) fn banned(&self, address: Option<IpAddr>) -> Option<String> {
        let now_ms = self.now_ms();
        self.lock().bans.find(now_ms, None, address, None).map(|ban| self.ban_words(ban))
    }

    /// Lets somebody in under `name`.
    pub(super) fn enter(
        &self,
        name: &Name,
        address: Option<IpAddr>,
    ) -> Result<Arc<Person>, NameTaken> {
        let now_ms = self.now_ms();
        let mut state = self.lock();
        if let Some(ban) = state.bans.find(now_ms, Some(name), None, None) {
            return Err(NameTaken::Banned(self.ban_words(ban)));
        }
        let session = state.sessions + 1;
        state.claim(name, session)?;
        state.sessions = session;
        let person = Arc::new(Person::new(session, address, name.clone()));
        state.people.insert(session, Arc::clone(&person));
        Ok(person)
    }

    /// Gives somebody a new name, in all their rooms.
    pub(super) fn rename(
        &self,
        person: &Person,
        name: &Name,
        seats: &[Seated],
    ) -> Result<(), NameTaken> {
        let now_ms = self.now_ms();
        let mut state = self.lock();
        if let Some(ban) = state.bans.find(now_ms, Some(name), None, None) {
            return Err(NameTaken::Banned(self.ban_words(ban)));
        }
        // Both names are theirs until every room has heard of it.
        state.claim(name, person.session)?;
        let old = person.name();
        for seated in seats {
            seated.crowd.change(|room| {
                if let Some(appended) = room.rename(now_ms, seated.seat, name.clone()) {
                    self.archive.line(room, appended, Kind::Renamed, &old, name.as_str());
                }
            });
        }
        person.set_name(name.clone());
        state.release(&old, person.session);
        // A key that both names share went with the old one.
        state.claim(name, person.session)
    }

    /// Lets somebody into a room, which is made where it is not there.
    pub(super) fn join(
        &self,
        person: &Person,
        room: &Name,
        see: See,
        pass: Pass<'_>,
    ) -> Result<Seated, NotIn> {
        let now_ms = self.now_ms();
        let name = person.name();
        let mut state = self.lock();
        let ban = state.bans.find(now_ms, Some(&name), person.address, Some(room.key()));
        if let Some(ban) = ban.filter(|_| !person.is_operator()) {
            return Err(NotIn::Banned(self.ban_words(ban)));
        }
        let (crowd, is_new) = match state.rooms.get(room.key()) {
            Some(crowd) => (Arc::clone(crowd), false),
            None if state.rooms.len() >= self.rules().max_rooms => {
                return Err(NotIn::TooManyRooms);
            }
            None => (self.make_room(&mut state, room), true),
        };
        // Still under the hall's lock: a room that is being entered is not forgotten.
        let seated = crowd.change(|room| {
            Self::admit(room, person, &name, pass)?;
            let (seat, joined) = room.join(now_ms, person.session, name.clone(), see);
            let token = matches!(pass, Pass::Token { operator: true });
            room.set_operator(seat, is_new || token);
            self.archive.line(room, joined, Kind::Joined, &name, "");
            Ok((seat, room.name.clone(), joined.number))
        });
        seated.map(|(seat, room, joined)| Seated { crowd, room, seat, joined })
    }

    fn make_room(&self, state: &mut State, name: &Name) -> Arc<Crowd> {
        let first = state.numbers_from.max(1);
        let mut room = Room::new(name.clone(), Log::new(self.settings.log, first, 0));
        room.log.holds = self.holds();
        self.archive.room(&room);
        let crowd = Arc::new(Crowd::new(room));
        state.rooms.insert(name.key().clone(), Arc::clone(&crowd));
        crowd
    }

    fn admit(room: &Room, person: &Person, name: &Name, pass: Pass<'_>) -> Result<(), NotIn> {
        if room.seat_of(person.session).is_some() {
            return Err(NotIn::Already);
        }
        let entrance = room.entrance(name.key());
        match (entrance, pass, &room.password) {
            (Entrance::Open, ..) | (_, Pass::Token { .. }, _) => Ok(()),
            _ if person.is_operator() => Ok(()),
            (Entrance::Invited, ..) | (Entrance::Password, _, None) => Err(NotIn::Invited),
            (_, Pass::Password(known), Some(hash)) if known == &**hash => Ok(()),
            (_, _, Some(hash)) => Err(NotIn::Password(Arc::clone(hash))),
        }
    }

    /// Somebody leaves a room; without a reason it is their own wish.
    pub(super) fn part(&self, person: &Person, seated: Seated, reason: &str) {
        let now_ms = self.now_ms();
        let mut state = self.lock();
        let Seated { crowd, seat, .. } = seated;
        let is_empty = crowd.leave(seat, |room| {
            if let Some(left) = room.leave(now_ms, seat, reason) {
                self.archive.line(room, left, Kind::Left, &person.name(), reason);
            }
            (room.count() == 0).then(|| (room.name.clone(), room.log.next()))
        });
        if let Some((room, next)) = is_empty
            && !self.archive.is_lasting()
            && !Arc::ptr_eq(&crowd, &self.lobby)
        {
            state.rooms.remove(room.key());
            state.numbers_from = state.numbers_from.max(next);
        }
    }

    /// Somebody is gone: from all rooms, and their name is free.
    pub(super) fn exit(&self, person: &Person, seats: Vec<Seated>, leaving: Leaving<'_>) {
        for seated in seats {
            match leaving {
                Leaving::Because(reason) => self.part(person, seated, reason),
                Leaving::Silently => {
                    seated.crowd.leave(seated.seat, |room| room.leave_silently(seated.seat));
                }
            }
        }
        let mut state = self.lock();
        state.release(&person.name(), person.session);
        state.people.remove(&person.session);
    }

    /// Who is called so, or so that it looks the same.
    pub(super) fn find(&self, name: &Name) -> Option<Arc<Person>> {
        let state = self.lock();
        let session = name.keys().find_map(|key| state.names.get(key))?;
        state.people.get(session).cloned()
    }

    /// The person of this session, while it lasts.
    pub(super) fn person(&self, session: u64) -> Option<Arc<Person>> {
        self.lock().people.get(&session).cloned()
    }

    /// The words of each of these sessions for those who write to them while they are away.
    pub(super) fn away(&self, sessions: impl Iterator<Item = u64>) -> Vec<Option<Arc<str>>> {
        let state = self.lock();
        sessions.map(|session| state.people.get(&session)?.away()).collect()
    }

    /// The room of this name.
    pub(super) fn room(&self, name: &Name) -> Option<Arc<Crowd>> {
        self.lock().rooms.get(name.key()).cloned()
    }

    /// All rooms.
    pub(super) fn rooms(&self) -> Vec<Arc<Crowd>> {
        self.lock().rooms.values().cloned().collect()
    }

    /// Puts a ban in force, and shows those out whom it means.
    pub(super) fn ban(&self, ban: Ban) {
        let now_ms = self.now_ms();
        let words = self.ban_words(&ban);
        let mut state = self.lock();
        self.archive.ban(&ban);
        let scope = ban.scope.clone();
        state.bans.add(now_ms, ban);
        let room = match &scope {
            Scope::Chat => None,
            Scope::Room(name) => Some(name.key()),
        };
        let State { people, bans, rooms, .. } = &*state;
        for person in people.values().filter(|person| !person.is_operator()) {
            if bans.find(now_ms, Some(&person.name()), person.address, room).is_none() {
                continue;
            }
            match room.and_then(|key| rooms.get(key)) {
                Some(crowd) => {
                    self.expel(crowd, person, &words, "banned");
                }
                None => {
                    for crowd in rooms.values() {
                        self.expel(crowd, person, "", "banned");
                    }
                    person.mailbox.end(Ending { words: words.clone() });
                }
            }
        }
    }

    /// Takes a member out of a room at this place of its order, whatever their session does.
    /// They hear `words`, the others `reason`. `false` where they are not in it.
    pub(super) fn expel(&self, crowd: &Crowd, person: &Person, words: &str, reason: &str) -> bool {
        let now_ms = self.now_ms();
        let name = person.name();
        let expelled = crowd.change(|room| {
            let left = room.expel(now_ms, person.session, reason)?;
            self.archive.line(room, left, Kind::Left, &name, reason);
            Some(room.name.clone())
        });
        match expelled {
            Some(room) => {
                person.mailbox.expel(room, words.to_owned());
                true
            }
            None => false,
        }
    }

    /// Lifts a ban; `None` where there is none.
    pub(super) fn unban(&self, subject: &super::bans::Subject, scope: &Scope) -> Option<Ban> {
        let lifted = self.lock().bans.remove(subject, scope)?;
        self.archive.unban(&lifted);
        Some(lifted)
    }

    /// The bans that hold for the chat (`None`) or a room.
    pub(super) fn bans(&self, room: Option<&Key>) -> Vec<Ban> {
        let now_ms = self.now_ms();
        self.lock().bans.list(now_ms, room).cloned().collect()
    }

    fn ban_words(&self, ban: &Ban) -> String {
        let place = match &ban.scope {
            Scope::Chat => "this chat".to_owned(),
            Scope::Room(name) => format!("the room {}", name.as_str()),
        };
        let until = ban.until_ms.map(|until| format!(" until {}", (self.settings.moment)(until)));
        let reason = if ban.reason.is_empty() { "" } else { ": " };
        let until = until.unwrap_or_default();
        format!("You are banned from {place}{until}{reason}{}", ban.reason)
    }

    /// Keeps what a token brings back.
    pub(super) fn keep_place(&self, token: Arc<str>, place: Place) {
        let now_ms = self.now_ms();
        self.archive.token(&token, &place);
        self.lock().tokens.keep(now_ms, token, place);
    }

    /// Keeps the place of a session's own token, unless it goes on elsewhere: then the token brings
    /// back whoever has it now, and what this session thinks is out of date.
    pub(super) fn keep_place_of(&self, person: &Person, token: Arc<str>, place: Place) {
        let now_ms = self.now_ms();
        let mut state = self.lock();
        if !person.is_retired() {
            self.archive.token(&token, &place);
            state.tokens.keep(now_ms, token, place);
        }
    }

    /// What a token brings back; it is used up. Its session, where it is still there, is ended.
    pub(super) fn redeem(&self, token: &str) -> Option<Place> {
        let now_ms = self.now_ms();
        let mut state = self.lock();
        let (token, mut place) = state.tokens.redeem(now_ms, token)?;
        self.archive.token_used(&token);
        let old = place.session.take().and_then(|session| state.people.get(&session).cloned());
        if let Some(person) = old {
            let rooms: Vec<_> = state.rooms.values().cloned().collect();
            person.retire();
            place.name = person.name();
            if !person.is_leaving() {
                place.rooms = super::resume::positions(&rooms, person.session);
            }
            for crowd in &rooms {
                self.expel(crowd, &person, "", "goes on elsewhere");
            }
            state.release(&person.name(), person.session);
            let words = "You go on in another connection".to_owned();
            person.mailbox.end(Ending { words });
        }
        Some(place)
    }

    /// Whether this session is in the chat.
    pub(super) fn knows(&self, person: &Person) -> bool {
        self.lock().people.contains_key(&person.session)
    }

    /// How many are in, all rooms together.
    #[must_use]
    pub fn people(&self) -> usize {
        self.lock().people.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How somebody leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving<'a> {
    /// The others hear of it, with this reason, which may be empty.
    Because(&'a str),
    /// Nobody hears of it: everybody has to leave.
    Silently,
}

impl State {
    /// Makes `name` the session's, unless it is somebody else's.
    fn claim(&mut self, name: &Name, session: u64) -> Result<(), NameTaken> {
        let other = name.keys().filter_map(|key| self.names.get(key)).find(|&&s| s != session);
        if let Some(person) = other.and_then(|session| self.people.get(session)) {
            let theirs = person.name();
            let same = theirs.same_as(name);
            return Err(if same { NameTaken::Taken(theirs) } else { NameTaken::LooksLike(theirs) });
        }
        for key in name.keys() {
            self.names.insert(key.clone(), session);
        }
        Ok(())
    }

    fn release(&mut self, name: &Name, session: u64) {
        for key in name.keys() {
            if self.names.get(key) == Some(&session) {
                self.names.remove(key);
            }
        }
    }
}
