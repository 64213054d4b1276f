//! The list of a room's members for a page, with a bounded number in each answer.

use super::chat::Chat;
use super::view::DisplaySettings;
use echoline_chat_core::answer_limits::{Budget, LIST_BYTES_MAX};
use echoline_chat_core::name::Name;
use echoline_chat_core::protocol::{ListedMember, ServerMessage};
use echoline_chat_core::room::{Member, Room};
use echoline_chat_core::state::user_table::person_id;

/// The maximum number of members in one answer.
const NAMED_MAX: usize = 100;

/// The approximate bytes of an entry without its texts.
const ENTRY_BYTES: usize = 64;

/// A part of the members of a room, at one position of the room's order.
#[derive(Debug)]
pub(super) struct MemberList {
    room: Name,
    topic: String,
    /// The number of the last line before this list.
    number: u64,
    count: usize,
    /// The arrival after which this part begins; 0 for the first part.
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
    /// Returns the first page of the members who joined after the arrival `after`.
    pub(super) fn of(room: &Room, after: u32) -> Self {
        let members = room.present().map(|(_, member)| member);
        let mut members: Vec<&Member> = members.filter(|member| member.arrival > after).collect();
        let place = |member: &&Member| (member.arrival, member.session);
        let more = members.len() > NAMED_MAX;
        if more {
            members.select_nth_unstable_by_key(NAMED_MAX, place);
            members.truncate(NAMED_MAX);
        }
        members.sort_unstable_by_key(place);
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

    /// Makes the list for a page with this view. Leaves out the away texts of ignored users.
    pub(super) fn message(&self, chat: &Chat, view: &DisplaySettings) -> ServerMessage<'_> {
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
