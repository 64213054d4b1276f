//! Reads the configuration file (`--config`) and the environment. A value on the command line takes
//! precedence over the environment, then the file, then the default.
//!
//! A file's values become arguments in front of the typed ones. So one parser reads all values, and
//! each new flag is also a key.

mod environment;
mod example;
mod file;
pub(crate) mod hints;
mod keys;
mod negative;
mod origins;
mod settings;

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, Args, Command, CommandFactory, FromArgMatches};

pub(crate) use self::environment::may_set;
use self::file::{ConfigFile, ConfigFileError};
use self::keys::{CONFIG, FileSetting, configurable};
pub(crate) use self::origins::SettingOrigins;
pub(crate) use self::settings::{EffectiveSettings, SettingChange};
use crate::help;
use crate::usage_error::{self, WrongSetting};

/// The maximum size of a file in bytes, so that an endless device is not read forever.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The flag of every command that a file can configure.
#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct ConfigArgs {
    /// TOML file with settings.
    ///
    /// It has one table for each command. A key is the name of a flag without the dashes, for
    /// example `timeout = "5s"`.
    #[arg(long, env = "ECHOLINE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// The reason why the settings cannot be read.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// Wrong usage of the command line or the environment, or a request for help.
    Usage(clap::Error),
    /// The file cannot be read, or has a wrong setting.
    File(anyhow::Error),
}

impl ConfigError {
    /// Returns the error for the start of the program. A usage error or a request for help ends the
    /// program here.
    pub(crate) fn into_error(self) -> anyhow::Error {
        match self {
            Self::Usage(error) => usage_error::exit(&error),
            Self::File(error) => error,
        }
    }

    /// Returns the error as one line, for a log.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Usage(error) => keys::sentence(error),
            Self::File(error) => format!("{error:#}"),
        }
    }
}

/// The settings of a command from all sources.
pub(crate) struct Settings<P> {
    pub(crate) arguments: P,
    pub(crate) effective: EffectiveSettings,
    pub(crate) origins: SettingOrigins,
}

/// Reads the settings from the arguments, the environment and the configuration file. The first
/// argument is the program's name.
pub(crate) fn read<P: CommandFactory + FromArgMatches>(
    typed: &[OsString],
) -> Result<Settings<P>, ConfigError> {
    let program = P::command();
    let bare = without_environment(program.clone());
    let typed = &negative::joined(&program, typed)[..];
    let (arguments, origins) = with_layers(&program, &bare, typed)?;
    let matches = bare.clone().try_get_matches_from(arguments);
    let mut matches =
        matches.map_err(|error| ConfigError::Usage(explained(error, &bare, typed, &origins)))?;
    let effective = match matches.subcommand() {
        Some((name, matches)) => program.find_subcommand(name).map(|command| (command, matches)),
        None => None,
    };
    let effective = effective.map(|(command, matches)| EffectiveSettings::of(command, matches));
    let effective = effective.unwrap_or_default();
    let arguments = P::from_arg_matches_mut(&mut matches).map_err(ConfigError::Usage)?;
    Ok(Settings { arguments, effective, origins })
}

/// Completes an error of the parser. The short help loses its groups, a flag of another program
/// gets a hint, and settings that are not on the command line get their origin.
fn explained(
    mut error: clap::Error,
    bare: &Command,
    typed: &[OsString],
    origins: &SettingOrigins,
) -> clap::Error {
    match error.kind() {
        ErrorKind::DisplayHelp if typed.iter().any(|word| word == "--help") => error,
        ErrorKind::DisplayHelp => {
            let short = help::ungrouped(bare.clone()).try_get_matches_from(typed);
            short.err().unwrap_or(error)
        }
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => hinted(error, bare, typed),
        _ => {
            let tips = origins.of_error(&error, bare, typed);
            usage_error::set_tips(&mut error, tips);
            error
        }
    }
}

