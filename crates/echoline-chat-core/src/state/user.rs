//! A user, as every node of a cluster sees them.

use core::net::IpAddr;
use std::sync::Arc;

use crate::answer_limits::start_of;
use crate::room::{MemberId, MemberIdentity};
use crate::state::{MuteSubject, RoomCell, Suspect, network_of};
use crate::{AWAY_CHARACTERS_MAX, Name, OperationContext};

/// A user in the chat. `R` is the type that holds a room.
#[derive(Clone, Debug)]
pub struct User<R> {
    /// The number of the session, which is unique.
    pub session: u64,
    /// The user's number, the same in all sessions that a token restores.
    pub lineage: u64,
    /// The time at which the session began, in milliseconds since 1970.
    pub since_ms: u64,
    /// Whether this node serves the session.
    pub is_here: bool,
    /// The network address; `None` if the stream has no addresses.
    pub address: Option<IpAddr>,
    /// The node that serves the session. Its number changes if it rejoins after its lease expired.
    pub node: u32,
    /// The number of the user's last operation that was applied. Used in a cluster only.
    pub last: u64,
    /// Whether the user's last operation was refused.
    pub was_refused: bool,
    name: Name,
    is_operator: bool,
    is_retired: bool,
    away: Option<Arc<str>>,
    memberships: Vec<(R, MemberId)>,
}

impl<R> User<R> {
    /// Creates a user whose session begins now.
    pub fn new(
        context: OperationContext,
        address: Option<IpAddr>,
        name: Name,
        lineage: u64,
    ) -> Self {
        Self {
            session: context.session,
            lineage,
            since_ms: context.now_ms,
            is_here: context.is_here,
            address,
            node: context.node,
            last: 0,
            was_refused: false,
            name,
            is_operator: false,
            is_retired: false,
            away: None,
            // Most users are in one room.
            memberships: Vec::with_capacity(1),
        }
    }

    /// Sets the start of the session to `since_ms` instead of the current time.
    pub fn since(self, since_ms: u64) -> Self {
        Self { since_ms, ..self }
    }

    /// Returns the properties to compare with bans.
    pub fn suspect(&self) -> Suspect<'_> {
        Suspect { name: Some(&self.name), address: self.address, lineage: Some(self.lineage) }
    }

    /// Returns the properties by which a mute for writing too fast is found.
    pub fn writer(&self) -> MuteSubject {
        let (key, network) = (self.name.key().clone(), self.address.map(network_of));
        MuteSubject { key, lineage: self.lineage, network }
    }

    /// Returns the user's identity as a member of rooms.
    pub fn identity(&self) -> MemberIdentity {
        MemberIdentity { session: self.session, lineage: self.lineage, is_here: self.is_here }
    }

    /// Returns the user's current name.
    pub fn name(&self) -> Name {
        self.name.clone()
    }

    pub(crate) fn set_name(&mut self, name: Name) {
        self.name = name;
    }

    /// Returns the away text, if the user is away.
    pub fn away(&self) -> Option<Arc<str>> {
        self.away.clone()
    }

    /// Sets or removes the away text. Shortens it to the limit, because an earlier version may have
    /// stored a longer text.
    pub fn set_away(&mut self, words: Option<&str>) {
        let words = words.map(|words| start_of(words, AWAY_CHARACTERS_MAX));
        self.away = words.map(Arc::from);
    }

    /// Returns whether the user is an operator of the whole chat.
    pub fn is_operator(&self) -> bool {
        self.is_operator
    }

    /// Makes the user an operator of the whole chat, or revokes that right.
    pub fn make_operator(&mut self, is_operator: bool) {
        self.is_operator = is_operator;
    }

    /// Returns whether the user continues in another session. This session then cannot be restored.
    pub fn is_retired(&self) -> bool {
        self.is_retired
    }

    /// Records that the user continues in another session.
    pub fn retire(&mut self) {
        self.is_retired = true;
    }
}

impl<R: RoomCell> User<R> {
    /// Returns the user's rooms with the member id in each.
    pub fn memberships(&self) -> Vec<(R, MemberId)> {
        self.memberships.clone()
    }

    /// Takes all memberships out of the user. The caller must release them.
    pub(crate) fn take_memberships(&mut self) -> Vec<(R, MemberId)> {
        std::mem::take(&mut self.memberships)
    }

    /// Adds a membership.
    pub fn add_membership(&mut self, room: R, member_id: MemberId) {
        self.memberships.push((room, member_id));
    }

    /// Returns the user's member id in a room. A user who was expelled and joined again, before the
    /// session released the first membership, has two memberships. The last one counts, as on the
    /// other nodes.
    pub fn member_id_in(&self, room: &R) -> Option<MemberId> {
        let mut memberships = self.memberships.iter().rev();
        memberships.find(|(theirs, _)| theirs.is_same(room)).map(|&(_, member_id)| member_id)
    }

    /// Releases the membership of a room, if there is one.
    pub fn release(&mut self, room: &R) {
        let theirs = self.memberships.iter().position(|(theirs, _)| theirs.is_same(room));
        if let Some(index) = theirs {
            let (_, member_id) = self.memberships.remove(index);
            room.leave(member_id, |room| room.leave_silently(member_id));
        }
    }

    /// Releases all memberships.
    pub fn release_all(&mut self) {
        for (room, member_id) in self.take_memberships() {
            room.leave(member_id, |room| room.leave_silently(member_id));
        }
    }
}
