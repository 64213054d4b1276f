//! The configuration file (`--config`): command line over environment over file over default.
//!
//! A file's values become arguments in front of those that are typed, so that each goes through
//! the same parser, and a flag that is new is a key at once.

mod example;
mod file;
mod keys;
mod settings;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches};

use self::file::{File, Mistake};
pub(super) use self::settings::{Change, Settings};
use super::Arguments;

/// Longer than any configuration; a device that never ends is not read for ever.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The name of the flag, and of its field.
const CONFIG: &str = "config";

/// The flag of every command that a file can configure.
#[derive(Debug, Args)]
pub(super) struct ConfigFlags {
    /// Read settings from this TOML file: one table for each command, keys named as its flags.
    /// What the command line or the environment says wins.
    #[arg(long, env = "ECHOLINE_CONFIG", value_name = "PATH")]
    pub(super) config: Option<PathBuf>,
}

/// Why the settings cannot be had.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Wrong usage of the command line, or a wish for help.
    Usage(clap::Error),
    /// The file cannot be used.
    File(anyhow::Error),
}

impl Refusal {
    /// For the start of the program: ends it in the parser's words where they are the right ones.
    pub(super) fn into_error(self) -> anyhow::Error {
        match self {
            Self::Usage(error) => error.exit(),
            Self::File(error) => error,
        }
    }

    /// In one line, for a log.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Usage(error) => keys::sentence(error),
            Self::File(error) => format!("{error:#}"),
        }
    }
}

/// Reads arguments, the program's name first, and the file that they or the environment name.
pub(super) fn read(typed: &[OsString]) -> Result<(Arguments, Settings), Refusal> {
    let program = Arguments::command();
    let arguments = with_file(&program, typed)?;
    let mut matches = program.clone().try_get_matches_from(arguments).map_err(Refusal::Usage)?;
    let settings = match matches.subcommand() {
        Some((name, matches)) => program.find_subcommand(name).map(|command| (command, matches)),
        None => None,
    };
    let settings = settings.map(|(command, matches)| Settings::of(command, matches));
    let arguments = Arguments::from_arg_matches_mut(&mut matches).map_err(Refusal::Usage)?;
    Ok((arguments, settings.unwrap_or_default()))
}

/// The commands that a file can configure, each in a table of its own.
fn configurable(program: &Command) -> impl Iterator<Item = &Command> {
    let has_flag = |command: &&Command| command.get_arguments().any(|flag| flag.get_id() == CONFIG);
    program.get_subcommands().filter(has_flag)
}

/// The arguments with what the file adds to them.
fn with_file(program: &Command, typed: &[OsString]) -> Result<Vec<OsString>, Refusal> {
    let typed = typed.to_vec();
    // What is wrong with them is said when they are read again, together with the file.
    let first = program.clone().ignore_errors(true).try_get_matches_from(&typed);
    let first = first.map_err(Refusal::Usage)?;
    let Some((name, given)) = first.subcommand() else { return Ok(typed) };
    let command = configurable(program).find(|command| command.get_name() == name);
    let path = given.try_get_one::<PathBuf>(CONFIG).ok().flatten();
    let place = typed.iter().position(|argument| argument == name);
    let (Some(command), Some(path), Some(place), None) = (command, path, place, given.subcommand())
    else {
        return Ok(typed);
    };
    let added = settings(program, command, path, given).map_err(Refusal::File)?;
    let (before, after) = typed.split_at(place + 1);
    Ok(before.iter().cloned().chain(added).chain(after.iter().cloned()).collect())
}

/// What the file says to the command and nobody who comes first has said.
fn settings(
    program: &Command,
    command: &Command,
    path: &Path,
    given: &ArgMatches,
) -> anyhow::Result<Vec<OsString>> {
    let wrong = |mistake: Mistake| anyhow!("{} {mistake}", path.display());
    let file = load(path)?;
    check_tables(program, &file).map_err(wrong)?;
    let Some(table) = file.table(command.get_name()) else { return Ok(Vec::new()) };
    let settings = keys::arguments(program, command, table).map_err(wrong)?;
    let typed = |key: &str| {
        let (_, flag) = keys::flags(command).find(|(name, _)| *name == key)?;
        given.value_source(flag.get_id().as_str())
    };
    let missing = settings.into_iter().filter(|(key, _)| {
        !matches!(typed(key), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    });
    Ok(missing.flat_map(|(_, arguments)| arguments).collect())
}

/// The commands that the file has a table for, in its order; all that it says is right.
///
/// # Errors
/// One sentence with the file, the line and the key.
pub(super) fn tables(path: &Path) -> anyhow::Result<Vec<String>> {
    let program = Arguments::command();
    let wrong = |mistake: Mistake| anyhow!("{} {mistake}", path.display());
    let file = load(path)?;
    check_tables(&program, &file).map_err(wrong)?;
    for table in &file.tables {
        if let Some(command) = program.find_subcommand(&table.name) {
            keys::arguments(&program, command, table).map_err(wrong)?;
        }
    }
    Ok(file.tables.into_iter().map(|table| table.name).collect())
}

/// A file with every key there is.
pub(super) fn example() -> String {
    example::text(&Arguments::command())
}

/// The file's text, read and parsed.
fn load(path: &Path) -> anyhow::Result<File> {
    let flag = format!("--config {}", path.display());
    let cannot = || format!("cannot read {flag}");
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(cannot)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("{flag} is longer than {FILE_BYTES_MAX} bytes: it is no configuration");
    }
    let Ok(text) = String::from_utf8(bytes) else { bail!("{flag} is no text in UTF-8") };
    File::parse(&text).map_err(|mistake| anyhow!("{} {mistake}", path.display()))
}

fn check_tables(program: &Command, file: &File) -> Result<(), Mistake> {
    let names = || configurable(program).map(Command::get_name);
    let strange = file.tables.iter().find(|table| names().all(|name| name != table.name));
    let Some(table) = strange else { return Ok(()) };
    let hint = match keys::nearest(&table.name, names()) {
        Some(near) => format!("did you mean [{near}]?"),
        None => {
            let all: Vec<String> = names().map(|name| format!("[{name}]")).collect();
            format!("there are {}", all.join(", "))
        }
    };
    Err(Mistake { line: table.line, text: format!("no command reads [{}]; {hint}", table.name) })
}