/// Adds a hint to the error of an unknown argument: a flag of another program, or an address that
/// needs a flag.
fn hinted(mut error: clap::Error, bare: &Command, typed: &[OsString]) -> clap::Error {
    let words: Vec<String> = typed.iter().map(|word| word.to_string_lossy().into()).collect();
    let unknown = error.get(ContextKind::InvalidArg).or(error.get(ContextKind::InvalidSubcommand));
    let unknown = unknown.map(ToString::to_string).unwrap_or_default();
    let (Some(command), Some(unknown)) = (words.get(1), unknown.split(['=', ' ']).next()) else {
        return error;
    };
    let hash = "hash-password";
    let command = if words.get(2).is_some_and(|word| word == hash) {
        &format!("{command} {hash}")
    } else {
        command
    };
    let hint = match unknown.starts_with('-') {
        true => flag_hint(&error, command, unknown, hints::value(&words[1..], unknown)),
        false => hints::word_hint(command, unknown).map_or(FlagHint::Keep, FlagHint::Tip),
    };
    match hint {
        FlagHint::Keep => return error,
        FlagHint::Tip(hint) => usage_error::set_tips(&mut error, vec![hint]),
        FlagHint::Remove => drop(error.remove(ContextKind::SuggestedArg)),
    }
    // The usage line of the parser's error contains a flag that only looks similar to the typed
    // one.
    let mut bare = bare.clone();
    bare.build();
    if let Some(command) = bare.find_subcommand_mut(command) {
        error.insert(ContextKind::Usage, ContextValue::StyledStr(command.render_usage()));
    }
    error
}

/// The treatment of the parser's own suggestion for an unknown argument.
enum FlagHint {
    Keep,
    Remove,
    /// Replace it.
    Tip(String),
}

/// Returns the hint for an unknown flag. The parser suggests flags that have little in common with
/// the typed one, so a flag of another program that is nearer wins.
fn flag_hint(error: &clap::Error, command: &str, flag: &str, value: Option<&str>) -> FlagHint {
    if let Some(hint) = hints::hint(command, flag, value) {
        return FlagHint::Tip(hint);
    }
    let suggested = error.get(ContextKind::SuggestedArg).map(ToString::to_string);
    let suggested = suggested.as_deref().and_then(|flag| flag.split([' ', '=']).next());
    let distance = |known: &str| strsim::damerau_levenshtein(flag, known);
    let is_near = suggested.is_some_and(|known| distance(known) <= known.len().div_ceil(3));
    let foreign = hints::near(command, flag);
    match (foreign, suggested) {
        (Some(foreign), _) if suggested.is_none_or(|known| distance(foreign) < distance(known)) => {
            hints::hint(command, foreign, value).map_or(FlagHint::Keep, FlagHint::Tip)
        }
        (_, Some(_)) if !is_near => FlagHint::Remove,
        _ => FlagHint::Keep,
    }
}

/// Returns the program without its environment variables. [`environment`] reads them and turns
/// their values into arguments.
fn without_environment(command: Command) -> Command {
    let command = command.mut_args(|flag| flag.env(None));
    command.mut_subcommands(without_environment)
}

