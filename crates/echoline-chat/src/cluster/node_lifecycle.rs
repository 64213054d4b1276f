//! Machines that are gone, and those that come back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::inspect::RETURNING_MAX;
use super::{Cluster, LastAct, LeaveState, NODE, node_down, remember};
use crate::apply_operation::OperationContext;
use crate::bans::Suspect;
use crate::history::LineKind;
use crate::key::Key;
use crate::mailbox::Notification;
use crate::name::Name;
use crate::operation::{Operation, RejoiningUser};
use crate::room::{MemberId, ReplayFrom};
use crate::shared_room::SharedRoom;
use crate::state::{Chat, State};
use crate::user::User;

impl Chat {
    /// A machine is gone, and all its people with it: each room is told in one line.
    pub(super) fn apply_node_down(
        &self,
        cluster: &Cluster,
        now_ms: u64,
        node: u32,
        name: &str,
        reason: &str,
    ) {
        if !cluster.lock().note_gone(node) {
            return;
        }
        let mut state = self.lock();
        let mut people: Vec<Arc<User>> =
            state.people.values().filter(|user| user.node() == node).cloned().collect();
        people.sort_unstable_by_key(|user| user.session);
        let mut rooms = BTreeMap::<Key, (Arc<SharedRoom>, Vec<(MemberId, &User)>)>::new();
        for user in &people {
            for (shared_room, member_id) in user.memberships() {
                let room = shared_room.with(|room| room.name.key().clone());
                let (_, memberships) = rooms.entry(room).or_insert((shared_room, Vec::new()));
                memberships.push((member_id, user));
            }
            state.release(&user.name(), user.session);
            state.people.remove(user.session);
        }
        for (shared_room, memberships) in rooms.values() {
            // Under one lock: whoever asks who is here asks before that line or after it.
            shared_room.change(|room| {
                let gone = memberships.iter().filter(|(member_id, _)| room.suspend(*member_id));
                let names: Vec<String> = gone.map(|(_, user)| user.name().to_string()).collect();
                if !names.is_empty() {
                    room.announce(now_ms, &node_down::words(name, reason, &names));
                    self.update_empty_since(room, now_ms);
                }
            });
            for (_, user) in memberships.iter().filter(|(_, user)| !user.is_here) {
                self.give_back(user, shared_room);
            }
        }
        drop(state);
        tracing::info!(machine = name, people = people.len(), "a machine is gone: {reason}");
        let is_this = {
            let mut state = cluster.lock();
            people.iter().for_each(|user| {
                let _ = remember(&mut state.gone_with, LastAct::of(user));
            });
            state.node == node
        };
        if is_this {
            self.come_back(cluster, people);
        }
    }

    /// This machine was taken for gone: it has another number from now on, and brings its people
    /// back. What they had sent before can have no effect any more, and is sent again after that.
    pub(super) fn come_back(&self, cluster: &Cluster, people: Vec<Arc<User>>) {
        let mut state = cluster.lock();
        state.node = state.node.wrapping_add(1);
        state.take_back();
        if state.leave != LeaveState::Stays {
            state.leave = LeaveState::Left;
            state.is_returning = false;
            cluster.left.notify_all();
            cluster.send_all(&mut state);
            return;
        }
        state.is_returning = true;
        state.counts.returns += 1;
        // Some may have been on their way back already.
        let here = people.into_iter().filter(|user| user.is_here);
        state.returning.extend(here.map(|user| (user.session, user)));
        state.returning.retain(|_, user| user.comes_back());
        let people: Vec<_> = state.returning.values().cloned().collect();
        drop(state);
        let chunks: Vec<Vec<RejoiningUser>> = people
            .chunks(RETURNING_MAX)
            .map(|chunk| chunk.iter().map(returning).collect())
            .collect();
        // The last one says that all are back, also where there is nobody.
        let (last, before) = chunks
            .split_last()
            .map_or((Vec::new(), &[][..]), |(last, before)| (last.clone(), before));
        for people in before {
            cluster.announce(NODE, Operation::Rejoin { people: people.clone() });
        }
        cluster.announce(NODE, Operation::Rejoin { people: last });
    }

    /// People of a machine are here again, under their names where those are still free.
    pub(super) fn apply_rejoin(
        &self,
        cluster: &Cluster,
        context: OperationContext,
        people: Vec<RejoiningUser>,
    ) {
        let mut state = self.lock();
        for returning in people {
            if !state.people.contains_key(&returning.session) {
                self.welcome(cluster, &mut state, context, returning);
            }
        }
        drop(state);
        let mut state = cluster.lock();
        let is_all = state.returning.is_empty();
        if context.is_here && is_all && std::mem::take(&mut state.is_returning) {
            cluster.send_all(&mut state);
        }
    }

