//! Chooses the users who must leave when a server is nearly full: the users who have been silent
//! for longest, from the sources with the most users.

use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use ipnet::IpNet;

/// The number of users of one source who may always stay, for example a user with a phone and a
/// laptop.
const KEPT: usize = 2;

/// The properties of a user that the choice depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The number of the session.
    pub session: u64,
    /// The user's network; `None` if the socket has no addresses.
    pub source: Option<IpNet>,
    /// The time since the user's last line, or since their login if there is none.
    pub silent: Duration,
    /// Whether the user is an operator of the chat. Operators never have to leave.
    pub is_protected: bool,
}

/// Returns the sessions of at most `most` users who have been silent for at least `least`, in the
/// order in which they leave. Each one is chosen from the source that has the most users left.
pub fn choose(users: &[Presence], most: usize, least: Duration) -> Vec<u64> {
    let mut sources: BTreeMap<Option<IpNet>, SourceUsers> = BTreeMap::new();
    for user in users {
        let source = sources.entry(user.source).or_default();
        source.users += 1;
        if !user.is_protected && user.silent >= least {
            source.idle.push_back((user.silent, user.session));
        }
    }
    let mut largest: BinaryHeap<SourceUsers> =
        sources.into_values().map(SourceUsers::sorted).collect();
    let mut chosen = Vec::new();
    while chosen.len() < most
        && let Some(mut source) = largest.pop()
    {
        // This many users of a source always stay. A source with fewer users keeps them all.
        if source.users > KEPT
            && let Some((_, session)) = source.idle.pop_front()
        {
            chosen.push(session);
            source.users -= 1;
            largest.push(source);
        }
    }
    chosen
}

/// The users of one source. The derived order compares the number of users first, and then the
/// longest silence.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct SourceUsers {
    users: usize,
    /// The silence and session of each user who may leave, the longest silence first.
    idle: VecDeque<(Duration, u64)>,
}

impl SourceUsers {
    fn sorted(mut self) -> Self {
        self.idle.make_contiguous().sort_unstable_by(|one, other| other.cmp(one));
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const LEAST: Duration = Duration::from_secs(300);

    fn user(session: u64, source: u8, seconds: u64, is_protected: bool) -> Presence {
        let network = || format!("192.0.2.{source}/32").parse().unwrap();
        let source = (source > 0).then(network);
        Presence { session, source, silent: Duration::from_secs(seconds), is_protected }
    }

    /// Issue 12, item 21: if many idle users share an address, the users who have been silent for
    /// longest leave first. No other user leaves.
    #[test]
    fn attack_idlers_of_one_address_leave_first() {
        let mut users: Vec<_> = (0..50).map(|n| user(n, 1, 1000 - n, false)).collect();
        // Ten users have another address. An operator and an active user share the crowded address.
        users.extend((50..60).map(|n| user(n, 2, 5000, false)));
        users.push(user(60, 1, 9999, true));
        users.push(user(61, 1, 299, false));
        assert_eq!(choose(&users, 5, LEAST), [0, 1, 2, 3, 4]);
        let chosen = choose(&users, usize::MAX, LEAST);
        assert_eq!(chosen.len(), 50 + 8, "two users of the crowded address stay");
        assert!(
            chosen[..42].iter().all(|&session| session < 42),
            "the largest source loses users first"
        );
    }

    #[test]
    fn users_of_small_sources_always_stay() {
        let users = [user(1, 1, 9999, false), user(2, 1, 9999, false), user(3, 0, 9999, false)];
        assert_eq!(choose(&users, 3, LEAST), [0; 0]);
    }

    proptest! {
        #[test]
        fn chooses_the_longest_silent_users_of_the_largest_sources(
            users in prop::collection::vec(
                (0_u8..6, 0_u64..900, prop::bool::weighted(0.1)),
                0..120,
            ),
            most in 0_usize..130,
        ) {
            let numbered = users.into_iter().zip(0..);
            let users: Vec<Presence> = numbered
                .map(|((source, silent, is_operator), session)| {
                    user(session, source, silent, is_operator)
                })
                .collect();
            let chosen = choose(&users, most, LEAST);
            prop_assert!(chosen.len() <= most);
            prop_assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), chosen.len());
            let mut left = users;
            for session in &chosen {
                let position = left.iter().position(|user| user.session == *session).unwrap();
                let user = left[position].clone();
                prop_assert!(!user.is_protected && user.silent >= LEAST);
                let count = |source| left.iter().filter(|user| user.source == source).count();
                prop_assert!(count(user.source) > KEPT);
                for other in left.iter().filter(|other| !other.is_protected) {
                    let is_larger = count(other.source) > count(user.source);
                    prop_assert!(other.silent < LEAST || !is_larger);
                    prop_assert!(other.source != user.source || other.silent <= user.silent);
                }
                left.remove(position);
            }
            // If fewer than `most` are chosen, no other user may leave.
            if chosen.len() < most {
                for user in &left {
                    let count = left.iter().filter(|other| other.source == user.source).count();
                    prop_assert!(user.is_protected || user.silent < LEAST || count <= KEPT);
                }
            }
        }
    }
}