/// Returns `typed` with the arguments of the file and of the environment added, and the origins of
/// the added ones.
fn with_layers(
    program: &Command,
    bare: &Command,
    typed: &[OsString],
) -> Result<(Vec<OsString>, SettingOrigins), ConfigError> {
    let mut arguments = typed.to_vec();
    let mut origins = SettingOrigins::default();
    // Errors are ignored here. The arguments are parsed again with those of the file, and that
    // parse reports all errors.
    let first = bare.clone().ignore_errors(true).try_get_matches_from(typed);
    let Ok(first) = first else { return Ok((arguments, origins)) };
    // The settings are those of the innermost subcommand; flags of the outer command do not apply.
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
    let takes_variables = command.get_arguments().any(|flag| flag.get_env().is_some());
    let unknown = takes_variables.then(|| environment::unknown(program, std::env::vars_os()));
    let variables = match unknown.flatten() {
        Some(words) => Err(words),
        None => environment::settings(command, environment::get, is_typed),
    };
    let variables = variables.map_err(|words| {
        let named = format!("{} {}", program.get_name(), command.get_name());
        let mut command = command.clone().bin_name(named);
        ConfigError::Usage(command.error(ErrorKind::ValueValidation, words))
    })?;
    let mut said: HashSet<String> = variables.iter().map(|found| found.key.clone()).collect();
    said.extend(keys::flags(command).filter(|(_, flag)| is_typed(flag)).map(|(key, _)| key.into()));
    let path = match variables.iter().find(|found| found.key == CONFIG) {
        Some(found) => found.argument.as_ref().and_then(value),
        None => given.try_get_one::<PathBuf>(CONFIG).ok().flatten().cloned(),
    };
    let is_configurable = configurable(program).any(|one| std::ptr::eq(one, command));
    if place == 0 {
        return Ok((arguments, origins));
    }
    let mut added = Vec::new();
    if let Some(path) = path.filter(|_| is_configurable) {
        let settings = settings(program, command, &path, &said).map_err(ConfigError::File)?;
        for FileSetting { key, line, arguments } in settings {
            origins.add(&key, format!("{} line {line}", path.display()), &arguments);
            added.extend(arguments);
        }
    }
    for setting in variables {
        origins.add(&setting.key, setting.variable, setting.argument.as_slice());
        added.extend(setting.argument);
    }
    arguments.splice(place + 1..place + 1, added);
    Ok((arguments, origins))
}

/// Returns the value of an argument of the form `--key=value`.
fn value(argument: &OsString) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = argument.as_bytes();
    let equals = memchr::memchr(b'=', bytes)?;
    Some(std::ffi::OsStr::from_bytes(&bytes[equals + 1..]).into())
}

/// Returns the file's settings of the command, except the keys in `said`. The command line or the
/// environment has set these.
fn settings(
    program: &Command,
    command: &Command,
    path: &Path,
    said: &HashSet<String>,
) -> anyhow::Result<Vec<FileSetting>> {
    let file = load(path)?;
    check_tables(program, &file).map_err(|error| wrong(path, &error))?;
    let Some(table) = file.table(command.get_name()) else { return Ok(Vec::new()) };
    let settings = keys::arguments(program, command, table);
    let settings = settings.map_err(|error| wrong(path, &error))?;
    Ok(settings.into_iter().filter(|setting| !said.contains(&setting.key)).collect())
}

/// Checks every key and value of the file. Returns the commands that have a table in it, in file
/// order.
///
/// # Errors
/// One sentence with the file, the line and the key.
pub(crate) fn tables(program: &Command, path: &Path) -> anyhow::Result<Vec<String>> {
    let file = load(path)?;
    check_tables(program, &file).map_err(|error| wrong(path, &error))?;
    for table in &file.tables {
        if let Some(command) = program.find_subcommand(&table.name) {
            keys::arguments(program, command, table).map_err(|error| wrong(path, &error))?;
        }
    }
    Ok(file.tables.into_iter().map(|table| table.name).collect())
}

/// Returns the error of a wrong setting in the file at `path`.
fn wrong(path: &Path, error: &ConfigFileError) -> anyhow::Error {
    WrongSetting(format!("{} {error}", path.display())).into()
}

/// Returns a configuration file with every key.
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
        bail!("{flag} is longer than {FILE_BYTES_MAX} bytes, so it is not a configuration file");
    }
    let Ok(text) = String::from_utf8(bytes) else { bail!("{flag} is not UTF-8 text") };
    ConfigFile::parse(&text).map_err(|error| wrong(path, &error))
}

fn check_tables(program: &Command, file: &ConfigFile) -> Result<(), ConfigFileError> {
    let names = || configurable(program).map(Command::get_name);
    let strange = file.tables.iter().find(|table| names().all(|name| name != table.name));
    let Some(table) = strange else { return Ok(()) };
    let hint = match keys::nearest(&table.name, names()) {
        Some(near) => format!("did you mean [{near}]?"),
        None => {
            let all: Vec<String> = names().map(|name| format!("[{name}]")).collect();
            format!("known tables: {}", all.join(", "))
        }
    };
    Err(ConfigFileError {
        line: table.line,
        text: format!("no command has a table [{}]; {hint}", table.name),
    })
}
