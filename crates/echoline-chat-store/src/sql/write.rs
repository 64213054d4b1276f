//! Applies changes to the tables. The caller begins and commits the transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rusqlite::{Connection, Result, Statement, params};

use super::super::options::StoreOptions;
use super::super::record::{StoreChange, StoredBan, StoredToken};
use super::audit;
use super::checksum::{ban_sum, line_sum, room_sum};
use super::read;
use super::schema::saturating;
use super::totals::{LINE_BYTES, RoomTotals};
use echoline_chat_core::{DELETED, StoredLine};

/// Applies changes. Caches the totals of rooms, so that lines need not be counted each time. After
/// a failed transaction, the cache must be [`reset`](Self::reset).
#[derive(Debug, Default)]
pub(crate) struct TableWriter {
    rooms: BTreeMap<Arc<str>, RoomTotals>,
    /// The rooms that exceed a limit.
    oversized: BTreeSet<Arc<str>>,
    /// The rooms whose cached totals differ from those in the table.
    changed: BTreeSet<Arc<str>>,
    /// Whether a room with said lines was removed.
    has_removed_words: bool,
}

/// A change that could not be written, with its index in the list of changes.
#[derive(Debug)]
pub(crate) struct RejectedChange {
    pub(crate) index: usize,
    pub(crate) error: rusqlite::Error,
}

/// The maximum number of a room's lines that one transaction trims, in addition to the number of
/// lines that it adds.
const TRIM_STEP: u64 = 256;
/// The maximum number of tokens. If there are more, the token that expires first is removed. The
/// chat itself has a lower limit.
const TOKENS_MAX: i64 = 100_000;

