//! Somebody who is in the chat, as the others can reach them.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::answer_limits::{AWAY_CHARACTERS_MAX, start_of};
use super::apply_operation::{GOES_ON, OperationContext};
use super::bans::{Suspect, network_of};
use super::flood_mutes::{ContinuedMute, Writer};
use super::mailbox::{Disconnect, Mailbox, Notification};
use super::name::Name;
use super::room::{MemberId, MemberIdentity};
use super::shared_room::SharedRoom;
use echoline_base::SecretText;
use echoline_base::poison::IgnorePoison;

/// One session's person.
#[derive(Debug)]
pub(super) struct User {
    /// The number of the session, which no other has.
    pub(super) session: u64,
    /// The number of the user, which is the same in all sessions that a token restored.
    pub(super) lineage: u64,
    /// When the session began (milliseconds since 1970).
    pub(super) since_ms: u64,
    /// Whether this machine serves them: of the others here is only what everybody sees.
    pub(super) is_here: bool,
    /// Whom this machine serves under this session, while the others know nothing of what they did
    /// last, and they are to come back: they hear what this one is told.
    served: Option<Arc<Self>>,
    /// The machine that serves them; changes when it comes back after it was taken for gone.
    node: AtomicU32,
    /// Where they come from; `None` over a stream without addresses.
    pub(super) address: Option<IpAddr>,
    pub(super) mailbox: Mailbox,
    /// When they said something last, or else when they came (milliseconds since 1970); known on
    /// the node that serves them.
    spoke_ms: AtomicU64,
    operator: AtomicBool,
    /// Goes on in another session.
    retired: AtomicBool,
    /// The last of their acts that was performed, where there are several machines.
    last: AtomicU64,
    /// Whether that one came to nothing.
    was_refused: AtomicBool,
    profile: Mutex<Profile>,
}

#[derive(Debug)]
struct Profile {
    name: Name,
    /// The rooms that they are in, and their places there.
    memberships: Vec<(Arc<SharedRoom>, MemberId)>,
    /// Made for the first of it: most people need none.
    more: Option<Box<ProfileExtras>>,
}

#[derive(Debug, Default)]
struct ProfileExtras {
    /// The away text.
    away: Option<Arc<str>>,
    /// Restores name, rooms and positions in another connection; made when it is first asked for.
    token: Option<SecretText>,
    /// A mute for writing too fast that the session began with.
    flood_mute: Option<ContinuedMute>,
    /// The hash of the operators' password that they gave; known on the node that serves them.
    operator_proof: Option<Arc<str>>,
}

