//! Erases a user from a history that no chat uses: their texts, their name, and remains of both in
//! unused parts of the file.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, Result, params};

use super::data_folder::{DataFolder, is_absent};
use super::error::StoreError;
use super::options::SharedFolder;
use super::sql::checksum::{ban_sum, line_sum, room_sum};
use super::sql::schema::saturating;
use super::sql::{read, recount, schema};
use echoline_chat_core::{DELETED, LineKind, StoredLine};

/// The result of an erasure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasureReport {
    /// The number of changed lines.
    pub lines: u64,
    /// The number of rooms with changed lines.
    pub rooms: u64,
    /// The number of removed tokens.
    pub tokens: u64,
    /// The number of audit log entries and bans in which the name was replaced.
    pub entries: u64,
    /// Other names that the user had, found in renames.
    pub other_names: BTreeSet<String>,
    /// The names of renamed damaged files in the folder. They were not changed.
    pub copies: Vec<String>,
}

/// Erases all users whose name `is_it` accepts. Lines keep their numbers and times. In each line,
/// these parts become `[deleted]`:
///
/// * said lines and actions: the name and the text;
/// * joins, leaves and renames: the name, and the text of a leave;
/// * topics: the name and the text; a current topic is removed;
/// * notices, reasons of kicks and the audit log: the name, if it is a whole word.
///
/// Tokens of the name are removed, and bans of the name stay. Texts of other users about the user
/// stay.
///
/// # Errors
/// If a chat uses the folder, if it has no history, or if the history cannot be read or written.
/// After an error nothing has changed, unless only rewriting the file failed.
pub fn erase(
    folder: &Path,
    shared: SharedFolder,
    is_it: impl Fn(&str) -> bool,
) -> std::result::Result<ErasureReport, StoreError> {
    let path = folder;
    let folder = DataFolder::lock(path, shared)?;
    let database = folder.database();
    if is_absent(&database)? {
        return Err(StoreError::Absent { folder: path.to_owned() });
    }
    let failed = |error: rusqlite::Error| StoreError::database(&database, &error);
    let mut connection = schema::open(&database)?;
    let transaction = connection.transaction().map_err(failed)?;
    let mut eraser =
        Eraser { connection: &transaction, is_it: &is_it, erased: ErasureReport::default() };
    eraser.run().map_err(failed)?;
    let mut erased = eraser.erased;
    recount(&transaction).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    schema::rewrite(&connection).map_err(failed)?;
    erased.copies = folder.damaged_files()?;
    Ok(erased)
}

struct Eraser<'a> {
    connection: &'a Connection,
    is_it: &'a dyn Fn(&str) -> bool,
    erased: ErasureReport,
}

