//! Checks whether the transcripts of several clients are consistent.
//!
//! The lines of a room, from all transcripts, are ordered by their numbers. Each transcript must
//! follow that order: without repetitions, and with a notice for each gap that states the number of
//! missed lines. All transcripts must agree on the line of each number. Times must increase. A user
//! must join before they speak or leave.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::reader::{EventKind, Seen, Transcript};
use crate::replication::{NodeDownLine, read_node_down_line};
use crate::{DELETED, Key, LineKind, MISSING, Name, RESTARTED};

/// The maximum number of contradictions in a report. Further ones are only counted.
const SHOWN_MAX: usize = 100;

/// The result of a comparison.
#[derive(Debug, Default)]
pub struct TranscriptReport {
    /// The number of rooms in the transcripts.
    pub rooms: usize,
    /// The number of different lines.
    pub lines: usize,
    /// The number of lines, counted once for each transcript that has them.
    pub seen: usize,
    /// The first 100 contradictions.
    pub contradictions: Vec<Contradiction>,
    /// The total number of contradictions.
    pub found: usize,
}

/// A line of a transcript that contradicts other lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The transcript that has the line.
    pub source: String,
    /// The number of the line in that transcript, counted from 1.
    pub line: usize,
    /// A description of the contradiction, with the line's number and room.
    pub what: String,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.source, self.line, self.what)
    }
}

/// Compares the transcripts of several clients. All must be from the same run of a server.
#[must_use]
pub fn verify(transcripts: &[Transcript]) -> TranscriptReport {
    let mut verifier = Verifier { transcripts, ..Verifier::default() };
    for index in 0..transcripts.len() {
        verifier.follow(index);
    }
    let rooms = std::mem::take(&mut verifier.rooms);
    for room in rooms.values() {
        verifier.fold(room);
    }
    verifier.report.rooms = rooms.len();
    verifier.report.lines = rooms.values().map(|room| room.lines.len()).sum();
    verifier.report
}

/// A location: a transcript, and the number of a line in it.
#[derive(Clone, Copy, Debug, Default)]
struct Spot {
    transcript: usize,
    line: usize,
}

#[derive(Debug, Default)]
struct SeenRoom {
    name: String,
    lines: BTreeMap<u64, (Seen, Spot)>,
    /// The lists of members in the transcripts. Each has the number of the room's next line, the
    /// names, and its location.
    users: Vec<(u64, Vec<String>, Spot)>,
}

/// The position of one client in one room.
#[derive(Debug, Default)]
struct RoomCursor {
    /// The number of the next line; `None` before the first line.
    next: Option<u64>,
    missed: u64,
}

#[derive(Default)]
struct Verifier<'a> {
    transcripts: &'a [Transcript],
    rooms: BTreeMap<Key, SeenRoom>,
    report: TranscriptReport,
}

