//! Tests of a room.

use super::*;
use crate::room::LogLimits;

fn identity(session: u64) -> MemberIdentity {
    MemberIdentity { session, lineage: session, is_here: true }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn room(lines: usize) -> Room {
    let limits = LogLimits { lines, ..LogLimits::default() };
    Room::new(Name::parse_room("den").unwrap(), Log::new(limits, 1, 0))
}

fn names(room: &Room) -> Vec<&str> {
    room.members().iter().map(|member| member.name.as_str()).collect()
}

/// Promise P5: an expulsion takes effect at once, even before the member's session notices it.
#[test]
fn an_expelled_member_gets_and_says_nothing_more() {
    let mut room = room(100);
    let (ann, _) = room.join(0, identity(1), name("ann"), ReplayFrom::Last(0));
    let (bob, _) = room.join(0, identity(2), name("bob"), ReplayFrom::Last(0));
    room.set_operator(bob, true);
    assert!(room.expel(0, bob, "kicked").is_some());
    assert_eq!(room.expel(0, bob, "twice"), None);
    room.say(0, ann, LineKind::Said, "about bob");
    let mut batch = Batch::default();
    assert_eq!((room.take(bob, &mut batch), batch.is_empty()), (0, true));
    let mut missed = 0;
    assert_eq!(room.take_line(bob, Own::Shown, &mut missed), None);
    assert_eq!(room.say(0, bob, LineKind::Said, "still here"), None);
    assert_eq!(room.rename(0, bob, name("rob")), None);
    assert_eq!(room.set_topic(0, bob, "x"), None);
    assert!(!room.standing(bob).1, "an expelled member is no operator");
    assert!(room.is_caught_up(bob) && room.lags().iter().all(|(other, _)| other.as_str() != "bob"));
    assert_eq!((names(&room), room.count()), (vec!["ann"], 1));
    assert_eq!(room.leave(0, bob, ""), None, "the expulsion was already announced");
    assert_eq!((names(&room), room.count()), (vec!["ann"], 1));
}

/// Promise P3: missed lines include the member's own lines only if those are shown.
#[test]
fn missed_lines_are_counted_as_they_would_be_shown() {
    for (own, expected) in [(Own::Hidden, 20), (Own::Shown, 40)] {
        let mut room = room(4);
        let (ann, _) = room.join(0, identity(1), name("ann"), ReplayFrom::Last(0));
        let (bob, _) = room.join(0, identity(2), name("bob"), ReplayFrom::Last(0));
        let mut batch = Batch::default();
        room.take(ann, &mut batch);
        for _ in 0..22 {
            room.say(0, ann, LineKind::Said, "mine");
            room.say(0, bob, LineKind::Said, "theirs");
        }
        let mut missed = 0;
        assert!(room.take_line(ann, own, &mut missed).is_some());
        assert_eq!(missed, expected);
    }
}
