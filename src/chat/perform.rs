//! What becomes of an act: how the chat changes by it, the same on every machine.
//!
//! Whatever decides here is what the chat knew before, the act, and the time that came with it:
//! no clock, no setting of one machine, nothing by chance.

use std::net::IpAddr;
use std::sync::Arc;

use super::act::{Act, Back, Keep, Outcome, Refusal, Said};
use super::bans::Suspect;
use super::crowd::Crowd;
use super::entrance::Newcomer;
use super::former_users::FormerUser;
use super::hall::{Hall, Leaving, NameTaken, NotIn, Pass, Seated, State};
use super::history::LineKind;
use super::mailbox::Letter;
use super::name::Name;
use super::person::Person;
use super::room::See;
use super::tokens::{Place, Position};

/// What a session hears whose token was used.
pub(super) const GOES_ON: &str = "You go on in another connection";

/// Who acts, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Actor {
    pub(super) session: u64,
    /// The machine that serves the session; 0 where there is only one.
    pub(super) node: u32,
    /// Whether that is this one.
    pub(super) is_here: bool,
    /// Milliseconds since 1970.
    pub(super) now_ms: u64,
}

impl Hall {
    /// Does it.
    pub(super) fn perform(&self, actor: Actor, act: Act) -> Outcome {
        match act {
            Act::Enter { name, address, back } => {
                Outcome::Entered(self.enter(actor, &name, address, back))
            }
            Act::Redeem { token } => Outcome::Redeemed(self.redeem(actor, &token)),
            Act::Keep(Keep { token, place }) => self.keep_place(actor, &token, place),
            Act::Rename { name } => self.rename(actor, &name),
            Act::Join { room, see, pass } => Outcome::Joined(self.join(actor, &room, see, &pass)),
            Act::Part { room } => self.part(actor, &room),
            Act::Say { room, lines } => self.say(actor, &room, &lines, &[]),
            Act::Delete { room, number, own } => self.delete_line(actor, &room, number, own),
            Act::Topic { room, words } => self.set_topic(actor, &room, &words),
            Act::Away { words } => self.with_person(actor, |person| {
                person.set_away(words.as_deref());
                Outcome::Done
            }),
            Act::Write { to, words, kind } => self.write(actor, to, kind, &words),
            Act::Tell { to, words } => self.tell(to, words),
            Act::FloodMuted { until_ms, count } => self.flood_muted(actor, until_ms, count),
            Act::BecomeOperator => self.with_person(actor, |person| {
                person.make_operator(true);
                Outcome::Done
            }),
            Act::Kick { room, whom, words } => self.kick(actor, &room, whom, &words),
            Act::Ban(ban) => self.ban(actor, ban),
            Act::Unban { subject, scope } => self.unban(actor, &subject, &scope),
            Act::Alter { room, change } => self.alter(actor, &room, change),
            Act::Forget { room } => self.forget(actor, &room),
            Act::Audit { what } => self.with_person(actor, |person| {
                let entry = (actor.now_ms, person.name().to_string(), what);
                self.archive.audit(person.is_operator(), entry);
                Outcome::Done
            }),
            Act::Exit { reason, keep } => {
                let leaving = reason.as_deref().map_or(Leaving::Silently, Leaving::Because);
                self.exit(actor, leaving, keep)
            }
            Act::Gone { .. } | Act::Return { .. } => Outcome::Done,
        }
    }

    fn with_person(&self, actor: Actor, act: impl FnOnce(&Person) -> Outcome) -> Outcome {
        match self.person(actor.session) {
            Some(person) => act(&person),
            None => Outcome::Refused(Refusal::Outside),
        }
    }

    /// Lets somebody in under `name`.
    fn enter(
        &self,
        actor: Actor,
        name: &Name,
        address: Option<IpAddr>,
        back: Option<Back>,
    ) -> Result<Arc<Person>, NameTaken> {
        let mut state = self.lock();
        let saved = back.as_ref().map_or(0, |back| back.lineage);
        let lineage = if saved > 0 { saved } else { state.people.lineage(actor.session) };
        let suspect = Suspect { name: Some(name), address, lineage: Some(lineage) };
        if let Some(ban) = state.bans.find(actor.now_ms, suspect, None) {
            return Err(NameTaken::Banned(self.ban_words(ban)));
        }
        state.claim(name, actor.session)?;
        let person = Arc::new(Person::new(actor, address, name.clone(), lineage));
        let (writer, is_back) = (person.writer(), back.is_some());
        person.set_flood_mute(state.flood_mutes.enter(actor.now_ms, writer, is_back));
        if let Some(back) = back {
            person.make_operator(back.operator);
            person.set_away(back.away.as_deref());
        }
        state.people.insert(Arc::clone(&person));
        Ok(person)
    }

