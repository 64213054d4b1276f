//! Users whose node went down, and users who rejoin with their node.

use std::collections::BTreeMap;

use crate::replication::node_down_line;
use crate::room::{MemberId, ReplayFrom};
use crate::state::{ChatState, RoomCell, StateChange, Suspect, User};
use crate::{Key, LineKind, Name, Notification, OperationContext, RejoiningUser};

/// The last operation of a user that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LastOperation {
    /// The number of the session.
    pub session: u64,
    /// The number of the operation.
    pub number: u64,
    /// Whether the operation was refused.
    pub refused: bool,
}

/// A user who went down with their node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownUser {
    /// The user's last operation that was applied.
    pub last: LastOperation,
    /// Whether this node serves the session. The session is suspended now.
    pub is_here: bool,
}

impl<R: RoomCell> StateChange<'_, R> {
    /// Removes all users of a node from the chat. Each of their rooms gets one line about it.
    /// Returns the users, ordered by session.
    pub fn node_down(&mut self, node: u32, name: &str, reason: &str) -> Vec<DownUser> {
        let sessions: Vec<u64> = self
            .state
            .users
            .values()
            .filter(|user| user.node == node)
            .map(|user| user.session)
            .collect();
        let mut down: Vec<Box<User<R>>> = Vec::with_capacity(sessions.len());
        for session in sessions {
            let Some(user) = self.state.users.remove(session) else { continue };
            self.state.release(&user.name(), session);
            down.push(user);
        }
        let mut rooms = BTreeMap::<Key, (R, Vec<(MemberId, Name)>)>::new();
        for user in &down {
            for (cell, member_id) in user.memberships() {
                let key = cell.with(|room| room.name.key().clone());
                let (_, members) = rooms.entry(key).or_insert((cell, Vec::new()));
                members.push((member_id, user.name()));
            }
        }
        for (cell, members) in rooms.values() {
            // The changes and the line happen under one lock, so that no list of members is taken
            // between them.
            cell.change(|room| {
                let gone = members.iter().filter(|(member_id, _)| room.suspend(*member_id));
                let names: Vec<String> = gone.map(|(_, name)| name.to_string()).collect();
                if !names.is_empty() {
                    room.announce(self.context.now_ms, &node_down_line(name, reason, &names));
                    room.review_operators(self.context.now_ms, self.effects);
                }
            });
        }
        let mut users = Vec::with_capacity(down.len());
        for mut user in down {
            users.push(DownUser { last: user.last_operation(), is_here: user.is_here });
            if user.is_here {
                self.state.suspended.insert(user.session, user);
            } else {
                user.release_all();
            }
        }
        users
    }

    /// Resumes the memberships of a user whose node rejoins. The user keeps the name if it is still
    /// free. If `is_suspended`, this node serves the user, whose session continues.
    pub fn rejoin(&mut self, rejoining: RejoiningUser, is_suspended: bool) {
        let RejoiningUser { session, since_ms, name, address, operator, away, rooms, last, .. } =
            rejoining;
        let lineage = known_lineage(rejoining.lineage, session);
        if self.state.users.contains_key(&session) {
            return;
        }
        let suspect = Suspect { name: Some(&name), address, lineage: Some(lineage) };
        let banned = self.state.bans.find(self.context.now_ms, suspect, None);
        if let Some(ban) = banned.filter(|_| !operator) {
            if is_suspended {
                self.effects.disconnect(session, self.state.ban_words(ban));
            }
            return;
        }
        let free = self.state.free_name(&name, session);
        let suspended = if is_suspended { self.state.suspended.remove(&session) } else { None };
        let theirs = OperationContext { session, is_here: suspended.is_some(), ..self.context };
        let mut user = suspended.unwrap_or_else(|| {
            Box::new(User::new(theirs, address, name.clone(), lineage).since(since_ms))
        });
        if !free.same_as(&name) {
            self.effects.notice(session, format!("Your name is taken; you are now {free}"));
        }
        user.set_name(free);
        user.node = self.context.node;
        user.last = last.max(user.last);
        user.was_refused = false;
        user.set_away(away.as_deref());
        user.make_operator(operator);
        for (room, is_operator) in rooms {
            let ban = self.state.bans.find(self.context.now_ms, user.suspect(), Some(room.key()));
            if let Some(ban) = ban.filter(|_| !operator) {
                let words = self.state.ban_words(ban);
                self.effects.notify(session, Notification::Expelled { room, words });
                continue;
            }
            let found = self.state.rooms.get(room.key()).cloned();
            let cell = found.unwrap_or_else(|| self.make_room(&room, None));
            self.rejoin_room(&mut user, &cell, is_operator);
        }
        self.state.users.insert(user);
    }

    fn rejoin_room(&mut self, user: &mut User<R>, cell: &R, is_operator: bool) {
        let kept = user.member_id_in(cell);
        let name = user.name();
        let member_id = cell.change(|room| {
            let (member_id, joined) = match kept {
                // A session that this node serves continues at the same line.
                Some(member_id) => {
                    (member_id, room.resume_member(self.context.now_ms, member_id, name.clone()))
                }
                None => room.join(
                    self.context.now_ms,
                    user.identity(),
                    name.clone(),
                    ReplayFrom::Last(0),
                ),
            };
            room.set_operator(member_id, is_operator);
            self.effects.keep_line(room, joined, LineKind::Joined, name.as_str(), "");
            room.review_operators(self.context.now_ms, self.effects);
            member_id
        });
        if kept.is_none() {
            user.add_membership(cell.clone(), member_id);
        }
    }
}

impl<R: RoomCell> ChatState<R> {
    /// Returns the properties of a suspended user that other nodes need to let the user rejoin.
    pub fn rejoining_user(&self, session: u64) -> Option<RejoiningUser> {
        let user = self.suspended.get(&session)?;
        let room = |(cell, member_id): (R, MemberId)| {
            cell.with(|room| {
                let rejoins = !room.is_expelled(member_id);
                rejoins.then(|| (room.name.clone(), room.is_operator(member_id)))
            })
        };
        Some(RejoiningUser {
            session,
            lineage: user.lineage,
            since_ms: user.since_ms,
            name: user.name(),
            address: user.address,
            operator: user.is_operator(),
            away: user.away().map(|words| words.to_string()),
            rooms: user.memberships().into_iter().filter_map(room).collect(),
            last: user.last,
        })
    }

    /// Claims the user's name. If it is taken, claims the first free name with a number appended.
    fn free_name(&mut self, name: &Name, session: u64) -> Name {
        let others = (2..).map(|number| name.with_suffix(number));
        let mut names = std::iter::once(name.clone()).chain(others);
        names.find(|name| self.claim(name, session).is_ok()).expect("the numbers do not end")
    }
}

/// Returns the lineage of a user. An earlier version sends 0; then the number of the session is
/// used instead.
pub(crate) fn known_lineage(lineage: u64, session: u64) -> u64 {
    if lineage > 0 { lineage } else { session }
}

impl<R> User<R> {
    /// Returns the user's last operation that was applied.
    pub(crate) fn last_operation(&self) -> LastOperation {
        let (session, number, refused) = (self.session, self.last, self.was_refused);
        LastOperation { session, number, refused }
    }
}
