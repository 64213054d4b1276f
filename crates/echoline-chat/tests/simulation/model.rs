//! Checks the promises, using all output that the clients received.

use std::collections::{HashMap, HashSet};

use echoline_chat::{Name, Transcript, is_clean, verify};
use serde_json::Value;

use super::follow::Follower;
use super::order::Order;
use super::record::{End, Record, Sight};
use super::world::{Outcome, ROOMS, Terms};

/// Checks one simulation. Returns the first violation.
pub(crate) fn check(outcome: &Outcome) -> Result<(), String> {
    let Outcome { terms, records, people_left } = outcome;
    for record in records {
        clean_bytes(record).map_err(|what| at(record, &what))?;
    }
    let orders = orders(&records[0], terms).map_err(|what| at(&records[0], &what))?;
    said_once_and_in_order(&orders, records, terms)?;
    numbered_agree(records)?;
    let mut backs = Vec::new();
    let mut whispers = Vec::new();
    for (index, record) in records.iter().enumerate() {
        match record.sight {
            Sight::Plain => {
                let mut follower = Follower::new(&orders, record);
                follower.follow().map_err(|what| at(record, &what))?;
                if record.end == End::Stayed {
                    follower.has_all().map_err(|what| at(record, &what))?;
                }
                whispers.push(std::mem::take(&mut follower.whispers));
                backs.extend(follower.back.drain(..).map(|back| (index, back)));
            }
            Sight::Bot => bot(record, &orders).map_err(|what| at(record, &what))?,
            Sight::Numbered | Sight::Keeper => {}
        }
    }
    for (index, (room, number)) in backs {
        resumed(records, &orders, index, &room, number)?;
    }
    whispered(records, &whispers)?;
    if *people_left > 0 {
        return Err(format!("{people_left} users are left over"));
    }
    Ok(())
}

fn at(record: &Record, what: &str) -> String {
    let Record { mark, sight, end, names, .. } = record;
    format!("{mark} ({sight:?}, {end:?}, {names:?}): {what}")
}

/// Promise P8: a terminal receives only printable text, in complete lines.
fn clean_bytes(record: &Record) -> Result<(), String> {
    // The last line may be incomplete.
    let whole = record.heard.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let text = str::from_utf8(&record.heard[..whole]).map_err(|error| format!("P8: {error}"))?;
    for line in text.split_inclusive('\n') {
        let line =
            line.strip_suffix("\r\n").ok_or_else(|| format!("P8: half a line end: {line:?}"))?;
        if !is_clean(line) {
            return Err(format!("P8: {line:?}"));
        }
    }
    Ok(())
}

/// Promises P1, P5, P6, P7 and P10: reads the lines of each room from the keeper's output, and
/// checks their order.
fn orders(keeper: &Record, terms: &Terms) -> Result<HashMap<String, Order>, String> {
    let mut orders: HashMap<String, Order> =
        ROOMS.iter().map(|room| ((*room).to_owned(), Order::default())).collect();
    let mut offset = 0;
    for line in keeper.text().split_inclusive('\n') {
        offset += line.len();
        let arrival = keeper.arrivals.partition_point(|&(start, _)| start < offset) - 1;
        let heard_ms = keeper.arrivals[arrival].1;
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let Some(order) = value["room"].as_str().and_then(|room| orders.get_mut(room)) else {
            continue;
        };
        order.push(&value)?;
        let time_ms = value["time_ms"].as_u64().unwrap_or_default();
        // With several nodes, a line is in flight for some milliseconds and may wait for other
        // lines.
        let way_ms = if terms.nodes > 1 { 500 } else { 0 };
        if !terms.jumps && heard_ms + 1_000_000 > time_ms + way_ms {
            return Err(format!("P7: received only at {heard_ms} ms: {line}"));
        }
    }
    Ok(orders)
}

/// Promises P2 and P3: each line is in a room at most once, and the lines of an author are in
/// order. No line is missing if nothing interfered.
fn said_once_and_in_order(
    orders: &HashMap<String, Order>,
    records: &[Record],
    terms: &Terms,
) -> Result<(), String> {
    let mut lines_by_text = HashMap::new();
    for (room, order) in orders {
        for entry in order.entries.iter().filter(|e| matches!(&*e.kind, "said" | "action")) {
            if lines_by_text.insert(entry.text.as_str(), (room.as_str(), entry)).is_some() {
                return Err(format!("P3: said twice: {}", entry.shown));
            }
        }
    }
    let mut found = 0;
    for record in records {
        let mut last = HashMap::new();
        let mut is_missing = None;
        for said in &record.said {
            let Some((room, entry)) = lines_by_text.get(said.text.as_str()) else {
                is_missing = Some(said).filter(|said| !said.is_cut);
                continue;
            };
            found += 1;
            if last.insert(*room, entry.number).is_some_and(|last| last > entry.number) {
                return Err(at(record, &format!("P2: out of order: {}", entry.shown)));
            }
            let names = record.names.iter().filter_map(|name| Name::parse(name).ok());
            if !names.into_iter().any(|name| name.as_str() == entry.name) {
                return Err(at(record, &format!("P9: under a wrong name: {}", entry.shown)));
            }
            if let Some(missing) = is_missing.filter(|_| is_sure(record, terms)) {
                return Err(at(record, &format!("P3: lost: {missing:?}")));
            }
        }
        let all = matches!(record.end, End::Stayed | End::Quit | End::HalfClosed);
        if let Some(missing) = is_missing.filter(|_| all && is_sure(record, terms)) {
            return Err(at(record, &format!("P3: missing at the end: {missing:?}")));
        }
    }
    if found < lines_by_text.len() {
        let said: HashSet<&str> =
            records.iter().flat_map(|record| &record.said).map(|said| &*said.text).collect();
        let forged = lines_by_text.keys().find(|text| !said.contains(*text));
        return Err(format!("P9: no user said {forged:?}"));
    }
    Ok(())
}

