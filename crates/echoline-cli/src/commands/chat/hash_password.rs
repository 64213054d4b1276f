//! `echoline chat hash-password`: an Argon2id hash for `--operator-password-file`.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::files::output::{print, tell_plainly};
use echoline_chat::hash_password;

/// The shortest password, in bytes.
pub(crate) const PASSWORD_MIN: usize = 8;

/// The longest password, in bytes: `/oper PASSWORD` has to fit a line.
const PASSWORD_MAX: usize = 1024;

/// Ctrl-C. It arrives as a character while the terminal does not generate signals.
const INTERRUPT: char = '\u{3}';

/// The flags of `echoline chat hash-password`. The password is not a flag, because the process list
/// would show it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit code: 0 after success, 1 after a failure, 2 for wrong usage.

Examples:
  echoline chat hash-password > operator-password")]
pub(crate) struct HashPasswordArgs {}

/// Prints the hash of a password that is typed twice, or is the first line of standard input.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let password = if io::stdin().is_terminal() { ask()? } else { read_line()? };
    if password.len() < PASSWORD_MIN {
        bail!("the password is too short: type at least {PASSWORD_MIN} characters");
    }
    if password.len() > PASSWORD_MAX {
        bail!("the password is too long: at most {PASSWORD_MAX} bytes");
    }
    let hash = hash_password(&password).context("the system has no memory for a hash")?;
    print(&format!("{hash}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn ask() -> anyhow::Result<String> {
    let _quiet = Quiet::begin().context("cannot turn off the echo of the terminal")?;
    tell_plainly("Operator password: ");
    let password = typed()?;
    tell_plainly("Repeat the password: ");
    if typed()? != password {
        bail!("the two passwords differ");
    }
    Ok(password)
}

fn typed() -> anyhow::Result<String> {
    let line = read_line();
    tell_plainly("\n");
    match line? {
        line if line.contains(INTERRUPT) => bail!("interrupted"),
        line => Ok(line),
    }
}

/// Reads a line and trims white space, like the first line of `--operator-password-file`.
fn read_line() -> anyhow::Result<String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).context("cannot read standard input")?;
    Ok(line.trim().to_owned())
}

/// Keeps the echo and the signals of the terminal off until it is dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Flush, &modes)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // The call fails only if the terminal was closed.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
