//! Parses a transcript: the output that one client received, for a comparison with other clients.

use serde_json::Value;

use crate::{Key, LineKind, Name};

/// The comparable part of the output that one client received.
///
/// Two formats are supported: JSON lines, which a program receives on a `--bot` address, and the
/// lines of a terminal with `/numbers on`.
///
/// Lines without a number are skipped, because they have no position in the room's order. Lines
/// with a time are skipped too: the client looked them up with `/history`, or `/times` was on.
#[derive(Debug)]
pub struct Transcript {
    pub(crate) source: String,
    pub(crate) events: Vec<Event>,
}

/// An event in a transcript, with the number of its line, counted from 1.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) line: usize,
    pub(crate) what: EventKind,
}

#[derive(Debug)]
pub(crate) enum EventKind {
    Seen(Seen),
    /// The server states that `count` lines of the room are missing.
    Missed {
        room: Key,
        count: u64,
    },
    /// The client joined or left the room, so its position in the room is unknown again.
    Anew(Key),
    /// Another connection begins here, so the positions in all rooms are unknown again.
    Connected,
    /// The server lists the members of the room.
    Users {
        room: Key,
        names: Vec<String>,
    },
    /// A line with an invalid format, which the chat cannot have sent.
    Unreadable,
}

/// One line of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) room: Key,
    pub(crate) room_name: String,
    pub(crate) number: u64,
    pub(crate) time_ms: Option<u64>,
    pub(crate) kind: LineKind,
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The error for a transcript without numbered lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} has no line numbers: record a terminal after /numbers on (without /times on), \
     or a program on a --bot address"
)]
pub struct NotNumbered(String);

impl Transcript {
    /// Parses the output that a client received. `source` is the name of the transcript, and
    /// `lobby` is the room that every user joins first.
    ///
    /// # Errors
    /// [`NotNumbered`] if no line has a number.
    pub fn read(source: &str, lobby: &Name, text: &[u8]) -> Result<Self, NotNumbered> {
        let mut reader = TranscriptReader::default();
        reader.arrive(lobby);
        let text = String::from_utf8_lossy(text);
        // A last line without a line end is incomplete, so it is ignored.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (line, text) in (1..).zip(whole.split('\n')) {
            reader.take(line, text.strip_suffix('\r').unwrap_or(text), lobby);
        }
        let events = reader.events;
        if !events.iter().any(|event| matches!(event.what, EventKind::Seen(_))) {
            return Err(NotNumbered(source.to_owned()));
        }
        Ok(Self { source: source.to_owned(), events })
    }
}

/// The maximum number of rooms of one client that are tracked at once. No chat allows so many.
/// Without a limit, the time would be quadratic in the length of the file.
const ROOMS_MAX: usize = 1000;

/// A room that the client is in.
struct KnownRoom {
    name: String,
    /// The key of the name; `None` if the name is invalid. All rooms with invalid names count as
    /// one.
    key: Option<Key>,
}

impl KnownRoom {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), key: key(name) }
    }
}

/// Reads the lines of one transcript. Keeps track of the client's current room, because a terminal
/// shows lines of that room without its name.
#[derive(Default)]
struct TranscriptReader {
    rooms: Vec<KnownRoom>,
    current: usize,
    /// Whether the current room is only assumed (the lobby), because no line has confirmed it yet.
    is_guess: bool,
    events: Vec<Event>,
}

impl TranscriptReader {
    fn arrive(&mut self, lobby: &Name) {
        let lobby = KnownRoom::new(&lobby.to_string());
        (self.rooms, self.current, self.is_guess) = (vec![lobby], 0, true);
    }

    /// Adds a room that the client is in.
    fn learn(&mut self, room: &str) {
        if std::mem::take(&mut self.is_guess) {
            self.rooms.clear();
        }
        self.push(KnownRoom::new(room));
    }

    /// Adds a room. If there are too many, drops the room that the client joined first.
    fn push(&mut self, room: KnownRoom) {
        if self.rooms.len() == ROOMS_MAX {
            self.rooms.remove(0);
            self.current = self.current.saturating_sub(1);
        }
        self.rooms.push(room);
    }

    fn take(&mut self, line: usize, text: &str, lobby: &Name) {
        let what = if text.starts_with('{') {
            self.json(text, lobby)
        } else {
            // The prompt has no line end, so the next output follows on the same line.
            let mut rest = text;
            while let Some(after) = rest.strip_prefix("Enter your name: ") {
                self.connect(line, lobby);
                rest = after;
            }
            self.words(rest)
        };
        self.events.extend(what.map(|what| Event { line, what }));
    }

    fn connect(&mut self, line: usize, lobby: &Name) {
        self.arrive(lobby);
        self.events.push(Event { line, what: EventKind::Connected });
    }