impl Verifier<'_> {
    /// Checks the order of the lines that one client received.
    fn follow(&mut self, transcript: usize) {
        let mut positions = HashMap::<Key, RoomCursor>::new();
        for event in &self.transcripts[transcript].events {
            let spot = Spot { transcript, line: event.line };
            match &event.what {
                EventKind::Connected => positions.clear(),
                EventKind::Anew(room) => drop(positions.remove(room)),
                EventKind::Missed { room, count } => {
                    let position = positions.entry(room.clone()).or_default();
                    position.missed = position.missed.saturating_add(*count);
                }
                EventKind::Users { room, names } => {
                    let position = positions.get(room);
                    let sure = position.filter(|position| position.missed == 0);
                    if let Some(next) = sure.and_then(|position| position.next) {
                        let users = (next, names.clone(), spot);
                        self.rooms.entry(room.clone()).or_default().users.push(users);
                    }
                }
                EventKind::Seen(seen) => {
                    self.step(positions.entry(seen.room.clone()).or_default(), seen, spot);
                    self.merge(seen, spot);
                }
                EventKind::Unreadable => {
                    self.object(spot, "the chat does not send such a line".into())
                }
            }
        }
    }

    /// Promise P3: no line is repeated, and a notice states the number of lines in each gap.
    fn step(&mut self, position: &mut RoomCursor, seen: &Seen, spot: Spot) {
        let missed = std::mem::take(&mut position.missed);
        let next = position.next.replace(seen.number.saturating_add(1));
        let Some(next) = next else { return };
        let (number, room) = (seen.number, &seen.room_name);
        if number < next {
            let last = next - 1;
            self.object(spot, format!("#{number} of {room} comes after #{last}"));
            position.next = Some(next);
        } else if number - next != missed {
            let gap = number - next;
            let what = match missed {
                0 => format!("#{number} of {room} comes after #{}, without a notice", next - 1),
                _ => format!("a notice counts {missed} missed lines of {room}, not {gap}"),
            };
            self.object(spot, what);
        }
    }

    /// Promise P1: all transcripts have the same line under the same number.
    fn merge(&mut self, seen: &Seen, spot: Spot) {
        self.report.seen += 1;
        let room = self.rooms.entry(seen.room.clone()).or_default();
        room.name.clone_from(&seen.room_name);
        let (first, first_spot) =
            room.lines.entry(seen.number).or_insert_with(|| (seen.clone(), spot));
        let same_time = match (first.time_ms, seen.time_ms) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        first.time_ms = first.time_ms.or(seen.time_ms);
        let same_time = same_time || is_missing(first) || is_missing(seen);
        let same = is_same_line(first, seen);
        if first.text == DELETED || first.name == DELETED || is_missing(first) {
            // The line is not deleted in this transcript. Later transcripts are compared with the
            // original text.
            first.kind = seen.kind;
            (first.name, first.text) = (seen.name.clone(), seen.text.clone());
        }
        if same && same_time {
            return;
        }
        let source = &self.transcripts[first_spot.transcript].source;
        let (number, room) = (seen.number, &seen.room_name);
        let what = if same { "has a different time than" } else { "is a different line than" };
        let what = format!("#{number} of {room} {what} in {source}:{}", first_spot.line);
        self.object(spot, what);
    }

    /// Promises P5, P6 and P10: checks memberships and times, in the order of the room's lines.
    fn fold(&mut self, room: &SeenRoom) {
        let mut presence = RoomPresence::default();
        let mut users = room.users.iter().collect::<Vec<_>>();
        users.sort_by_key(|(before, ..)| *before);
        let mut users = users.into_iter().peekable();
        let (mut next, mut time_ms) = (1, 0);
        for (&number, (seen, spot)) in &room.lines {
            while let Some(claim) = users.next_if(|(before, ..)| *before <= number) {
                self.compare(&presence, claim, next, room);
            }
            if number != next {
                presence.forget();
            }
            next = number.saturating_add(1);
            if let Some(time) = seen.time_ms {
                if time <= time_ms {
                    let what = format!("#{number} of {} is not later than before", room.name);
                    self.object(*spot, what);
                }
                time_ms = time;
            }
            if let Err(what) = presence.take(seen) {
                self.object(*spot, format!("#{number} of {}: {what}", room.name));
            }
        }
        for claim in users {
            self.compare(&presence, claim, next, room);
        }
    }

    /// Compares the output of `/users` with the members that result from all earlier joins, leaves
    /// and renames.
    fn compare(
        &mut self,
        presence: &RoomPresence,
        (before, names, spot): &(u64, Vec<String>, Spot),
        next: u64,
        room: &SeenRoom,
    ) {
        if *before != next || !presence.is_complete {
            return;
        }
        let here: Vec<&str> = presence.here.iter().map(|name| name.as_str()).collect();
        if here != *names {
            let (names, here, last) = (names.join(", "), here.join(", "), next - 1);
            let what = format!("after #{last} of {} the users are {here}, not {names}", room.name);
            self.object(*spot, what);
        }
    }

    fn object(&mut self, spot: Spot, what: String) {
        self.report.found += 1;
        if self.report.contradictions.len() < SHOWN_MAX {
            let source = self.transcripts[spot.transcript].source.clone();
            self.report.contradictions.push(Contradiction { source, line: spot.line, what });
        }
    }
}

/// Returns whether two clients saw the same line. The text may be deleted in one of them.
fn is_same_line(one: &Seen, other: &Seen) -> bool {
    let is_deleted = |one: &str, other: &str| one == DELETED || other == DELETED;
    let same_text = one.text == other.text || is_deleted(&one.text, &other.text);
    let same_name = one.name == other.name || is_deleted(&one.name, &other.name);
    (one.kind == other.kind && same_text && same_name) || is_missing(one) || is_missing(other)
}

/// Returns whether the server had only the number of this line, and no longer its content.
fn is_missing(seen: &Seen) -> bool {
    seen.kind == LineKind::Notice && seen.text == MISSING
}

/// The members of a room, as derived from its lines.
#[derive(Debug)]
struct RoomPresence {
    /// The members in the order of their joins.
    here: Vec<Name>,
    keys: HashMap<Key, Name>,
    /// The users who left and have not joined again.
    gone: HashSet<Key>,
    /// Whether all lines since the first one are known.
    is_complete: bool,
}

impl Default for RoomPresence {
    fn default() -> Self {
        let (here, keys, gone) = Default::default();
        Self { here, keys, gone, is_complete: true }
    }
}

impl RoomPresence {
    /// Forgets the members, because lines are missing and any user may have joined.
    fn forget(&mut self) {
        *self = Self { is_complete: false, ..Self::default() };
    }