    /// Gives somebody a new name, in all their rooms.
    fn rename(&self, actor: Actor, name: &Name) -> Outcome {
        let mut state = self.lock();
        let Some(person) = state.people.get(&actor.session).cloned() else {
            return Outcome::Refused(Refusal::Outside);
        };
        let suspect = Suspect { name: Some(name), ..Suspect::default() };
        if let Some(ban) = state.bans.find(actor.now_ms, suspect, None) {
            return Outcome::Renamed(Err(NameTaken::Banned(self.ban_words(ban))));
        }
        // Both names are theirs until every room has heard of it.
        if let Err(taken) = state.claim(name, person.session) {
            return Outcome::Renamed(Err(taken));
        }
        let old = person.name();
        for (crowd, seat) in person.seats() {
            crowd.change(|room| {
                if let Some(appended) = room.rename(actor.now_ms, seat, name.clone()) {
                    self.archive.line(room, appended, LineKind::Renamed, &old, name.as_str());
                }
            });
        }
        person.set_name(name.clone());
        state.release(&old, person.session);
        // A key that both names share went with the old one.
        Outcome::Renamed(state.claim(name, person.session))
    }

    /// Lets somebody into a room, which is made where it is not there.
    fn join(&self, actor: Actor, room: &Name, see: See, pass: &Pass) -> Result<Seated, NotIn> {
        let mut state = self.lock();
        let person = state.people.get(&actor.session).cloned().ok_or(NotIn::Gone)?;
        let name = person.name();
        let ban = state.bans.find(actor.now_ms, person.suspect(&name), Some(room.key()));
        if let Some(ban) = ban.filter(|_| !person.is_operator()) {
            return Err(NotIn::Banned(self.ban_words(ban)));
        }
        let (crowd, is_new) = match state.rooms.get(room.key()) {
            Some(crowd) => (Arc::clone(crowd), false),
            None => {
                if self.cluster.is_none() {
                    self.has_place_for_room(&state, actor.now_ms, &person)?;
                }
                self.remove_abandoned(&mut state, actor.now_ms);
                (self.make_room(&mut state, room, Some(&person)), true)
            }
        };
        // Still under the hall's lock: a room that is being entered is not forgotten.
        let seated = crowd.change(|room| {
            let (session, lineage) = (person.session, person.lineage);
            let is_operator = person.is_operator();
            let pass = room.valid(pass);
            room.admit(Newcomer { session, lineage, is_operator }, pass)?;
            let (seat, joined) = room.join(actor.now_ms, person.who(), name.clone(), see);
            let token = pass.is_operators();
            let returns = room.operators.forget(lineage);
            room.set_operator(seat, is_new || token || returns);
            self.archive.line(room, joined, LineKind::Joined, &name, "");
            self.look_after(room, actor.now_ms);
            Ok((seat, room.name.clone(), joined.number))
        });
        let (seat, room, joined) = seated?;
        person.take_seat(Arc::clone(&crowd), seat);
        Ok(Seated { crowd, room, seat, joined, is_here: person.is_here, past: None })
    }

    fn part(&self, actor: Actor, room: &Name) -> Outcome {
        let mut state = self.lock();
        let found = state.people.get(&actor.session).cloned();
        match (found, state.rooms.get(room.key()).cloned()) {
            (Some(person), Some(crowd)) => {
                crowd.with(|room| match person.seat_in(&crowd) {
                    Some(seat) if room.standing(seat).1 => room.operators.remember(person.lineage),
                    _ => {}
                });
                self.take_out(&mut state, actor.now_ms, &person, &crowd, "");
                Outcome::Done
            }
            _ => Outcome::Refused(Refusal::Outside),
        }
    }

