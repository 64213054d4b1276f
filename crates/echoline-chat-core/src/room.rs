//! One room: its log, its members and their rights. Time is an argument.

pub(crate) mod batch;
pub(crate) mod echo_suppression;
pub(crate) mod election;
pub(crate) mod entrance;
pub(crate) mod line;
pub(crate) mod log;
pub(crate) mod member;
pub(crate) mod replay;
pub(crate) mod room_operators;
pub(crate) mod room_record;

pub use batch::Batch;
pub use echo_suppression::{HiddenLines, Own};
pub use entrance::{Entrance, Newcomer};
pub use line::{EOL, LineView, Shape, terminal_text};
pub use log::{Log, LogLimits, Mark};
pub use member::{Member, MemberId, MemberIdentity};
pub use replay::{Replay, ReplayFrom};
pub use room_operators::{Muted, RoomOperators};
pub use room_record::{LINES_MAX, LOG_MIN, LineRecord, RoomRecord};

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use self::member::Standing;
use crate::room::replay::replay;
use crate::{Key, LineKind, Name};
use echoline_base::source::Source;

/// One room.
#[derive(Debug)]
pub struct Room {
    /// The name of the room.
    pub name: Name,
    /// The topic, empty if none is set.
    pub topic: Arc<str>,
    /// Whether the room is unlisted and open to invited users only.
    pub private: bool,
    /// The hash of the password; `None` if the room has none.
    pub password: Option<Arc<str>>,
    /// The lines.
    pub log: Log,
    members: Slab<Member>,
    /// The number of expelled or suspended members that are still in `members`.
    outside: usize,
    /// The number of joins so far. It orders the members.
    arrivals: u32,
    /// The lineages of the invited users, the oldest invitation first.
    pub invited: VecDeque<u64>,
    /// Muted users, and the ends of their mutes in milliseconds since 1970.
    pub muted: Vec<(Muted, u64)>,
    /// The present and former operators.
    pub operators: RoomOperators,
    /// The origin of the room.
    pub origin: RoomOrigin,
    /// Whether this is the room that every user enters first. It is never removed, and elects no
    /// operator.
    pub(crate) is_lobby: bool,
}

/// The origin of a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct RoomOrigin {
    /// The number of the room's first line. It distinguishes the room from earlier rooms of the
    /// same name, because a new room begins above all lines of the old one. 0 for the lobby, and
    /// for rooms of an earlier version.
    pub born: u64,
    /// The source of the user who created the room, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) maker: Option<Source>,
}

/// The number and the time of an appended line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The number of the line.
    pub number: u64,
    /// The time, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
}

impl Room {
    /// Creates an empty room.
    pub fn new(name: Name, log: Log) -> Self {
        Self {
            name,
            topic: Arc::default(),
            private: false,
            password: None,
            log,
            members: Slab::new(),
            outside: 0,
            arrivals: 0,
            invited: VecDeque::new(),
            muted: Vec::new(),
            operators: RoomOperators::default(),
            origin: RoomOrigin::default(),
            is_lobby: false,
        }
    }

    fn append(
        &mut self,
        now_ms: u64,
        author: u64,
        kind: LineKind,
        name: &str,
        text: &str,
    ) -> Appended {
        let (number, time_ms) = self.log.append(now_ms, author, kind, name, text);
        Appended { number, time_ms }
    }

    /// Adds a member and appends the join line, which the new member sees too. `replay_from`
    /// selects the earlier lines that the member receives. A terminal does not show the lines that
    /// a replay leaves out.
    pub fn join(
        &mut self,
        now_ms: u64,
        identity: MemberIdentity,
        name: Name,
        replay_from: ReplayFrom,
    ) -> (MemberId, Appended) {
        let joined = self.append(now_ms, identity.lineage, LineKind::Joined, name.as_str(), "");
        let Replay { first, left_out } = match replay_from {
            ReplayFrom::Last(said) => replay(&self.log, joined.number, said),
            ReplayFrom::From(number) => {
                Replay { first: number.min(joined.number), ..Replay::default() }
            }
        };
        let member_id = self.insert_member(identity, name, first, false);
        if identity.is_here {
            self.members[member_id].own = HiddenLines::left_out(left_out);
        }
        (member_id, joined)
    }

