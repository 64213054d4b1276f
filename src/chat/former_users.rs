//! The users who left last, for operators who are too late for a `/whois` or a `/ban`. Pure.

// Addresses are values; only `std::net` has the sockets that a pure file may not name.
use core::net::IpAddr;
use std::collections::VecDeque;

use super::name::Name;

/// Users who are remembered after they left.
const FORMER_MAX: usize = 200;

/// A user who left.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct FormerUser {
    pub(super) name: Name,
    pub(super) lineage: u64,
    pub(super) address: Option<IpAddr>,
    /// Milliseconds since 1970.
    pub(super) left_ms: u64,
}

/// The last of them; the oldest is forgotten first.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct FormerUsers(VecDeque<FormerUser>);

impl FormerUsers {
    pub(super) fn note(&mut self, user: FormerUser) {
        self.0.retain(|old| old.lineage != user.lineage || !old.name.same_as(&user.name));
        self.0.push_back(user);
        if self.0.len() > FORMER_MAX {
            self.0.pop_front();
        }
    }

    /// Drops the oldest users beyond the bound, which a forged snapshot may have.
    pub(super) fn bound(&mut self) {
        self.0.drain(..self.0.len().saturating_sub(FORMER_MAX));
    }

    /// The user who left last under this name.
    pub(super) fn find(&self, name: &Name) -> Option<&FormerUser> {
        self.0.iter().rev().find(|user| user.name.same_as(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
