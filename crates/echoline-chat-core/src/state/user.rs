//! A user, as every node of a cluster sees them. Pure.

use core::net::IpAddr;
use std::sync::Arc;

use crate::answer_limits::start_of;
use crate::room::{MemberId, MemberIdentity};
use crate::state::{MuteSubject, RoomCell, Suspect, network_of};
use crate::{AWAY_CHARACTERS_MAX, Name, OperationContext};

/// A user in the chat. `R` holds a room.
#[derive(Clone, Debug)]
pub struct User<R> {
    /// The number of the session, which no other has.
    pub session: u64,
    /// The number of the user, which is the same in all sessions that a token restored.
    pub lineage: u64,
    /// The time at which the session began, in milliseconds since 1970.
    pub since_ms: u64,
    /// Whether this node serves the session.
    pub is_here: bool,
    /// The network address; `None` over a stream without addresses.
    pub address: Option<IpAddr>,
    /// The node that serves the session. It changes if the node rejoins after its lease has
    /// expired.
    pub node: u32,
    /// The number of the user's last operation that was applied, in a cluster.
    pub last: u64,
    /// Whether that operation was refused.
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

    /// Returns the properties that a ban may apply to.
    pub fn suspect(&self) -> Suspect<'_> {
        Suspect { name: Some(&self.name), address: self.address, lineage: Some(self.lineage) }
    }

    /// Returns the properties by which a mute for writing too fast is found.
    pub fn writer(&self) -> MuteSubject {
        let (key, network) = (self.name.key().clone(), self.address.map(network_of));
        MuteSubject { key, lineage: self.lineage, network }
    }

    /// Returns the identity that the user has as a member of rooms.
    pub fn identity(&self) -> MemberIdentity {
        MemberIdentity { session: self.session, lineage: self.lineage, is_here: self.is_here }
    }

    /// Returns the name that the user has now.
    pub fn name(&self) -> Name {
        self.name.clone()
    }

    pub(crate) fn set_name(&mut self, name: Name) {
        self.name = name;
    }

    /// Returns the away text.
    pub fn away(&self) -> Option<Arc<str>> {
        self.away.clone()
    }

    /// Sets the away text. Cuts it to the limit, because an earlier version may have stored a
    /// longer one.
    pub fn set_away(&mut self, words: Option<&str>) {
        let words = words.map(|words| start_of(words, AWAY_CHARACTERS_MAX));
        self.away = words.map(Arc::from);
    }

    /// Returns whether the user is an operator of the whole chat.
    pub fn is_operator(&self) -> bool {
        self.is_operator
    }

    /// Makes the user an operator of the whole chat, or revokes that.
    pub fn make_operator(&mut self, is_operator: bool) {
        self.is_operator = is_operator;
    }

    /// Returns whether the user continues in another session, so that this one cannot be resumed.
    pub fn is_retired(&self) -> bool {
        self.is_retired
    }

    /// Notes that the user continues in another session.
    pub fn retire(&mut self) {
        self.is_retired = true;
    }
}

impl<R: RoomCell> User<R> {
    /// Returns the user's rooms, and their member in each.
    pub fn memberships(&self) -> Vec<(R, MemberId)> {
        self.memberships.clone()
    }

    /// Takes all memberships, which releases them.
    pub(crate) fn take_memberships(&mut self) -> Vec<(R, MemberId)> {
        std::mem::take(&mut self.memberships)
    }

    /// Adds a membership.
    pub fn add_membership(&mut self, room: R, member_id: MemberId) {
        self.memberships.push((room, member_id));
    }

    /// Returns the user's member in a room. A user who was expelled and joined again before the
    /// session released the first membership has two. The last one counts, as on the other nodes.
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
