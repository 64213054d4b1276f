//! Who is in a room, as a page shows them.

use serde_json::{Value, json};

use super::hall::Hall;
use super::name::Name;
use super::room::Room;
use super::sessions::person_id;
use super::view::View;

/// People that are named; there may be more.
const NAMED_MAX: usize = 500;

/// Who is in a room at one place of its order.
#[derive(Debug)]
pub(super) struct People {
    room: Name,
    topic: String,
    /// The last line before this holds.
    number: u64,
    count: usize,
    named: Vec<Named>,
}

#[derive(Debug)]
struct Named {
    session: u64,
    lineage: u64,
    name: Name,
    operator: bool,
}

impl People {
    pub(super) fn of(room: &Room) -> Self {
        let members = room.members();
        let named = members.iter().take(NAMED_MAX).map(|member| Named {
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
            named: named.collect(),
        }
    }

    /// For a page with this view: what users say who are ignored is left out.
    pub(super) fn json(&self, hall: &Hall, view: &View) -> Value {
        let sessions = self.named.iter().map(|named| named.session);
        let people = self.named.iter().zip(hall.away(sessions)).map(|(named, away)| {
            let Named { lineage, name, operator, .. } = named;
            let id = person_id(*lineage);
            let mut person = json!({ "name": name.as_str(), "person": id });
            if *operator {
                person["operator"] = true.into();
            }
            if let Some(away) = away.filter(|_| !view.ignores(*lineage, name.as_str())) {
                person["away"] = (&*away).into();
            }
            person
        });
        json!({
            "kind": "people", "room": self.room.as_str(), "topic": self.topic,
            "number": self.number, "count": self.count, "people": people.collect::<Vec<_>>(),
        })
    }
}
