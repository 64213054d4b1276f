//! The tables, their version, and the migration from older versions.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Result, Row, config::DbConfig};

use super::super::error::StoreError;

/// The `application_id` in the header of the file: the letters "echo" as a number.
const APPLICATION: i64 = 0x6563_686F;

/// The maximum time to wait for another program that has locked the file.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The flags of every connection. Only one thread at a time uses a connection. A symbolic link in
/// the path of the file is an error.
pub(crate) const OPEN_FLAGS: OpenFlags =
    OpenFlags::SQLITE_OPEN_NO_MUTEX.union(OpenFlags::SQLITE_OPEN_NOFOLLOW);

/// The migrations, each from one version to the next. The first one creates the tables. Never
/// change a released migration; add another one instead.
const STEPS: &[&str] = &[
    "
    -- `lines` and `bytes` are what the room holds, so that nobody has to count.
    CREATE TABLE room (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, topic TEXT, private INTEGER NOT NULL,
        password TEXT, checksum INTEGER NOT NULL,
        lines INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    -- Lines of a room lie together, in their order.
    CREATE TABLE line (
        room INTEGER NOT NULL, number INTEGER NOT NULL, time_ms INTEGER NOT NULL,
        kind INTEGER NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY (room, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE ban (
        subject TEXT PRIMARY KEY NOT NULL, shown TEXT NOT NULL, by TEXT NOT NULL,
        reason TEXT NOT NULL, until_ms INTEGER, checksum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE token (
        token TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, until_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE token_room (
        token TEXT NOT NULL, room TEXT NOT NULL, seen INTEGER NOT NULL, operator INTEGER NOT NULL,
        PRIMARY KEY (token, room)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, by TEXT NOT NULL, what TEXT NOT NULL
    ) STRICT;
",
    "
    -- What else belongs to a saved session or a ban, as JSON.
    ALTER TABLE token ADD COLUMN more TEXT NOT NULL DEFAULT '';
    ALTER TABLE ban ADD COLUMN more TEXT NOT NULL DEFAULT '';
",
    "
    -- Acts of rooms' operators, and guesses at the password, do not evict those in `audit`.
    CREATE TABLE room_audit (
        id INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, by TEXT NOT NULL, what TEXT NOT NULL
    ) STRICT;
    CREATE TABLE guess (
        source TEXT PRIMARY KEY NOT NULL, count INTEGER NOT NULL, first_ms INTEGER NOT NULL,
        last_ms INTEGER NOT NULL, by TEXT NOT NULL
    ) STRICT;
",
    "
    -- `notices` and `notice_bytes` are the part of `lines` and `bytes` that no user said (kinds
    -- from 2 on), which is bounded by itself. No such line up to the number `trimmed` is kept.
    ALTER TABLE room ADD COLUMN notices INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE room ADD COLUMN notice_bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE room ADD COLUMN trimmed INTEGER NOT NULL DEFAULT 0;
    -- What else belongs to a room, as JSON.
    ALTER TABLE room ADD COLUMN more TEXT NOT NULL DEFAULT '';
    UPDATE room SET notices = (SELECT count(*) FROM line WHERE room = id AND kind > 1),
        notice_bytes = (SELECT coalesce(sum(octet_length(line.name) + octet_length(text) + 32), 0)
                        FROM line WHERE room = id AND kind > 1);
",
];

/// The newest version that this program knows.
const VERSION: i64 = STEPS.len() as i64;

/// Creates a database with the newest version in the empty file at `path`, and syncs it.
pub(crate) fn create(path: &Path) -> Result<(), StoreError> {
    let made = connect(path).and_then(|mut connection| {
        connection.pragma_update(None, "application_id", APPLICATION)?;
        migrate(&mut connection, STEPS)?;
        checkpoint(&connection)
    });
    made.map_err(|error| StoreError::database(path, &error))
}

/// Opens the database at `path`. Migrates its tables to the newest version, and makes its whole
/// content durable.
pub(crate) fn open(path: &Path) -> Result<Connection, StoreError> {
    let failed = |error: rusqlite::Error| StoreError::database(path, &error);
    let mut connection = connect(path).map_err(failed)?;
    // If a file cannot be opened for writing, SQLite opens it for reading without an error.
    if connection.is_readonly("main").map_err(failed)? {
        let reason = "it cannot be opened for writing".to_owned();
        return Err(StoreError::Database { path: path.to_owned(), reason });
    }
    check_version(&connection, path)?;
    migrate(&mut connection, STEPS).map_err(failed)?;
    check_tables(&connection, path)?;
    checkpoint(&connection).map_err(failed)?;
    Ok(connection)
}

/// Fails unless the file is a history with a version that this program knows.
pub(crate) fn check_version(
    connection: &Connection,
    path: &Path,
) -> std::result::Result<(), StoreError> {
    let failed = |error: rusqlite::Error| StoreError::database(path, &error);
    let application: i64 = integer(connection, "application_id").map_err(failed)?;
    if application != APPLICATION {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    let found = integer(connection, "user_version").map_err(failed)?;
    if found > VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: VERSION });
    }
    if found < 1 {
        let reason = format!("its version is {found}");
        return Err(StoreError::Damaged { path: path.to_owned(), reason });
    }
    Ok(())
}

/// Opens a connection with `synchronous = FULL`, so that a commit syncs before it returns.
fn connect(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OPEN_FLAGS;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // A damaged or forged file must not run code or reach other files through its schema.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.execute_batch(
        "PRAGMA secure_delete = ON; PRAGMA cell_size_check = ON;
         PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -4096;
         PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 8388608;",
    )?;
    Ok(connection)
}

/// Runs the missing migrations, either all or none.
fn migrate(connection: &mut Connection, steps: &[&str]) -> Result<()> {
    let version = usize::try_from(integer(connection, "user_version")?).unwrap_or(usize::MAX);
    let Some(missing @ [_, ..]) = steps.get(version..) else { return Ok(()) };
    let transaction = connection.transaction()?;
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", steps.len() as i64)?;
    transaction.commit()
}

/// Fails unless the tables are those of a new database. A flipped bit in the schema is thus
/// reported as damage at once.
fn check_tables(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let tables = |connection: &Connection| {
        let mut tables = connection
            .prepare("SELECT sql FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
        tables.query_map((), |row| row.get(0))?.collect::<Result<Vec<String>>>()
    };
    let right = Connection::open_in_memory().and_then(|mut pattern| {
        migrate(&mut pattern, STEPS)?;
        Ok(tables(&pattern)? == tables(connection)?)
    });
    match right {
        Ok(true) => Ok(()),
        Ok(false) => {
            let reason = "its tables are not those of a chat's history".to_owned();
            Err(StoreError::Damaged { path: path.to_owned(), reason })
        }
        Err(error) => Err(StoreError::database(path, &error)),
    }
}

/// Copies the write-ahead log into the database, syncs the database, and truncates the log.
///
/// Makes data durable that an earlier process or connection has written but failed to sync. Such
/// data may be only in the page cache, and a later sync of the log would not write it to the disk.
fn checkpoint(connection: &Connection) -> Result<()> {
    let busy: i64 =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0))?;
    if busy == 0 {
        return Ok(());
    }
    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    let reason = "another program is reading the file".to_owned();
    Err(rusqlite::Error::SqliteFailure(busy, Some(reason)))
}

/// The maximum size of a file that is rewritten while the chat runs, in bytes. Rewriting it takes
/// about half a second.
const REWRITE_MAX: i64 = 64 * 1024 * 1024;

/// Removes deleted text from the disk, both from the log and from unused parts of the file.
///
/// `secure_delete` overwrites deleted text in its place. But when SQLite splits a page, a copy of
/// the text may stay in an unused part of the page. (In a measurement, this happened to two of a
/// hundred lines.) Rewriting the file removes such copies. A file larger than [`REWRITE_MAX`] is
/// rewritten only by [`rewrite`], while no chat runs.
///
/// If another program is reading the file, the log cannot be truncated. This function then fails at
/// once, and must be called again. `is_rewritten` ensures that the file is rewritten only once,
/// because each rewrite extends the log.
pub(crate) fn erase_remains(connection: &Connection, is_rewritten: &mut bool) -> Result<()> {
    if !*is_rewritten {
        let bytes = integer(connection, "page_count")? * integer(connection, "page_size")?;
        if bytes <= REWRITE_MAX {
            connection.execute_batch("VACUUM")?;
        }
        *is_rewritten = true;
    }
    // New lines must not wait until the reader has finished.
    connection.busy_timeout(Duration::ZERO)?;
    let truncated = checkpoint(connection);
    connection.busy_timeout(BUSY_TIMEOUT)?;
    truncated
}

/// Rewrites the whole file without deleted text.
pub(crate) fn rewrite(connection: &Connection) -> Result<()> {
    connection.execute_batch("VACUUM")?;
    checkpoint(connection)
}

/// Converts a number for SQLite. Numbers above `i64::MAX` become `i64::MAX`.
pub(crate) fn saturating(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads a number. A negative number is a sign of damage, and becomes 0.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or_default())
}

