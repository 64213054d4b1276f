//! Writes changes into the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Result, Statement, params};

use super::audit;
use super::options::StoreOptions;
use super::read::{self, ban_sum, line_sum, number, room_sum};
use super::record::{Ban, Change, DELETED, Stored, Token};
use super::trim::{is_over, trim};

/// What is known of the tables, so that nothing has to be counted; forgotten where a transaction
/// fails.
#[derive(Debug, Default)]
pub(super) struct Tables {
    rooms: BTreeMap<Arc<str>, Room>,
    /// Rooms that hold more than they may.
    over: BTreeSet<Arc<str>>,
    /// Rooms whose counts are not yet in the table.
    changed: BTreeSet<Arc<str>>,
    /// A room was deleted in which users had said something.
    words_gone: bool,
}

/// The stored parts of a room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    pub(super) id: i64,
    /// Lines that users said.
    pub(super) said: Held,
    /// Joins, leaves and all other lines.
    pub(super) notices: Held,
    /// No line of `notices` up to this number is kept.
    pub(super) trimmed: u64,
}

/// Lines of one sort, and their bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

impl Room {
    /// The lines of this kind.
    pub(super) const fn held(&mut self, is_said: bool) -> &mut Held {
        if is_said { &mut self.said } else { &mut self.notices }
    }
}

/// A change that could not be written: its place among the others.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) place: usize,
    pub(super) error: rusqlite::Error,
}

/// The most lines of a room that one transaction trims, beyond the number of lines that it adds.
const TRIM_STEP: u64 = 256;
/// Bytes that a line counts besides its name and text.
pub(super) const LINE_BYTES: u64 = 32;

/// Counts the lines of all rooms again, after another program has changed them.
pub(super) fn recount(connection: &Connection) -> Result<()> {
    let sql = "UPDATE room SET lines = (SELECT count(*) FROM line WHERE room = id),
               bytes = (SELECT coalesce(sum(octet_length(name) + octet_length(text) + ?1), 0)
                        FROM line WHERE room = id),
               notices = (SELECT count(*) FROM line WHERE room = id AND kind > 1),
               notice_bytes = (SELECT coalesce(sum(octet_length(name) + octet_length(text) + ?1), 0)
                               FROM line WHERE room = id AND kind > 1)";
    connection.execute(sql, [number(LINE_BYTES)]).map(drop)
}

/// Tokens that are kept; the one that ends first gives way. The chat keeps fewer.
const TOKENS_MAX: i64 = 100_000;

