//! The users who left most recently. Operators can still use `/whois` and `/ban` on them.

// `core::net` has only the address types. Pure code must not use the sockets of `std::net`.
use core::net::IpAddr;
use std::collections::VecDeque;

use crate::Name;
use crate::state::source::most_frequent;
use echoline_base::source::Source;

/// The maximum number of remembered users who left.
const FORMER_MAX: usize = 200;

/// A user who left.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FormerUser {
    /// The name of the user.
    pub name: Name,
    /// The user's number, the same in all their sessions.
    pub lineage: u64,
    /// The network address, if it is known.
    pub address: Option<IpAddr>,
    /// The time at which the user left, in milliseconds since 1970 (UTC).
    pub left_ms: u64,
}

/// The users who left most recently. If there are too many, the oldest user of the source with the
/// most users is dropped, so a flood of visits displaces only its own users.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FormerUsers(VecDeque<FormerUser>);

impl FormerUsers {
    /// Records a user who has left.
    pub fn note(&mut self, user: FormerUser) {
        self.0.retain(|old| old.lineage != user.lineage || !old.name.same_as(&user.name));
        self.0.push_back(user);
        if self.0.len() > FORMER_MAX {
            let source = |user: &FormerUser| Source::from(user.address);
            let largest = most_frequent(self.0.iter().map(source));
            let oldest = self.0.iter().position(|user| Some(source(user)) == largest);
            self.0.remove(oldest.unwrap_or_default());
        }
    }

    /// Drops the oldest users above the limit. A forged snapshot may exceed it.
    pub fn bound(&mut self) {
        self.0.drain(..self.0.len().saturating_sub(FORMER_MAX));
    }

    /// Returns the last user who left under this name.
    pub fn find(&self, name: &Name) -> Option<&FormerUser> {
        self.0.iter().rev().find(|user| user.name.same_as(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 12, item 4: a flood of visits does not hide a user from operators.
    #[test]
    fn attack_a_flood_of_visits_hides_no_former_user() {
        let mut users = FormerUsers::default();
        let user = |name: &str, address: &str| FormerUser {
            name: Name::parse(name).unwrap(),
            lineage: 1,
            address: Some(address.parse().unwrap()),
            left_ms: 0,
        };
        users.note(user("troll", "192.0.2.7"));
        (0..1000).for_each(|number| users.note(user(&format!("u{number}"), "2001:db8::1")));
        let is_known = |name| users.find(&Name::parse(name).unwrap()).is_some();
        assert!(is_known("troll") && is_known("u999") && !is_known("u0"));
        assert_eq!(users.0.len(), FORMER_MAX);
    }

    #[test]
    fn the_last_users_are_remembered() {
        let mut users = FormerUsers::default();
        let user = |lineage: u64, name: &str| FormerUser {
            name: Name::parse(name).unwrap(),
            lineage,
            address: None,
            left_ms: lineage,
        };
        for lineage in 0..=FORMER_MAX as u64 {
            users.note(user(lineage, &format!("u{lineage}")));
        }
        let find = |users: &FormerUsers, name| {
            users.find(&Name::parse(name).unwrap()).map(|user| user.lineage)
        };
        assert_eq!(
            (find(&users, "u0"), find(&users, "u1"), find(&users, "U7")),
            (None, Some(1), Some(7))
        );
        users.note(user(900, "u7"));
        assert_eq!(find(&users, "u7"), Some(900));
        let length = users.0.len();
        users.note(user(900, "u7"));
        assert_eq!(users.0.len(), length, "noted once");
    }
}
