//! The lines of one room in the order in which the keeper received them, and the members that
//! result from them.

use std::collections::HashMap;
use std::rc::Rc;

use echoline_chat::Name;
use serde_json::Value;

/// One line of a room.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) time_ms: u64,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) text: String,
    /// The line as a terminal must show it.
    pub(crate) shown: String,
    /// The members of the room after this line.
    pub(crate) members: Rc<Vec<String>>,
}

impl Entry {
    /// Returns whether the line is a join, a leave or a rename.
    pub(crate) fn is_presence(&self) -> bool {
        matches!(&*self.kind, "joined" | "left" | "renamed")
    }
}

/// All lines of one room.
#[derive(Debug, Default)]
pub(crate) struct Order {
    pub(crate) entries: Vec<Entry>,
}

impl Order {
    /// Returns the index of the line with this number, or of the next line after it.
    pub(crate) fn index(&self, number: u64) -> usize {
        self.entries.partition_point(|entry| entry.number < number)
    }

    /// Promises P5 and P6: adds a line. Its author must be in the room, and a new name must be
    /// free.
    pub(crate) fn push(&mut self, value: &Value) -> Result<(), String> {
        let word = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let (kind, name, text) = (word("kind"), word("name"), word("text"));
        let number = value["number"].as_u64().ok_or("a line has no number")?;
        let time_ms = value["time_ms"].as_u64().ok_or("a line has no time")?;
        let last = self.entries.last();
        let (next, last_ms) = last.map_or((1, 0), |last| (last.number + 1, last.time_ms));
        if number != next {
            return Err(format!("the keeper received #{number} instead of #{next}"));
        }
        if time_ms <= last_ms {
            return Err(format!("P10: #{number} is not later than the line before"));
        }
        let members = last.map(|last| Rc::clone(&last.members)).unwrap_or_default();
        let members = membership(members, &kind, &name, &text)
            .map_err(|what| format!("#{number}: {what}"))?;
        let shown = shown(&kind, &name, &text);
        self.entries.push(Entry { number, time_ms, kind, name, text, shown, members });
        Ok(())
    }
}

fn membership(
    mut members: Rc<Vec<String>>,
    kind: &str,
    name: &str,
    text: &str,
) -> Result<Rc<Vec<String>>, String> {
    let position = members.iter().position(|member| member == name);
    match (kind, position) {
        ("joined", _) => {
            check_free(&members, name)?;
            Rc::make_mut(&mut members).push(name.to_owned());
        }
        ("left", Some(position)) => drop(Rc::make_mut(&mut members).remove(position)),
        ("renamed", Some(position)) => {
            let mut others = members.to_vec();
            others.remove(position);
            check_free(&others, text)?;
            text.clone_into(&mut Rc::make_mut(&mut members)[position]);
        }
        (_, Some(_)) | ("notice", None) => {}
        (_, None) => return Err(format!("P5: {name} is not in the room: {kind}")),
    }
    Ok(members)
}

thread_local! {
    static NAMES: std::cell::RefCell<HashMap<String, Name>> = std::cell::RefCell::default();
}

fn parsed(name: &str) -> Name {
    NAMES.with_borrow_mut(|names| {
        let parse = || Name::parse(name).expect("the server accepted the name");
        names.entry(name.to_owned()).or_insert_with(parse).clone()
    })
}

fn check_free(members: &[String], name: &str) -> Result<(), String> {
    let new = parsed(name);
    match members.iter().find(|member| parsed(member).looks_like(&new)) {
        Some(member) => Err(format!("P6: {name} joins while {member} is here")),
        None => Ok(()),
    }
}

/// Returns the line as a terminal shows it. The sentences are repeated here on purpose, so that
/// this check is independent of the code.
fn shown(kind: &str, name: &str, text: &str) -> String {
    match (kind, text) {
        ("said", _) => format!("{name}: {text}"),
        ("action", _) => format!("* {name} {text}"),
        ("joined", _) => format!("*** {name} joined the chat ***"),
        ("left", "") => format!("*** {name} left the chat ***"),
        ("left", _) => format!("*** {name} left the chat ({text}) ***"),
        ("renamed", _) => format!("*** {name} is now {text} ***"),
        ("topic", "") => format!("*** {name} removed the topic ***"),
        ("topic", _) => format!("*** {name} set the topic: {text} ***"),
        _ => format!("*** {text} ***"),
    }
}
