//! Tokens and saved sessions. A token restores a user's session with its name, rooms and positions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::{Key, Name};
use echoline_base::SecretText;
use echoline_base::source::Source;

/// The maximum number of tokens. If there are more, the source with the most tokens loses one.
const TOKENS_MAX: usize = 10_000;

/// The maximum number of tokens of one source, for example sixteen for each of sixty users behind
/// one address. A flood of tokens displaces only tokens of its own source.
pub(crate) const SOURCE_TOKENS_MAX: usize = 1000;

/// A session that lasted for less than this time, in milliseconds, is brief. Brief sessions are
/// dropped before other sessions of the same source.
pub const BRIEF_MS: u64 = 60 * 1000;

/// The characters of a token: 32 that do not look alike.
const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

/// The number of characters in a token, which is shown in groups of four. A token has 100 random
/// bits, so it is impossible to find the token of a digest by trying.
pub const TOKEN_LETTERS: usize = 20;

/// The beginning of a digest. No token begins like this.
const DIGEST_PREFIX: &str = "sha256:";

/// The session that a token restores.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SavedSession {
    /// The name of the user.
    pub name: Name,
    /// The rooms.
    pub rooms: Vec<Position>,
    /// The time at which the token expires, in milliseconds since 1970.
    pub until_ms: u64,
    /// The session that has the token, while that session lasts.
    pub session: Option<u64>,
    /// The state besides the rooms. Earlier versions did not save it; then it has default values.
    #[serde(default)]
    pub more: SessionState,
}

/// The state of a session besides its rooms. A token restores it too.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct SessionState {
    /// The room in which the user speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Name>,
    /// The display settings and the ignored users.
    #[serde(skip_serializing_if = "Preferences::is_usual")]
    pub preferences: Preferences,
    /// The user's number, the same in all their sessions; 0 if it was not saved.
    pub lineage: u64,
    /// The away text, if the user is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub away: Option<String>,
    /// The hash of the operators' password that the user typed. The user becomes an operator of the
    /// chat again if that password is still valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The source of the user; `None` if an earlier version saved the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Whether the session lasted for less than a minute, as in a flood of sessions.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_brief: bool,
}

/// The position of a user in a room.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// The name of the room.
    pub room: Name,
    /// The number of the user's next line.
    pub next: u64,
    /// Whether the user is an operator of the room.
    pub operator: bool,
    /// The stamp of the room's password: a part of its hash that differs each time a password is
    /// set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The number of the room's first line, which identifies the room. See
    /// [`RoomOrigin`](crate::room::RoomOrigin).
    #[serde(default)]
    pub born: u64,
}

/// All valid tokens.
#[derive(Debug, Default)]
pub struct Tokens {
    /// The saved sessions, by the digests of their tokens.
    sessions: HashMap<Arc<str>, SavedSession>,
    /// The tokens of each source. Tokens of earlier versions have no source.
    by_source: BTreeMap<Option<Source>, BTreeSet<EvictionRank>>,
    /// All tokens, ordered by the time at which they expire.
    by_end: BTreeSet<(u64, Arc<str>)>,
}

/// The rank of a token among the tokens of its source. Tokens of brief sessions are dropped first,
/// then the tokens that expire first. The token itself makes each rank unique, so that all nodes
/// drop the same token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct EvictionRank {
    is_lasting: bool,
    until_ms: u64,
    token: Arc<str>,
}

impl EvictionRank {
    fn of(token: &Arc<str>, saved: &SavedSession) -> Self {
        let (is_lasting, until_ms) = (!saved.more.is_brief, saved.until_ms);
        Self { is_lasting, until_ms, token: Arc::clone(token) }
    }
}

/// Returns the token made from these random bytes, such as `ab2c-d3ef-gh45-ab2c-d3ef`.
pub fn token(random: [u8; TOKEN_LETTERS]) -> SecretText {
    let letters = random.map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    SecretText::from(groups.join("-"))
}

/// Returns the digest of a typed token. Only the digest is sent and stored. If a digest is typed
/// instead of a token, it is hashed again, so it restores nothing.
pub fn digest(typed: &str) -> String {
    let token = typed.trim().to_ascii_lowercase();
    let digest = Sha256::new().chain_update("echoline resume token ").chain_update(token);
    format!("{DIGEST_PREFIX}{:x}", digest.finalize())
}

