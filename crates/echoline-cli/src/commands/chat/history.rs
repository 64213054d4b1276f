//! `echoline chat backup`, `restore`, `export` and `erase`: the tools for `--data`.

use std::fs;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use crate::files::links::ResolvedPath;
use crate::files::output::{print, stdout_filter, tell};
use crate::files::shared_files::SharedFilesArgs;
use crate::values;
use echoline_chat::history::{HistoryReader, StoreError, StoredLine, erase, restore};
use echoline_chat::{ChatSettings, Name, terminal_text};

/// The flag that names the history folder of a chat.
#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    /// Folder in which the chat keeps its history.
    #[arg(long = "data", env = "ECHOLINE_DATA", value_name = "DIR")]
    folder: PathBuf,
}

/// The flags of `echoline chat backup`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit code: 0 after a complete backup, 1 after a failure, 2 for wrong usage.

Examples:
  echoline chat backup --data /var/lib/echoline backup.sqlite")]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    data: DataArgs,

    /// File to write.
    ///
    /// It appears under its name when it is complete and checked.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Replace FILE if it exists.
    #[arg(long)]
    force: bool,
}

/// The flags of `echoline chat restore`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit code: 0 after success, 1 after a failure, 2 for wrong usage.

Examples:
  echoline chat restore --data /var/lib/echoline-new backup.sqlite")]
pub(crate) struct RestoreArgs {
    /// Folder to restore into.
    ///
    /// It is created if it is missing, and must not contain a history.
    #[arg(long = "data", env = "ECHOLINE_DATA", value_name = "DIR")]
    folder: PathBuf,

    /// Backup to restore.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    shared_files: SharedFilesArgs,
}

/// The flags of `echoline chat export`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit code: 0 after success, 1 after a failure, 2 for wrong usage.

Examples:
  echoline chat export --data /var/lib/echoline lobby --json")]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    data: DataArgs,

    /// Room to export.
    #[arg(value_name = "ROOM", value_parser = values::room_name)]
    room: Name,

    /// Print one JSON object per line of the room.
    ///
    /// Its fields are room, number, time, time_ms, kind, name and text.
    #[arg(long)]
    json: bool,
}

/// The flags of `echoline chat erase`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit code: 0 after success, 1 after a failure, 2 for wrong usage.

Examples:
  echoline chat erase --data /var/lib/echoline ann")]
pub(crate) struct EraseArgs {
    #[command(flatten)]
    data: DataArgs,

    /// Name of the user.
    ///
    /// Names that look the same are erased too, because they belong to the same user.
    #[arg(value_name = "NAME", value_parser = values::user_name)]
    name: Name,

    #[command(flatten)]
    shared_files: SharedFilesArgs,
}

