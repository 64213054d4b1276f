//! The configuration file (`--config`): command line over environment over file over default.
//!
//! The values of a file become arguments before the typed ones. So all settings go through the same
//! parser, and each new flag is also a key.

mod environment;
mod example;
mod file;
pub(crate) mod hints;
mod keys;
mod settings;

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, Args, Command, CommandFactory, FromArgMatches};

use self::environment::EnvironmentSetting;
pub(crate) use self::environment::may_set;
use self::file::{ConfigFile, ConfigFileError};
use self::keys::{CONFIG, configurable};
pub(crate) use self::settings::{EffectiveSettings, SettingChange};
use crate::usage_error;

/// The maximum size of a configuration file, in bytes, so that a device is not read for ever.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The flag of every command that a file can configure.
#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct ConfigArgs {
    /// Read settings from this TOML file: one table for each command, keys named as its flags.
    /// What the command line or the environment says wins.
    #[arg(long, env = "ECHOLINE_CONFIG", value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
}

/// The reason why the settings cannot be read.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// Wrong usage of the command line, or a request for help.
    Usage(clap::Error),
    /// The file cannot be used.
    File(anyhow::Error),
}

impl ConfigError {
    /// For the start of the program: exits with the parser's own message for a usage error or help,
    /// and otherwise returns the error.
    pub(crate) fn into_error(self) -> anyhow::Error {
        match self {
            Self::Usage(error) => usage_error::exit(&error),
            Self::File(error) => error,
        }
    }

    /// Returns the error in one line, for a log.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Usage(error) => keys::sentence(error),
            Self::File(error) => format!("{error:#}"),
        }
    }
}

/// Parses the arguments, of which the first is the program's name, and reads the configuration file
/// that they or the environment name.
pub(crate) fn read<P: CommandFactory + FromArgMatches>(
    typed: &[OsString],
) -> Result<(P, EffectiveSettings), ConfigError> {
    let program = P::command();
    let bare = without_environment(program.clone());
    let (arguments, variables) = with_layers(&program, &bare, typed)?;
    let matches = bare.try_get_matches_from(arguments);
    let mut matches = matches.map_err(|error| {
        ConfigError::Usage(match error.kind() {
            // This help also lists the environment variables.
            ErrorKind::DisplayHelp => {
                program.clone().try_get_matches_from(typed).err().unwrap_or(error)
            }
            ErrorKind::UnknownArgument => hinted(error, typed),
            _ => environment::explain(error, &variables),
        })
    })?;
    let settings = match matches.subcommand() {
        Some((name, matches)) => program.find_subcommand(name).map(|command| (command, matches)),
        None => None,
    };
    let settings = settings.map(|(command, matches)| EffectiveSettings::of(command, matches));
    let arguments = P::from_arg_matches_mut(&mut matches).map_err(ConfigError::Usage)?;
    Ok((arguments, settings.unwrap_or_default()))
}

/// Adds a hint to the error of an unknown flag if another program has the flag.
fn hinted(mut error: clap::Error, typed: &[OsString]) -> clap::Error {
    let words: Vec<String> = typed.iter().map(|word| word.to_string_lossy().into()).collect();
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return error };
    let (Some(command), Some(flag)) = (words.get(1), flag.split(['=', ' ']).next()) else {
        return error;
    };
    if let Some(hint) = hints::hint(command, flag, hints::value(&words[1..], flag)) {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
    error
}

/// Returns the program without its variables, whose values become arguments.
fn without_environment(command: Command) -> Command {
    let command = command.mut_args(|flag| flag.env(None));
    command.mut_subcommands(without_environment)
}