impl Tables {
    /// Marks the rooms that hold more than they may, because the bounds were lowered.
    pub(super) fn find_over(
        &mut self,
        connection: &Connection,
        options: &StoreOptions,
    ) -> Result<()> {
        let sql = "SELECT name FROM room WHERE lines > 1 AND (max(lines - notices, notices) > ?1
                   OR max(bytes - notice_bytes, notice_bytes) > ?2)";
        let mut rooms = connection.prepare(sql)?;
        let bounds = params![number(options.keep_lines), number(options.keep_bytes)];
        for name in rooms.query_map(bounds, |row| row.get::<_, String>(0))? {
            self.over.insert(name?.into());
        }
        Ok(())
    }

    /// Forgets what a transaction that failed has left here; what is over stays to be looked at.
    pub(super) fn forget(&mut self) {
        self.rooms.clear();
        self.over.append(&mut self.changed);
    }

    /// Whether a room was deleted, since this was asked last, in which users had said something.
    pub(super) fn take_words_gone(&mut self) -> bool {
        std::mem::take(&mut self.words_gone)
    }

    pub(super) fn is_over(&self) -> bool {
        !self.over.is_empty()
    }

    /// Writes changes in their order. The number of the first entry of the audit log among them is
    /// given, so that writing them again writes nothing twice.
    pub(super) fn apply(
        &mut self,
        connection: &Connection,
        changes: &[Change],
        mut audit_id: i64,
    ) -> std::result::Result<(), Refused> {
        let mut insert = connection
            .prepare("INSERT INTO line VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING")
            .map_err(|error| Refused { place: 0, error })?;
        for (place, change) in changes.iter().enumerate() {
            let written = match change {
                Change::Line { room, line } => self.line(connection, &mut insert, room, line),
                Change::Audit { time_ms, by, what } => {
                    audit_id += 1;
                    audit::put(connection, audit::Scope::Chat, audit_id, (*time_ms, by, what))
                }
                Change::RoomAudit { time_ms, by, what } => {
                    audit_id += 1;
                    audit::put(connection, audit::Scope::Room, audit_id, (*time_ms, by, what))
                }
                other => self.rare(connection, other),
            };
            written.map_err(|error| Refused { place, error })?;
        }
        Ok(())
    }

    fn rare(&mut self, connection: &Connection, change: &Change) -> Result<()> {
        match change {
            Change::Room { name, topic, private, password, more } => {
                let (topic, password) = (topic.as_deref(), password.as_deref());
                upsert_room(connection, name, topic, *private, password, more)
            }
            Change::RoomGone(name) => self.room_gone(connection, name),
            Change::Ban(ban) => put_ban(connection, ban),
            Change::Unban(subject) => {
                connection.execute("DELETE FROM ban WHERE subject = ?1", [subject]).map(drop)
            }
            Change::Token(token) => put_token(connection, token),
            Change::TokenUsed(token) => drop_token(connection, token),
            Change::Deleted { room, number } => self.delete_words(connection, room, *number),
            Change::Guess { time_ms, by, source } => {
                audit::put_guess(connection, *time_ms, by, source)
            }
            // Written by `apply`.
            Change::Line { .. } | Change::Audit { .. } | Change::RoomAudit { .. } => Ok(()),
        }
    }

    fn line(
        &mut self,
        connection: &Connection,
        insert: &mut Statement<'_>,
        name: &Arc<str>,
        line: &Stored,
    ) -> Result<()> {
        let room = self.room(connection, name)?;
        let sum = line_sum(room.id, line);
        let kind = line.kind.code();
        let (number, time_ms) = (exactly(line.number)?, exactly(line.time_ms)?);
        let added =
            insert.execute(params![room.id, number, time_ms, kind, line.name, line.text, sum])?;
        let held = room.held(line.kind.is_said());
        held.lines += added as u64;
        held.bytes += added as u64 * (line.name.len() as u64 + line.text.len() as u64 + LINE_BYTES);
        if !self.changed.contains(name) {
            self.changed.insert(Arc::clone(name));
        }
        Ok(())
    }

    /// Has a line read [`DELETED`].
    fn delete_words(&mut self, connection: &Connection, name: &Arc<str>, at: u64) -> Result<()> {
        let Some(Room { id, .. }) = find_room(connection, name)? else { return Ok(()) };
        let Some(line) = read::lines(connection, name, at, at, 1)?.pop() else { return Ok(()) };
        if !line.kind.has_words() || line.text.is_empty() {
            return Ok(());
        }
        let before = line.text.len() as u64;
        let line = Stored { text: DELETED.into(), ..line };
        let sql = "UPDATE line SET text = ?3, checksum = ?4 WHERE room = ?1 AND number = ?2";
        let sum = line_sum(id, &line);
        connection.execute(sql, params![id, number(at), line.text, sum])?;
        let held = self.room(connection, name)?.held(line.kind.is_said());
        held.bytes = held.bytes.saturating_sub(before) + DELETED.len() as u64;
        self.changed.insert(Arc::clone(name));
        Ok(())
    }

    /// A room, begun where there is none.
    fn room(&mut self, connection: &Connection, name: &Arc<str>) -> Result<&mut Room> {
        if !self.rooms.contains_key(name) {
            let room = match find_room(connection, name)? {
                Some(room) => room,
                None => {
                    upsert_room(connection, name, None, false, None, "")?;
                    Room { id: connection.last_insert_rowid(), ..Room::default() }
                }
            };
            self.rooms.insert(Arc::clone(name), room);
        }
        Ok(self.rooms.get_mut(name).expect("it was put there above"))
    }

    fn room_gone(&mut self, connection: &Connection, name: &str) -> Result<()> {
        let said = find_room(connection, name)?.map_or(0, |room| room.said.lines);
        self.words_gone |= said > 0;
        self.rooms.remove(name);
        self.changed.remove(name);
        self.over.remove(name);
        let lines = "DELETE FROM line WHERE room = (SELECT id FROM room WHERE name = ?1)";
        connection.execute(lines, [name])?;
        connection.execute("DELETE FROM room WHERE name = ?1", [name]).map(drop)
    }

    /// Trims a step of every room that holds more than it may, and writes the counts down: the last
    /// thing in a transaction. `added` lines were written in it.
    pub(super) fn finish(
        &mut self,
        connection: &Connection,
        added: u64,
        options: &StoreOptions,
    ) -> Result<()> {
        self.over.append(&mut self.changed.clone());
        for name in std::mem::take(&mut self.over) {
            let room = self.room(connection, &name)?;
            trim(connection, room, TRIM_STEP + added, options)?;
            if is_over(room, options) {
                self.over.insert(Arc::clone(&name));
            }
            self.changed.insert(name);
        }
        let sql = "UPDATE room SET lines = ?2, bytes = ?3, notices = ?4, notice_bytes = ?5,
                   trimmed = ?6 WHERE id = ?1";
        let mut update = connection.prepare(sql)?;
        for name in std::mem::take(&mut self.changed) {
            if let Some(Room { id, said, notices, trimmed }) = self.rooms.get(&name).copied() {
                let (lines, bytes) = (said.lines + notices.lines, said.bytes + notices.bytes);
                let [lines, bytes] = [lines, bytes].map(number);
                let [notices, notice_bytes] = [notices.lines, notices.bytes].map(number);
                let trimmed = number(trimmed);
                update.execute(params![id, lines, bytes, notices, notice_bytes, trimmed])?;
            }
        }
        Ok(())
    }
}

