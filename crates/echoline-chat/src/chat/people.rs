//! The list of a room's members for a page. Each answer has a limited number of members.

use crate::chat::Chat;
use crate::session::view::DisplaySettings;
use echoline_chat_core::protocol::{ListedMember, ServerMessage};
use echoline_chat_core::room::{Member, Room};
use echoline_chat_core::state::person_id;
use echoline_chat_core::{Budget, LIST_BYTES_MAX, Name};

/// The maximum number of members in one answer.
const NAMED_MAX: usize = 100;

/// The approximate size of an entry without its texts, in bytes.
const ENTRY_BYTES: usize = 64;

/// A page of the members of a room, taken between two lines of the room.
#[derive(Debug)]
pub(crate) struct MemberList {
    room: Name,
    topic: String,
    /// The number of the last line before this list was taken.
    number: u64,
    count: usize,
    /// The arrival number after which this page begins; 0 for the first page.
    after: u32,
    /// The members in the order of their joins.
    named: Vec<Named>,
    /// Whether more members follow.
    more: bool,
}

#[derive(Debug)]
struct Named {
    arrival: u32,
    session: u64,
    lineage: u64,
    name: Name,
    operator: bool,
}

impl MemberList {
    /// Returns a page of the members whose arrival number is above `after`.
    pub(crate) fn of(room: &Room, after: u32) -> Self {
        let members = room.present().map(|(_, member)| member);
        let mut members: Vec<&Member> = members.filter(|member| member.arrival > after).collect();
        let order = |member: &&Member| (member.arrival, member.session);
        let more = members.len() > NAMED_MAX;
        if more {
            members.select_nth_unstable_by_key(NAMED_MAX, order);
            members.truncate(NAMED_MAX);
        }
        members.sort_unstable_by_key(order);
        let named = members.iter().map(|member| Named {
            arrival: member.arrival,
            session: member.session,
            lineage: member.lineage,
            name: member.name.clone(),
            operator: member.operator,
        });
        Self {
            room: room.name.clone(),
            topic: room.topic.to_string(),
            number: room.log.visible().saturating_sub(1),
            count: room.count(),
            after,
            named: named.collect(),
            more,
        }
    }

    /// Creates the message for a page in a browser. Leaves out the away texts of users that `view`
    /// ignores.
    pub(crate) fn message(&self, chat: &Chat, view: &DisplaySettings) -> ServerMessage<'_> {
        let aways = chat.away(self.named.iter().map(|named| named.session));
        let mut budget = Budget::new(LIST_BYTES_MAX);
        let (mut people, mut last) = (Vec::new(), self.after);
        for (named, away) in self.named.iter().zip(aways) {
            let Named { lineage, name, operator, arrival, .. } = named;
            let texts = name.as_str().len() + away.as_ref().map_or(0, |away| away.len());
            if !budget.take(ENTRY_BYTES + texts) {
                break;
            }
            last = *arrival;
            let away = away.filter(|_| !view.ignores(*lineage, name.as_str()));
            people.push(ListedMember {
                name: name.as_str().into(),
                person: person_id(*lineage).into(),
                operator: *operator,
                away: away.map(|words| words.to_string().into()),
            });
        }
        let more = self.more || people.len() < self.named.len();
        ServerMessage::People {
            room: self.room.as_str().into(),
            topic: self.topic.as_str().into(),
            number: self.number,
            count: self.count,
            people,
            more,
            from: (self.after > 0).then_some(self.after),
            after: more.then_some(last),
        }
    }
}
