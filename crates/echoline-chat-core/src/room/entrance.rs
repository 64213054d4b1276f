//! The conditions for joining a room.

use crate::Credential;
use crate::JoinError;
use crate::room::Room;
use crate::state::Position;

/// The maximum number of invitations of one room. The oldest is dropped first.
const INVITED_MAX: usize = 1000;

/// The condition for joining a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// Every user may join.
    Open,
    /// Only invited users may join.
    Invited,
    /// Only users who know the password may join.
    Password,
}

/// A user who wants to join.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer {
    /// The number of the session.
    pub session: u64,
    /// The user's number, the same in all their sessions.
    pub lineage: u64,
    /// Whether the user is an operator of the whole chat. Such users may join every room.
    pub is_operator: bool,
}

/// Returns the stamp of a password hash: the last part of its PHC string. It differs each time a
/// password is set, even if the password is the same.
fn stamp(hash: &str) -> &str {
    hash.rsplit('$').next().unwrap_or_default()
}

impl Room {
    /// Returns the position of a user who joins now, in the form for a saved session.
    pub fn position_in(&self) -> Position {
        let password = self.password.as_deref().map(|hash| stamp(hash).to_owned());
        let (room, next, born) = (self.name.clone(), self.log.next(), self.origin.born);
        Position { room, next, operator: false, password, born }
    }

    /// Returns whether the room's password was changed after the session was saved.
    fn has_new_password(&self, saved: Option<&str>) -> bool {
        self.password.as_deref().is_some_and(|hash| Some(stamp(hash)) != saved)
    }

    /// Returns the condition under which the user with this lineage may join.
    pub fn entrance(&self, lineage: u64) -> Entrance {
        match () {
            () if self.invited.contains(&lineage) => Entrance::Open,
            () if self.private => Entrance::Invited,
            () if self.password.is_some() => Entrance::Password,
            () => Entrance::Open,
        }
    }

    /// Invites the user with this lineage, under any name. Another user who takes the name later is
    /// not invited.
    pub fn invite(&mut self, lineage: u64) {
        self.invited.retain(|&invited| invited != lineage);
        if self.invited.len() >= INVITED_MAX {
            self.invited.pop_front();
        }
        self.invited.push_back(lineage);
    }

    /// Returns the credential, or [`Credential::Nothing`] if it is for an earlier room with the
    /// same name.
    pub fn valid<'a>(&self, credential: &'a Credential) -> &'a Credential {
        match credential {
            Credential::Return { born, .. } if *born != self.origin.born => &Credential::Nothing,
            credential => credential,
        }
    }

    /// Checks whether a user with this credential may join.
    pub fn admit(&self, newcomer: Newcomer, credential: &Credential) -> Result<(), JoinError> {
        if self.member_id_of(newcomer.session).is_some() {
            return Err(JoinError::Already);
        }
        let is_operator = newcomer.is_operator || credential.is_operators();
        if is_operator || self.operators.remembers(newcomer.lineage) {
            return Ok(());
        }
        match (self.entrance(newcomer.lineage), credential, &self.password) {
            (Entrance::Open, ..) | (_, Credential::Token { .. }, _) => Ok(()),
            (_, Credential::Return { password, .. }, _)
                if !self.has_new_password(password.as_deref()) =>
            {
                Ok(())
            }
            (Entrance::Invited, ..) | (Entrance::Password, _, None) => Err(JoinError::Invited),
            (_, Credential::Password(known), Some(hash)) if **known == **hash => Ok(()),
            (_, _, Some(hash)) => Err(JoinError::Password(hash.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;
    use crate::room::{Log, LogLimits};

    fn private_room() -> Room {
        let log = Log::new(LogLimits::default(), 1, 0);
        let mut room = Room::new(Name::parse_room("den").unwrap(), log);
        room.private = true;
        room
    }

    /// Issue 12, item 8: an invitation is for a user, in every session that a token restores. It is
    /// not for the user's name.
    #[test]
    fn attack_an_invitation_admits_only_the_invited_user() {
        let mut room = private_room();
        room.invite(7);
        let admits = |room: &Room, session, lineage| {
            let newcomer = Newcomer { session, lineage, is_operator: false };
            room.admit(newcomer, &Credential::Nothing).is_ok()
        };
        assert!(admits(&room, 7, 7) && admits(&room, 9, 7) && !admits(&room, 8, 8));
        assert_eq!((room.entrance(7), room.entrance(8)), (Entrance::Open, Entrance::Invited));
        for lineage in 100..100 + INVITED_MAX as u64 {
            room.invite(lineage);
            room.invite(lineage);
        }
        assert_eq!(room.invited.len(), INVITED_MAX);
        assert!(
            !admits(&room, 7, 7) && admits(&room, 100, 100),
            "the oldest invitation is dropped"
        );
    }
}
