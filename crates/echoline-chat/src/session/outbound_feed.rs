//! The output for one member: the lines of their rooms, and their notifications.
//!
//! The feed writes to a connection while its session waits for a line. It is polled only after the
//! peer has taken everything that was written, so a member who does not read costs one line of
//! memory.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::AsyncWrite;

use crate::chat::live_state::SessionHandle;
use crate::chat::people::MemberList;
use crate::chat::wake_batcher::WakeBatcher;
use crate::chat::{Chat, Membership};
use crate::session::view::{DisplaySettings, Frame, print_json};
use echoline::Closed;
use echoline::connection::Outlet;
use echoline_chat_core::protocol::{JoinedRoom, ServerMessage, Thread};
use echoline_chat_core::room::{Batch, EOL};
use echoline_chat_core::state::person_id;
use echoline_chat_core::text::excerpt;
use echoline_chat_core::{
    Days, LineKind, Name, Notification, SaidLine, lags_in_words, names_in_words,
};

/// The maximum number of times that an answer is postponed because lines wait for the store.
const PATIENCE: u8 = 50;

/// The maximum number of bytes that are formatted at once, for members whose lines need formatting.
const PRINTED_BYTES: usize = 16 * 1024;

/// The feed of one member.
#[derive(Debug)]
pub(crate) struct OutboundFeed {
    chat: Arc<Chat>,
    user: Arc<SessionHandle>,
    /// The batcher of the thread on which this member's task runs.
    batcher: Arc<WakeBatcher>,
    /// The member's rooms, in the order in which the member joined them.
    pub(crate) memberships: Vec<Membership>,
    /// The index of the room in which the member speaks.
    current: usize,
    pub(crate) view: DisplaySettings,
    /// Whether this member has said lines whose readers were not woken yet.
    pub(crate) has_said: bool,
    /// A question to answer once the member has seen all lines of their current room.
    question: Option<RoomQuestion>,
    /// The number of times that an answer can still be postponed because lines wait for the store.
    /// Waiting makes a list of members agree with the lines before it. The limit ensures that a
    /// stalled store does not delay the answer for ever.
    patience: u8,
    /// The waker that was last registered with the mailbox.
    waker: Option<Waker>,
    /// The session that wrote the last private line.
    pub(crate) reply_to: Option<NonZeroU64>,
    /// The id of the other user, if the page's last line was typed in a private thread.
    pub(crate) private: Option<Box<str>>,
}

/// A question whose answer must be sent after all earlier lines of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoomQuestion {
    /// The members of the room.
    Users,
    /// The members who joined after the arrival number `after`, with the details that a page shows.
    People { after: u32 },
    /// The members who have not read all lines.
    Lag,
}

impl OutboundFeed {
    pub(crate) fn new(chat: Arc<Chat>, user: Arc<SessionHandle>) -> Self {
        let batcher = chat.batchers.here();
        Self {
            chat,
            user,
            batcher,
            // Most members are in one room.
            memberships: Vec::with_capacity(1),
            current: 0,
            view: DisplaySettings::default(),
            has_said: false,
            question: None,
            patience: 0,
            waker: None,
            reply_to: None,
            private: None,
        }
    }

    /// Returns the current room; `None` if the member was expelled from all rooms.
    pub(crate) fn current(&self) -> Option<&Membership> {
        self.memberships.get(self.current)
    }

    /// Returns the index of the membership in this room.
    pub(crate) fn position(&self, room: &Name) -> Option<usize> {
        self.memberships.iter().position(|membership| membership.room.same_as(room))
    }

    /// Makes the room at `index` the current one.
    pub(crate) fn set_current(&mut self, index: usize) {
        self.current = index;
    }

    /// Adds a room, and makes it the current one.
    pub(crate) fn enter(&mut self, membership: Membership) {
        let first = membership.shared_room.with(|room| room.standing(membership.member_id).0);
        // Programs and pages get the time of each line, so they need no separators between days.
        let has_past = first < membership.joined && !self.view.is_json();
        let past = has_past.then(|| {
            let today = (self.chat.settings.date)(self.chat.now_ms());
            Box::new(Days::new(today))
        });
        self.memberships.push(Membership { past, ..membership });
        self.current = self.memberships.len() - 1;
    }