    fn json(&mut self, text: &str, lobby: &Name) -> Option<EventKind> {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            return Some(EventKind::Unreadable);
        };
        let word = |field: &str| value[field].as_str().unwrap_or_default();
        match word("kind") {
            "welcome" => {
                self.arrive(lobby);
                Some(EventKind::Connected)
            }
            "missed" => Some(EventKind::Missed {
                room: key(word("room"))?,
                count: value["count"].as_u64()?,
            }),
            // With every line, a program may speak in another room, so the room of this list is
            // unknown. The list is used only if the client is in a single room.
            "reply" if word("text").starts_with("Online: ") && self.rooms.len() > 1 => None,
            "reply" => self.words(word("text")),
            "" => Some(EventKind::Unreadable),
            // Other kinds are messages about the link, members or a page, or are from a newer
            // version.
            label => {
                let kind = LineKind::ALL.into_iter().find(|kind| kind.label() == label)?;
                let seen = || {
                    let room_name = word("room").to_owned();
                    Some(Seen {
                        room: key(&room_name)?,
                        number: value["number"].as_u64()?,
                        time_ms: Some(value["time_ms"].as_u64()?),
                        kind,
                        name: word("name").to_owned(),
                        text: word("text").to_owned(),
                        room_name,
                    })
                };
                let seen = seen();
                if let Some(seen) = &seen {
                    self.note_room(&seen.room_name);
                }
                Some(seen.map_or(EventKind::Unreadable, EventKind::Seen))
            }
        }
    }

    /// Records that a program is in this room. The rooms that a program named at login are known
    /// only from their lines.
    fn note_room(&mut self, room: &str) {
        let wanted = key(room);
        if !self.rooms.iter().any(|known| known.key == wanted) {
            self.learn(room);
        }
        self.is_guess = false;
    }

    fn words(&mut self, text: &str) -> Option<EventKind> {
        if let Some(names) = text.strip_prefix("Online: ") {
            let names = names.split(", ").map(str::to_owned).collect();
            return Some(EventKind::Users {
                room: self.rooms.get(self.current)?.key.clone()?,
                names,
            });
        }
        let (room, rest) = match text.strip_prefix('[').and_then(|text| text.split_once("] ")) {
            Some((room, rest)) => (room.to_owned(), rest),
            None => (self.rooms.get(self.current)?.name.clone(), text),
        };
        if let Some(inner) = rest.strip_prefix("*** ").and_then(|t| t.strip_suffix(" ***")) {
            return self.notice(inner, &room);
        }
        let (number, shown) = rest.strip_prefix('#')?.split_once(' ')?;
        let number = number.parse().ok()?;
        if has_time(shown) {
            return None;
        }
        let Some((kind, name, text)) = parse_shown(shown) else {
            return Some(EventKind::Unreadable);
        };
        let room_name = room;
        let room = key(&room_name)?;
        Some(EventKind::Seen(Seen { room, room_name, number, time_ms: None, kind, name, text }))
    }

    /// Interprets a notice of the server about the rooms of this client.
    fn notice(&mut self, words: &str, room: &str) -> Option<EventKind> {
        if let Some(count) = ["line missed", "lines missed"]
            .iter()
            .find_map(|end| words.strip_suffix(end)?.trim_end().parse().ok())
        {
            return Some(EventKind::Missed { room: key(room)?, count });
        }
        if let Some(rest) = words.strip_prefix("You are now talking in ") {
            let room = rest.split([' ', ':']).next()?;
            return self.turn_to(room);
        }
        if let Some(rest) = words.strip_prefix("Back in ") {
            let (room, _) = rest.split_once(", from line ")?;
            self.learn(room);
            return None;
        }
        let left = words.strip_prefix("You left ");
        let left = left.and_then(|rest| rest.split_once(" and are now talking"));
        let expelled = words.strip_prefix("You were kicked from ");
        let expelled = expelled.and_then(|rest| rest.split_once(" by "));
        let banned = words.strip_prefix("You are banned from the room ");
        let banned = banned.and_then(|rest| rest.split([' ', ':']).next());
        let taken = words.strip_prefix("You were removed from ");
        let taken = taken.and_then(|rest| rest.split_once(" while "));
        let gone = left.or(expelled).or(taken).map(|(room, _)| room).or(banned)?;
        self.remove(gone)
    }

    fn turn_to(&mut self, room: &str) -> Option<EventKind> {
        let wanted = KnownRoom::new(room);
        if let Some(found) = self.rooms.iter().position(|known| known.key == wanted.key) {
            self.current = found;
            return None;
        }
        let room = wanted.key.clone();
        self.push(wanted);
        self.current = self.rooms.len() - 1;
        Some(EventKind::Anew(room?))
    }

    fn remove(&mut self, room: &str) -> Option<EventKind> {
        let wanted = key(room);
        let index = self.rooms.iter().position(|known| known.key == wanted)?;
        self.rooms.remove(index);
        if self.current >= index {
            self.current = self.current.saturating_sub(1);
        }
        Some(EventKind::Anew(wanted?))
    }
}