/// Returns the arguments together with those of the file and the environment, and the variables
/// that apply.
fn with_layers(
    program: &Command,
    bare: &Command,
    typed: &[OsString],
) -> Result<(Vec<OsString>, Vec<EnvironmentSetting>), ConfigError> {
    let mut arguments = typed.to_vec();
    // The second reading, together with the file, reports their mistakes.
    let first = bare.clone().ignore_errors(true).try_get_matches_from(typed);
    let Ok(first) = first else { return Ok((arguments, Vec::new())) };
    // A subcommand is read like a command; the flags of its parent do not apply.
    let (mut place, mut command, mut given) = (0, program, &first);
    while let Some((name, below)) = given.subcommand() {
        let found = typed.iter().skip(place + 1).position(|argument| argument == name);
        let (Some(found), Some(below_it)) = (found, command.find_subcommand(name)) else { break };
        (place, command, given) = (place + 1 + found, below_it, below);
    }
    let is_typed = |flag: &Arg| {
        let source = given.value_source(flag.get_id().as_str());
        source == Some(ValueSource::CommandLine)
    };
    let variables = environment::settings(command, environment::get, is_typed);
    let variables = variables.map_err(|words| {
        let named = format!("{} {}", program.get_name(), command.get_name());
        let mut command = command.clone().bin_name(named);
        ConfigError::Usage(command.error(ErrorKind::ValueValidation, words))
    })?;
    let mut said: HashSet<String> = variables.iter().map(|found| found.key.clone()).collect();
    said.extend(keys::flags(command).filter(|(_, flag)| is_typed(flag)).map(|(key, _)| key.into()));
    let added = variables.iter().filter_map(|found| found.argument.clone());
    let path = match variables.iter().find(|found| found.key == CONFIG) {
        Some(found) => found.argument.as_ref().and_then(value),
        None => given.try_get_one::<PathBuf>(CONFIG).ok().flatten().cloned(),
    };
    let is_configurable = configurable(program).any(|one| std::ptr::eq(one, command));
    let of_file = match path.filter(|_| is_configurable) {
        Some(path) => settings(program, command, &path, &said).map_err(ConfigError::File)?,
        None => Vec::new(),
    };
    if place > 0 {
        arguments.splice(place + 1..place + 1, of_file.into_iter().chain(added));
    }
    Ok((arguments, variables))
}

/// Returns the value of an argument of the form `--key=value`.
fn value(argument: &OsString) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = argument.as_bytes();
    let equals = memchr::memchr(b'=', bytes)?;
    Some(std::ffi::OsStr::from_bytes(&bytes[equals + 1..]).into())
}

/// Returns the file's settings of the command, except the keys in `said`, which the command line or
/// the environment sets.
fn settings(
    program: &Command,
    command: &Command,
    path: &Path,
    said: &HashSet<String>,
) -> anyhow::Result<Vec<OsString>> {
    let wrong = |mistake: ConfigFileError| anyhow!("{} {mistake}", path.display());
    let file = load(path)?;
    check_tables(program, &file).map_err(wrong)?;
    let Some(table) = file.table(command.get_name()) else { return Ok(Vec::new()) };
    let settings = keys::arguments(program, command, table).map_err(wrong)?;
    let missing = settings.into_iter().filter(|(key, _)| !said.contains(key));
    Ok(missing.flat_map(|(_, arguments)| arguments).collect())
}

/// Checks the file, and returns the commands that it has a table for, in file order.
///
/// # Errors
/// One sentence with the file, the line and the key.
pub(crate) fn tables(program: &Command, path: &Path) -> anyhow::Result<Vec<String>> {
    let wrong = |mistake: ConfigFileError| anyhow!("{} {mistake}", path.display());
    let file = load(path)?;
    check_tables(program, &file).map_err(wrong)?;
    for table in &file.tables {
        if let Some(command) = program.find_subcommand(&table.name) {
            keys::arguments(program, command, table).map_err(wrong)?;
        }
    }
    Ok(file.tables.into_iter().map(|table| table.name).collect())
}

/// Returns an example file with every key.
pub(crate) fn example(program: &Command) -> String {
    example::text(program)
}

/// Reads and parses the file.
fn load(path: &Path) -> anyhow::Result<ConfigFile> {
    let flag = format!("--config {}", path.display());
    let cannot = || format!("cannot read {flag}");
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(cannot)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("{flag} is longer than {FILE_BYTES_MAX} bytes: it is no configuration");
    }
    let Ok(text) = String::from_utf8(bytes) else { bail!("{flag} is no text in UTF-8") };
    ConfigFile::parse(&text).map_err(|mistake| anyhow!("{} {mistake}", path.display()))
}

fn check_tables(program: &Command, file: &ConfigFile) -> Result<(), ConfigFileError> {
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
    Err(ConfigFileError {
        line: table.line,
        text: format!("no command reads [{}]; {hint}", table.name),
    })
}
