//! What it takes to come into a room. Pure.

use super::hall::{NotIn, Pass};
use super::key::Key;
use super::name::Name;
use super::room::Room;

/// Invitations of one room at most.
const INVITED_MAX: usize = 1000;

/// Why a room cannot be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrance {
    Open,
    /// Only the invited may come.
    Invited,
    /// Only who knows the words may come.
    Password,
}

/// A user who wants to come in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer<'a> {
    pub(super) session: u64,
    pub(super) lineage: u64,
    pub(super) name: &'a Name,
    /// An operator of the whole chat, who may come in everywhere.
    pub(super) is_operator: bool,
}

impl Room {
    /// What it takes to come in for who is called `key`.
    pub(super) fn entrance(&self, key: &Key) -> Entrance {
        match () {
            () if self.invited.contains(key) => Entrance::Open,
            () if self.private => Entrance::Invited,
            () if self.password.is_some() => Entrance::Password,
            () => Entrance::Open,
        }
    }

    /// Lets who is called `key` in from now on. Bounded: the invitations of one room are few.
    pub(super) fn invite(&mut self, key: Key) {
        if self.invited.len() >= INVITED_MAX {
            self.invited.pop_first();
        }
        self.invited.insert(key);
    }

    /// Whether a user may come in who has shown this pass.
    pub(super) fn admit(&self, newcomer: Newcomer<'_>, pass: &Pass) -> Result<(), NotIn> {
        if self.seat_of(newcomer.session).is_some() {
            return Err(NotIn::Already);
        }
        if newcomer.is_operator || self.succession.remembers(newcomer.lineage) {
            return Ok(());
        }
        match (self.entrance(newcomer.name.key()), pass, &self.password) {
            (Entrance::Open, ..) | (_, Pass::Token { .. }, _) => Ok(()),
            (Entrance::Invited, ..) | (Entrance::Password, _, None) => Err(NotIn::Invited),
            (_, Pass::Password(known), Some(hash)) if **known == **hash => Ok(()),
            (_, _, Some(hash)) => Err(NotIn::Password(hash.clone())),
        }
    }
}