fn find_room(connection: &Connection, name: &str) -> Result<Option<Room>> {
    let room = |row: &rusqlite::Row<'_>| {
        let count = |column| row.get(column).map(|count: i64| count.max(0) as u64);
        let (lines, bytes) = (count(1)?, count(2)?);
        let notices = Held { lines: count(3)?, bytes: count(4)? };
        let said = Held {
            lines: lines.saturating_sub(notices.lines),
            bytes: bytes.saturating_sub(notices.bytes),
        };
        Ok(Room { id: row.get(0)?, said, notices, trimmed: count(5)? })
    };
    let sql = "SELECT id, lines, bytes, notices, notice_bytes, trimmed FROM room WHERE name = ?1";
    connection.query_row(sql, [name], room).optional()
}

fn upsert_room(
    connection: &Connection,
    name: &str,
    topic: Option<&str>,
    private: bool,
    password: Option<&str>,
    more: &str,
) -> Result<()> {
    let sum = room_sum(name, topic, private, password, more);
    let sql = "INSERT INTO room (name, topic, private, password, checksum, more)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO UPDATE SET topic = ?2,
               private = ?3, password = ?4, checksum = ?5, more = ?6";
    connection.execute(sql, params![name, topic, private, password, sum, more]).map(drop)
}

/// Bounded by the chat, whose lists of bans are: here no ban gives way to another.
fn put_ban(connection: &Connection, ban: &Ban) -> Result<()> {
    let until = ban.until_ms.map(number);
    let sql = "INSERT OR REPLACE INTO ban (subject, shown, by, reason, until_ms, checksum, more)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let Ban { subject, shown, by, reason, more, .. } = ban;
    let values = params![subject, shown, by, reason, until, ban_sum(ban), more];
    connection.execute(sql, values).map(drop)
}

fn put_token(connection: &Connection, token: &Token) -> Result<()> {
    drop_token(connection, &token.token)?;
    let sql = "INSERT INTO token (token, name, until_ms, more) VALUES (?1, ?2, ?3, ?4)";
    connection
        .execute(sql, params![token.token, token.name, number(token.until_ms), token.more])?;
    let mut insert =
        connection.prepare("INSERT OR REPLACE INTO token_room VALUES (?1, ?2, ?3, ?4)")?;
    for (room, seen, operator) in &token.rooms {
        insert.execute(params![token.token, room, number(*seen), operator])?;
    }
    let count: i64 = connection.query_row("SELECT count(*) FROM token", (), |row| row.get(0))?;
    if count > TOKENS_MAX {
        let sql = "SELECT token FROM token ORDER BY until_ms LIMIT 1";
        let first: String = connection.query_row(sql, (), |row| row.get(0))?;
        drop_token(connection, &first)?;
    }
    Ok(())
}

fn drop_token(connection: &Connection, token: &str) -> Result<()> {
    connection.execute("DELETE FROM token_room WHERE token = ?1", [token])?;
    connection.execute("DELETE FROM token WHERE token = ?1", [token]).map(drop)
}

/// A number that has to come back as it is.
fn exactly(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
