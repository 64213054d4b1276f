//! Checks the invariants of a simulation, which must hold after any failures.

use std::collections::{BTreeMap, HashMap};

use echoline_chat::{Name, StateSnapshot, Transcript, verify};
use serde_json::Value;

use super::evening::{Outcome, ROOMS};
use super::guest::{Sight, Visit};

/// A line of a room.
#[derive(Debug)]
struct Line {
    number: u64,
    kind: String,
    name: String,
    text: String,
}

/// Checks one simulated evening. Returns the first violation.
pub(crate) fn check(outcome: &Outcome) -> Result<(), String> {
    let Outcome { visits, healed, after, differences, .. } = outcome;
    if let Some(first) = differences.first() {
        return Err(format!("the states of nodes differ {first}"));
    }
    let rooms = rooms(&visits[0])?;
    agree(visits)?;
    let said = said_once(&rooms)?;
    for visit in &visits[1..] {
        accounted_for(visit, &said).map_err(|what| at(visit, &what))?;
        in_order(visit, &said).map_err(|what| at(visit, &what))?;
        nothing_twice(visit).map_err(|what| at(visit, &what))?;
        all_heard(visit, &rooms[ROOMS[0]]).map_err(|what| at(visit, &what))?;
    }
    present(visits, healed)?;
    gone(after)
}

fn at(visit: &Visit, what: &str) -> String {
    let Visit { name, sight, has_stayed, .. } = visit;
    format!("{name} ({sight:?}, stayed: {has_stayed}): {what}\n{}", visit.heard)
}

/// Returns the lines of each room as the keeper received them: the program that is in every room. A
/// `missed` message must count the lines of each gap in the numbers. A gap is possible, because a
/// room may be removed and created again after the lease of the keeper's node expired.
fn rooms(keeper: &Visit) -> Result<BTreeMap<&str, Vec<Line>>, String> {
    let mut rooms: BTreeMap<&str, Vec<Line>> =
        ROOMS.iter().map(|&room| (room, Vec::new())).collect();
    let mut missed = HashMap::new();
    for line in keeper.heard.lines() {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let word = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        if let (Some(room), Some(count)) = (value["room"].as_str(), value["count"].as_u64())
            && value["kind"] == "missed"
        {
            *missed.entry(room.to_owned()).or_insert(0) += count;
            continue;
        }
        let (Some(room), Some(number)) = (value["room"].as_str(), value["number"].as_u64()) else {
            continue;
        };
        let lines = rooms.get_mut(room).ok_or("an unknown room")?;
        let missed = missed.remove(room).unwrap_or(0);
        if lines.last().is_some_and(|last| last.number + 1 + missed != number) {
            return Err(format!("the keeper misses lines before #{number} of {room}"));
        }
        let (kind, name, text) = (word("kind"), word("name"), word("text"));
        lines.push(Line { number, kind, name, text });
    }
    Ok(rooms)
}

/// Checks that `echoline chat verify` finds no contradiction.
fn agree(visits: &[Visit]) -> Result<(), String> {
    let lobby = Name::parse_room(ROOMS[0]).unwrap();
    let numbered = visits.iter().filter(|visit| visit.sight != Sight::Plain);
    let read = |visit: &Visit| Transcript::read(&visit.name, &lobby, visit.heard.as_bytes()).ok();
    let transcripts: Vec<Transcript> = numbered.filter_map(read).collect();
    match verify(&transcripts).contradictions.first() {
        Some(first) => Err(format!("verify: {first}")),
        None => Ok(()),
    }
}

/// Returns the room and the number of each marked line. Fails if a line was said twice.
fn said_once<'a>(
    rooms: &BTreeMap<&'a str, Vec<Line>>,
) -> Result<HashMap<String, (&'a str, u64)>, String> {
    let mut said = HashMap::new();
    for (room, lines) in rooms {
        for line in lines.iter().filter(|line| line.kind == "said") {
            if said.insert(line.text.clone(), (*room, line.number)).is_some() {
                return Err(format!("said twice: {}", line.text));
            }
        }
    }
    Ok(said)
}

/// Returns how often the author was told that this line was not delivered.
fn told(visit: &Visit, text: &str) -> usize {
    let lines = visit.heard.lines().filter(|line| is_told(line));
    lines.filter(|line| line.contains(text)).count()
}

fn is_told(line: &str) -> bool {
    line.starts_with("*** Not delivered (") || line.contains("\"kind\":\"undelivered\"")
}