fn key(room: &str) -> Option<Key> {
    Some(Name::parse_room(room).ok()?.key().clone())
}

/// Returns whether a line begins with a time of day. Such a line was looked up with `/history`, or
/// `/times` is on.
fn has_time(shown: &str) -> bool {
    let word = shown.split(' ').next().unwrap_or_default();
    word.split_once(':').is_some_and(|(hours, minutes)| {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits(hours) && digits(minutes)
    })
}

/// Parses a line as a terminal shows it, into its kind, author and text.
pub(crate) fn parse_shown(shown: &str) -> Option<(LineKind, String, String)> {
    let own = |kind, name: &str, text: &str| Some((kind, name.to_owned(), text.to_owned()));
    if let Some(inner) = shown.strip_prefix("*** ").and_then(|text| text.strip_suffix(" ***")) {
        let (name, words) = inner.split_once(' ').unwrap_or((inner, ""));
        let reason = words.strip_prefix("left the chat (").and_then(|text| text.strip_suffix(')'));
        return match words {
            "joined the chat" => own(LineKind::Joined, name, ""),
            "left the chat" => own(LineKind::Left, name, ""),
            "removed the topic" => own(LineKind::Topic, name, ""),
            _ => {
                match (reason, words.strip_prefix("is now "), words.strip_prefix("set the topic: "))
                {
                    (Some(reason), ..) => own(LineKind::Left, name, reason),
                    (_, Some(new), _) => own(LineKind::Renamed, name, new),
                    (.., Some(topic)) => own(LineKind::Topic, name, topic),
                    _ => own(LineKind::Notice, "", inner),
                }
            }
        };
    }
    if let Some(action) = shown.strip_prefix("* ") {
        let (name, text) = action.split_once(' ')?;
        return own(LineKind::Action, name, text);
    }
    let (name, text) = shown.split_once(": ")?;
    own(LineKind::Said, name, text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::room::Shape;
    use crate::transcript::verify;

    #[test]
    fn parses_the_lines_that_a_terminal_shows() {
        for kind in LineKind::ALL {
            for text in ["", "tea", "a: b (c) ***"] {
                let wants = !matches!(kind, LineKind::Left | LineKind::Joined | LineKind::Topic);
                if text.is_empty() && wants || kind == LineKind::Joined && !text.is_empty() {
                    continue;
                }
                let name = if kind == LineKind::Notice { "" } else { "ann" };
                let shown = Shape::encode(kind, name, text).1.concat();
                let expected = (kind, name.to_owned(), text.to_owned());
                assert_eq!(parse_shown(&shown), Some(expected), "{shown}");
            }
        }
    }

    #[test]
    fn a_transcript_needs_numbers() {
        let lobby = Name::parse_room("lobby").unwrap();
        let read = |text: &str| Transcript::read("a.txt", &lobby, text.as_bytes());
        let error = read("ann: hi\r\n").unwrap_err().to_string();
        assert!(error.starts_with("a.txt has no line numbers") && error.contains("/numbers on"));
        assert!(read("").is_err());
        assert!(read("#1 ann: hi").is_err(), "cut off");
        assert_eq!(read("#1 ann: hi\r\n#1 12:30 ann: hi\r\n").unwrap().events.len(), 1);
    }

    /// Programs in a cluster receive messages about the link, which have no number.
    #[test]
    fn messages_without_a_number_are_skipped() {
        let lobby = Name::parse_room("lobby").unwrap();
        let text = r#"{"kind":"welcome","name":"ann"}
{"kind":"said","room":"lobby","number":1,"time_ms":1,"name":"ann","text":"x"}
{"kind":"link","lost":true,"text":"The link to the other nodes is lost"}
{"kind":"undelivered","text":"x","reason":"the link is lost"}
{"kind":"people","room":"lobby","number":1,"people":[]}
{"kind":"said","room":"lobby"}
{"number":1}
"#;
        let transcript = Transcript::read("t", &lobby, text.as_bytes()).unwrap();
        let unreadable = |event: &&Event| matches!(event.what, EventKind::Unreadable);
        let lines: Vec<usize> =
            transcript.events.iter().filter(unreadable).map(|event| event.line).collect();
        assert_eq!(lines, [6, 7]);
    }

    #[test]
    fn an_expelled_client_speaks_in_the_previous_room() {
        let lobby = Name::parse_room("lobby").unwrap();
        for words in [
            "You were kicked from den by bob",
            "You are banned from the room den: spam",
            "You were removed from den while this node was not connected",
        ] {
            let text = format!(
                "#1 a: x\n*** You are now talking in den: 2 users ***\n#7 a: y\n\
                 *** {words} ***\n#2 a: z\n"
            );
            let transcript = Transcript::read("t", &lobby, text.as_bytes()).unwrap();
            let last = transcript.events.last().map(|event| &event.what);
            assert!(
                matches!(last, Some(EventKind::Seen(seen)) if seen.room_name == "lobby"),
                "{words}: {last:?}"
            );
        }
    }

    #[test]
    fn follows_the_current_room_of_the_client() {
        let lobby = Name::parse_room("lobby").unwrap();
        let text = "#1 a: x\n*** You are now talking in den: 2 users ***\n#7 a: y\n\
                    [lobby] #2 a: z\n*** You left den and are now talking in lobby ***\n#3 a: w\n";
        let transcript = Transcript::read("t", &lobby, text.as_bytes()).unwrap();
        let rooms: Vec<_> = transcript
            .events
            .iter()
            .filter_map(|event| match &event.what {
                EventKind::Seen(seen) => Some((seen.room_name.as_str(), seen.number)),
                _ => None,
            })
            .collect();
        assert_eq!(rooms, [("lobby", 1), ("den", 7), ("lobby", 2), ("lobby", 3)]);
    }

    /// Issue 12: transcripts with overflowing counts and very many rooms are compared too. The time
    /// is linear in the length of the file.
    #[test]
    fn attack_large_counts_and_many_rooms_are_compared_in_linear_time() {
        let lobby = Name::parse_room("lobby").unwrap();
        let most = u64::MAX;
        let text = format!(
            "#{most} a: x\n*** {most} lines missed ***\n*** {most} lines missed ***\n#1 a: y\n\
             {{\"kind\":\"missed\",\"room\":\"lobby\",\"count\":{most}}}\n#{most} a: z\nOnline: a\n"
        );
        let transcript = Transcript::read("t", &lobby, text.as_bytes()).unwrap();
        assert!(verify(&[transcript]).found > 0);
        let said = |n: usize| {
            format!("[room{n}] #1 a: x\n*** You are now talking in room{n}: 2 users ***\n#2 a: y\n")
        };
        let text: String = (0..3 * ROOMS_MAX).map(said).collect();
        let mut reader = TranscriptReader::default();
        reader.arrive(&lobby);
        for (line, text) in (1..).zip(text.lines()) {
            reader.take(line, text, &lobby);
        }
        assert_eq!(reader.rooms.len(), ROOMS_MAX);
        let transcript = Transcript { source: "t".to_owned(), events: reader.events };
        assert_eq!(verify(&[transcript]).rooms, 3 * ROOMS_MAX);
    }

    const JSON_LINE: &str = concat!(
        r#"\{"kind":"(said|missed|welcome|left|renamed)","room":"[ab]?","number":[0-9]{1,20},"#,
        r#""count":[0-9]{1,20},"time_ms":[0-9]{1,20},"name":"[ab]","text":"x"\}"#,
    );

    proptest! {
        /// Issue 12: transcripts with any content can be compared, always with the same result.
        #[test]
        fn attack_no_transcript_makes_the_comparison_fail(
            texts in prop::collection::vec(prop::collection::vec(prop_oneof![
                "#[0-9]{1,20} (\\*\\*\\* )?[ab]{0,2}(:| joined the chat| left the chat)? .{0,9}",
                "#[0-9]{1,20} \\*\\*\\* [ab] is now [abc] \\*\\*\\*",
                "\\*\\*\\* [0-9]{1,20} lines missed \\*\\*\\*",
                "\\*{3} (You are now talking in|You left|Back in|You were kicked from) .{0,30} \
                 \\*{3}",
                "\\[[ab]\\] #[0-9]{1,3} a: .{0,5}",
                "Online: [a-c, ]{0,9}",
                JSON_LINE,
                ".{0,40}",
            ], 0..20), 1..3),
        ) {
            let lobby = Name::parse_room("lobby").unwrap();
            let read = |lines: &Vec<String>| {
                Transcript::read("t", &lobby, (lines.join("\n") + "\n").as_bytes()).ok()
            };
            let compare = || verify(&texts.iter().filter_map(read).collect::<Vec<_>>());
            let report = compare();
            prop_assert!(report.contradictions.len() <= report.found.min(100));
            prop_assert!(report.lines <= report.seen);
            prop_assert_eq!(compare().contradictions, report.contradictions);
        }
    }
}
