//! The findings of `echoline check`, and the checks that several flags need.

use std::fs::File;
use std::io::ErrorKind::AddrInUse;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;

use crate::files::links::ResolvedPath;
use crate::files::output;
use crate::server::port_owner::with_holder;
use crate::server::service_address::ServiceAddress;
use echoline::Listener;
use echoline::listener::Scheme;

/// The findings of a check.
#[derive(Debug, Default)]
pub(crate) struct CheckReport {
    subject: String,
    /// The lines for stdout, including notes.
    right: String,
    wrong: Vec<String>,
}

impl CheckReport {
    /// Sets the subject with which all further lines begin.
    pub(crate) fn about(&mut self, subject: String) {
        self.subject = subject;
    }

    /// Prints all findings. Returns exit code 0 if a start would succeed.
    ///
    /// # Errors
    /// All reasons why a start would fail.
    pub(crate) fn report(&self) -> anyhow::Result<ExitCode> {
        output::print(&self.right)?;
        if self.wrong.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        // Each error is a separate line that begins with `echoline: `, like all errors of the
        // program.
        bail!("{}", self.wrong.join("\necholine: "))
    }

    /// Adds a check that succeeded.
    pub(crate) fn right(&mut self, sentence: String) {
        self.right.push_str(&format!("{}: {sentence}\n", self.subject));
    }

    /// Adds a note: a start would succeed, but the user may want to know this.
    pub(crate) fn note(&mut self, sentence: String) {
        self.right.push_str(&format!("{}: note: {sentence}\n", self.subject));
    }

    /// Adds an error: a start would fail.
    pub(crate) fn wrong(&mut self, sentence: String) {
        self.wrong.push(format!("{}: {sentence}", self.subject));
    }
}

/// Checks whether this host could listen on `address`. `words` precedes the address in messages.
pub(crate) fn listening(
    words: &str,
    at: &ServiceAddress,
    findings: &mut CheckReport,
) -> anyhow::Result<()> {
    let address = &at.address;
    if address.scheme() == Scheme::Fd {
        findings.note(format!("{words} {address}, which the service manager must pass"));
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
    let runtime = crate::process::resources::runtime()?;
    match runtime.block_on(Listener::probe(address)) {
        Ok(resolved) => {
            let resolved: Vec<String> = resolved.iter().map(|at| at.ip().to_string()).collect();
            let named = !resolved.iter().any(|ip| ip == address.host());
            let resolved =
                if named { format!(" ({})", resolved.join(", ")) } else { String::new() };
            findings.right(format!("{words} {at}{resolved}"));
        }
        // The address may be in use by the server itself, if its next start is checked while it
        // runs.
        Err(error) if error.kind() == AddrInUse => {
            findings.note(at.name_in(&with_holder(&error, address)));
        }
        Err(error) => findings.wrong(at.name_in(&error.to_string())),
    }
    Ok(())
}

/// Checks whether the file of a flag could be written, without creating it.
pub(crate) fn writable(flag: &str, path: &Path, findings: &mut CheckReport) {
    let subject = format!("{flag} {}", path.display());
    let mut options = File::options();
    // Writing to a pipe without a reader fails at once.
    options.append(true);
    let file = ResolvedPath::from(path).and_then(|path| path.open(&mut options, libc::O_NONBLOCK));
    match file {
        Ok(_) => findings.right(format!("{subject} can be written")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            in_folder(&subject, folder.unwrap_or(Path::new(".")), findings);
        }
        Err(error) => findings.wrong(format!("cannot write {subject}: {error}")),
    }
}

/// Checks whether a file could be created in the folder.
fn in_folder(subject: &str, folder: &Path, findings: &mut CheckReport) {
    match tempfile::tempfile_in(folder) {
        Ok(_) => findings.right(format!("{subject}, which will be created")),
        Err(error) => {
            findings.wrong(format!(
                "{subject}: no file can be created in {}: {error}",
                folder.display()
            ));
        }
    }
}