/// Returns the digest of a token from an entry, a snapshot or a history. An earlier version wrote
/// the token itself there.
pub fn digest_of_kept(kept: String) -> String {
    let hex = kept.strip_prefix(DIGEST_PREFIX);
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(is_digit)) {
        true => kept,
        false => digest(&kept),
    }
}

impl Tokens {
    /// Saves a session under the digest of its token, replacing an earlier one. Returns the tokens
    /// that were dropped because there are too many.
    pub fn keep(&mut self, now_ms: u64, token: Arc<str>, saved: SavedSession) -> Vec<Arc<str>> {
        self.remove(&token);
        let mut dropped = Vec::new();
        let source = saved.more.source;
        let theirs = self.by_source.get(&source).map_or(0, BTreeSet::len);
        if source.is_some() && theirs >= SOURCE_TOKENS_MAX {
            dropped.extend(self.drop_one_of(source));
        }
        if self.sessions.len() >= TOKENS_MAX {
            dropped.extend(self.drop_ended(now_ms));
        }
        if self.sessions.len() >= TOKENS_MAX {
            let sources = self.by_source.iter().rev();
            let largest = sources.max_by_key(|(_, tokens)| tokens.len()).map(|(source, _)| *source);
            dropped.extend(largest.and_then(|largest| self.drop_one_of(largest)));
        }
        self.by_source.entry(source).or_default().insert(EvictionRank::of(&token, &saved));
        self.by_end.insert((saved.until_ms, Arc::clone(&token)));
        self.sessions.insert(token, saved);
        dropped
    }

    fn drop_one_of(&mut self, source: Option<Source>) -> Option<Arc<str>> {
        let token = Arc::clone(&self.by_source.get(&source)?.first()?.token);
        self.remove(&token);
        Some(token)
    }

    fn drop_ended(&mut self, now_ms: u64) -> Vec<Arc<str>> {
        let ended = self.by_end.iter().take_while(|(until_ms, _)| *until_ms <= now_ms);
        let ended: Vec<Arc<str>> = ended.map(|(_, token)| Arc::clone(token)).collect();
        ended.iter().for_each(|token| drop(self.remove(token)));
        ended
    }

    fn remove(&mut self, token: &str) -> Option<(Arc<str>, SavedSession)> {
        let (token, saved) = self.sessions.remove_entry(token)?;
        self.by_end.remove(&(saved.until_ms, Arc::clone(&token)));
        if let Some(tokens) = self.by_source.get_mut(&saved.more.source) {
            tokens.remove(&EvictionRank::of(&token, &saved));
            if tokens.is_empty() {
                self.by_source.remove(&saved.more.source);
            }
        }
        Some((token, saved))
    }

    /// Revokes the right of an operator of the chat in all saved sessions of a user. Returns the
    /// changed sessions.
    pub(crate) fn depose(&mut self, lineage: u64) -> Vec<(Arc<str>, SavedSession)> {
        let theirs = self.sessions.iter_mut().filter(|(_, saved)| saved.more.lineage == lineage);
        let had = theirs.filter_map(|(token, saved)| {
            saved.more.operator.take().map(|_| (Arc::clone(token), saved.clone()))
        });
        had.collect()
    }

    /// Removes a room from the saved sessions of users who were expelled from it. Returns the
    /// changed sessions.
    pub(crate) fn lose_room(
        &mut self,
        lineages: &BTreeSet<u64>,
        room: &Name,
    ) -> Vec<(Arc<str>, SavedSession)> {
        let theirs =
            self.sessions.iter_mut().filter(|(_, saved)| lineages.contains(&saved.more.lineage));
        let had = theirs.filter_map(|(token, saved)| {
            let before = saved.rooms.len();
            saved.rooms.retain(|at| !at.room.same_as(room));
            (saved.rooms.len() < before).then(|| (Arc::clone(token), saved.clone()))
        });
        had.collect()
    }

    /// Returns the highest [`Position::born`] of all saved sessions. A new room must begin above
    /// it.
    pub(crate) fn last_born(&self) -> Option<u64> {
        self.sessions.values().flat_map(|saved| &saved.rooms).map(|at| at.born).max()
    }

