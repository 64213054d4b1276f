//! `echoline check`: whether a server would start, without starting one.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind::AddrInUse;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, error::ErrorKind};

use super::config::{self, Refusal};
use super::links::Followed;
use super::output;
use super::reload::Fresh;
use super::usage_error::UsageError;
use echoline::listener::Scheme;
use echoline::{Address, Listener};

/// The flags of `echoline check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  echoline check --config /etc/echoline/echoline.toml
  echoline check echo --listen 0.0.0.0:7 --max-connections 500

Nothing is listened on. The environment counts, as it does for a server. Exit code: 0 all is \
right, 1 something is wrong, 2 wrong usage.")]
pub(super) struct CheckFlags {
    /// The configuration file; with no COMMAND each of its tables is checked.
    #[arg(long = "config", env = "ECHOLINE_CONFIG", value_name = "PATH")]
    file: Option<PathBuf>,

    /// Print a configuration file with every key there is, what it means, and its default.
    #[arg(long)]
    example: bool,

    /// A server's command and its flags, as it would be started.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Checks. Exit code 0 when all is right.
pub(super) fn run(flags: &CheckFlags) -> anyhow::Result<ExitCode> {
    if flags.example {
        output::print(&config::example())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut findings = Findings::default();
    match (&flags.command[..], &flags.file) {
        ([name, rest @ ..], file) => check_command(name, file.as_deref(), rest, &mut findings)?,
        ([], Some(file)) => check_file(file, &mut findings)?,
        ([], None) => {
            let text = "nothing to check: give --config PATH, or a command and its flags";
            let kind = ErrorKind::MissingRequiredArgument;
            return Err(UsageError::new("check", kind, text).into());
        }
    }
    output::print(&findings.right)?;
    if findings.wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    // Each on a line of its own, like all errors of the program.
    bail!("{}", findings.wrong.join("\necholine: "))
}

/// Checks a command as it would be started.
fn check_command(
    name: &OsString,
    file: Option<&Path>,
    rest: &[OsString],
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let file = file.map(|path| [OsString::from("--config"), path.into()]);
    let words = [OsString::from("echoline"), name.clone()].into_iter();
    let words = words.chain(file.into_iter().flatten()).chain(rest.iter().cloned());
    let (arguments, _) = config::read(&words.collect::<Vec<_>>()).map_err(Refusal::into_error)?;
    findings.about(name.to_string_lossy().into_owned());
    check_flags(arguments.command, findings)
}

/// Checks each server that the file configures. What it says to clients is checked as far as
/// that can be done without their other arguments.
fn check_file(path: &Path, findings: &mut Findings) -> anyhow::Result<()> {
    let tables = config::tables(path)?;
    findings.about(path.display().to_string());
    let names: Vec<String> = tables.iter().map(|name| format!("[{name}]")).collect();
    match names.len() {
        0 => findings.note("it configures nothing".to_owned()),
        _ => findings.right(format!("every key and value of {} is known", names.join(", "))),
    }
    for name in tables {
        let words = ["echoline", &name, "--config"].map(OsString::from);
        let words: Vec<OsString> = words.into_iter().chain([path.into()]).collect();
        findings.about(name);
        match config::read(&words) {
            Ok((arguments, _)) => check_flags(arguments.command, findings)?,
            Err(Refusal::Usage(error)) if error.kind() == ErrorKind::MissingRequiredArgument => {
                findings.right("the rest is said on its command line".to_owned());
            }
            Err(refusal) => findings.wrong(refusal.sentence()),
        }
    }
    Ok(())
}

fn check_flags(command: super::Command, findings: &mut Findings) -> anyhow::Result<()> {
    match Fresh::of(command) {
        Some(server) => server.check(findings),
        None => {
            findings.right("its flags are right; it is no server".to_owned());
            Ok(())
        }
    }
}

/// What a check has found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    subject: String,
    /// Lines for stdout, notes too.
    right: String,
    wrong: Vec<String>,
}

impl Findings {
    /// Has all lines from now on begin with what they are about.
    fn about(&mut self, subject: String) {
        self.subject = subject;
    }

    /// Something is as it should be.
    pub(super) fn right(&mut self, sentence: String) {
        self.right.push_str(&format!("{}: {sentence}\n", self.subject));
    }

    /// A start would succeed, and yet somebody may want to know this.
    pub(super) fn note(&mut self, sentence: String) {
        self.right.push_str(&format!("{}: note: {sentence}\n", self.subject));
    }

    /// A start would fail.
    pub(super) fn wrong(&mut self, sentence: String) {
        self.wrong.push(format!("{}: {sentence}", self.subject));
    }
}

/// Whether this machine could listen there; `words` stand before the address.
pub(super) fn listening(
    words: &str,
    address: &Address,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    if address.scheme() == Scheme::Fd {
        findings.note(format!("{words} {address}, which the service manager is to pass"));
        return Ok(());
    }
    if let Some(path) = address.unix_path() {
        if path.starts_with('@') {
            findings.right(format!("{words} {address}"));
        } else {
            let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
            in_folder(&format!("{words} {address}"), folder, findings);
        }
        return Ok(());
    }
    let runtime = super::resources::runtime()?;
    match runtime.block_on(Listener::probe(address)) {
        Ok(resolved) => {
            let resolved: Vec<String> = resolved.iter().map(|at| at.ip().to_string()).collect();
            let named = !resolved.iter().any(|ip| ip == address.host());
            let resolved =
                if named { format!(" ({})", resolved.join(", ")) } else { String::new() };
            findings.right(format!("{words} {address}{resolved}"));
        }
        // Perhaps by the very server whose next start is being checked.
        Err(error) if error.kind() == AddrInUse => findings.note(format!("{error}")),
        Err(error) => findings.wrong(format!("{error}")),
    }
    Ok(())
}

/// Whether the file of a flag could be written; none is made.
pub(super) fn writable(flag: &str, path: &Path, findings: &mut Findings) {
    let subject = format!("{flag} {}", path.display());
    let mut options = File::options();
    // Writing to a pipe without a reader fails at once.
    options.append(true);
    let file = Followed::from(path).and_then(|path| path.open(&mut options, libc::O_NONBLOCK));
    match file {
        Ok(_) => findings.right(format!("{subject} can be written")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            in_folder(&subject, folder.unwrap_or(Path::new(".")), findings);
        }
        Err(error) => findings.wrong(format!("cannot write {subject}: {error}")),
    }
}

/// Whether a file could be made in the folder.
fn in_folder(subject: &str, folder: &Path, findings: &mut Findings) {
    match tempfile::tempfile_in(folder) {
        Ok(_) => findings.right(format!("{subject}, which will be made")),
        Err(error) => {
            findings
                .wrong(format!("{subject}: nothing can be made in {}: {error}", folder.display()));
        }
    }
}
