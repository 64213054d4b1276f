//! Coming back: who leaves with a token finds name, rooms and positions again.

use std::sync::Arc;
use std::time::Duration;

use super::act::{Act, Keep};
use super::hall::{Hall, Seated};
use super::person::Person;
use super::tokens::{Place, Position, token};

/// How long a wrong token is thought about.
pub(super) const WRONG_TOKEN_PAUSE: Duration = Duration::from_secs(1);

/// Where a session stands in each of its rooms, those too to which it is to come back.
pub(super) fn positions(seats: &[Seated]) -> Vec<Position> {
    let position = |seated: &Seated| {
        seated.crowd.with(|room| {
            let (next, _) = room.standing(seated.seat);
            let operator = room.is_operator(seated.seat);
            let is_in = !room.is_expelled(seated.seat);
            is_in.then(|| Position { room: room.name.clone(), next, operator })
        })
    };
    seats.iter().filter_map(position).collect()
}

/// The person's token, which brings them back here once this is performed.
pub(super) fn keep(hall: &Hall, person: &Person, rooms: Vec<Position>) -> Keep {
    let token = person.token_or(new_token);
    Keep { token: token.to_string(), place: place(hall, person, rooms) }
}

/// The person's token, which from now on brings them back here.
pub(super) fn token_of(hall: &Hall, person: &Person, rooms: Vec<Position>) -> Arc<str> {
    hall.announce(person.session, Act::Keep(keep(hall, person, rooms)));
    person.token_or(new_token)
}

/// Where somebody stands who is leaving, if they have a token.
pub(super) fn keep_at_leaving(hall: &Hall, person: &Person, rooms: Vec<Position>) -> Option<Keep> {
    let token = person.token()?;
    Some(Keep { token: token.to_string(), place: place(hall, person, rooms) })
}

fn place(hall: &Hall, person: &Person, rooms: Vec<Position>) -> Place {
    let lifetime = u64::try_from(hall.settings.token_lifetime.as_millis()).unwrap_or(u64::MAX);
    let until_ms = hall.now_ms().saturating_add(lifetime);
    // Also of who is leaving: until that is done, the name is still taken.
    Place { name: person.name(), rooms, until_ms, session: Some(person.session) }
}

/// A token that nobody has.
pub(super) fn new_token() -> Arc<str> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).expect("the system has random bytes");
    token(random)
}