/// Writes a backup beside FILE and renames it when it is complete and checked.
pub(crate) fn back_up(flags: &BackupArgs) -> anyhow::Result<ExitCode> {
    let reader = HistoryReader::open(&flags.data.folder).context("cannot back up --data")?;
    let file = &target(flags, &reader)?;
    let cannot = || format!("cannot write the backup {}", file.display());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // For a missing folder, this error does not mention the name of the temporary file.
    fs::metadata(folder).with_context(cannot)?;
    // Only the owner can read the copy, like the history itself.
    let copy = tempfile::Builder::new().prefix(".echoline-").tempfile_in(folder);
    let copy = copy.with_context(cannot)?.into_temp_path();
    reader.back_up(&copy).with_context(cannot)?;
    let bytes = fs::metadata(&copy).with_context(cannot)?.len();
    let kept = match flags.force {
        true => copy.persist(file).map_err(|error| error.error),
        false => copy.persist_noclobber(file).map_err(|error| error.error),
    };
    match kept.and_then(|()| fs::File::open(folder)?.sync_all()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(
            "{} already exists: choose another file, or replace it with --force",
            file.display()
        ),
        Err(error) => return Err(error).with_context(cannot),
    }
    print(&format!("Wrote {} ({bytes} bytes).\n", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the file to write: FILE itself, or its target if FILE is a symbolic link and `--force`
/// is set.
fn target(flags: &BackupArgs, reader: &HistoryReader) -> anyhow::Result<PathBuf> {
    let shown = flags.file.display();
    let file = match fs::symlink_metadata(&flags.file) {
        Ok(_) if flags.force => {
            let file = ResolvedPath::from(&flags.file);
            let file = file.with_context(|| format!("cannot write the backup {shown}"))?.path;
            if !file.is_file() {
                bail!("{shown} is not a regular file: choose another file");
            }
            file
        }
        _ => flags.file.clone(),
    };
    if reader.owns(&file) {
        bail!("{shown} is a file of the history itself: choose another file");
    }
    Ok(file)
}

/// Restores a backup into a folder that has no history yet.
pub(crate) fn put_back(flags: &RestoreArgs) -> anyhow::Result<ExitCode> {
    let shared = flags.shared_files.folder();
    restore(&flags.folder, shared, &flags.file).context("cannot restore the backup")?;
    let (folder, file) = (flags.folder.display(), flags.file.display());
    print(&format!("Restored {file} into {folder}: start the chat with --data {folder}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints all lines of a room.
pub(crate) fn export(flags: &ExportArgs) -> anyhow::Result<ExitCode> {
    let folder = &flags.data.folder;
    let reader = HistoryReader::open(folder).context("cannot export from --data")?;
    let rooms = reader.rooms()?;
    let is_it = |room: &&String| Name::parse_room(room).is_ok_and(|name| name.same_as(&flags.room));
    let Some(room) = rooms.iter().find(is_it) else {
        let rooms = if rooms.is_empty() { "none".to_owned() } else { rooms.join(", ") };
        bail!("there is no room {} in {}; its rooms: {rooms}", flags.room, folder.display());
    };
    let moment = ChatSettings::default().moment;
    let filter = stdout_filter();
    let mut out = BufWriter::new(io::stdout().lock());
    let written = reader.lines(room, |line| {
        let text = if flags.json { as_json(room, &line) } else { as_text(&line, moment) };
        writeln!(out, "{}", filter(&text)).map_err(Export::Output)
    });
    let written = written.and_then(|missing| {
        out.flush().map_err(Export::Output)?;
        Ok(missing)
    });
    match written {
        Ok(0) => {}
        Ok(missing) => tell(&format!("{missing} lines of {room} are damaged or missing")),
        // The reader of stdout has closed the pipe, which is no error.
        Err(Export::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(Export::Output(error)) => return Err(error).context("cannot write to stdout"),
        Err(Export::Store(error)) => return Err(error).context("cannot export from --data"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The reason why an export ended early.
enum Export {
    Store(StoreError),
    Output(io::Error),
}

impl From<StoreError> for Export {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Returns a line as `#12 2026-11-27 14:03 +01:00 ann: hello`, in local time.
fn as_text(line: &StoredLine, moment: fn(u64) -> String) -> String {
    format!("#{} {} {}", line.number, moment(line.time_ms), terminal_text(line))
}

fn as_json(room: &str, line: &StoredLine) -> String {
    let time = i64::try_from(line.time_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let time = time.map(|time| time.to_string());
    let value = json!({
        "room": room, "number": line.number, "time": time, "time_ms": line.time_ms,
        "kind": line.kind.label(), "name": &*line.name, "text": &*line.text,
    });
    value.to_string()
}

/// Erases a user from the history. The chat must not be running.
pub(crate) fn erase_name(flags: &EraseArgs) -> anyhow::Result<ExitCode> {
    let is_it = |name: &str| Name::parse(name).is_ok_and(|name| name.same_as(&flags.name));
    let (name, folder) = (&flags.name, flags.data.folder.display());
    let erased = erase(&flags.data.folder, flags.shared_files.folder(), is_it);
    let erased = erased.with_context(|| format!("cannot erase {name} from --data"))?;
    let text = match erased.lines + erased.tokens + erased.entries {
        0 => format!("{folder} contains nothing from {name}.\n"),
        _ => format!(
            "Erased {name}: {} in {}, {}, {} of the audit log and the bans.\n",
            count(erased.lines, "line"),
            count(erased.rooms, "room"),
            count(erased.tokens, "token"),
            count(erased.entries, "entry").replace("entrys", "entries"),
        ),
    };
    print(&text)?;
    for other in &erased.other_names {
        print(&format!(
            "{name} also used the name {other}: erase that name too if it belonged to the same \
             user.\n"
        ))?;
    }
    for copy in &erased.copies {
        print(&format!("{folder}/{copy} may still have their words: remove it.\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