    /// Returns the rooms of all saved sessions that have not expired.
    pub fn rooms(&self, now_ms: u64) -> BTreeSet<Key> {
        let sessions = self.sessions.values().filter(|saved| saved.until_ms > now_ms);
        sessions.flat_map(|saved| &saved.rooms).map(|at| at.room.key().clone()).collect()
    }

    /// Returns whether this user has a saved session.
    pub fn has(&self, lineage: u64) -> bool {
        self.sessions.values().any(|saved| saved.more.lineage == lineage)
    }

    /// Returns the session that the token with this digest would restore.
    pub fn find(&self, now_ms: u64, digest: &str) -> Option<&SavedSession> {
        self.sessions.get(digest).filter(|saved| saved.until_ms > now_ms)
    }

    /// Returns all saved sessions with the digests of their tokens, ordered by digest.
    pub fn all(&self) -> Vec<(String, SavedSession)> {
        let sessions =
            self.sessions.iter().map(|(token, saved)| (token.to_string(), saved.clone()));
        let mut all: Vec<_> = sessions.collect();
        all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        all
    }

    /// Removes the saved session of the token with this digest. Returns the digest and the session,
    /// or `None` if the token is unknown or has expired.
    pub fn redeem(&mut self, now_ms: u64, digest: &str) -> Option<(Arc<str>, SavedSession)> {
        self.remove(digest).filter(|(_, saved)| saved.until_ms > now_ms)
    }
}

/// The maximum number of users that one user may ignore.
pub const IGNORED_MAX: usize = 100;

/// The display settings of a user, and the users they ignore. A token restores them.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// Whether lines are shown with their numbers.
    pub numbers: bool,
    /// Whether lines are shown with their times.
    pub times: bool,
    /// Whether joins, leaves and renames are hidden.
    pub quiet: bool,
    /// The ignored users.
    pub ignored: Vec<Ignored>,
}

/// An ignored user. Their lines are hidden by name and by lineage, so a new name does not help
/// them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ignored {
    /// The name that the user had when they were ignored.
    pub name: Name,
    /// The user's lineage; `None` if an earlier version saved it.
    #[serde(default, alias = "session")]
    pub lineage: Option<u64>,
}

impl Preferences {
    /// Drops ignored users above the limit. A forged saved session may exceed it.
    pub fn bound(&mut self) {
        self.ignored.truncate(IGNORED_MAX);
    }

