//! The conditions for coming into a room. Pure.

use super::hall::{NotIn, Pass};
use super::key::Key;
use super::name::Name;
use super::room::Room;
use super::tokens::Position;

/// Invitations of one room at most.
const INVITED_MAX: usize = 1000;

/// The condition for coming into a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrance {
    Open,
    /// Only the invited may come.
    Invited,
    /// Only users who know the password may come.
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

impl Pass {
    /// Whether a token says that they were an operator of the room.
    pub(super) fn is_operators(&self) -> bool {
        matches!(self, Self::Token { operator: true } | Self::Return { operator: true, .. })
    }
}

/// Tells one password of a room from another: the part of its hash that is the hash itself, which
/// differs each time a password is set.
fn stamp(hash: &str) -> &str {
    hash.rsplit('$').next().unwrap_or_default()
}

impl Room {
    /// The position of a newcomer, for a saved session to be filled in.
    pub(super) fn position_in(&self) -> Position {
        let password = self.password.as_deref().map(|hash| stamp(hash).to_owned());
        Position { room: self.name.clone(), next: self.log.next(), operator: false, password }
    }

    /// Whether the room has a password, and not the one that it had when a session was saved.
    fn has_new_password(&self, saved: Option<&str>) -> bool {
        self.password.as_deref().is_some_and(|hash| Some(stamp(hash)) != saved)
    }

    /// Returns the condition for a user with this name to come in.
    pub(super) fn entrance(&self, key: &Key) -> Entrance {
        match () {
            () if self.invited.contains(key) => Entrance::Open,
            () if self.private => Entrance::Invited,
            () if self.password.is_some() => Entrance::Password,
            () => Entrance::Open,
        }
    }

    /// Lets a user with this name in from now on. Bounded: the first invitation in the order of
    /// keys is dropped.
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
        let is_operator = newcomer.is_operator || pass.is_operators();
        if is_operator || self.operators.remembers(newcomer.lineage) {
            return Ok(());
        }
        match (self.entrance(newcomer.name.key()), pass, &self.password) {
            (Entrance::Open, ..) | (_, Pass::Token { .. }, _) => Ok(()),
            (_, Pass::Return { password, .. }, _)
                if !self.has_new_password(password.as_deref()) =>
            {
                Ok(())
            }
            (Entrance::Invited, ..) | (Entrance::Password, _, None) => Err(NotIn::Invited),
            (_, Pass::Password(known), Some(hash)) if **known == **hash => Ok(()),
            (_, _, Some(hash)) => Err(NotIn::Password(hash.clone())),
        }
    }
}