    fn welcome(
        &self,
        cluster: &Cluster,
        state: &mut State,
        context: OperationContext,
        returning: RejoiningUser,
    ) {
        let RejoiningUser {
            session,
            lineage,
            since_ms,
            name,
            address,
            operator,
            away,
            rooms,
            last,
        } = returning;
        let lineage = super::snapshot::known(lineage, session);
        let known = {
            let mut state = cluster.lock();
            let known = if context.is_here { state.returning.remove(&session) } else { None };
            if state.gone_sessions.contains(&session) {
                known.iter().for_each(|user| user.retire_and_end());
                return;
            }
            known
        };
        let suspect = Suspect { name: Some(&name), address, lineage: Some(lineage) };
        let banned = state.bans.find(context.now_ms, suspect, None);
        if let Some(ban) = banned.filter(|_| !operator) {
            known.iter().for_each(|user| user.end(&self.ban_words(ban)));
            return;
        }
        let free = free_name(state, &name, session);
        let theirs = OperationContext { session, is_here: known.is_some(), ..context };
        let is_other = !free.same_as(&name);
        let user = known
            .unwrap_or_else(|| Arc::new(User::new(theirs, address, name, lineage).since(since_ms)));
        if is_other {
            user.deliver(Notification::Notice(format!("Your name was taken; you are {free} now")));
        }
        user.set_name(free.clone());
        user.set_node(context.node);
        user.set_last(last.max(user.last()));
        user.set_refused(false);
        user.set_away(away.as_deref());
        user.make_operator(operator);
        state.people.insert(Arc::clone(&user));
        for (room, is_operator) in rooms {
            let ban = state.bans.find(context.now_ms, user.suspect(&free), Some(room.key()));
            if let Some(ban) = ban.filter(|_| !operator) {
                user.notify_expelled(room, self.ban_words(ban));
                continue;
            }
            let found = state.rooms.get(room.key()).cloned();
            let shared_room = found.unwrap_or_else(|| self.make_room(state, &room, None));
            self.member_id(context.now_ms, &user, &shared_room, &free, is_operator);
        }
    }

    fn member_id(
        &self,
        now_ms: u64,
        user: &User,
        shared_room: &Arc<SharedRoom>,
        name: &Name,
        operator: bool,
    ) {
        let kept = user.member_id_in(shared_room);
        let member_id = shared_room.change(|room| {
            let (member_id, joined) = match kept {
                // Who is served here goes on reading where they stood.
                Some(member_id) => (member_id, room.resume_member(now_ms, member_id, name.clone())),
                None => room.join(now_ms, user.who(), name.clone(), ReplayFrom::Last(0)),
            };
            room.set_operator(member_id, operator);
            self.archive.line(room, joined, LineKind::Joined, name, "");
            self.update_empty_since(room, now_ms);
            member_id
        });
        if kept.is_none() {
            user.add_membership(Arc::clone(shared_room), member_id);
        }
    }
}

/// Somebody's name, or the first one like it that is free.
fn free_name(state: &mut State, name: &Name, session: u64) -> Name {
    let others = (2..).map(|number| name.with_suffix(number));
    let mut names = std::iter::once(name.clone()).chain(others);
    names.find(|name| state.claim(name, session).is_ok()).expect("there are names without end")
}

fn returning(user: &Arc<User>) -> RejoiningUser {
    let room = |(shared_room, member_id): (Arc<SharedRoom>, _)| {
        shared_room.with(|room| {
            let comes_back = !room.is_expelled(member_id);
            comes_back.then(|| (room.name.clone(), room.is_operator(member_id)))
        })
    };
    let rooms = user.memberships().into_iter().filter_map(room);
    RejoiningUser {
        session: user.session,
        lineage: user.lineage,
        since_ms: user.since_ms,
        name: user.name(),
        address: user.address,
        operator: user.is_operator(),
        away: user.away().map(|words| words.to_string()),
        rooms: rooms.collect(),
        last: user.last(),
    }
}

impl LastAct {
    pub(super) fn of(user: &Arc<User>) -> Self {
        let (session, number) = (user.session, user.last());
        Self { session, number, refused: user.was_refused() }
    }
}

impl Cluster {
    fn send_all(&self, state: &mut super::State) {
        let sessions: Vec<u64> = state.outboxes.keys().copied().collect();
        for session in sessions {
            self.send_next(state, session);
        }
    }
}

impl super::State {
    /// What was on its way can have no effect any more: it waits to be sent again.
    fn take_back(&mut self) {
        for session in std::mem::take(&mut self.sent).into_values() {
            if let Some(outbox) = self.outboxes.get_mut(&session) {
                outbox.take_back();
            }
        }
        if let Some(outbox) = self.outboxes.get_mut(&NODE) {
            outbox.forget_returns();
        }
    }

    /// Notes that a machine is gone; `false` where that was known.
    fn note_gone(&mut self, node: u32) -> bool {
        if self.gone_nodes.contains(&node) {
            return false;
        }
        let _ = remember(&mut self.gone_nodes, node);
        self.nodes.remove(&node);
        true
    }
}
