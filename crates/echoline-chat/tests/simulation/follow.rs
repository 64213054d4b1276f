//! Follows the output of a plain terminal, line by line. Checks that each line has a valid position
//! in its room.
//!
//! A terminal shows no numbers, so the user's position in a room is found by trial. The follower
//! begins with every position at which a user of that name joined, and drops the positions that do
//! not fit the next lines.

use std::collections::HashMap;

use super::order::{Entry, Order};
use super::record::Record;
use super::world::ROOMS;

/// The beginnings of the server's notices to one user. Any other notice is forged, or an error.
const NOTICES: [&str; 30] = [
    "A name is ",
    "A room name is ",
    "/resume ",
    "Connection timeout. Goodbye!",
    "Goodbye",
    "No topic is set",
    "There is no user ",
    "Slow down, ",
    "That line is not UTF-8",
    "That line was too long",
    "That name looks too much like ",
    "That token is unknown or has expired",
    "The name ",
    "Wrong arguments for /nick",
    "There are no such lines",
    "There is no /histroy. Did you mean /history?",
    "This is your only room",
    "Topic: ",
    "You are already in ",
    "Your name is already ",
    "You are not in ",
    "You continue in another connection",
    "You cannot send a private message to yourself",
    "Not sent: you wrote too fast",
    "You wrote too fast and are muted",
    "You are no longer muted; ",
    "Not sent: the line contains a line separator",
    "No one is behind",
    "That is not UTF-8",
    "You are ",
];

/// A possible position of the user in a room.
#[derive(Clone, Debug)]
struct Place {
    /// The index of the next line that the user must receive.
    next: usize,
    /// The index of the user's join line.
    joined: usize,
    /// The number of announced earlier lines that have not arrived yet.
    earlier: u64,
    /// Whether the session is new, not restored by a token.
    is_new: bool,
    /// Whether an earlier line has arrived, or none was announced. From then on, only joins and
    /// leaves before `joined` may be left out.
    begun: bool,
    /// The user's name at that position.
    name: String,
}

impl Place {
    /// Returns the possible positions after this earlier line. Only joins and leaves may be left
    /// out before it.
    fn earlier_line(&self, order: &Order, shown: &str) -> Vec<Self> {
        let mut fitting = Vec::new();
        for at in self.next..=self.joined {
            let entry = &order.entries[at];
            if entry.shown == shown && (at == self.joined) == (self.earlier == 0) {
                let earlier = self.earlier.saturating_sub(1);
                fitting.push(Self { next: at + 1, earlier, begun: true, ..self.clone() });
            }
            if self.begun && !entry.is_presence() {
                break;
            }
        }
        fitting
    }

    /// Returns the possible positions after a notice that `count` announced lines are missing. At
    /// most `count` of the skipped lines may be said lines.
    fn without_earlier(&self, order: &Order, count: u64) -> Vec<Self> {
        let Some(earlier) = self.earlier.checked_sub(count) else { return Vec::new() };
        let (mut fitting, mut said) = (Vec::new(), 0);
        for at in self.next..self.joined {
            said += u64::from(!order.entries[at].is_presence());
            if said > count {
                break;
            }
            let next = at + 1;
            if (next - self.next) as u64 >= count {
                fitting.push(Self { next, earlier, begun: true, ..self.clone() });
            }
        }
        fitting
    }
}

#[derive(Debug, Default)]
struct Position {
    /// The possible positions; `None` until a line of this room arrives.
    places: Option<Vec<Place>>,
    /// The number of announced earlier lines.
    replay: u64,
    /// The number of the line from which a token restored this room; `None` without a token.
    from: Option<u64>,
}