    /// Returns whether all settings have their default values.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn saved(until_ms: u64) -> SavedSession {
        let name = Name::parse("ann").unwrap();
        SavedSession {
            name,
            rooms: Vec::new(),
            until_ms,
            session: None,
            more: SessionState::default(),
        }
    }

    #[test]
    fn a_token_is_used_once_and_in_time() {
        let mut tokens = Tokens::default();
        let random = [0, 31, 32, 255, 4, 5, 6, 7, 8, 9, 10, 11, 0, 0, 0, 0, 1, 1, 1, 1];
        let one = token(random);
        assert_eq!(one.reveal(), "a9a9-efgh-jkmn-aaaa-bbbb");
        let one: Arc<str> = digest(one.reveal()).into();
        tokens.keep(0, Arc::clone(&one), saved(10));
        let typed = digest(" A9A9-EFGH-JKMN-AAAA-BBBB ");
        assert_eq!(tokens.redeem(5, &typed), Some((Arc::clone(&one), saved(10))));
        assert_eq!(tokens.redeem(5, &one), None, "used up");
        tokens.keep(0, Arc::clone(&one), saved(10));
        assert!(tokens.find(9, &one).is_some() && tokens.find(10, &one).is_none());
        assert_eq!(tokens.redeem(10, &one), None, "too late");
    }

    fn from(source: Source, until_ms: u64) -> SavedSession {
        let more = SessionState { source: Some(source), ..SessionState::default() };
        SavedSession { more, ..saved(until_ms) }
    }

    fn network(number: u32) -> Source {
        IpAddr::from(Ipv4Addr::from_bits(number)).into()
    }

    /// Issue 12, item 10: reading the stream or a history does not reveal a token.
    #[test]
    fn attack_a_digest_is_no_token() {
        let random = token([7; TOKEN_LETTERS]);
        let kept = digest(random.reveal());
        assert_eq!(kept.len(), DIGEST_PREFIX.len() + 64);
        assert!(!kept.contains(&random.reveal()[..4]), "{kept}");
        assert_ne!(digest(&kept), kept, "a typed digest is hashed again");
        assert_eq!(digest_of_kept(kept.clone()), kept);
        assert_eq!(digest_of_kept("ab2c-d3ef-gh45".into()), digest("ab2c-d3ef-gh45"));
        let short = format!("{DIGEST_PREFIX}00");
        assert_eq!(digest_of_kept(short.clone()), digest(&short));
    }

    #[test]
    fn tokens_are_bounded() {
        let mut tokens = Tokens::default();
        for number in 0..TOKENS_MAX as u64 + 10 {
            tokens.keep(0, Arc::from(number.to_string()), saved(1000 + number));
        }
        assert_eq!(tokens.sessions.len(), TOKENS_MAX);
        assert_eq!(tokens.redeem(0, "0"), None);
        assert!(tokens.redeem(0, "20").is_some());
        assert_eq!(tokens.keep(0, Arc::from("one"), saved(1)), Vec::<Arc<str>>::new());
        let dropped = tokens.keep(1, Arc::from("two"), saved(2000));
        assert_eq!(dropped, [Arc::from("one")], "expired tokens are dropped first");
    }

    /// Issue 12, item 9: a flood of tokens, from one address or many, displaces only tokens of its
    /// own source. Sixty other users behind the same address keep their sessions.
    #[test]
    fn attack_a_flood_of_tokens_displaces_no_token_of_others() {
        let mut tokens = Tokens::default();
        let keep = |tokens: &mut Tokens, token: String, saved: SavedSession| {
            tokens.keep(0, Arc::from(token), saved).len()
        };
        keep(&mut tokens, "of-ann".into(), from(network(1), 5));
        keep(&mut tokens, "local".into(), from(Source::Unknown, 5));
        for pupil in 0..60 {
            keep(&mut tokens, format!("pupil-{pupil}"), from(network(2), 6));
        }
        let brief = |number: u32, source| {
            let mut saved = from(network(source), 1000 + u64::from(number));
            saved.more.is_brief = true;
            saved
        };
        let one_address: usize = (0..3000)
            .map(|number| keep(&mut tokens, format!("one-{number}"), brief(number, 2)))
            .sum();
        assert_eq!(one_address, 60 + 3000 - SOURCE_TOKENS_MAX, "every dropped token is returned");
        for number in 0..30_000 {
            keep(&mut tokens, format!("many-{number}"), brief(number, 10 + number % 20));
        }
        assert_eq!(tokens.sessions.len(), TOKENS_MAX);
        assert!(tokens.redeem(0, "of-ann").is_some() && tokens.redeem(0, "local").is_some());
        let kept = (0..60).filter(|pupil| tokens.redeem(0, &format!("pupil-{pupil}")).is_some());
        assert_eq!(kept.count(), 60);
        let indexed: usize = tokens.by_source.values().map(BTreeSet::len).sum();
        assert_eq!(indexed, tokens.sessions.len());
    }

    /// Issue 11, items 3 and 13: a token does not restore rights that its user has lost.
    #[test]
    fn regression_a_token_does_not_restore_revoked_rights() {
        let mut tokens = Tokens::default();
        let den = Name::parse_room("den").unwrap();
        let saved = |lineage| {
            let at =
                Position { room: den.clone(), next: 1, operator: true, password: None, born: 0 };
            let operator = Some("a hash".to_owned());
            let more = SessionState { lineage, operator, ..SessionState::default() };
            SavedSession { rooms: vec![at], more, ..saved(10) }
        };
        tokens.keep(0, Arc::from("one"), saved(1));
        tokens.keep(0, Arc::from("two"), saved(2));
        let one = BTreeSet::from([1]);
        let [(_, lost)] = &tokens.lose_room(&one, &den)[..] else { panic!("it had the room") };
        assert!(lost.rooms.is_empty() && tokens.lose_room(&one, &den).is_empty());
        let [(_, deposed)] = &tokens.depose(1)[..] else { panic!("it had the right") };
        assert!(deposed.more.operator.is_none() && tokens.depose(1).is_empty());
        assert_eq!(tokens.redeem(0, "two").unwrap().1, saved(2), "another user's");
        assert!(tokens.has(1) && !tokens.has(2));
    }
}