/// Checks that each line of a visit is in a room, or that its author was told that it was not
/// delivered.
fn accounted_for(visit: &Visit, said: &HashMap<String, (&str, u64)>) -> Result<(), String> {
    for text in &visit.said {
        let (seen, told) = (usize::from(said.contains_key(text)), told(visit, text));
        let fits = if visit.has_stayed { seen + told == 1 } else { seen + told <= 1 };
        if !fits {
            return Err(format!(
                "{text} is in a room {seen} times, and reported as lost {told} times"
            ));
        }
    }
    Ok(())
}

/// Checks that the lines of one author are in order, in each room.
fn in_order(visit: &Visit, said: &HashMap<String, (&str, u64)>) -> Result<(), String> {
    let mut last = HashMap::new();
    for text in &visit.said {
        let Some(&(room, number)) = said.get(text) else { continue };
        if last.insert(room, number).is_some_and(|last| last > number) {
            return Err(format!("{text} comes too late"));
        }
    }
    Ok(())
}

/// Checks that no client received a line twice.
fn nothing_twice(visit: &Visit) -> Result<(), String> {
    let mut seen = HashMap::new();
    for line in visit.heard.lines().filter(|line| !is_told(line)) {
        let Some(text) = mark(line) else { continue };
        if visit.sight == Sight::Plain && visit.said.iter().any(|said| said == text) {
            return Err(format!("{text} is shown to its author"));
        }
        let count = seen.entry(text).or_insert(0);
        *count += 1;
        if *count > 1 {
            return Err(format!("{text} is seen twice"));
        }
    }
    Ok(())
}

/// Returns the marked text in a line.
fn mark(line: &str) -> Option<&str> {
    let start = line.find("<p")?;
    let end = line[start..].find('>')?;
    Some(&line[start..=start + end])
}

/// Checks that a user who stayed has received every line of the lobby since joining, except for
/// lines that the server announced as missed.
fn all_heard(visit: &Visit, lobby: &[Line]) -> Result<(), String> {
    if !visit.has_stayed || visit.is_back {
        return Ok(());
    }
    let misses = visit.heard.contains(" missed ***") || visit.heard.contains("\"kind\":\"missed\"");
    let came = |line: &&Line| line.kind == "joined" && line.name == visit.name;
    let Some(came) = lobby.iter().find(came).filter(|_| !misses) else { return Ok(()) };
    let own = format!("<{}.", visit.name);
    let since = lobby.iter().filter(|line| line.number > came.number && line.kind == "said");
    for line in since.filter(|line| line.text.starts_with('<') && !line.text.starts_with(&own)) {
        let hears = visit.heard.lines().any(|heard| heard.contains(&line.text));
        if !hears {
            return Err(format!("#{} {} was not received", line.number, line.text));
        }
    }
    Ok(())
}

fn state(snapshot: &StateSnapshot) -> Value {
    serde_json::from_slice(&snapshot.state).unwrap()
}

/// Checks that all nodes have the same state, and that it contains exactly the users who are
/// connected, under unique names.
fn present(visits: &[Visit], healed: &[StateSnapshot]) -> Result<(), String> {
    if healed.iter().any(|snapshot| *snapshot != healed[0]) {
        return Err(format!("the states of nodes differ: {healed:?}"));
    }
    let state = state(&healed[0]);
    let people = state["people"].as_array().unwrap();
    let names: Vec<Name> =
        people.iter().map(|one| Name::parse(one["name"].as_str().unwrap()).unwrap()).collect();
    for (index, name) in names.iter().enumerate() {
        if let Some(other) = names[..index].iter().find(|other| other.looks_like(name)) {
            return Err(format!("{name} and {other} are here"));
        }
    }
    let there = visits.iter().filter(|visit| visit.has_stayed).count();
    if there != people.len() {
        let names: Vec<&str> = names.iter().map(Name::as_str).collect();
        let there: Vec<&str> =
            visits.iter().filter(|v| v.has_stayed).map(|v| v.name.as_str()).collect();
        return Err(format!("the state has {names:?}, but {there:?} are connected"));
    }
    Ok(())
}

/// Checks that no user and no state is left over after all users have left.
fn gone(after: &[(StateSnapshot, usize, u64)]) -> Result<(), String> {
    for (snapshot, people, left) in after {
        if *people > 0 || *left > 0 {
            return Err(format!("{people} users and {left} outboxes are left over"));
        }
        let state = state(snapshot);
        let rooms = state["rooms"].as_array().unwrap();
        if rooms.iter().any(|room| room["members"] != Value::Array(Vec::new())) {
            return Err(format!("a room has a member who has left: {state}"));
        }
    }
    Ok(())
}
