//! Coming back: who leaves with a token finds name, rooms and positions again.

use std::time::Duration;

use super::act::{Act, Back, Keep};
use super::hall::{Hall, Seated};
use super::inbox::Inbox;
use super::operator_password::is_proof;
use super::person::Person;
use super::tokens::{BRIEF_MS, Place, Position, SessionState, TOKEN_LETTERS, digest, token};
use crate::SecretText;
use crate::net::Source;

/// The pause before a wrong token is refused.
pub(super) const WRONG_TOKEN_PAUSE: Duration = Duration::from_secs(1);

/// Returns the session's position in each of its rooms, also in suspended memberships.
fn positions(seats: &[Seated]) -> Vec<Position> {
    let position = |seated: &Seated| {
        seated.crowd.with(|room| {
            let (next, _) = room.standing(seated.seat);
            let operator = room.is_operator(seated.seat);
            let is_in = !room.is_expelled(seated.seat);
            is_in.then(|| Position { next, operator, ..room.position_in() })
        })
    };
    seats.iter().filter_map(position).collect()
}

/// The session as its token restores it, once this is performed. Makes the token if there is none.
pub(super) fn keep(hall: &Hall, person: &Person, inbox: &Inbox) -> Keep {
    let token = digest(person.token_or(new_token).reveal());
    Keep { token, place: place(hall, person, inbox) }
}

/// Announces the session as its token restores it from now on, and returns the token.
pub(super) fn token_of(hall: &Hall, person: &Person, inbox: &Inbox) -> SecretText {
    hall.announce(person.session, Act::Keep(keep(hall, person, inbox)));
    person.token_or(new_token)
}

/// The session as its token restores it; `None` if it has no token.
pub(super) fn keep_if_token(hall: &Hall, person: &Person, inbox: &Inbox) -> Option<Keep> {
    let token = digest(person.token()?.reveal());
    Some(Keep { token, place: place(hall, person, inbox) })
}

fn place(hall: &Hall, person: &Person, inbox: &Inbox) -> Place {
    let lifetime = u64::try_from(hall.settings.token_lifetime.as_millis()).unwrap_or(u64::MAX);
    let until_ms = hall.now_ms().saturating_add(lifetime);
    let more = SessionState {
        current: inbox.current().map(|seated| seated.room.clone()),
        preferences: inbox.view.preferences(),
        lineage: person.lineage,
        away: person.away().map(|words| words.to_string()),
        operator: person.operator_proof().map(|proof| proof.to_string()),
        source: Some(Source::from(person.address)),
        is_brief: hall.now_ms().saturating_sub(person.since_ms) < BRIEF_MS,
    };
    let (name, rooms) = (person.name(), positions(&inbox.seats));
    // A session that is leaving is named too: it holds the name until it has left.
    Place { name, rooms, until_ms, session: Some(person.session), more }
}

/// The rights with which a user comes back: those of an operator of the chat only if the password
/// that they gave is still the password.
pub(super) async fn back(hall: &Hall, saved: &SessionState) -> Back {
    let operator = match &saved.operator {
        Some(proof) => is_proof(hall, proof).await,
        None => false,
    };
    Back { lineage: saved.lineage, operator, away: saved.away.clone() }
}

/// A token that no other session has.
pub(super) fn new_token() -> SecretText {
    let mut random = [0; TOKEN_LETTERS];
    getrandom::fill(&mut random).expect("the system has random bytes");
    token(random)
}