    /// Takes a member out of a room at this place of its order, whatever their session does, which
    /// gives the seat back where it is one of this machine; `None` where they are not in it.
    pub(super) fn take_out(
        &self,
        state: &mut State,
        now_ms: u64,
        person: &Person,
        crowd: &Arc<Crowd>,
        reason: &str,
    ) -> Option<Name> {
        let seat = person.seat_in(crowd)?;
        let name = person.name();
        let room = crowd.change(|room| {
            let left = room.expel(now_ms, seat, reason)?;
            self.archive.line(room, left, LineKind::Left, &name, reason);
            self.look_after(room, now_ms);
            Some(room.name.clone())
        })?;
        if !person.is_here {
            self.give_back(person, crowd);
        }
        person.lose_seat_to_come(crowd);
        self.remove_if_empty(state, crowd);
        Some(room)
    }

    /// A session gives back the seat of a room that it was taken out of.
    pub(super) fn give_back(&self, person: &Person, crowd: &Arc<Crowd>) {
        if let Some(seat) = person.leave_seat(crowd) {
            crowd.leave(seat, |room| room.leave_silently(seat));
        }
    }

    /// Somebody is gone: from all rooms, and their name is free.
    fn exit(&self, actor: Actor, leaving: Leaving<'_>, keep: Option<Keep>) -> Outcome {
        let mut state = self.lock();
        let Some(person) = state.people.get(&actor.session).cloned() else {
            return Outcome::Refused(Refusal::Outside);
        };
        if let Some(Keep { token, place }) = keep.filter(|_| !person.is_retired()) {
            self.keep_token(&mut state, actor.now_ms, &token, place);
        }
        let name = person.name();
        for (crowd, seat) in person.take_seats() {
            crowd.leave(seat, |room| {
                // Other nodes have forgotten already where the user was expelled.
                let was_in = room.is_in(seat);
                match leaving {
                    Leaving::Because(reason) => {
                        if let Some(left) = room.leave(actor.now_ms, seat, reason) {
                            self.archive.line(room, left, LineKind::Left, &name, reason);
                        }
                    }
                    Leaving::Silently => room.leave_silently(seat),
                }
                if was_in {
                    self.look_after(room, actor.now_ms);
                }
            });
            self.remove_if_empty(&mut state, &crowd);
        }
        state.release(&name, person.session);
        state.people.remove(person.session);
        if !person.is_retired() {
            state.flood_mutes.leave(person.lineage, name.key());
            let (lineage, address, left_ms) = (person.lineage, person.address, actor.now_ms);
            state.former_users.note(FormerUser { name, lineage, address, left_ms });
        }
        Outcome::Done
    }

    /// Somebody says lines; `shown` are, for each, the sessions that have seen it already.
    pub(super) fn say(
        &self,
        actor: Actor,
        room: &Name,
        lines: &[Said],
        shown: &[Vec<u64>],
    ) -> Outcome {
        let Some((person, crowd)) = self.member(actor, room) else {
            return Outcome::Refused(Refusal::Outside);
        };
        let Some(seat) = person.seat_in(&crowd) else {
            return Outcome::Refused(Refusal::Outside);
        };
        let name = person.name();
        crowd.change(|room| {
            if let Some(until) = room.muted_until(actor.now_ms, name.key(), person.lineage) {
                return Outcome::Refused(Refusal::Muted(until));
            }
            self.elect_if_due(room, actor.now_ms);
            for (index, Said { kind, text }) in lines.iter().enumerate() {
                let Some(appended) = room.say(actor.now_ms, seat, *kind, text) else {
                    return Outcome::Refused(Refusal::Outside);
                };
                self.archive.line(room, appended, *kind, &name, text);
                let shown = shown.get(index).map_or(&[][..], Vec::as_slice);
                room.hide(shown, appended.number);
                if person.stands_for_another() {
                    // This node serves the author.
                    room.hide(&[person.session], appended.number);
                }
            }
            Outcome::Done
        })
    }

    fn set_topic(&self, actor: Actor, room: &Name, words: &str) -> Outcome {
        let Some((person, crowd)) = self.member(actor, room) else {
            return Outcome::Refused(Refusal::Outside);
        };
        let Some(seat) = person.seat_in(&crowd) else {
            return Outcome::Refused(Refusal::Outside);
        };
        let name = person.name();
        crowd.change(|room| {
            if let Some(until) = room.muted_until(actor.now_ms, name.key(), person.lineage) {
                return Outcome::Refused(Refusal::Muted(until));
            }
            let Some(appended) = room.set_topic(actor.now_ms, seat, words) else {
                return Outcome::Refused(Refusal::Outside);
            };
            self.archive.line(room, appended, LineKind::Topic, &name, words);
            self.archive.room(room);
            Outcome::Done
        })
    }

