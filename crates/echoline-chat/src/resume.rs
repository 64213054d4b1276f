//! Coming back: who leaves with a token finds name, rooms and positions again.

use std::time::Duration;

use super::operation::{Back, Operation, ResumeToken};
use super::operator_password::is_proof;
use super::outbound_feed::OutboundFeed;
use super::session_handle::SessionHandle;
use super::state::{Chat, Membership};
use super::tokens::{BRIEF_MS, Position, SavedSession, SessionState, TOKEN_LETTERS, digest, token};
use echoline::Source;
use echoline_base::SecretText;

/// The pause before a wrong token is refused.
pub(super) const WRONG_TOKEN_PAUSE: Duration = Duration::from_secs(1);

/// Returns the session's position in each of its rooms, also in suspended memberships.
fn positions(memberships: &[Membership]) -> Vec<Position> {
    let position = |membership: &Membership| {
        membership.shared_room.with(|room| {
            let (next, _) = room.standing(membership.member_id);
            let operator = room.is_operator(membership.member_id);
            let is_in = !room.is_expelled(membership.member_id);
            is_in.then(|| Position { next, operator, ..room.position_in() })
        })
    };
    memberships.iter().filter_map(position).collect()
}

/// The session as its token restores it, once this is performed. Makes the token if there is none.
pub(super) fn keep(chat: &Chat, user: &SessionHandle, feed: &OutboundFeed) -> ResumeToken {
    let token = digest(user.token_or(new_token).reveal());
    ResumeToken { token, place: place(chat, user, feed) }
}

/// Announces the session as its token restores it from now on, and returns the token.
pub(super) fn token_of(chat: &Chat, user: &SessionHandle, feed: &OutboundFeed) -> SecretText {
    chat.announce(user.session, Operation::SaveSession(keep(chat, user, feed)));
    user.token_or(new_token)
}

/// The session as its token restores it; `None` if it has no token.
pub(super) fn keep_if_token(
    chat: &Chat,
    user: &SessionHandle,
    feed: &OutboundFeed,
) -> Option<ResumeToken> {
    let token = digest(user.token()?.reveal());
    Some(ResumeToken { token, place: place(chat, user, feed) })
}

fn place(chat: &Chat, user: &SessionHandle, feed: &OutboundFeed) -> SavedSession {
    let lifetime = u64::try_from(chat.settings.token_lifetime.as_millis()).unwrap_or(u64::MAX);
    let until_ms = chat.now_ms().saturating_add(lifetime);
    let more = SessionState {
        current: feed.current().map(|membership| membership.room.clone()),
        preferences: feed.view.preferences(),
        lineage: user.lineage,
        away: user.away().map(|words| words.to_string()),
        operator: user.operator_proof().map(|proof| proof.to_string()),
        source: Some(Source::from(user.address)),
        is_brief: chat.now_ms().saturating_sub(user.since_ms) < BRIEF_MS,
    };
    let (name, rooms) = (user.name(), positions(&feed.memberships));
    // A session that is leaving is named too: it holds the name until it has left.
    SavedSession { name, rooms, until_ms, session: Some(user.session), more }
}

/// The rights with which a user comes back: those of an operator of the chat only if the password
/// that they gave is still the password.
pub(super) async fn back(chat: &Chat, saved: &SessionState) -> Back {
    let operator = match &saved.operator {
        Some(proof) => is_proof(chat, proof).await,
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
