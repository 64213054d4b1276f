//! The lines and commands that users send, in different spellings.

use echoline_chat::clean;
use tokio::time::sleep;

use super::client::Present;
use super::random::Random;
use super::record::{Said, Sight};
use super::world::ROOMS;

/// Texts that could do harm, or that look like other lines.
const NOISE: [&str; 14] = [
    "hello",
    "привет 世界 🦀",
    "\x1b[31mred\x1b[0m",
    "\x1b]52;c;cm0gLXJm\x07",
    "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
    "a\tb\u{a0}c",
    "\r*** eve left the chat ***",
    "#3 ann: hi",
    "[den] #4 bob: hi",
    "\u{202e}gnp\u{2066}\u{200b}\u{2028}line",
    "\u{9b}31m\u{85}next",
    "Online: nobody",
    "*** 5 lines missed ***",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
];

const NAMES: [&str; 8] = ["ann", "Bob", "eve", "MIA", "joe", "kim", "u1", "b0b"];

/// Performs this number of actions. Returns `false` if the server ended the connection.
pub(crate) async fn talk(present: &mut Present, actions: usize, random: &mut Random) -> bool {
    let (sight, mark) = present.shared.with(|record| (record.sight, record.mark.clone()));
    for count in 0..actions {
        match random.below(4) {
            0 => {}
            1 => sleep(random.millis(1500)).await,
            _ => sleep(random.millis(60)).await,
        }
        let done = if sight == Sight::Bot {
            as_program(present, &mark, count, random).await
        } else {
            as_person(present, &mark, count, random).await
        };
        if !done {
            return false;
        }
    }
    true
}

/// A text as it is sent, and its lines as other users must see them.
struct Words {
    text: String,
    /// The lines of the text, each with the mark.
    lines: Vec<String>,
}

impl Words {
    fn new(mark: &str, count: usize, random: &mut Random) -> Self {
        let noise: String = random
            .pick(&NOISE)
            .chars()
            .map(|c| if BREAKS.contains(&c) { format!("{c}{mark}{count}r ") } else { c.into() })
            .collect();
        let text = format!("{mark}{count} {noise}");
        let clean =
            |line: &str| clean(line.as_bytes()).expect("the text is UTF-8").trim().to_owned();
        let lines = text.split(BREAKS).map(clean).collect();
        Self { text, lines }
    }

    /// Returns the lines that a terminal says with this text, provided that the first one may be
    /// said. A CR ends a line of a terminal. A text with any other separator is refused.
    fn typed(&self) -> &[String] {
        if self.text.contains(&BREAKS[1..]) { &[] } else { &self.lines }
    }
}

/// The line separators that occur in [`NOISE`].
const BREAKS: [char; 3] = ['\r', '\u{85}', '\u{2028}'];

fn note(present: &Present, lines: &[String]) {
    let said = lines.iter().map(|text| Said { text: text.clone(), is_cut: false });
    present.shared.with(|record| record.said.extend(said));
}

async fn as_program(present: &mut Present, mark: &str, count: usize, random: &mut Random) -> bool {
    let words = Words::new(mark, count, random);
    let line = match random.below(10) {
        0 => serde_json::json!({ "do": "/users" }),
        1 => return present.send(b"{\"say\": 7}\n[]\n\xff\n", random).await,
        choice => {
            // A `do` message must be one line.
            if choice != 2 || words.lines.len() == 1 {
                note(present, &words.lines);
            }
            let text = words.text;
            let field = if choice == 2 { "do" } else { "say" };
            let me = if choice == 2 { "/me " } else { "" };
            serde_json::json!({ field: format!("{me}{text}") })
        }
    };
    present.send(format!("{line}\n").as_bytes(), random).await
}

async fn as_person(present: &mut Present, mark: &str, count: usize, random: &mut Random) -> bool {
    let words = Words::new(mark, count, random);
    let (heard, text) = (words.typed(), &words.text);
    let (room, name) = (random.pick(&ROOMS), random.pick(&NAMES));
    let is_plain = present.shared.with(|record| record.sight) == Sight::Plain;
    let line = match random.below(32) {
        0..12 => {
            note(present, heard);
            text.clone()
        }
        12 | 13 => {
            note(present, heard);
            format!("/me {text}")
        }
        14..16 => "/users".to_owned(),
        16..20 => format!("/join {room}"),
        20 => format!("/leave {room}"),
        21 => {
            present.shared.with(|record| record.names.push(name.to_owned()));
            format!("/nick {name}")
        }
        22 | 23 => {
            let (first, rest) = heard.split_at(heard.len().min(1));
            present.shared.with(|record| record.whispered.extend_from_slice(first));
            note(present, rest);
            format!("/msg {name} {text}")
        }
        24 if is_plain => {
            note(present, heard);
            format!("{}\n{text}", random.pick(&["/histroy", "/history 3", "/nick \u{7}", "/rooms"]))
        }
        25 => "/token".to_owned(),
        26 => return present.send(b"no text: \xff\xfe\xed\xa0\x80\xc0\xaf\n", random).await,
        27 => {
            // A length at the limit, or above it.
            let length = 199 + random.below(4) * random.below(100);
            let line = format!("{mark}{count}{}", "x".repeat(length - mark.len() - 1));
            if line.len() <= 200 {
                note(present, std::slice::from_ref(&line));
            }
            line
        }
        28 => format!("/topic {}", random.pick(&["-", "bees", "*** x is here ***"])),
        29 => format!("/rooms\n/lag\n/help {}", random.pick(&["msg", "nothing"])),
        _ => {
            // Two lines in one packet.
            let second = Words::new(&format!("{mark}{count}b"), count, random);
            note(present, heard);
            note(present, second.typed());
            format!("{text}\r\n{}", second.text)
        }
    };
    let end = random.pick(&["\n", "\r\n"]);
    present.send(format!("{line}{end}").as_bytes(), random).await
}

/// Sends only the beginning of a line, or nothing.
pub(crate) async fn break_off(present: &mut Present, random: &mut Random) -> bool {
    let (sight, mark) = present.shared.with(|record| (record.sight, record.mark.clone()));
    if random.chance(40) {
        return true;
    }
    if sight == Sight::Bot {
        return present.send(b"{\"say\": \"half a", random).await;
    }
    let text = format!("{mark}99 and no more");
    let part = text[..mark.len() + 3 + random.below(10)].trim().to_owned();
    present.shared.with(|record| {
        record.said.push(Said { text: part.clone(), is_cut: true });
    });
    present.send(part.as_bytes(), random).await
}