    /// Who acts, and the room of this name.
    pub(super) fn member(&self, actor: Actor, room: &Name) -> Option<(Arc<Person>, Arc<Crowd>)> {
        let state = self.lock();
        let person = Arc::clone(state.people.get(&actor.session)?);
        Some((person, Arc::clone(state.rooms.get(room.key())?)))
    }

    fn write(&self, actor: Actor, to: u64, kind: LineKind, words: &str) -> Outcome {
        let (from, other) = (self.person(actor.session), self.person(to));
        let (Some(from), Some(other)) = (from, other) else {
            return Outcome::Refused(Refusal::Absent);
        };
        let letter = Letter::Private {
            time_ms: actor.now_ms,
            from: from.name(),
            session: from.session,
            lineage: from.lineage,
            kind,
            text: Arc::from(words),
        };
        match other.deliver(letter) {
            true => Outcome::Done,
            false => {
                self.tell_elsewhere(&from, || {
                    format!("{} does not read: that was not delivered", other.name())
                });
                Outcome::Refused(Refusal::Unread)
            }
        }
    }

    fn tell(&self, to: u64, words: String) -> Outcome {
        if let Some(person) = self.person(to) {
            person.deliver(Letter::Notice(words));
        }
        Outcome::Done
    }

    /// Keeps what a token brings back, unless its session goes on elsewhere: then the token brings
    /// back whoever has it now, and what this session thinks is out of date.
    fn keep_place(&self, actor: Actor, token: &str, place: Place) -> Outcome {
        let mut state = self.lock();
        let is_retired = state.people.get(&actor.session).is_some_and(|person| person.is_retired());
        if !is_retired {
            self.keep_token(&mut state, actor.now_ms, token, place);
        }
        Outcome::Done
    }

    fn keep_token(&self, state: &mut State, now_ms: u64, token: &str, place: Place) {
        self.archive.token(token, &place);
        for dropped in state.tokens.keep(now_ms, Arc::from(token), place) {
            self.archive.token_used(&dropped);
        }
    }

    /// What a token brings back; it is used up. Its session, where it is still there, is ended.
    fn redeem(&self, actor: Actor, token: &str) -> Option<Keep> {
        let mut state = self.lock();
        let (token, mut place) = state.tokens.redeem(actor.now_ms, token)?;
        self.archive.token_used(&token);
        let session = place.session;
        if let (Some(cluster), Some(session)) = (&self.cluster, session) {
            // Also where it is just not here, because its machine was taken for gone.
            cluster.dismiss(session);
        }
        let old = session.and_then(|session| state.people.get(&session).cloned());
        if let Some(person) = old {
            person.retire();
            place.name = person.name();
            place.rooms = self.positions(&person, &place.rooms);
            for (crowd, _) in person.seats() {
                self.expel(&mut state, actor.now_ms, &person, &crowd, "", "goes on elsewhere");
            }
            state.release(&person.name(), person.session);
            person.end(GOES_ON);
        }
        Some(Keep { token: token.to_string(), place })
    }

    /// Where somebody stands in each of their rooms. How far they have read is known where they
    /// are served; in a cluster, only as far as they told when they were given the token.
    fn positions(&self, person: &Person, told: &[Position]) -> Vec<Position> {
        let position = |(crowd, seat): (Arc<Crowd>, _)| {
            crowd.with(|room| {
                let (next, operator) = room.seated(seat)?;
                let told = told.iter().find(|position| position.room.same_as(&room.name));
                let next = match (&self.cluster, told) {
                    (None, _) => next,
                    (Some(_), told) => told.map_or(room.log.next(), |position| position.next),
                };
                Some(Position { next, operator, ..room.position_in() })
            })
        };
        person.seats().into_iter().filter_map(position).collect()
    }

    /// Takes a member out of a room; they hear `words`, the others `reason`. `false` where they
    /// are not in it.
    pub(super) fn expel(
        &self,
        state: &mut State,
        now_ms: u64,
        person: &Person,
        crowd: &Arc<Crowd>,
        words: &str,
        reason: &str,
    ) -> bool {
        let Some(room) = self.take_out(state, now_ms, person, crowd, reason) else { return false };
        person.hear_of_leaving(room, words.to_owned());
        true
    }
}