impl User {
    pub(super) fn new(
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
            served: None,
            node: AtomicU32::new(context.node),
            address,
            mailbox: Mailbox::default(),
            spoke_ms: AtomicU64::new(context.now_ms),
            operator: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            last: AtomicU64::new(0),
            was_refused: AtomicBool::new(false),
            // One room is what most are in.
            profile: Mutex::new(Profile { name, memberships: Vec::with_capacity(1), more: None }),
        }
    }

    /// The session began at another time than now.
    pub(super) fn since(self, since_ms: u64) -> Self {
        Self { since_ms, ..self }
    }

    /// Stands for somebody whom this machine serves, until they are back.
    pub(super) fn representing(self, served: Option<Arc<Self>>) -> Self {
        Self { served, ..self }
    }

    pub(super) fn represents_local_user(&self) -> bool {
        self.served.is_some()
    }

    /// Whose mail is read on this machine.
    fn reader(&self) -> Option<&Self> {
        if self.is_here { Some(self) } else { self.served.as_deref() }
    }

    /// Returns the properties that a ban may apply to; `name` is the user's.
    pub(super) fn suspect<'a>(&self, name: &'a Name) -> Suspect<'a> {
        Suspect { name: Some(name), address: self.address, lineage: Some(self.lineage) }
    }

    /// The user as a mute for writing too fast finds them.
    pub(super) fn writer(&self) -> Writer {
        let (key, network) = (self.name().key().clone(), self.address.map(network_of));
        Writer { key, lineage: self.lineage, network }
    }

    /// The mute for writing too fast that the session began with.
    pub(super) fn flood_mute(&self) -> Option<ContinuedMute> {
        self.profile().more.as_ref()?.flood_mute
    }

    pub(super) fn set_flood_mute(&self, mute: Option<ContinuedMute>) {
        if mute.is_some() {
            self.profile().more.get_or_insert_default().flood_mute = mute;
        }
    }

    /// When they said something last, or else when they came.
    pub(super) fn spoke_ms(&self) -> u64 {
        self.spoke_ms.load(Ordering::Relaxed)
    }

    /// They say something now, to all or to one.
    pub(super) fn note_speech(&self, now_ms: u64) {
        self.spoke_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whose seats are theirs.
    pub(super) fn who(&self) -> MemberIdentity {
        MemberIdentity { session: self.session, lineage: self.lineage, is_here: self.is_here }
    }

    /// Delivers a letter; `false` where too many wait already. Whom another machine serves hears
    /// of it there.
    pub(super) fn deliver(&self, notification: Notification) -> bool {
        self.reader().is_none_or(|user| user.mailbox.deliver(notification))
    }

    /// Tells them that they are out of a room.
    pub(super) fn notify_expelled(&self, room: Name, words: String) {
        if let Some(user) = self.reader() {
            user.mailbox.deliver_unbounded(Notification::Expelled { room, words });
        }
    }

    /// Has them go, with these words.
    pub(super) fn end(&self, words: &str) {
        self.end_because(words, None);
    }

    /// Has them go, with these words; a page shows the reason.
    pub(super) fn end_because(&self, words: &str, reason: Option<&str>) {
        if let Some(user) = self.reader() {
            let (words, reason) = (words.to_owned(), reason.map(str::to_owned));
            user.mailbox.end(Disconnect { words, reason });
        }
    }

    /// The rooms that they are in, and their places there.
    pub(super) fn memberships(&self) -> Vec<(Arc<SharedRoom>, MemberId)> {
        self.profile().memberships.clone()
    }

    /// All places, which are given back with that.
    pub(super) fn take_memberships(&self) -> Vec<(Arc<SharedRoom>, MemberId)> {
        std::mem::take(&mut self.profile().memberships)
    }

    pub(super) fn add_membership(&self, shared_room: Arc<SharedRoom>, member_id: MemberId) {
        self.profile().memberships.push((shared_room, member_id));
    }

    pub(super) fn member_id_in(&self, shared_room: &Arc<SharedRoom>) -> Option<MemberId> {
        let profile = self.profile();
        let mut memberships = profile.memberships.iter();
        memberships
            .find(|(theirs, _)| Arc::ptr_eq(theirs, shared_room))
            .map(|&(_, member_id)| member_id)
    }

    /// Their place in a room, which is given back with that.
    pub(super) fn remove_membership(&self, shared_room: &Arc<SharedRoom>) -> Option<MemberId> {
        let mut profile = self.profile();
        let index =
            profile.memberships.iter().position(|(theirs, _)| Arc::ptr_eq(theirs, shared_room))?;
        Some(profile.memberships.remove(index).1)
    }

    /// Where this one is out, whom it stands for does not come back to.
    pub(super) fn cancel_suspended_membership(&self, shared_room: &Arc<SharedRoom>) {
        if let Some(member_id) =
            self.served.as_ref().and_then(|served| served.member_id_in(shared_room))
        {
            shared_room.with(|room| room.give_up(member_id));
        }
    }

    /// They are in another session now, or in none.
    pub(super) fn retire_and_end(&self) {
        self.retire();
        self.end(GOES_ON);
    }

    /// Whether this machine serves them and they go on: they come back with it.
    pub(super) fn comes_back(&self) -> bool {
        self.is_here && !self.is_retired() && self.mailbox.ending().is_none()
    }

    /// The machine that serves them.
    pub(super) fn node(&self) -> u32 {
        self.node.load(Ordering::Relaxed)
    }

    pub(super) fn set_node(&self, node: u32) {
        self.node.store(node, Ordering::Relaxed);
    }

    /// The number of the last of their acts that was performed.
    pub(super) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    pub(super) fn set_last(&self, number: u64) {
        self.last.store(number, Ordering::Relaxed);
    }

    /// Whether the last of their acts came to nothing.
    pub(super) fn was_refused(&self) -> bool {
        self.was_refused.load(Ordering::Relaxed)
    }

    pub(super) fn set_refused(&self, was_refused: bool) {
        self.was_refused.store(was_refused, Ordering::Relaxed);
    }

    pub(super) fn name(&self) -> Name {
        self.profile().name.clone()
    }

    pub(super) fn set_name(&self, name: Name) {
        self.profile().name = name;
    }

    /// The away text.
    pub(super) fn away(&self) -> Option<Arc<str>> {
        self.profile().more.as_ref()?.away.clone()
    }

    /// Sets these words, or their beginning: an earlier version may have kept longer ones.
    pub(super) fn set_away(&self, words: Option<&str>) {
        let words = words.map(|words| start_of(words, AWAY_CHARACTERS_MAX));
        self.profile().more.get_or_insert_default().away = words.map(Arc::from);
    }

    /// The person's token, made by `make` if there is none yet.
    pub(super) fn token_or(&self, make: impl FnOnce() -> SecretText) -> SecretText {
        self.profile().more.get_or_insert_default().token.get_or_insert_with(make).clone()
    }

    pub(super) fn token(&self) -> Option<SecretText> {
        self.profile().more.as_ref()?.token.clone()
    }

    /// Whether they may do everything, in every room.
    pub(super) fn is_operator(&self) -> bool {
        self.operator.load(Ordering::Relaxed)
    }

    /// Makes them an operator of the whole chat, or no longer.
    pub(super) fn make_operator(&self, is_operator: bool) {
        self.operator.store(is_operator, Ordering::Relaxed);
    }

    /// The proof that they are an operator of the chat, for the saved session; `None` if they are
    /// none now.
    pub(super) fn operator_proof(&self) -> Option<Arc<str>> {
        let profile = self.profile();
        profile.more.as_ref()?.operator_proof.clone().filter(|_| self.is_operator())
    }

    pub(super) fn set_operator_proof(&self, proof: Option<Arc<str>>) {
        self.profile().more.get_or_insert_default().operator_proof = proof;
    }

    /// Whether they go on in another session, so that this one has nothing to come back to.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    fn profile(&self) -> MutexGuard<'_, Profile> {
        self.profile.lock().ignore_poison()
    }
}