    /// Removes the room at `index`. The room before it becomes the current one.
    pub(crate) fn remove(&mut self, index: usize) -> Membership {
        self.question = None;
        let membership = self.memberships.remove(index);
        if self.current >= index {
            self.current = self.current.saturating_sub(1);
        }
        membership
    }

    /// Stores a question, to be answered once the member has seen all lines of the current room.
    pub(crate) fn ask(&mut self, question: RoomQuestion) {
        self.question = Some(question);
        self.patience = PATIENCE;
    }

    /// Returns whether no question is pending.
    pub(crate) fn is_answered(&self) -> bool {
        self.question.is_none()
    }

    /// Returns whether the member has got, in each room, all visible lines from before the join.
    pub(crate) fn has_shown_earlier_lines(&self) -> bool {
        self.memberships.iter().all(|Membership { shared_room, member_id, joined, .. }| {
            shared_room.with(|room| {
                room.is_expelled(*member_id)
                    || room.standing(*member_id).0 >= room.log.visible().min(*joined)
            })
        })
    }

    /// Writes pending output, as much as the peer takes. Returns `Pending` if no output is left;
    /// the task is then woken for new output.
    pub(crate) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        outlet: &mut Outlet<'_, S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        self.announce();
        if self.read_mailbox(outlet, cx)?.is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut more = Poll::Pending;
        for index in 0..self.memberships.len() {
            if outlet.is_full() {
                return Poll::Ready(Ok(()));
            }
            let is_past = self.memberships[index].past.is_some();
            let is_plain = index == self.current && self.view.is_plain() && !is_past;
            let polled = if is_plain {
                self.pass_on(index, outlet, cx)?
            } else {
                self.print(index, outlet, cx)
            };
            if polled.is_ready() {
                more = Poll::Ready(Ok(()));
            }
        }
        if more.is_pending() && self.answer(outlet) {
            more = Poll::Ready(Ok(()));
        }
        more
    }

    /// Returns the message with the member's rooms and the position in each, for a page.
    pub(crate) fn rooms(&self) -> ServerMessage<'_> {
        let session = self.user.session;
        let joined = |membership: &'_ Membership| {
            membership.shared_room.with(|room| {
                let (next, operator) = room.standing(membership.member_id);
                let operator = operator && room.member_id_of(session).is_some();
                (next, room.topic.to_string().into(), operator)
            })
        };
        let rooms = self.memberships.iter().map(|membership| {
            let (next, topic, operator) = joined(membership);
            JoinedRoom { room: membership.room.as_str().into(), next, topic, operator }
        });
        let current = self.current().map(|membership| membership.room.as_str().into());
        ServerMessage::Seats { current, rooms: rooms.collect() }
    }

    /// Wakes the readers of the lines that this member said.
    pub(crate) fn announce(&mut self) {
        if std::mem::take(&mut self.has_said) {
            self.chat.wake_readers(&self.user, &self.memberships);
        }
    }

    /// Sends lines unchanged, directly from the room's log.
    fn pass_on<S: AsyncWrite + Unpin>(
        &self,
        index: usize,
        outlet: &mut Outlet<'_, S>,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, Closed> {
        let Membership { shared_room, member_id, .. } = &self.memberships[index];
        let mut batch = Batch::default();
        let taken = shared_room.take(*member_id, &mut batch, &self.batcher, cx);
        if taken.missed > 0 {
            outlet.write(missed(taken.missed).as_bytes());
        }
        if batch.is_empty() {
            return Ok(taken.more);
        }
        let sent = batch.with_slices(|slices| outlet.offer(slices, cx))?;
        if sent < batch.bytes() {
            let progress = batch.progress(sent);
            outlet.write(progress.rest);
            shared_room.put_back(*member_id, progress.next);
        }
        Ok(taken.more)
    }

    /// Formats lines according to the member's settings, and sends them.
    fn print<S: AsyncWrite + Unpin>(
        &mut self,
        index: usize,
        outlet: &mut Outlet<'_, S>,
        cx: &Context<'_>,
    ) -> Poll<()> {
        let joined = self.memberships[index].joined;
        let mut past = self.memberships[index].past.take();
        let Membership { shared_room, member_id, room, .. } = &self.memberships[index];
        let frame = Frame {
            view: &self.view,
            lineage: self.user.lineage,
            room: room.as_str(),
            is_current: index == self.current,
            time: self.chat.settings.time,
        };
        let mut printed = String::new();
        let taken = shared_room.take_lines(
            *member_id,
            self.view.own(),
            &self.batcher,
            cx,
            |before, line| {
                if let Some(count) = before {
                    self.print_missed(count, index, &mut printed);
                }
                if let Some(days) = &mut past
                    && let Some(separator) = days.turn((self.chat.settings.date)(line.time_ms))
                {
                    frame.print_separator(&separator, &mut printed);
                }
                if line.number >= joined {
                    past = None;
                }
                frame.print(&line, &mut printed);
                printed.len() < PRINTED_BYTES
            },
        );
        if taken.missed > 0 {
            self.print_missed(taken.missed, index, &mut printed);
        }
        outlet.write(printed.as_bytes());
        let more = taken.more;
        self.memberships[index].past = past;
        more
    }

    fn print_missed(&self, count: u64, index: usize, printed: &mut String) {
        let room = self.memberships[index].room.as_str();
        if self.view.is_json() {
            print_json(&ServerMessage::Missed { room: room.into(), count }, printed);
        } else {
            if index != self.current {
                printed.push_str(&format!("[{room}] "));
            }
            printed.push_str(&missed(count));
        }
    }

    /// Sends notifications. Returns `Ready` if there may be more, which wait until the peer has
    /// taken these.
    fn read_mailbox<S: AsyncWrite + Unpin>(
        &mut self,
        outlet: &mut Outlet<'_, S>,
        cx: &Context<'_>,
    ) -> Result<Poll<()>, Closed> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.user.mailbox.register(cx);
        }
        if !self.user.mailbox.has_news() {
            return Ok(Poll::Pending);
        }
        let mut printed = String::new();
        while let Some(notification) = self.user.mailbox.take() {
            self.read(notification, &mut printed);
            if printed.len() >= PRINTED_BYTES {
                outlet.write(printed.as_bytes());
                return Ok(Poll::Ready(()));
            }
        }
        let ending = self.user.mailbox.ending();
        if let Some(ending) = &ending {
            if self.view.is_page() {
                // A program or a page must not reconnect by itself.
                let words = ending.reason.as_ref().unwrap_or(&ending.words);
                print_json(&ServerMessage::dismissal(words), &mut printed);
            } else {
                self.view.print(&format!("*** {} ***", ending.words), &mut printed);
            }
        }
        outlet.write(printed.as_bytes());
        ending.map_or(Ok(Poll::Pending), |_| Err(Closed::Finished))
    }

    fn read(&mut self, notification: Notification, printed: &mut String) {
        match notification {
            Notification::Private { from, session, lineage, kind, text, time_ms } => {
                if self.view.ignores(lineage, from.as_str()) {
                    return;
                }
                if self.view.is_json() {
                    let private = ServerMessage::Private {
                        name: from.as_str().into(),
                        to: None,
                        time_ms,
                        text: (&*text).into(),
                        person: person_id(lineage).into(),
                        action: kind == LineKind::Action,
                        own: false,
                    };
                    print_json(&private, printed);
                } else {
                    let action =
                        if kind == LineKind::Action { format!("* {from} ") } else { String::new() };
                    self.view.print(&format!("[{from} -> you] {action}{text}"), printed);
                }
                self.reply_to = NonZeroU64::new(session);
            }
            Notification::Notice(text) => self.view.print(&format!("*** {text} ***"), printed),
            Notification::Invitation { by, lineage, room } => {
                if !self.view.ignores(lineage, by.as_str()) {
                    self.view.print(&format!("*** {by} invites you: /join {room} ***"), printed);
                }
            }
            Notification::NotDelivered { room, reason, lines } => {
                self.give_up(&room, &reason, &lines, printed);
            }
            Notification::Link { is_lost, words } => {
                if self.view.is_json() {
                    let link = ServerMessage::Link { lost: is_lost, text: words.into() };
                    print_json(&link, printed);
                } else {
                    self.view.print(&format!("*** {words} ***"), printed);
                }
            }
            Notification::Expelled { room, words } => {
                if let Some(index) = self.position(&room) {
                    let membership = self.remove(index);
                    self.chat.give_back(&self.user, &membership.shared_room);
                    if self.view.is_page() {
                        print_json(&self.rooms(), printed);
                    }
                }
                if !words.is_empty() {
                    self.view.print(&format!("*** {words} ***"), printed);
                }
            }
        }
    }

    /// Writes an answer. For a page, names the room or the private thread of the question.
    pub(crate) fn print_reply(&self, text: &str, printed: &mut String) {
        if !self.view.is_page() {
            return self.view.print(text, printed);
        }
        print_json(&ServerMessage::Reply { text: text.into(), thread: self.thread() }, printed);
    }

    /// Returns the thread of a page's last line: a private thread or the current room. For any
    /// other client, returns an empty thread.
    pub(crate) fn thread(&self) -> Thread<'_> {
        if !self.view.is_page() {
            return Thread::default();
        }
        if let Some(person) = &self.private {
            return Thread { person: Some((&**person).into()), room: None };
        }
        let room = self.current().map(|membership| membership.room.as_str().into());
        Thread { room, person: None }
    }

    /// Tells the user that some of their lines were not delivered.
    pub(crate) fn give_up(
        &self,
        room: &Name,
        reason: &str,
        lines: &[SaidLine],
        printed: &mut String,
    ) {
        for SaidLine { kind, text } in lines {
            if self.view.is_json() {
                let undelivered = ServerMessage::Undelivered {
                    of: *kind,
                    room: room.as_str().into(),
                    text: text.into(),
                    reason: reason.into(),
                };
                print_json(&undelivered, printed);
            } else {
                // Shows the original input, so that the user can send it again.
                let command = if *kind == LineKind::Action { "/me " } else { "" };
                let shown = excerpt(text);
                let words = format!("*** Not delivered ({reason}): {command}{shown} ***");
                self.view.print(&words, printed);
            }
        }
    }

    /// Answers the pending question, and returns `true`. If the member has not seen all lines of
    /// the current room, returns `false`, and the next line of the room wakes the task.
    fn answer<S: AsyncWrite + Unpin>(&mut self, outlet: &mut Outlet<'_, S>) -> bool {
        let Some(question) = self.question else { return false };
        let Some(Membership { shared_room, member_id, .. }) = self.current() else {
            self.question = None;
            return true;
        };
        let (mut people, mut sentence) = (None, None);
        let answered = shared_room.at_end(*member_id, self.patience > 0, |room| match question {
            RoomQuestion::People { after } => people = Some(MemberList::of(room, after)),
            RoomQuestion::Users => {
                let members = room.members();
                let names = names_in_words(members.iter().map(|member| member.name.as_str()));
                sentence = Some(format!("Online: {names}"));
            }
            RoomQuestion::Lag => sentence = Some(lags_in_words(&room.lags())),
        });
        if answered.is_none() {
            self.patience = self.patience.saturating_sub(1);
            return false;
        }
        let mut printed = String::new();
        if let Some(sentence) = sentence {
            self.print_reply(&sentence, &mut printed);
        }
        if let Some(people) = people {
            // The room's lock must be released here, because the chat's lock comes before it.
            print_json(&people.message(&self.chat, &self.view), &mut printed);
        }
        self.question = None;
        outlet.write(printed.as_bytes());
        true
    }
}

fn missed(count: u64) -> String {
    let lines = if count == 1 { "line" } else { "lines" };
    format!("*** {count} {lines} missed ***{EOL}")
}