fn integer(connection: &Connection, pragma: &str) -> Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::super::audit;
    use super::*;

    fn new() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sqlite3");
        std::fs::write(&path, "").unwrap();
        create(&path).unwrap();
        (folder, path)
    }

    #[test]
    fn opens_a_new_database() {
        let (_folder, path) = new();
        let connection = open(&path).unwrap();
        let mode: String =
            connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        assert_eq!(integer(&connection, "synchronous").unwrap(), 2);
        assert_eq!(integer(&connection, "user_version").unwrap(), VERSION);
    }

    #[test]
    fn a_newer_version_is_refused_in_one_sentence() {
        let (_folder, path) = new();
        open(&path).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
        let error = open(&path).unwrap_err();
        assert!(
            matches!(error, StoreError::Newer { found, .. } if found == VERSION + 1),
            "{error}"
        );
        assert!(!error.to_string().contains('\n'));
    }

    #[test]
    fn the_database_of_another_program_is_not_changed() {
        let (_folder, path) = new();
        open(&path).unwrap().pragma_update(None, "application_id", 7).unwrap();
        assert!(matches!(open(&path), Err(StoreError::Foreign { .. })));
    }

    #[test]
    fn missing_migrations_are_run_all_or_none() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &STEPS[..1]).unwrap();
        let good = "ALTER TABLE ban ADD COLUMN other TEXT";
        migrate(&mut connection, &[STEPS[0], good, "CREATE TABLE broken ("]).unwrap_err();
        assert_eq!(integer(&connection, "user_version").unwrap(), 1);
        connection.prepare("SELECT other FROM ban").unwrap_err();
        migrate(&mut connection, &[STEPS[0], good]).unwrap();
        assert_eq!(integer(&connection, "user_version").unwrap(), 2);
        connection.prepare("SELECT other FROM ban").unwrap();
    }

    /// Issue 11, item 14: a program that reads for a long time, such as an export into a pager,
    /// neither delays the chat nor extends the log.
    #[test]
    fn regression_a_reader_does_not_make_the_rewrite_repeat() {
        let (_folder, path) = new();
        let connection = open(&path).unwrap();
        let rows = "CREATE TABLE many (text TEXT); WITH RECURSIVE n(i) AS
                    (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                    INSERT INTO many SELECT hex(randomblob(50)) FROM n";
        connection.execute_batch(rows).unwrap();
        let reader = connect(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM room").unwrap();
        let log = || std::fs::metadata(path.with_extension("sqlite3-wal")).unwrap().len();
        let (mut is_rewritten, mut lengths) = (false, Vec::new());
        let start = super::super::super::worker::now();
        for _ in 0..3 {
            erase_remains(&connection, &mut is_rewritten).unwrap_err();
            lengths.push(log());
        }
        assert!(start.elapsed() < 2 * BUSY_TIMEOUT, "{:?}", start.elapsed());
        assert!(
            lengths[0] > 0 && lengths.iter().all(|length| *length == lengths[0]),
            "{lengths:?}"
        );
        reader.execute_batch("COMMIT").unwrap();
        erase_remains(&connection, &mut is_rewritten).unwrap();
        assert_eq!(log(), 0);
    }

    /// Issue 12, item 7: the audit log of the second version is kept. New entries and guesses are
    /// written to the right tables.
    #[test]
    fn a_history_of_the_second_version_keeps_its_audit_log() {
        let (_folder, path) = new();
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &STEPS[..2]).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION).unwrap();
        connection.execute_batch("INSERT INTO audit VALUES (7, 1, 'ann', 'kicked eve')").unwrap();
        std::fs::remove_file(&path).unwrap();
        connection.execute("VACUUM INTO ?1", [path.to_str().unwrap()]).unwrap();
        let connection = open(&path).unwrap();
        assert_eq!(audit::last_id(&connection).unwrap(), 7);
        let new = (2, "bob", "kicked mallory");
        audit::put(&connection, false, 8, new).unwrap();
        audit::put_guess(&connection, 3, "mallory", "192.0.2.7/32").unwrap();
        let acts = audit::entries(&connection, 9).unwrap();
        let acts: Vec<_> = acts.iter().map(|(_, by, what)| format!("{by} {what}")).collect();
        assert_eq!(acts, ["bob kicked mallory", "ann kicked eve"]);
        assert_eq!(audit::guesses(&connection, 9).unwrap().len(), 1);
    }

    /// Issue 11, items 3 and 6: saved sessions and bans of the first version are kept.
    #[test]
    fn regression_a_history_of_the_first_version_keeps_its_tokens_and_bans() {
        let (_folder, path) = new();
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &STEPS[..1]).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION).unwrap();
        let rows = "INSERT INTO token VALUES ('ab', 'ann', 7);
                    INSERT INTO ban VALUES ('chat name eve', 'eve', 'ann', 'spam', NULL, 9)";
        connection.execute_batch(rows).unwrap();
        std::fs::remove_file(&path).unwrap();
        connection.execute("VACUUM INTO ?1", [path.to_str().unwrap()]).unwrap();
        let connection = open(&path).unwrap();
        let more = |sql| connection.query_row(sql, (), |row| row.get::<_, String>(0));
        assert_eq!(more("SELECT token || name || until_ms || more FROM token").unwrap(), "abann7");
        assert_eq!(more("SELECT subject || by || more FROM ban").unwrap(), "chat name eveann");
    }

    /// Issue 12, item 4: when an earlier history is opened, the lines that no user said are
    /// counted.
    #[test]
    fn regression_an_earlier_history_counts_its_notices() {
        let (_folder, path) = new();
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &STEPS[..3]).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION).unwrap();
        let rows = "INSERT INTO room VALUES (1, 'lobby', NULL, 0, NULL, 0, 3, 108);
                    INSERT INTO line VALUES (1, 1, 1, 2, 'ann', '', 0);
                    INSERT INTO line VALUES (1, 2, 2, 0, 'ann', 'hi', 0);
                    INSERT INTO line VALUES (1, 3, 3, 3, 'ann', 'x', 0)";
        connection.execute_batch(rows).unwrap();
        std::fs::remove_file(&path).unwrap();
        connection.execute("VACUUM INTO ?1", [path.to_str().unwrap()]).unwrap();
        let connection = open(&path).unwrap();
        let sql = "SELECT lines, bytes, notices, notice_bytes, trimmed, more FROM room";
        let counts = connection.query_row(sql, (), |row| {
            let count = |column| row.get::<_, i64>(column);
            let more: String = row.get(5)?;
            Ok(([count(0)?, count(1)?, count(2)?, count(3)?, count(4)?], more))
        });
        assert_eq!(counts.unwrap(), ([3, 108, 2, 71, 0], String::new()));
    }
}