    fn take(&mut self, seen: &Seen) -> Result<(), String> {
        let name = match seen.kind {
            LineKind::Notice => {
                if let Some(departed) = read_node_down_line(&seen.text) {
                    return self.depart(&departed);
                }
                if seen.text == MISSING {
                    self.forget();
                }
                if seen.text == RESTARTED {
                    // After a restart, the members are gone without a line about it.
                    *self = Self { is_complete: self.is_complete, ..Self::default() };
                }
                return Ok(());
            }
            _ if seen.name == DELETED
                || (seen.kind == LineKind::Renamed && seen.text == DELETED) =>
            {
                // `echoline chat erase` has removed the name, so the member is unknown.
                self.forget();
                return Ok(());
            }
            _ => Name::parse(&seen.name).map_err(|error| error.to_string())?,
        };
        match seen.kind {
            LineKind::Joined => self.come(name),
            LineKind::Left => {
                self.be_here(&name, "leaves")?;
                self.go(&name);
                Ok(())
            }
            LineKind::Renamed => {
                let new = Name::parse(&seen.text).map_err(|error| error.to_string())?;
                self.be_here(&name, "takes a new name")?;
                let position = self.go(&name);
                self.come(new)?;
                if let (Some(position), Some(new)) = (position, self.here.pop()) {
                    self.here.insert(position, new);
                }
                Ok(())
            }
            _ => self.be_here(&name, "speaks"),
        }
    }

    /// Removes the users of a node that went down.
    fn depart(&mut self, departed: &NodeDownLine<'_>) -> Result<(), String> {
        if !departed.is_all {
            self.forget();
            return Ok(());
        }
        for name in &departed.names {
            let name = Name::parse(name).map_err(|error| error.to_string())?;
            self.be_here(&name, "leaves with a node")?;
            self.go(&name);
        }
        Ok(())
    }

    fn come(&mut self, name: Name) -> Result<(), String> {
        if let Some(other) = name.keys().find_map(|key| self.keys.get(key)) {
            return Err(format!("{name} joins while {other} is here"));
        }
        for key in name.keys() {
            self.keys.insert(key.clone(), name.clone());
        }
        self.gone.remove(name.key());
        self.here.push(name);
        Ok(())
    }

    /// Removes a member. Returns the index at which the member was listed.
    fn go(&mut self, name: &Name) -> Option<usize> {
        for key in name.keys() {
            self.keys.remove(key);
        }
        self.gone.insert(name.key().clone());
        let position = self.here.iter().position(|here| here.as_str() == name.as_str())?;
        self.here.remove(position);
        Some(position)
    }