    /// Adds a member without a line in the log. `next` is the number of the first line that the
    /// member receives.
    pub fn insert_member(
        &mut self,
        identity: MemberIdentity,
        name: Name,
        next: u64,
        operator: bool,
    ) -> MemberId {
        let MemberIdentity { session, lineage, is_here } = identity;
        self.arrivals = self.arrivals.saturating_add(1);
        let (arrival, own, standing) = (self.arrivals, HiddenLines::default(), Standing::In);
        self.members.insert(Member {
            session,
            lineage,
            name,
            operator,
            is_here,
            standing,
            arrival,
            next,
            own,
        })
    }

    /// Removes a member, and appends a leave line with the reason, which may be empty. Appends none
    /// if the member is expelled or suspended.
    pub fn leave(&mut self, now_ms: u64, member_id: MemberId, reason: &str) -> Option<Appended> {
        let Member { lineage, name, standing, .. } = self.members.remove(member_id);
        if standing != Standing::In {
            self.outside -= 1;
            return None;
        }
        Some(self.append(now_ms, lineage, LineKind::Left, name.as_str(), reason))
    }

    /// Expels a member and appends a leave line. The id stays taken until the session leaves.
    pub(crate) fn expel(
        &mut self,
        now_ms: u64,
        member_id: MemberId,
        reason: &str,
    ) -> Option<Appended> {
        let member = &mut self.members[member_id];
        if std::mem::replace(&mut member.standing, Standing::Out) != Standing::In {
            return None;
        }
        self.outside += 1;
        let (lineage, name) = (member.lineage, member.name.clone());
        Some(self.append(now_ms, lineage, LineKind::Left, name.as_str(), reason))
    }

    /// Suspends a member without a line in the log; the member may rejoin. Returns `false` if the
    /// member is already suspended or expelled.
    pub fn suspend(&mut self, member_id: MemberId) -> bool {
        let member = &mut self.members[member_id];
        let was_in = member.standing == Standing::In;
        if was_in {
            member.standing = Standing::Suspended;
            self.outside += 1;
        }
        was_in
    }

    /// Expels a suspended member, who can no longer rejoin. Returns `false` if the member is not
    /// suspended.
    pub fn cancel_suspension(&mut self, member_id: MemberId) -> bool {
        let member = &mut self.members[member_id];
        let was_expected = member.standing == Standing::Suspended;
        if was_expected {
            member.standing = Standing::Out;
        }
        was_expected
    }

    /// Resumes a suspended membership and appends a join line. In the order of the members, the
    /// member comes last, but their next line is unchanged.
    pub(crate) fn resume_member(
        &mut self,
        now_ms: u64,
        member_id: MemberId,
        name: Name,
    ) -> Appended {
        self.arrivals = self.arrivals.saturating_add(1);
        let member = &mut self.members[member_id];
        let before = std::mem::replace(&mut member.standing, Standing::In);
        self.outside -= usize::from(before != Standing::In);
        (member.name, member.arrival) = (name.clone(), self.arrivals);
        let lineage = member.lineage;
        self.append(now_ms, lineage, LineKind::Joined, name.as_str(), "")
    }

    /// Removes a member without a line in the log, because the server shuts down.
    pub(crate) fn leave_silently(&mut self, member_id: MemberId) {
        self.outside -= usize::from(self.members.remove(member_id).is_out());
    }

    /// Appends a line of a member. Returns `None` if the member was expelled.
    pub fn say(
        &mut self,
        now_ms: u64,
        member_id: MemberId,
        kind: LineKind,
        text: &str,
    ) -> Option<Appended> {
        let Self { members, log, .. } = self;
        let member = &mut members[member_id];
        if member.is_out() {
            return None;
        }
        let (number, time_ms) =
            log.append(now_ms, member.lineage, kind, member.name.as_str(), text);
        if member.is_here {
            member.own.push(number, member.next, log.oldest());
        }
        Some(Appended { number, time_ms })
    }