/// Returns whether nothing but the connection itself can prevent a line of this user.
fn is_sure(record: &Record, terms: &Terms) -> bool {
    let is_slowed = terms.flood && record.sight != Sight::Bot;
    !is_slowed && !terms.kicks
}

/// Promises P1, P3, P5 and P10: `echoline chat verify` finds no contradiction.
fn numbered_agree(records: &[Record]) -> Result<(), String> {
    let lobby = Name::parse_room(ROOMS[0]).unwrap();
    let numbered = records.iter().filter(|record| record.sight != Sight::Plain);
    let read = |record: &Record| Transcript::read(&record.mark, &lobby, &record.heard).ok();
    let transcripts: Vec<Transcript> = numbered.filter_map(read).collect();
    match verify(&transcripts).contradictions.first() {
        Some(first) => Err(format!("verify: {first}")),
        None => Ok(()),
    }
}

/// Promise P3: over all its connections, a program gets every line once, or is told how many lines
/// it missed.
fn bot(record: &Record, orders: &HashMap<String, Order>) -> Result<(), String> {
    let mut after = record.after.clone();
    let mut missed = HashMap::new();
    for line in record.text().lines() {
        if line == "Connection timeout. Goodbye!" {
            continue;
        }
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let Some(room) = value["room"].as_str() else { continue };
        if let Some(count) = value["count"].as_u64() {
            *missed.entry(room.to_owned()).or_insert(0) += count;
            continue;
        }
        let number = value["number"].as_u64().unwrap_or_default();
        let gap = missed.remove(room).unwrap_or(0);
        let last = after.insert(room.to_owned(), number);
        if last.is_some_and(|last| last + gap + 1 != number) {
            return Err(format!("P3: #{number} of {room} after {last:?}, {gap} missed"));
        }
        let is_own = value["text"].as_str().is_some_and(|text| text.starts_with(&record.mark));
        if is_own && value["own"] != true {
            return Err(format!("P1: the line is its own, but not marked as such: {line}"));
        }
    }
    let rooms = record.after.keys().chain(after.keys()).collect::<HashSet<_>>();
    for room in rooms.into_iter().filter(|_| record.end == End::Stayed) {
        let last = orders[room].entries.last().map(|entry| entry.number);
        if after.get(room).copied() != last {
            return Err(format!("P3: {room} ends with {last:?}, not {:?}", after.get(room)));
        }
    }
    Ok(())
}

/// Promise P3: a user who received everything continues exactly at the next line.
fn resumed(
    records: &[Record],
    orders: &HashMap<String, Order>,
    index: usize,
    room: &str,
    number: u64,
) -> Result<(), String> {
    let record = &records[index];
    let Some(resumed) = record.resumes.filter(|resumed| resumed.heard_all) else { return Ok(()) };
    // The records of one user are adjacent.
    let user = record.mark.split('.').next();
    let first = records.iter().position(|other| other.mark.split('.').next() == user);
    let before = &records[first.unwrap_or(index) + resumed.record];
    if before.sight != Sight::Plain {
        return Ok(());
    }
    let mut follower = Follower::new(orders, before);
    follower.follow().map_err(|what| at(before, &what))?;
    follower.has_all_before(room, number).map_err(|what| at(before, &what))
}

/// Promises P2, P3 and P9: a private line arrives at most once, and a user wrote it.
fn whispered(records: &[Record], whispers: &[Vec<String>]) -> Result<(), String> {
    let written: HashSet<&str> =
        records.iter().flat_map(|record| &record.whispered).map(String::as_str).collect();
    let mut heard = HashSet::new();
    for text in whispers.iter().flatten() {
        if !written.contains(text.as_str()) {
            return Err(format!("P9: no user wrote {text:?}"));
        }
        if !heard.insert(text) {
            return Err(format!("P3: a private line arrived twice: {text:?}"));
        }
    }
    Ok(())
}