/// The state of a terminal that is followed.
#[derive(Debug)]
pub(crate) struct Follower<'a> {
    orders: &'a HashMap<String, Order>,
    record: &'a Record,
    rooms: Vec<String>,
    current: usize,
    positions: HashMap<String, Position>,
    pub(crate) whispers: Vec<String>,
    /// The rooms that a token restored, each with the number of the line from which it continued.
    pub(crate) back: Vec<(String, u64)>,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(orders: &'a HashMap<String, Order>, record: &'a Record) -> Self {
        Self {
            orders,
            record,
            rooms: vec![ROOMS[0].to_owned()],
            current: 0,
            positions: HashMap::new(),
            whispers: Vec::new(),
            back: Vec::new(),
        }
    }

    /// Follows all complete lines.
    pub(crate) fn follow(&mut self) -> Result<(), String> {
        for line in self.record.text().split_terminator("\r\n") {
            let mut rest = line;
            while let Some(after) = rest.strip_prefix("Enter your name: ") {
                rest = after;
            }
            self.take(rest).map_err(|what| format!("{what}: {line:?}"))?;
        }
        Ok(())
    }

    /// Checks that the terminal received every line of other users, up to the last one.
    pub(crate) fn has_all(&self) -> Result<(), String> {
        for room in &self.rooms {
            let position = self.positions.get(room);
            let Some(places) = position.and_then(|position| position.places.as_ref()) else {
                return Err(format!("nothing came from {room}"));
            };
            let order = &self.orders[room];
            if !places.iter().any(|place| self.others(order, place, place.next).is_none()) {
                return Err(format!("lines at the end of {room} never came: {places:?}"));
            }
        }
        Ok(())
    }

    /// Checks that the terminal received every line before `number`, and no later line. This is
    /// exact with several nodes too, because the output of a terminal ends only after the exit has
    /// its position in the stream.
    pub(crate) fn has_all_before(&self, room: &str, number: u64) -> Result<(), String> {
        let Some(places) = self.positions.get(room).and_then(|p| p.places.as_ref()) else {
            return Ok(());
        };
        let order = &self.orders[room];
        let end = order.index(number);
        let ends = |place: &Place| {
            place.next <= end && self.others(order, place, place.next).is_none_or(|at| at >= end)
        };
        if places.iter().any(ends) {
            return Ok(());
        }
        Err(format!(
            "P3: the token continues at #{number} of {room}, but the positions are {places:?}"
        ))
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() || line == "Server error. Goodbye!" {
            return Err("a line that the server never sends".into());
        }
        if let Some(names) = line.strip_prefix("Online: ") {
            return self.users(names);
        }
        let earlier = line.strip_suffix(" ---").and_then(|line| {
            line.strip_suffix(" earlier line").or_else(|| line.strip_suffix(" earlier lines"))
        });
        if let Some(count) = earlier.and_then(|line| line.strip_prefix("--- ")) {
            let count = count.parse();
            let room = self.rooms[self.current].clone();
            let replay = count.map_err(|_| "an invalid count".to_owned())?;
            self.positions.insert(room, Position { replay, ..Position::default() });
            return Ok(());
        }
        if line.starts_with('#') {
            return self.looked_up(line);
        }
        if is_reply(line) {
            return Ok(());
        }
        let (room, rest) = match line.strip_prefix('[').and_then(|line| line.split_once("] ")) {
            Some((head, text)) if head.contains(" -> ") => {
                return self.letter(head, text);
            }
            Some((room, rest)) => (room.to_owned(), rest),
            None => (self.rooms.get(self.current).cloned().unwrap_or_default(), line),
        };
        if !self.orders.contains_key(&room) {
            return self.notice_or(line, "a line that belongs to no room");
        }
        if let Some(inner) = rest.strip_prefix("*** ").and_then(|rest| rest.strip_suffix(" ***")) {
            if let Some(count) = inner.strip_suffix(" missed") {
                let count = count.split(' ').next().and_then(|count| count.parse().ok());
                return self.skip(&room, count.ok_or("an invalid count")?);
            }
            if self.notice(inner) {
                return Ok(());
            }
        }
        self.step(&room, rest)
    }

    fn notice_or(&mut self, line: &str, what: &str) -> Result<(), String> {
        let inner = line.strip_prefix("*** ").and_then(|line| line.strip_suffix(" ***"));
        match inner.is_some_and(|inner| self.notice(inner)) {
            true => Ok(()),
            false => Err(what.to_owned()),
        }
    }

    /// Follows one line.
    fn step(&mut self, room: &str, shown: &str) -> Result<(), String> {
        let order = &self.orders[room];
        let places = self.places(room);
        let mut fitting = Vec::new();
        for mut place in places.clone() {
            if place.next < place.joined && place.is_new {
                fitting.extend(place.earlier_line(order, shown));
                continue;
            }
            let Some(at) = self.others(order, &place, place.next) else { continue };
            let entry = &order.entries[at];
            if entry.shown == shown && self.advance(order, &mut place, at + 1) {
                fitting.push(place);
            }
        }
        if fitting.is_empty() {
            let due: Vec<_> = places
                .iter()
                .map(|place| {
                    self.others(order, place, place.next).map(|at| &order.entries[at].shown)
                })
                .collect();
            return Err(format!("the line does not fit in {room}, where {due:?} comes next"));
        }
        self.positions.entry(room.to_owned()).or_default().places = Some(fitting);
        Ok(())
    }

    /// Follows a notice that `count` lines are missing.
    fn skip(&mut self, room: &str, count: u64) -> Result<(), String> {
        let order = &self.orders[room];
        let mut fitting = Vec::new();
        for mut place in self.places(room) {
            let mut count = count;
            if place.is_new && place.next < place.joined {
                fitting.extend(place.without_earlier(order, count));
                if place.earlier >= count {
                    continue;
                }
                // All earlier lines are missing, and some later ones too.
                count -= place.earlier;
                place = Place { next: place.joined, earlier: 0, begun: true, ..place };
            }
            let mut at = place.next;
            for _ in 0..count {
                match self.others(order, &place, at) {
                    Some(other) => at = other + 1,
                    None => at = usize::MAX,
                }
                if at == usize::MAX {
                    break;
                }
            }
            if at != usize::MAX && self.advance(order, &mut place, at) {
                fitting.push(place);
            }
        }
        if fitting.is_empty() {
            return Err(format!("the notice counts more missed lines of {room} than there are"));
        }
        self.positions.entry(room.to_owned()).or_default().places = Some(fitting);
        Ok(())
    }

    /// Returns the index of the next line, beginning with `at`, that the terminal must show.
    fn others(&self, order: &Order, place: &Place, at: usize) -> Option<usize> {
        let left_out =
            |at: usize| place.is_new && at < place.joined && order.entries[at].is_presence();
        (at..order.entries.len())
            .find(|&at| !self.is_own(&order.entries[at], at, place) && !left_out(at))
    }

    fn is_own(&self, entry: &Entry, at: usize, place: &Place) -> bool {
        let said = matches!(&*entry.kind, "said" | "action");
        said && at > place.joined && self.is_mine(&entry.text)
    }

    fn is_mine(&self, text: &str) -> bool {
        text.starts_with(&self.record.mark) || text.starts_with(&format!("> {}", self.record.mark))
    }

    /// Promises P5 and P9: each skipped line must fit the user's name, and no user skips their own
    /// leave line.
    fn advance(&self, order: &Order, place: &mut Place, until: usize) -> bool {
        for at in place.next..until {
            let entry = &order.entries[at];
            if at <= place.joined {
                continue;
            }
            if self.is_own(entry, at, place) && entry.name != place.name {
                return false;
            }
            match &*entry.kind {
                "left" if entry.name == place.name => return false,
                "renamed" if entry.name == place.name => place.name.clone_from(&entry.text),
                _ => {}
            }
        }
        place.next = until;
        true
    }

    /// Returns all positions in this room that fit the lines so far.
    fn places(&mut self, room: &str) -> Vec<Place> {
        let position = self.positions.entry(room.to_owned()).or_default();
        if let Some(places) = &position.places {
            return places.clone();
        }
        let order = &self.orders[room];
        let joins = (0_usize..)
            .zip(&order.entries)
            .filter(|(_, entry)| entry.kind == "joined" && self.record.names.contains(&entry.name));
        let places = joins.filter_map(|(joined, entry)| {
            let earlier = position.replay;
            let next = match position.from {
                Some(from) => order.index(from),
                None if earlier == 0 => joined,
                None => 0,
            };
            let (is_new, begun) = (position.from.is_none(), earlier == 0);
            let name = entry.name.clone();
            (next <= joined).then_some(Place { next, joined, earlier, is_new, begun, name })
        });
        places.collect()
    }

    /// Promise P5: `/users` agrees with all lines that this terminal has shown.
    fn users(&mut self, names: &str) -> Result<(), String> {
        let room = self.rooms[self.current].clone();
        let order = &self.orders[&room];
        let agrees = |place: &Place| {
            let last = place.next.checked_sub(1).map(|last| &order.entries[last]);
            last.is_some_and(|last| last.members.join(", ") == names)
        };
        let mut places = self.places(&room);
        places.retain(agrees);
        if places.is_empty() {
            return Err(format!("P5: not the users who are in {room} after the lines before"));
        }
        self.positions.entry(room).or_default().places = Some(places);
        Ok(())
    }

    /// Checks a line of `/history`.
    fn looked_up(&self, line: &str) -> Result<(), String> {
        let parsed = line[1..].split_once(" 09:30 ").and_then(|(number, shown)| {
            let order = &self.orders[self.rooms.get(self.current)?];
            let entry = order.entries.get(order.index(number.parse().ok()?))?;
            Some(entry.shown == shown)
        });
        match parsed {
            Some(true) => Ok(()),
            _ => Err("P1: `/history` shows a different line".into()),
        }
    }

    fn letter(&mut self, head: &str, text: &str) -> Result<(), String> {
        match head.split_once(" -> ") {
            Some(("you", _)) => Ok(()),
            Some((_, "you")) => {
                self.whispers.push(text.to_owned());
                Ok(())
            }
            _ => Err("an invalid private line".into()),
        }
    }

    /// Returns whether this is a notice of the server. If it is, follows its effect on the
    /// terminal's rooms.
    fn notice(&mut self, words: &str) -> bool {
        // The recipient of a private line left while the line was in flight.
        if words.starts_with("Not delivered: ") && words.ends_with(" has left") {
            return true;
        }
        if words.ends_with(" is private: only invited users can join") {
            return true;
        }
        let room_after = |start: &str| {
            let rest = words.strip_prefix(start)?;
            let room = rest.split([' ', ',', ':']).next()?;
            self.orders.contains_key(room).then(|| room.to_owned())
        };
        if let Some(room) = room_after("You are now talking in ") {
            let known = self.rooms.iter().position(|known| *known == room);
            self.current = known.unwrap_or(self.rooms.len());
            if known.is_none() {
                self.positions.remove(&room);
                self.rooms.push(room);
            }
            return true;
        }
        if let Some(room) = room_after("Back in ") {
            let from =
                words.rsplit("line ").next().and_then(|rest| rest.split(' ').next()?.parse().ok());
            if self.back.is_empty() {
                self.rooms.clear();
            }
            self.back.push((room.clone(), from.unwrap_or(0)));
            self.positions.insert(room.clone(), Position { from, ..Position::default() });
            self.rooms.push(room);
            return from.is_some();
        }
        if let Some(room) = room_after("You left ").or_else(|| room_after("You were kicked from "))
        {
            if let Some(index) = self.rooms.iter().position(|known| *known == room) {
                self.rooms.remove(index);
                if self.current >= index {
                    self.current = self.current.saturating_sub(1);
                }
            }
            return true;
        }
        NOTICES.iter().any(|start| words.starts_with(start))
    }
}

/// Returns whether this line is a reply that is not a notice between `***`.
fn is_reply(line: &str) -> bool {
    let rooms = ROOMS.iter().any(|room| line.starts_with(&format!("{room} (")));
    rooms
        || line.starts_with("Lines behind: ")
        || line == "No one is behind"
        || line.starts_with("/msg NAME WORDS: ")
        || line.starts_with("For example: ")
        || line.starts_with("There is no /nothing. ")
        || line == "Connection timeout. Goodbye!"
}
