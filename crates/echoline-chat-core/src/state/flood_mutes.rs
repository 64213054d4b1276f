//! The mutes of users who wrote too fast. A new connection does not end such a mute. Time is an
//! argument.
//!
//! A mute follows the user's name, and the token that restores their session. It also follows the
//! user's address, but only once. After the user has left, the first new session from that address
//! is muted, even under another name and without a token. A user who reconnects therefore stays
//! muted. Other users of the address who are already in the chat are not muted.

use std::collections::VecDeque;
use std::time::Duration;

use ipnet::IpNet;

use crate::Key;
use crate::flood::FORGIVEN_AFTER;
use crate::state::source::most_frequent;

/// The maximum number of mutes. If there are more, the network with the most mutes loses its oldest
/// one. A flood of muted sessions therefore ends no mute of another network.
const MUTES_MAX: usize = 1000;

/// A mute and its user.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct FloodMute {
    key: Key,
    lineage: u64,
    /// The network from which the next new session takes over the mute; `None` after a session has
    /// taken it over.
    network: Option<IpNet>,
    /// Whether the user has left. Only then is the mute matched by address.
    has_left: bool,
    until_ms: u64,
    /// The number of the user's mutes so far. Each further mute is longer.
    count: u8,
}

/// The properties of a user by which their mute is found.
#[derive(Clone, Debug)]
pub struct MuteSubject {
    /// The key of the user's name.
    pub key: Key,
    /// The user's number, the same in all their sessions.
    pub lineage: u64,
    /// The network of the user's address.
    pub network: Option<IpNet>,
}

/// A mute that continues in a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContinuedMute {
    /// The end of the mute, in milliseconds since 1970. It is in the past if the mute is over and
    /// only the count continues.
    pub until_ms: u64,
    /// The number of mutes so far.
    pub count: u8,
    /// Whether the mute was found only by address, so it may belong to another user.
    pub is_by_address: bool,
}

/// All mutes, the oldest first. Some have ended, but still count towards the length of the next
/// one.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FloodMutes(VecDeque<FloodMute>);

impl FloodMutes {
    /// Mutes a user until `until_ms`, for the `count`th time.
    pub fn begin(&mut self, now_ms: u64, writer: MuteSubject, until_ms: u64, count: u8) {
        let MuteSubject { key, lineage, network } = writer;
        self.0.retain(|old| old.is_remembered(now_ms) && old.lineage != lineage);
        self.push(FloodMute { key, lineage, network, has_left: false, until_ms, count });
    }

    /// Records that a user leaves under this name.
    pub fn leave(&mut self, lineage: u64, key: &Key) {
        let mut theirs = self.0.iter_mut().filter(|mute| mute.lineage == lineage);
        let Some(mute) = theirs.next() else { return };
        mute.has_left = true;
        if mute.key != *key {
            let renamed = FloodMute { key: key.clone(), network: None, ..mute.clone() };
            self.push(renamed);
        }
    }

    /// Returns the mute of a user who logs in. `is_back` is whether a token restores their session.
    pub fn enter(
        &mut self,
        now_ms: u64,
        writer: MuteSubject,
        is_back: bool,
    ) -> Option<ContinuedMute> {
        self.0.retain(|mute| mute.is_remembered(now_ms));
        let is_theirs =
            |mute: &&mut FloodMute| mute.lineage == writer.lineage || mute.key == writer.key;
        let by_user = self.0.iter_mut().filter(is_theirs).max_by_key(|mute| mute.until_ms);
        let is_by_address = by_user.is_none();
        let found = match by_user {
            Some(mute) => Some(mute),
            None if is_back || writer.network.is_none() => None,
            None => self.0.iter_mut().find(|mute| {
                mute.has_left && mute.network == writer.network && mute.until_ms > now_ms
            }),
        };
        let mute = found?;
        // Only one session is matched by address. A later session from that address probably
        // belongs to another user.
        mute.network = None;
        let (until_ms, count) = (mute.until_ms, mute.count);
        if mute.lineage == writer.lineage {
            mute.has_left = false;
            mute.network = writer.network;
        } else {
            let MuteSubject { key, lineage, network } = writer;
            self.push(FloodMute { key, lineage, network, has_left: false, until_ms, count });
        }
        Some(ContinuedMute { until_ms, count, is_by_address })
    }

    /// Drops the oldest mutes above the limit. A forged snapshot may exceed it.
    pub fn bound(&mut self) {
        self.0.drain(..self.0.len().saturating_sub(MUTES_MAX));
    }

    fn push(&mut self, mute: FloodMute) {
        self.0.push_back(mute);
        if self.0.len() > MUTES_MAX {
            let largest = most_frequent(self.0.iter().map(|mute| mute.network));
            let oldest = self.0.iter().position(|mute| Some(mute.network) == largest);
            self.0.remove(oldest.unwrap_or_default());
        }
    }
}

