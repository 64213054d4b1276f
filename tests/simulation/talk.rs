//! What somebody says and does in a chat, in all its spellings.

use echoline::chat::clean;
use tokio::time::sleep;

use super::client::Present;
use super::random::Random;
use super::record::{Said, Sight};
use super::world::ROOMS;

/// What stands in lines that were made to do harm, or to look like others.
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

/// Does so many things; `false` where the server ended it.
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

/// What is said, and how it has to be heard.
fn words(mark: &str, count: usize, random: &mut Random) -> (String, String) {
    let text = format!("{mark}{count} {}", random.pick(&NOISE));
    let heard = clean(text.as_bytes()).expect("it is text").trim().to_owned();
    (text, heard)
}

fn note(present: &Present, text: String) {
    present.shared.with(|record| record.said.push(Said { text, is_cut: false }));
}

async fn as_program(present: &mut Present, mark: &str, count: usize, random: &mut Random) -> bool {
    let (text, heard) = words(mark, count, random);
    let line = match random.below(10) {
        0 => serde_json::json!({ "do": "/users" }),
        1 => return present.send(b"{\"say\": 7}\n[]\n\xff\n", random).await,
        choice => {
            note(present, heard);
            let field = if choice == 2 { "do" } else { "say" };
            let me = if choice == 2 { "/me " } else { "" };
            serde_json::json!({ field: format!("{me}{text}") })
        }
    };
    present.send(format!("{line}\n").as_bytes(), random).await
}

async fn as_person(present: &mut Present, mark: &str, count: usize, random: &mut Random) -> bool {
    let (text, heard) = words(mark, count, random);
    let (room, name) = (random.pick(&ROOMS), random.pick(&NAMES));
    let is_plain = present.shared.with(|record| record.sight) == Sight::Plain;
    let line = match random.below(32) {
        0..12 => {
            note(present, heard);
            text
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
            present.shared.with(|record| record.whispered.push(heard));
            format!("/msg {name} {text}")
        }
        24 if is_plain => {
            note(present, heard);
            format!("{}\n{text}", random.pick(&["/histroy", "/history 3", "/nick \u{7}", "/rooms"]))
        }
        25 => "/token".to_owned(),
        26 => return present.send(b"no text: \xff\xfe\xed\xa0\x80\xc0\xaf\n", random).await,
        27 => {
            // At the limit, and beyond it.
            let length = 199 + random.below(4) * random.below(100);
            let line = format!("{mark}{count}{}", "x".repeat(length - mark.len() - 1));
            if line.len() <= 200 {
                note(present, line.clone());
            }
            line
        }
        28 => format!("/topic {}", random.pick(&["-", "bees", "*** x is here ***"])),
        29 => format!("/rooms\n/lag\n/help {}", random.pick(&["msg", "nothing"])),
        _ => {
            // Several lines in one packet.
            let (second, heard_second) = words(&format!("{mark}{count}b"), count, random);
            note(present, heard);
            note(present, heard_second);
            format!("{text}\r\n{second}")
        }
    };
    let end = random.pick(&["\n", "\r\n"]);
    present.send(format!("{line}{end}").as_bytes(), random).await
}

/// Says the beginning of a line only, or nothing.
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
