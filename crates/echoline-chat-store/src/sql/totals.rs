//! The number and size of each room's lines, and the trimming of rooms that exceed a limit. Lines
//! that users said and all other lines have separate limits, so that a flood of joins and leaves
//! does not displace said lines.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::super::options::StoreOptions;
use super::schema::saturating;

/// The number of bytes that are counted for each line in addition to its name and its text.
pub(super) const LINE_BYTES: u64 = 32;

/// The totals of a room, from its row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoomTotals {
    pub(super) id: i64,
    /// Lines that users said.
    pub(super) said: LineTotals,
    /// All other lines, such as joins and leaves.
    pub(super) notices: LineTotals,
    /// Lines of `notices` up to this number were trimmed.
    pub(super) trimmed: u64,
}

/// The number and size of lines of one kind: said lines, or all others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineTotals {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

impl RoomTotals {
    /// Reads the totals of a room. Returns `None` if the room does not exist.
    pub(super) fn find(connection: &Connection, name: &str) -> Result<Option<Self>> {
        let sql = "SELECT id, lines, bytes, notices, notice_bytes, trimmed FROM room
                   WHERE name = ?1";
        connection.query_row(sql, [name], Self::from_row).optional()
    }

    fn from_row(row: &Row<'_>) -> Result<Self> {
        let count = |column| row.get(column).map(|count: i64| count.max(0) as u64);
        let (lines, bytes) = (count(1)?, count(2)?);
        let notices = LineTotals { lines: count(3)?, bytes: count(4)? };
        let said = LineTotals {
            lines: lines.saturating_sub(notices.lines),
            bytes: bytes.saturating_sub(notices.bytes),
        };
        Ok(Self { id: row.get(0)?, said, notices, trimmed: count(5)? })
    }

    /// Returns the totals of said lines, or of all other lines.
    pub(super) const fn of_sort(&mut self, is_said: bool) -> &mut LineTotals {
        if is_said { &mut self.said } else { &mut self.notices }
    }

    /// Returns whether the room exceeds a limit.
    pub(super) const fn exceeds(&self, options: &StoreOptions) -> bool {
        self.said.exceeds(options) || self.notices.exceeds(options)
    }

    /// Deletes the oldest lines as long as the room exceeds a limit, but at most `most` lines.
    pub(super) fn trim(
        &mut self,
        connection: &Connection,
        most: u64,
        options: &StoreOptions,
    ) -> Result<()> {
        let mut left = most;
        if self.said.exceeds(options) {
            left -= self.trim_said(connection, most, options)?;
        }
        if self.notices.exceeds(options) && left > 0 {
            self.trim_notices(connection, left, options)?;
        }
        Ok(())
    }

    /// Deletes the oldest said lines, and all other lines before them. Returns the number of
    /// deleted lines.
    fn trim_said(
        &mut self,
        connection: &Connection,
        most: u64,
        options: &StoreOptions,
    ) -> Result<u64> {
        let sql = "SELECT number, octet_length(name) + octet_length(text), kind < 2 FROM line
                   WHERE room = ?1 ORDER BY number LIMIT ?2";
        let mut oldest = connection.prepare(sql)?;
        let mut rows = oldest.query(params![self.id, saturating(most)])?;
        let (mut last, mut count) = (-1, 0);
        while self.said.exceeds(options) {
            let Some(row) = rows.next()? else { break };
            last = row.get(0)?;
            count += 1;
            self.of_sort(row.get(2)?).subtract(row.get(1)?);
        }
        drop(rows);
        self.trimmed = self.trimmed.max(u64::try_from(last).unwrap_or_default());
        let trimmed = "DELETE FROM line WHERE room = ?1 AND number <= ?2";
        connection.execute(trimmed, [self.id, last])?;
        Ok(count)
    }

    /// Deletes the oldest lines that no user said, and records up to which number they were
    /// deleted.
    fn trim_notices(
        &mut self,
        connection: &Connection,
        most: u64,
        options: &StoreOptions,
    ) -> Result<()> {
        let sql = "SELECT number, octet_length(name) + octet_length(text) FROM line
                   WHERE room = ?1 AND number > ?2 AND kind > 1 ORDER BY number LIMIT ?3";
        let before = saturating(self.trimmed);
        let mut oldest = connection.prepare(sql)?;
        let mut rows = oldest.query(params![self.id, before, saturating(most)])?;
        let mut last = before;
        while self.notices.exceeds(options) {
            let Some(row) = rows.next()? else { break };
            last = row.get(0)?;
            self.notices.subtract(row.get(1)?);
        }
        drop(rows);
        self.trimmed = u64::try_from(last).unwrap_or_default();
        let trimmed =
            "DELETE FROM line WHERE room = ?1 AND number > ?2 AND number <= ?3 AND kind > 1";
        connection.execute(trimmed, [self.id, before, last]).map(drop)
    }
}

impl LineTotals {
    /// Returns whether these lines exceed a limit. The newest line is always kept, so that its
    /// number is not used again.
    const fn exceeds(self, options: &StoreOptions) -> bool {
        self.lines > 1 && (self.lines > options.keep_lines || self.bytes > options.keep_bytes)
    }

    fn subtract(&mut self, text_bytes: i64) {
        let bytes = u64::try_from(text_bytes).unwrap_or_default() + LINE_BYTES;
        self.lines = self.lines.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Counts the lines of all rooms again. Needed after another program or [`erase`] has changed them.
///
/// [`erase`]: super::super::erase
pub(crate) fn recount(connection: &Connection) -> Result<()> {
    let sql = "UPDATE room SET lines = (SELECT count(*) FROM line WHERE room = id),
               bytes = (SELECT coalesce(sum(octet_length(name) + octet_length(text) + ?1), 0)
                        FROM line WHERE room = id),
               notices = (SELECT count(*) FROM line WHERE room = id AND kind > 1),
               notice_bytes = (SELECT coalesce(sum(octet_length(name) + octet_length(text) + ?1), 0)
                               FROM line WHERE room = id AND kind > 1)";
    connection.execute(sql, [saturating(LINE_BYTES)]).map(drop)
}

/// Returns the rooms whose stored count of lines is wrong. Each has its name, the stored count, and
/// the actual number of lines.
pub(crate) fn miscounted(connection: &Connection) -> Result<Vec<(String, i64, i64)>> {
    let mut rooms = connection.prepare(
        "SELECT name, lines, (SELECT count(*) FROM line WHERE room = id) AS found FROM room
         WHERE lines <> found ORDER BY name",
    )?;
    rooms.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}