impl FloodMute {
    fn is_remembered(&self, now_ms: u64) -> bool {
        let forgiven = u64::try_from(FORGIVEN_AFTER.as_millis()).unwrap_or(u64::MAX);
        self.until_ms.saturating_add(forgiven) > now_ms
    }
}

impl ContinuedMute {
    /// Returns the remaining time of the mute, at most `most`. The bound prevents a longer mute if
    /// the clock was set back.
    pub fn rest(&self, now_ms: u64, most: Duration) -> Duration {
        Duration::from_millis(self.until_ms.saturating_sub(now_ms)).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    fn writer(name: &str, lineage: u64, network: &str) -> MuteSubject {
        let key = Name::parse(name).unwrap().key().clone();
        MuteSubject { key, lineage, network: Some(network.parse().unwrap()) }
    }

    const HOME: &str = "192.0.2.7/32";

    /// Returns the mutes after the troll was muted until second 30 and has left.
    fn left() -> FloodMutes {
        let mut mutes = FloodMutes::default();
        mutes.begin(0, writer("troll", 1, HOME), 30_000, 1);
        mutes.leave(1, &writer("troll", 1, HOME).key);
        mutes
    }

    /// Issue 11, item 4: a mute follows the name, the token and the address.
    #[test]
    fn regression_a_flood_mute_follows_its_user() {
        let muted =
            |is_by_address| Some(ContinuedMute { until_ms: 30_000, count: 1, is_by_address });
        let other = "198.51.100.1/32";
        assert_eq!(left().enter(1, writer("TROLL", 2, other), false), muted(false), "the name");
        assert_eq!(left().enter(1, writer("eve", 1, other), true), muted(false), "the token");
        assert_eq!(left().enter(1, writer("imp", 2, HOME), false), muted(true), "the address");
        let mut mutes = left();
        mutes.leave(1, &writer("eve", 1, HOME).key);
        assert_eq!(
            mutes.enter(1, writer("eve", 2, other), false),
            muted(false),
            "the last name of the user is muted"
        );
        // The new session is muted too, so the mute continues after this session leaves.
        let mut mutes = left();
        assert_eq!(mutes.enter(1, writer("imp", 2, HOME), false), muted(true));
        mutes.leave(2, &writer("imp", 2, HOME).key);
        assert_eq!(mutes.enter(2, writer("gnome", 3, HOME), false), muted(true));
    }

    /// Issue 11, item 4: if one user of an address writes too fast, the other users of that address
    /// are not muted.
    #[test]
    fn regression_a_flood_mute_does_not_spread_over_an_address() {
        let mut mutes = FloodMutes::default();
        mutes.begin(0, writer("troll", 1, HOME), 30_000, 1);
        let come = |mutes: &mut FloodMutes, lineage: u64, is_back| {
            mutes.enter(1, writer(&format!("pupil{lineage}"), lineage, HOME), is_back)
        };
        assert!(
            (10..70).all(|pupil| come(&mut mutes, pupil, false).is_none()),
            "the troll is still in the chat"
        );
        mutes.leave(1, &writer("troll", 1, HOME).key);
        assert_eq!(
            come(&mut mutes, 70, true),
            None,
            "a restored session is not matched by address"
        );
        assert!(come(&mut mutes, 71, false).is_some(), "one pays");
        assert!(
            (72..130).all(|pupil| come(&mut mutes, pupil, false).is_none()),
            "no further session takes over the mute"
        );
        assert!(
            mutes.enter(2, writer("troll", 131, HOME), false).is_some(),
            "the troll is still muted"
        );
    }

    /// Issue 12, item 4: a flood of sessions that write too fast ends no mute of another network.
    #[test]
    fn attack_a_flood_of_mutes_ends_no_mute_of_another_network() {
        let mut mutes = FloodMutes::default();
        mutes.begin(0, writer("troll", 1, HOME), 30_000, 1);
        for lineage in 2..2 * MUTES_MAX as u64 {
            mutes.begin(0, writer(&format!("u{lineage}"), lineage, "198.51.100.1/32"), 30_000, 1);
        }
        assert!(mutes.enter(1, writer("troll", 9999, HOME), false).is_some());
        assert_eq!(mutes.0.len(), MUTES_MAX);
    }

    #[test]
    fn mutes_end_are_forgiven_and_bounded() {
        let mut mutes = left();
        assert_eq!(mutes.enter(30_000, writer("imp", 2, HOME), false), None, "the mute is over");
        let again = mutes.enter(60_000, writer("troll", 3, HOME), false).unwrap();
        assert_eq!((again.until_ms, again.count), (30_000, 1), "the count continues");
        assert_eq!(again.rest(60_000, Duration::from_secs(600)), Duration::ZERO);
        assert_eq!(again.rest(0, Duration::from_secs(7)), Duration::from_secs(7));
        assert_eq!(mutes.enter(630_000, writer("troll", 4, HOME), false), None, "forgiven");
        for lineage in 0..=MUTES_MAX as u64 {
            mutes.begin(0, writer("troll", lineage, HOME), 30_000, 1);
        }
        assert_eq!(mutes.0.len(), MUTES_MAX);
    }
}