    fn be_here(&mut self, name: &Name, does: &str) -> Result<(), String> {
        if self.here.iter().any(|here| here.as_str() == name.as_str()) {
            return Ok(());
        }
        if self.is_complete || self.gone.contains(name.key()) {
            return Err(format!("{name} {does} without being here"));
        }
        // The user joined before the first line of the transcripts.
        self.come(name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[&str]) -> Vec<String> {
        let lobby = Name::parse_room("lobby").unwrap();
        let transcripts: Vec<_> = (1..)
            .zip(texts)
            .map(|(n, text)| Transcript::read(&n.to_string(), &lobby, text.as_bytes()).unwrap())
            .collect();
        let report = verify(&transcripts);
        assert_eq!(report.found, report.contradictions.len());
        report.contradictions.iter().map(Contradiction::to_string).collect()
    }

    fn json(number: u64, time_ms: u64, kind: &str, name: &str, text: &str) -> String {
        let line = serde_json::json!({ "kind": kind, "room": "lobby", "number": number,
            "time_ms": time_ms, "name": name, "text": text, "own": false });
        format!("{line}\r\n")
    }

    const GOOD: &str = "#1 *** ann joined the chat ***\n#2 *** bob joined the chat ***\n\
        #3 ann: hi\n*** 2 lines missed ***\n#6 bob: ho\n";

    #[test]
    fn accepts_consistent_transcripts() {
        let other = "#2 *** bob joined the chat ***\n#3 ann: hi\n#4 ann: a\n#5 ann: b\n#6 bob: ho\n\
            Online: ann, bob\n#7 *** bob left the chat (tea) ***\nOnline: ann\n";
        assert_eq!(found(&[GOOD, other]), [""; 0]);
    }

    /// Issue 11, item 14: a deleted line agrees with the line that other clients saw before its
    /// deletion.
    #[test]
    fn regression_a_deleted_line_is_no_contradiction() {
        let late = "#2 *** bob joined the chat ***\n#3 ann: [deleted]\n#4 ann: a\n\
            #5 *** [missing] ***\n#6 bob: ho\n#7 *** Line 3 was deleted by ann ***\n";
        let erased = "#1 *** [deleted] joined the chat ***\n#2 *** bob joined the chat ***\n\
            #3 [deleted]: [deleted]\n#4 [deleted]: [deleted]\n#5 ann: b\n#6 bob: ho\n";
        for order in [[GOOD, late, erased], [late, erased, GOOD], [erased, GOOD, late]] {
            assert_eq!(found(&order), [""; 0], "{order:?}");
        }
        let other = "#3 ann: something else\n";
        for order in [[late, GOOD, other], [GOOD, late, other], [other, late, GOOD]] {
            let found = found(&order);
            assert!(
                found.iter().any(|text| text.contains("#3 of lobby is a different line")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn each_kind_of_contradiction_is_reported() {
        for (texts, what) in [
            (vec![GOOD, "#3 ann: ho\n"], "2:1: #3 of lobby is a different line than in 1:3"),
            (vec!["#3 a: x\n#5 a: y\n"], "1:2: #5 of lobby comes after #3, without a notice"),
            (vec!["#3 a: x\n*** 1 line missed ***\n#6 a: y\n"], "1 missed lines of lobby, not 2"),
            (vec!["#3 a: x\n#3 a: x\n"], "1:2: #3 of lobby comes after #3"),
            (vec!["#3 a: x\n#2 a: w\n"], "1:2: #2 of lobby comes after #3"),
            (vec!["#1 a: x\n"], "1:1: #1 of lobby: a speaks without being here"),
            (
                vec!["#1 *** ann joined the chat ***\n#2 *** Ann joined the chat ***\n"],
                "#2 of lobby: Ann joins while ann is here",
            ),
            (
                vec!["#4 *** ann left the chat ***\n#5 ann: x\n"],
                "#5 of lobby: ann speaks without being here",
            ),
            (
                vec!["#1 *** ann joined the chat ***\nOnline: ann, bob\n"],
                "1:2: after #1 of lobby the users are ann, not ann, bob",
            ),
            (vec!["#1 *** a joined the chat ***\n#2 what\n"], "1:2: the chat does not send"),
        ] {
            let found = found(&texts);
            assert!(found.len() == 1 && found[0].contains(what), "{what}: {found:?}");
        }
    }

    #[test]
    fn times_increase_and_are_the_same_for_all() {
        let first = json(1, 10, "joined", "ann", "") + &json(2, 10, "said", "ann", "x");
        assert_eq!(found(&[&first]), ["1:2: #2 of lobby is not later than before"]);
        let one = json(1, 10, "joined", "ann", "");
        let other = json(1, 11, "joined", "ann", "");
        assert_eq!(found(&[&one, &other]), ["2:1: #1 of lobby has a different time than in 1:1"]);
        assert_eq!(found(&[&one, "#1 *** ann joined the chat ***\n"]), [""; 0]);
    }

    #[test]
    fn a_restart_removes_all_members() {
        let text = "#1 *** ann joined the chat ***\n#2 *** The server was started again ***\n\
            #3 *** ann joined the chat ***\nOnline: ann\n#4 bob: x\n";
        assert_eq!(found(&[text]), ["1:5: #4 of lobby: bob speaks without being here"]);
    }

    #[test]
    fn a_renamed_member_keeps_their_position() {
        let text = "#1 *** ann joined the chat ***\n#2 *** bob joined the chat ***\n\
            #3 *** ann is now eve ***\nOnline: eve, bob\n#4 ann: x\n";
        assert_eq!(found(&[text]), ["1:5: #4 of lobby: ann speaks without being here"]);
    }

    /// Issue 11, item 47: the users of a downed node have left, if the line names all of them.
    #[test]
    fn regression_a_downed_node_removes_its_users() {
        let begin = "#1 *** ann joined the chat ***\n#2 *** bob joined the chat ***\n";
        let gone = "#3 *** east is gone, and with it bob ***\nOnline: ann\n#4 bob: x\n";
        let found_of = |rest: &str| found(&[&format!("{begin}{rest}")]);
        assert_eq!(found_of(gone), ["1:5: #4 of lobby: bob speaks without being here"]);
        let some = "#3 *** east is gone, and with it bob and 3 more ***\nOnline: bob\n#4 eve: x\n";
        assert_eq!(found_of(some), [""; 0]);
        let strange = "#3 *** east is gone, and with it eve ***\n";
        assert_eq!(
            found_of(strange),
            ["1:3: #3 of lobby: eve leaves with a node without being here"]
        );
    }

    /// Issue 11, item 47: a list of members is compared only if all lines before it are known.
    #[test]
    fn regression_a_list_after_missing_lines_is_not_compared() {
        assert_eq!(found(&["#4 *** ann joined the chat ***\nOnline: ann, bob\n"]), [""; 0]);
        let missed = "#1 *** ann joined the chat ***\n*** 2 lines missed ***\nOnline: ann, bob\n";
        assert_eq!(found(&[missed]), [""; 0]);
    }
}