impl TableWriter {
    /// Marks all rooms that exceed a limit. Needed because the limits may be lower than before.
    pub(crate) fn find_oversized(
        &mut self,
        connection: &Connection,
        options: &StoreOptions,
    ) -> Result<()> {
        let sql = "SELECT name FROM room WHERE lines > 1 AND (max(lines - notices, notices) > ?1
                   OR max(bytes - notice_bytes, notice_bytes) > ?2)";
        let mut rooms = connection.prepare(sql)?;
        let limits = params![saturating(options.keep_lines), saturating(options.keep_bytes)];
        for name in rooms.query_map(limits, |row| row.get::<_, String>(0))? {
            self.oversized.insert(name?.into());
        }
        Ok(())
    }

    /// Drops the cached totals after a failed transaction. Rooms that may exceed a limit stay
    /// marked.
    pub(crate) fn reset(&mut self) {
        self.rooms.clear();
        self.oversized.append(&mut self.changed);
    }

    /// Returns whether a room with said lines was removed since the last call.
    pub(crate) fn take_removed_words(&mut self) -> bool {
        std::mem::take(&mut self.has_removed_words)
    }

    /// Returns whether a room exceeds a limit.
    pub(crate) fn has_oversized(&self) -> bool {
        !self.oversized.is_empty()
    }

    /// Applies changes in their order. Entries of the audit log get consecutive ids after
    /// `audit_id`. Applying the same changes again therefore adds no entry twice.
    pub(crate) fn apply(
        &mut self,
        connection: &Connection,
        changes: &[StoreChange],
        mut audit_id: i64,
    ) -> std::result::Result<(), RejectedChange> {
        let mut insert = connection
            .prepare("INSERT INTO line VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING")
            .map_err(|error| RejectedChange { index: 0, error })?;
        for (index, change) in changes.iter().enumerate() {
            let written = match change {
                StoreChange::Line { room, line } => self.line(connection, &mut insert, room, line),
                StoreChange::Audit { is_of_chat, time_ms, by, what } => {
                    audit_id += 1;
                    audit::put(connection, *is_of_chat, audit_id, (*time_ms, by, what))
                }
                other => self.apply_other(connection, other),
            };
            written.map_err(|error| RejectedChange { index, error })?;
        }
        Ok(())
    }

    fn apply_other(&mut self, connection: &Connection, change: &StoreChange) -> Result<()> {
        match change {
            StoreChange::Room { name, topic, private, password, more } => {
                let (topic, password) = (topic.as_deref(), password.as_deref());
                upsert_room(connection, name, topic, *private, password, more)
            }
            StoreChange::RoomRemoved(name) => self.remove_room(connection, name),
            StoreChange::Ban(ban) => put_ban(connection, ban),
            StoreChange::Unban(subject) => {
                connection.execute("DELETE FROM ban WHERE subject = ?1", [subject]).map(drop)
            }
            StoreChange::Token(token) => put_token(connection, token),
            StoreChange::TokenUsed(token) => drop_token(connection, token),
            StoreChange::LineDeleted { room, number } => {
                self.delete_words(connection, room, *number)
            }
            StoreChange::PasswordGuess { time_ms, by, source } => {
                audit::put_guess(connection, *time_ms, by, source)
            }
            // `apply` handles these changes itself.
            StoreChange::Line { .. } | StoreChange::Audit { .. } => Ok(()),
        }
    }

    fn line(
        &mut self,
        connection: &Connection,
        insert: &mut Statement<'_>,
        name: &Arc<str>,
        line: &StoredLine,
    ) -> Result<()> {
        let room = self.room(connection, name)?;
        let sum = line_sum(room.id, line);
        let kind = line.kind.code();
        let (number, time_ms) = (exactly(line.number)?, exactly(line.time_ms)?);
        let added =
            insert.execute(params![room.id, number, time_ms, kind, line.name, line.text, sum])?;
        let bytes = line.name.len() as u64 + line.text.len() as u64 + LINE_BYTES;
        let totals = room.of_sort(line.kind.is_said());
        totals.lines += added as u64;
        totals.bytes += added as u64 * bytes;
        if !self.changed.contains(name) {
            self.changed.insert(Arc::clone(name));
        }
        Ok(())
    }

    /// Replaces the text of a line by [`DELETED`].
    fn delete_words(&mut self, connection: &Connection, name: &Arc<str>, at: u64) -> Result<()> {
        let Some(RoomTotals { id, .. }) = RoomTotals::find(connection, name)? else {
            return Ok(());
        };
        let Some(line) = read::lines(connection, name, at, at, 1)?.pop() else { return Ok(()) };
        if !line.kind.has_words() || line.text.is_empty() {
            return Ok(());
        }
        let before = line.text.len() as u64;
        let line = StoredLine { text: DELETED.into(), ..line };
        let sql = "UPDATE line SET text = ?3, checksum = ?4 WHERE room = ?1 AND number = ?2";
        let sum = line_sum(id, &line);
        connection.execute(sql, params![id, saturating(at), line.text, sum])?;
        let totals = self.room(connection, name)?.of_sort(line.kind.is_said());
        totals.bytes = totals.bytes.saturating_sub(before) + DELETED.len() as u64;
        self.changed.insert(Arc::clone(name));
        Ok(())
    }

    /// Returns the totals of a room. Creates the room if it does not exist.
    fn room(&mut self, connection: &Connection, name: &Arc<str>) -> Result<&mut RoomTotals> {
        if !self.rooms.contains_key(name) {
            let room = match RoomTotals::find(connection, name)? {
                Some(room) => room,
                None => {
                    upsert_room(connection, name, None, false, None, "")?;
                    RoomTotals { id: connection.last_insert_rowid(), ..RoomTotals::default() }
                }
            };
            self.rooms.insert(Arc::clone(name), room);
        }
        Ok(self.rooms.get_mut(name).expect("the room was inserted above"))
    }

    fn remove_room(&mut self, connection: &Connection, name: &str) -> Result<()> {
        let said = RoomTotals::find(connection, name)?.map_or(0, |room| room.said.lines);
        self.has_removed_words |= said > 0;
        self.rooms.remove(name);
        self.changed.remove(name);
        self.oversized.remove(name);
        let lines = "DELETE FROM line WHERE room = (SELECT id FROM room WHERE name = ?1)";
        connection.execute(lines, [name])?;
        connection.execute("DELETE FROM room WHERE name = ?1", [name]).map(drop)
    }

    /// Completes a transaction before its commit. Trims a part of every room that exceeds a limit,
    /// and writes the totals of changed rooms. `added` is the number of lines that the transaction
    /// added.
    pub(crate) fn finish(
        &mut self,
        connection: &Connection,
        added: u64,
        options: &StoreOptions,
    ) -> Result<()> {
        self.oversized.append(&mut self.changed.clone());
        for name in std::mem::take(&mut self.oversized) {
            let room = self.room(connection, &name)?;
            room.trim(connection, TRIM_STEP + added, options)?;
            if room.exceeds(options) {
                self.oversized.insert(Arc::clone(&name));
            }
            self.changed.insert(name);
        }
        let sql = "UPDATE room SET lines = ?2, bytes = ?3, notices = ?4, notice_bytes = ?5,
                   trimmed = ?6 WHERE id = ?1";
        let mut update = connection.prepare(sql)?;
        for name in std::mem::take(&mut self.changed) {
            if let Some(RoomTotals { id, said, notices, trimmed }) = self.rooms.get(&name).copied()
            {
                let (lines, bytes) = (said.lines + notices.lines, said.bytes + notices.bytes);
                let [lines, bytes] = [lines, bytes].map(saturating);
                let [notices, notice_bytes] = [notices.lines, notices.bytes].map(saturating);
                let trimmed = saturating(trimmed);
                update.execute(params![id, lines, bytes, notices, notice_bytes, trimmed])?;
            }
        }
        Ok(())
    }
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

/// Adds or replaces a ban. The table has no limit, because the chat limits its lists of bans.
fn put_ban(connection: &Connection, ban: &StoredBan) -> Result<()> {
    let until = ban.until_ms.map(saturating);
    let sql = "INSERT OR REPLACE INTO ban (subject, shown, by, reason, until_ms, checksum, more)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let StoredBan { subject, shown, by, reason, more, .. } = ban;
    let values = params![subject, shown, by, reason, until, ban_sum(ban), more];
    connection.execute(sql, values).map(drop)
}

fn put_token(connection: &Connection, token: &StoredToken) -> Result<()> {
    drop_token(connection, &token.token)?;
    let sql = "INSERT INTO token (token, name, until_ms, more) VALUES (?1, ?2, ?3, ?4)";
    connection
        .execute(sql, params![token.token, token.name, saturating(token.until_ms), token.more])?;
    let mut insert =
        connection.prepare("INSERT OR REPLACE INTO token_room VALUES (?1, ?2, ?3, ?4)")?;
    for (room, seen, operator) in &token.rooms {
        insert.execute(params![token.token, room, saturating(*seen), operator])?;
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

/// Converts a number that must be stored exactly. Fails if it is too large for SQLite.
fn exactly(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