impl Eraser<'_> {
    fn run(&mut self) -> Result<()> {
        for (id, name) in self.rooms()? {
            let before = self.erased.lines;
            self.room(id, &name)?;
            self.erased.rooms += u64::from(self.erased.lines > before);
        }
        self.tokens()?;
        self.bans()?;
        for table in ["audit", "room_audit"] {
            self.audit(table)?;
        }
        self.guesses()
    }

    fn rooms(&self) -> Result<Vec<(i64, String)>> {
        let mut rooms = self.connection.prepare("SELECT id, name FROM room ORDER BY name")?;
        rooms.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    fn room(&mut self, id: i64, room: &str) -> Result<()> {
        let sql = "UPDATE line SET name = ?3, text = ?4, checksum = ?5
                   WHERE room = ?1 AND number = ?2";
        let mut update = self.connection.prepare(sql)?;
        // Whether an erased line had set the current topic.
        let mut is_topic_erased = false;
        let mut from = 0;
        loop {
            let lines = read::lines(self.connection, room, from, u64::MAX, read::LINES_MAX)?;
            let Some(last) = lines.last() else { break };
            from = last.number.saturating_add(1);
            for line in lines {
                if line.kind == LineKind::Topic {
                    is_topic_erased = (self.is_it)(&line.name);
                }
                let Some(line) = self.without(&line) else { continue };
                let sum = line_sum(id, &line);
                update.execute(params![id, saturating(line.number), line.name, line.text, sum])?;
                self.erased.lines += 1;
            }
        }
        if is_topic_erased { self.remove_topic(id, room) } else { Ok(()) }
    }

    fn remove_topic(&self, id: i64, room: &str) -> Result<()> {
        let sql = "SELECT private, password, more FROM room WHERE id = ?1";
        let (private, password, more) = self.connection.query_row(sql, [id], |row| {
            Ok((row.get::<_, bool>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, String>(2)?))
        })?;
        let sum = room_sum(room, None, private, password.as_deref(), &more);
        let sql = "UPDATE room SET topic = NULL, checksum = ?2 WHERE id = ?1";
        self.connection.execute(sql, params![id, sum]).map(drop)
    }

    /// Returns the line without the user's name and texts, or `None` if the line contains neither.
    fn without(&mut self, line: &StoredLine) -> Option<StoredLine> {
        let is_theirs = (self.is_it)(&line.name);
        let name = if is_theirs { DELETED.into() } else { line.name.clone() };
        let text = match line.kind {
            LineKind::Renamed => {
                let is_new_name = (self.is_it)(&line.text);
                match (is_theirs, is_new_name) {
                    (true, false) => self.erased.other_names.insert(line.text.to_string()),
                    (false, true) => self.erased.other_names.insert(line.name.to_string()),
                    _ => false,
                };
                if is_new_name { DELETED.into() } else { line.text.clone() }
            }
            LineKind::Notice => self.without_name(&line.text).unwrap_or_else(|| line.text.clone()),
            _ if is_theirs && !line.text.is_empty() => DELETED.into(),
            // The text of a kick contains the name of the operator.
            LineKind::Left => self.without_name(&line.text).unwrap_or_else(|| line.text.clone()),
            _ => line.text.clone(),
        };
        let changed = StoredLine { name, text, ..line.clone() };
        (changed != *line).then_some(changed)
    }

    /// Replaces the name by [`DELETED`] in a text. Returns `None` if the text does not contain the
    /// name as a word.
    fn without_name<T: for<'a> From<&'a str>>(&self, text: &str) -> Option<T> {
        let mut found = false;
        let words = text.split(' ').map(|word| {
            let name = word.trim_end_matches([',', '.', ':', ';', ')']);
            let is_name = (self.is_it)(name);
            found |= is_name;
            if is_name { word.replacen(name, DELETED, 1) } else { word.to_owned() }
        });
        let words = words.collect::<Vec<_>>().join(" ");
        found.then(|| T::from(&words))
    }

    fn tokens(&mut self) -> Result<()> {
        let tokens = read::tokens(self.connection)?;
        for token in tokens.iter().filter(|token| (self.is_it)(&token.name)) {
            for sql in
                ["DELETE FROM token_room WHERE token = ?1", "DELETE FROM token WHERE token = ?1"]
            {
                self.connection.execute(sql, [&token.token])?;
            }
            self.erased.tokens += 1;
        }
        Ok(())
    }

    /// Replaces the name of the operator in bans. A ban of the name itself stays.
    fn bans(&mut self) -> Result<()> {
        for mut ban in read::bans(self.connection, &mut Vec::new())? {
            if (self.is_it)(&ban.by) {
                DELETED.clone_into(&mut ban.by);
                let sql = "UPDATE ban SET by = ?2, checksum = ?3 WHERE subject = ?1";
                self.connection.execute(sql, params![ban.subject, ban.by, ban_sum(&ban)])?;
                self.erased.entries += 1;
            }
        }
        Ok(())
    }

    fn guesses(&mut self) -> Result<()> {
        let mut guesses = self.connection.prepare("SELECT source, by FROM guess")?;
        let guesses = guesses
            .query_map((), |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        for (source, by) in guesses.collect::<Result<Vec<_>>>()? {
            if (self.is_it)(&by) {
                let sql = "UPDATE guess SET by = ?2 WHERE source = ?1";
                self.connection.execute(sql, params![source, DELETED])?;
                self.erased.entries += 1;
            }
        }
        Ok(())
    }

    fn audit(&mut self, table: &str) -> Result<()> {
        let sql = format!("SELECT id, by, what FROM {table}");
        let mut entries = self.connection.prepare(&sql)?;
        let entries = entries.query_map((), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })?;
        for (id, by, what) in entries.collect::<Result<Vec<_>>>()? {
            let new_by = if (self.is_it)(&by) { DELETED.to_owned() } else { by.clone() };
            let new_what = self.without_name(&what).unwrap_or_else(|| what.clone());
            if (&new_by, &new_what) != (&by, &what) {
                let sql = format!("UPDATE {table} SET by = ?2, what = ?3 WHERE id = ?1");
                self.connection.execute(&sql, params![id, new_by, new_what])?;
                self.erased.entries += 1;
            }
        }
        Ok(())
    }
}