    /// Hides the room's last line from the terminal of its author, whose session this node serves.
    /// `number` is the number of the line.
    pub fn hide(&mut self, session: u64, number: u64) {
        let Self { members, log, .. } = self;
        for (_, member) in members.iter_mut() {
            let is_served = member.is_here && member.standing != Standing::Out;
            if is_served && member.session == session {
                member.own.push(number, member.next, log.oldest());
            }
        }
    }

    /// Changes the name of a member, and appends a line about it. Returns `None` if the member was
    /// expelled.
    pub fn rename(&mut self, now_ms: u64, member_id: MemberId, name: Name) -> Option<Appended> {
        let member = &mut self.members[member_id];
        if member.is_out() {
            return None;
        }
        let old = std::mem::replace(&mut member.name, name.clone());
        let lineage = member.lineage;
        Some(self.append(now_ms, lineage, LineKind::Renamed, old.as_str(), name.as_str()))
    }

    /// Sets or removes the topic, and appends a line about it.
    pub(crate) fn set_topic(
        &mut self,
        now_ms: u64,
        member_id: MemberId,
        topic: &str,
    ) -> Option<Appended> {
        let Member { lineage, name, standing, .. } = &self.members[member_id];
        if *standing != Standing::In {
            return None;
        }
        let (lineage, name) = (*lineage, name.clone());
        self.topic = Arc::from(topic);
        Some(self.append(now_ms, lineage, LineKind::Topic, name.as_str(), topic))
    }

    /// Appends a line of the server.
    pub fn announce(&mut self, now_ms: u64, text: &str) -> Appended {
        self.append(now_ms, 0, LineKind::Notice, "", text)
    }

    /// Fills `batch` with the member's next lines, and marks them as seen. Returns the number of
    /// missed lines: lines that the log has dropped.
    pub fn take(&mut self, member_id: MemberId, batch: &mut Batch) -> u64 {
        let member = &mut self.members[member_id];
        if member.is_out() {
            return 0;
        }
        member.own.shrink(member.next);
        let missed = member.skip_to(self.log.kept_from(member.next), Own::Hidden);
        self.log.gather(member.next, member.own.ranges(), batch);
        member.next = batch.until;
        missed
    }

    /// Sets the member's next line back to `next`, because the member did not take the whole batch.
    pub fn put_back(&mut self, member_id: MemberId, next: u64) {
        self.members[member_id].next = next;
    }

