//! Erases a person from a history that no chat uses: words, name, and copies of both in unused
//! parts of the file.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, Result, params};

use super::error::StoreError;
use super::folder::{Folder, is_absent};
use super::options::SharedFolder;
use super::read::{self, ban_sum, line_sum, number, room_sum};
use super::record::{DELETED, Kind, Stored};
use super::schema;
use super::tables::recount;

/// Counts of erased things.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Lines that were changed.
    pub lines: u64,
    /// Rooms that these lines are in.
    pub rooms: u64,
    /// Tokens that were removed.
    pub tokens: u64,
    /// Entries of the audit log, and bans, in which the name was replaced.
    pub entries: u64,
    /// Names that the person took, or had before, as far as renames tell.
    pub other_names: BTreeSet<String>,
    /// Copies of damaged files in the folder, which were not touched.
    pub copies: Vec<String>,
}

/// Erases all people whose name `is_it` accepts. Lines keep their numbers and times:
///
/// * words and actions: name and text become `[deleted]`;
/// * joining, leaving and renaming: the name becomes `[deleted]`, and so do last words;
/// * topics: name and text; a topic that still holds is removed;
/// * notices, reasons of kicks and the audit log: the name, where it stands as a word.
///
/// Tokens of the name go; bans of the name stay. Words of other people about the person stay.
///
/// # Errors
/// When a chat uses the folder, there is no history in it, or it cannot be read or written. Then
/// nothing was changed, unless only rewriting the file failed.
pub fn erase(
    folder: &Path,
    shared: SharedFolder,
    is_it: impl Fn(&str) -> bool,
) -> std::result::Result<Erased, StoreError> {
    let path = folder;
    let folder = Folder::enter(path, shared)?;
    let database = folder.database();
    if is_absent(&database)? {
        return Err(StoreError::Absent { folder: path.to_owned() });
    }
    let failed = |error: rusqlite::Error| StoreError::database(&database, &error);
    let mut connection = schema::open(&database)?;
    let transaction = connection.transaction().map_err(failed)?;
    let mut eraser = Eraser { connection: &transaction, is_it: &is_it, erased: Erased::default() };
    eraser.run().map_err(failed)?;
    let mut erased = eraser.erased;
    recount(&transaction).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    schema::rewrite(&connection).map_err(failed)?;
    erased.copies = folder.copies()?;
    Ok(erased)
}

struct Eraser<'a> {
    connection: &'a Connection,
    is_it: &'a dyn Fn(&str) -> bool,
    erased: Erased,
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
        // Whether the topic that holds is of this person.
        let mut is_topic_erased = false;
        let mut from = 0;
        loop {
            let lines = read::lines(self.connection, room, from, u64::MAX, read::LINES_MAX)?;
            let Some(last) = lines.last() else { break };
            from = last.number.saturating_add(1);
            for line in lines {
                if line.kind == Kind::Topic {
                    is_topic_erased = (self.is_it)(&line.name);
                }
                let Some(line) = self.without(&line) else { continue };
                let sum = line_sum(id, &line);
                update.execute(params![id, number(line.number), line.name, line.text, sum])?;
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

    /// The line without the person; `None` if it has nothing of them.
    fn without(&mut self, line: &Stored) -> Option<Stored> {
        let is_theirs = (self.is_it)(&line.name);
        let name = if is_theirs { DELETED.into() } else { line.name.clone() };
        let text = match line.kind {
            Kind::Renamed => {
                let is_new_name = (self.is_it)(&line.text);
                match (is_theirs, is_new_name) {
                    (true, false) => self.erased.other_names.insert(line.text.to_string()),
                    (false, true) => self.erased.other_names.insert(line.name.to_string()),
                    _ => false,
                };
                if is_new_name { DELETED.into() } else { line.text.clone() }
            }
            Kind::Notice => self.without_name(&line.text).unwrap_or_else(|| line.text.clone()),
            _ if is_theirs && !line.text.is_empty() => DELETED.into(),
            // The reason of a kick names who kicked.
            Kind::Left => self.without_name(&line.text).unwrap_or_else(|| line.text.clone()),
            _ => line.text.clone(),
        };
        let changed = Stored { name, text, ..line.clone() };
        (changed != *line).then_some(changed)
    }

    /// A text in which the name stands as a word, with [`DELETED`] in its place.
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

    /// A ban of the name has to hold; who banned is replaced.
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
