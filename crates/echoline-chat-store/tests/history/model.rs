//! Compares a store with a simple model, with random changes and restarts.

use std::collections::BTreeMap;

use echoline_chat_store::{
    RestoredRoom, StoreChange, StoreOptions, StoredBan, StoredLine, StoredToken,
};
use proptest::prelude::*;

use super::{EACH, Rig, block_on, line};

const OPTIONS: StoreOptions = StoreOptions { keep_lines: 6, keep_bytes: 600, ..EACH };

/// One step. There are only a few rooms and users, so that the steps affect each other.
#[derive(Clone, Debug)]
enum Step {
    /// Adds a line to a room. The number is the distance from the last line; 0 is a number that
    /// already exists.
    Line(u8, u64),
    Room(u8, bool),
    Gone(u8),
    StoredBan(u8, u64),
    Unban(u8),
    StoredToken(u8, u8),
    Used(u8),
    Reopen,
    Ask(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..3u8, 0..3u64).prop_map(|(room, more)| Step::Line(room, more)),
        2 => (0..3u8, any::<bool>()).prop_map(|(room, private)| Step::Room(room, private)),
        1 => (0..3u8).prop_map(Step::Gone),
        2 => (0..4u8, 0..9u64).prop_map(|(number, until)| Step::StoredBan(number, until)),
        1 => (0..4u8).prop_map(Step::Unban),
        2 => (0..4u8, 0..3u8).prop_map(|(token, room)| Step::StoredToken(token, room)),
        1 => (0..4u8).prop_map(Step::Used),
        1 => Just(Step::Reopen),
        2 => (0..3u8).prop_map(Step::Ask),
    ]
}

#[derive(Debug, Default)]
struct Model {
    rooms: BTreeMap<String, RestoredRoom>,
    bans: BTreeMap<String, StoredBan>,
    tokens: BTreeMap<String, StoredToken>,
}

impl Model {
    fn room(&mut self, name: &str) -> &mut RestoredRoom {
        self.rooms.entry(name.to_owned()).or_insert_with(|| RestoredRoom {
            name: name.to_owned(),
            topic: None,
            private: false,
            password: None,
            more: String::new(),
            next_number: 1,
            last_time_ms: 0,
            trimmed: 0,
            lines: Vec::new(),
        })
    }

    fn add(&mut self, room: &str, line: StoredLine) {
        let room = self.room(room);
        if line.number < room.next_number {
            return;
        }
        (room.next_number, room.last_time_ms) = (line.number + 1, line.time_ms);
        room.lines.push(line);
        // Said lines and all other lines have separate limits.
        while is_beyond(room, true) {
            let oldest = room.lines.iter().position(|line| line.kind.is_said()).unwrap();
            let last = room.lines.drain(..=oldest).next_back().unwrap().number;
            room.trimmed = room.trimmed.max(last);
        }
        while is_beyond(room, false) {
            let oldest = room.lines.iter().position(|line| !line.kind.is_said()).unwrap();
            room.trimmed = room.lines.remove(oldest).number;
        }
    }

    /// Applies the step to the model, and returns the change for the store.
    fn take(&mut self, step: &Step) -> Option<StoreChange> {
        let name = |room: &u8| format!("room{room}");
        Some(match step {
            Step::Line(room, more) => {
                let room = name(room);
                let number = (self.room(&room).next_number - 1 + more).max(1);
                let line = line(&room, number);
                self.add(&room, line.clone());
                StoreChange::Line { room: room.into(), line }
            }
            Step::Room(room, private) => {
                let (name, topic) = (name(room), Some(format!("topic {private}")));
                let more = if *private { String::from("{}") } else { String::new() };
                let room = self.room(&name);
                (room.private, room.topic) = (*private, topic.clone());
                room.more.clone_from(&more);
                StoreChange::Room { name, topic, private: *private, password: None, more }
            }
            Step::Gone(room) => {
                let room = name(room);
                self.rooms.remove(&room);
                StoreChange::RoomRemoved(room)
            }
            Step::StoredBan(number, until) => {
                let (subject, shown) = (format!("{number}"), "X".to_owned());
                let until_ms = (*until > 4).then_some(*until);
                let (by, more) = (format!("op{until}"), format!("{until}"));
                let ban = StoredBan { subject, shown, by, reason: String::new(), until_ms, more };
                self.bans.insert(ban.subject.clone(), ban.clone());
                StoreChange::Ban(ban)
            }
            Step::Unban(number) => {
                self.bans.remove(&format!("{number}"));
                StoreChange::Unban(format!("{number}"))
            }
            Step::StoredToken(token, room) => {
                let rooms = vec![(name(room), 7, *room == 1)];
                let name = format!("user{room}");
                let token = StoredToken {
                    token: format!("{token}"),
                    name,
                    rooms,
                    until_ms: 3,
                    more: String::new(),
                };
                self.tokens.insert(token.token.clone(), token.clone());
                StoreChange::Token(token)
            }
            Step::Used(token) => {
                self.tokens.remove(&format!("{token}"));
                StoreChange::TokenUsed(format!("{token}"))
            }
            Step::Reopen | Step::Ask(_) => return None,
        })
    }
}

/// Returns whether the room has more said lines, or more other lines, than its limits allow.
fn is_beyond(room: &RestoredRoom, said: bool) -> bool {
    let lines = room.lines.iter().filter(|line| line.kind.is_said() == said);
    let bytes: usize = lines.clone().map(|line| line.name.len() + line.text.len() + 32).sum();
    lines.clone().count() > 6 || (bytes > 600 && lines.count() > 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Promise P11: written data is the same between restarts and after them.
    #[test]
    fn a_store_agrees_with_its_model(steps in prop::collection::vec(step(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        let mut rig = Rig::open(folder.path(), OPTIONS);
        for step in steps.iter().chain([&Step::Reopen]) {
            if let Some(change) = model.take(step) {
                rig.store.write(change);
            }
            match step {
                Step::Ask(room) => {
                    let room = format!("room{room}");
                    let newest = block_on(rig.store.last(&room, u64::MAX, 2)).unwrap();
                    let kept = model.rooms.get(&room).map_or(&[][..], |room| &room.lines);
                    prop_assert_eq!(newest, &kept[kept.len().saturating_sub(2)..]);
                }
                Step::Reopen => {
                    prop_assert_eq!(rig.store.close(), 0);
                    rig = Rig::open(folder.path(), OPTIONS);
                    prop_assert!(rig.restored.rooms.iter().eq(model.rooms.values()),
                        "{:?} is not {:?}", rig.restored.rooms, model.rooms);
                    prop_assert!(rig.restored.bans.iter().eq(model.bans.values()));
                    prop_assert!(rig.restored.tokens.iter().eq(model.tokens.values()));
                    prop_assert!(rig.restored.notices.is_empty());
                }
                _ => {}
            }
        }
    }
}