    /// Takes the member's next line. Adds to `missed` the number of lines before it that the log
    /// has dropped. The member's own lines are returned and counted only if `own` is `Own::Shown`.
    pub fn take_line(
        &mut self,
        member_id: MemberId,
        own: Own,
        missed: &mut u64,
    ) -> Option<LineView<'_>> {
        let member = &mut self.members[member_id];
        if member.is_out() {
            return None;
        }
        member.own.shrink(member.next);
        loop {
            *missed += member.skip_to(self.log.kept_from(member.next), own);
            let kept = member.next;
            if own == Own::Hidden {
                member.next = member.own.pass(kept);
            }
            if member.next == kept {
                break;
            }
        }
        let line = self.log.line(member.next)?;
        member.next = line.number + 1;
        Some(line)
    }

    /// Returns whether all lines are visible, so that none waits for the store.
    pub fn is_settled(&self) -> bool {
        self.log.visible() == self.log.next()
    }

    /// Returns whether the member has seen all visible lines.
    pub fn is_caught_up(&self, member_id: MemberId) -> bool {
        let member = &self.members[member_id];
        member.is_out() || member.next >= self.log.visible()
    }

    /// Returns how many lines before `until` the member will be shown. If own lines are shown, the
    /// member also sees the lines that a replay leaves out. To limit their number, the member first
    /// skips to the last `most` lines before `until`.
    pub fn earlier(&mut self, member_id: MemberId, until: u64, own: Own, most: u64) -> u64 {
        let Self { members, log, .. } = self;
        let member = &mut members[member_id];
        if own == Own::Shown {
            member.next = member.next.max(until.saturating_sub(most));
            return log.count(member.next..until);
        }
        let (from, ranges) = (member.next, member.own.ranges());
        let hidden = ranges.map(|own| log.count(own.start.max(from)..own.end.min(until)));
        log.count(from..until) - hidden.sum::<u64>()
    }

    /// Returns the number of the member's next line, and whether the member is an operator of the
    /// room.
    pub fn standing(&self, member_id: MemberId) -> (u64, bool) {
        let member = &self.members[member_id];
        (member.next, member.operator && !member.is_out())
    }

    /// Returns whether the member is neither expelled nor suspended.
    pub fn is_in(&self, member_id: MemberId) -> bool {
        !self.members[member_id].is_out()
    }

    /// Returns whether the membership is suspended.
    pub fn is_suspended(&self, member_id: MemberId) -> bool {
        self.members[member_id].standing == Standing::Suspended
    }

    /// Returns whether the member was expelled; `false` if the membership is only suspended.
    pub fn is_expelled(&self, member_id: MemberId) -> bool {
        self.members[member_id].standing == Standing::Out
    }

    /// Returns whether the member is an operator of the room, or was one until they were expelled.
    pub fn is_operator(&self, member_id: MemberId) -> bool {
        self.members[member_id].operator
    }

    /// Like [`standing`](Self::standing), but returns `None` if the member is expelled or
    /// suspended.
    pub fn membership(&self, member_id: MemberId) -> Option<(u64, bool)> {
        self.is_in(member_id).then(|| self.standing(member_id))
    }

    /// Makes a member an operator of the room, or revokes that.
    pub fn set_operator(&mut self, member_id: MemberId, operator: bool) {
        self.members[member_id].operator = operator;
    }

    /// Returns whether an operator of the room is present.
    pub(crate) fn has_operator(&self) -> bool {
        self.present().any(|(_, member)| member.operator)
    }

    /// Returns the name of a member.
    pub fn member_name(&self, member_id: MemberId) -> &Name {
        &self.members[member_id].name
    }

    /// Mutes a user until `until_ms` (milliseconds since 1970), or unmutes them if it is `None`.
    /// The number of mutes is bounded: the oldest is dropped first.
    pub fn mute(&mut self, now_ms: u64, muted: Muted, until_ms: Option<u64>) {
        room_operators::mute(&mut self.muted, now_ms, muted, until_ms);
    }

    /// Returns the end of a user's mute in milliseconds since 1970, if they are muted.
    pub fn muted_until(&self, now_ms: u64, key: &Key, lineage: u64) -> Option<u64> {
        room_operators::muted_until(&self.muted, now_ms, key, lineage)
    }

    /// Returns the end of a member's mute, if they are muted.
    pub(crate) fn member_muted_until(&self, now_ms: u64, member_id: MemberId) -> Option<u64> {
        let member = &self.members[member_id];
        self.muted_until(now_ms, member.name.key(), member.lineage)
    }

    /// Returns the membership of a session in this room, if it has one.
    pub fn member_id_of(&self, session: u64) -> Option<MemberId> {
        let mut members = self.present();
        members.find(|(_, member)| member.session == session).map(|(member_id, _)| member_id)
    }

    /// Returns the members, without those who are expelled or suspended.
    pub fn present(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        self.members.iter().filter(|(_, member)| !member.is_out())
    }

    /// Returns whether any membership is suspended, so that its user may rejoin.
    pub(crate) fn awaits_members(&self) -> bool {
        self.members.iter().any(|(_, member)| member.standing == Standing::Suspended)
    }

    /// Returns the number of members, without those who are expelled or suspended.
    pub fn count(&self) -> usize {
        self.members.len() - self.outside
    }

    /// Returns the members in the order of their joins.
    pub fn members(&self) -> Vec<&Member> {
        let mut members: Vec<&Member> = self.present().map(|(_, member)| member).collect();
        members.sort_unstable_by_key(|member| (member.arrival, member.session));
        members
    }

    /// Returns the members who have not seen all lines, each with the number of missing lines. The
    /// largest number comes first.
    pub fn lags(&self) -> Vec<(&Name, u64)> {
        let visible = self.log.visible();
        let members = self.present().map(|(_, member)| member);
        let behind = members.filter(|member| member.is_here && member.next < visible);
        let mut lags: Vec<_> = behind.map(|member| (&member.name, visible - member.next)).collect();
        lags.sort_by_key(|&(_, lag)| std::cmp::Reverse(lag));
        lags
    }
}

#[cfg(test)]
mod tests;
