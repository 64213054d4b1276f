//! A reload (SIGHUP): everything is read and checked first and then put in place, or nothing is.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;

use anyhow::anyhow;

use super::Command;
use super::chat::ChatFlags;
use super::check::Findings;
use super::config::{self, Change, Refusal, Settings};
use super::echo::EchoFlags;
use super::serving::ServingFlags;

/// What a part of a running server does when its settings are read anew.
pub(super) struct Renewal {
    /// The flags, by their long names, that this part puts into effect on a running server. What
    /// no part names takes effect at the next start, which is said.
    pub(super) keys: &'static [&'static str],
    /// Reads and checks what is new, files too, and changes nothing. `None` where there is nothing
    /// to put in place; an error, in one sentence, calls the whole reload off. It runs on a thread
    /// that may block.
    pub(super) prepare: Prepare,
}

/// See [`Renewal::prepare`].
pub(super) type Prepare = Box<dyn FnMut(&Fresh) -> anyhow::Result<Option<Commit>> + Send>;

/// Puts in place what was prepared, which cannot fail; answers what is to be said about it in the
/// log, or nothing.
pub(super) type Commit = Box<dyn FnOnce() -> String + Send>;

/// The flags as they are now: command line over environment over file.
#[derive(Debug)]
pub(super) enum Fresh {
    Echo(Box<EchoFlags>),
    Chat(Box<ChatFlags>),
}

impl Fresh {
    /// The flags of a server; a client has none that could be fresh.
    pub(super) fn of(command: Command) -> Option<Self> {
        match command {
            Command::Echo(flags) => Some(Self::Echo(flags)),
            Command::Chat(flags) => Some(Self::Chat(flags)),
            _ => None,
        }
    }

    /// What every serving command has.
    pub(super) fn serving(&self) -> &ServingFlags {
        match self {
            Self::Echo(flags) => flags.serving(),
            Self::Chat(flags) => flags.serving(),
        }
    }

    /// Those of an echo.
    pub(super) fn echo(&self) -> Option<&EchoFlags> {
        if let Self::Echo(flags) = self { Some(flags) } else { None }
    }

    /// Those of a chat.
    pub(super) fn chat(&self) -> Option<&ChatFlags> {
        if let Self::Chat(flags) = self { Some(flags) } else { None }
    }

    /// What puts into effect what cannot change in a running process.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Echo(_) => "a restart or an upgrade (SIGUSR2)",
            Self::Chat(_) => "a restart",
        }
    }

    /// What is wrong with the flags together, although each is right by itself.
    fn mistake(&self) -> Option<String> {
        match self {
            Self::Echo(flags) => flags.mistake(),
            Self::Chat(_) => None,
        }
    }

    /// Says whether a server could be started with these flags.
    pub(super) fn check(&self, findings: &mut Findings) -> anyhow::Result<()> {
        match self {
            Self::Echo(flags) => flags.check(findings),
            Self::Chat(flags) => flags.check(findings),
        }
    }
}

/// What is done at each SIGHUP, whatever becomes of the settings.
pub(super) type Always = Box<dyn FnMut() -> anyhow::Result<()> + Send>;

/// All that a reload puts in place.
struct Prepared {
    settings: Settings,
    commits: Vec<Commit>,
    remedy: &'static str,
}

/// Reads the settings of one process again, as often as it is told to.
pub(super) struct Reload {
    /// The arguments of the program, its name first.
    arguments: Vec<OsString>,
    /// What holds; where a key cannot change while the server runs, what it began with.
    settings: Settings,
    always: Vec<Always>,
    renewals: Vec<Renewal>,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Reload {
    /// Of a program that was started with these arguments and runs with these settings.
    pub(super) fn new(arguments: &[OsString], settings: Settings) -> Self {
        Self { arguments: arguments.to_vec(), settings, always: Vec::new(), renewals: Vec::new() }
    }

    /// Has one more part take part, after those that are there.
    pub(super) fn add(&mut self, renewal: Renewal) {
        self.renewals.push(renewal);
    }

    /// Has something done at each SIGHUP, before the settings are read.
    pub(super) fn always(&mut self, always: impl FnMut() -> anyhow::Result<()> + Send + 'static) {
        self.always.push(Box::new(always));
    }

    /// Reads everything anew, and logs what has become of it. Blocks for as long as files take.
    pub(super) fn run(&mut self) {
        for always in &mut self.always {
            if let Err(error) = always() {
                tracing::error!("{error:#}; it goes on as before");
            }
        }
        match self.prepare() {
            Ok(ready) => self.commit(ready),
            Err(error) => tracing::error!("nothing was reloaded, all stays as it was: {error:#}"),
        }
    }

    fn prepare(&mut self) -> anyhow::Result<Prepared> {
        let sentence = |refusal: Refusal| anyhow!("{}", refusal.sentence());
        let (arguments, settings) = config::read(&self.arguments).map_err(sentence)?;
        let fresh = Fresh::of(arguments.command).ok_or_else(|| anyhow!("no server"))?;
        if let Some(mistake) = fresh.mistake() {
            return Err(anyhow!(mistake));
        }
        let mut commits = Vec::new();
        for renewal in &mut self.renewals {
            commits.extend((renewal.prepare)(&fresh)?);
        }
        Ok(Prepared { settings, commits, remedy: fresh.remedy() })
    }

    fn commit(&mut self, prepared: Prepared) {
        let Prepared { settings: new, commits, remedy } = prepared;
        let said: Vec<String> = commits.into_iter().map(|commit| commit()).collect();
        let live: BTreeSet<&str> =
            self.renewals.iter().flat_map(|renewal| renewal.keys).copied().collect();
        for Change { key, from, to } in self.settings.changes(&new) {
            if live.contains(key.as_str()) {
                tracing::info!("{key}: {from} → {to}");
                self.settings.take(&key, &new);
            } else {
                tracing::warn!("{key}: {to} needs {remedy}; {from} stays");
            }
        }
        for sentence in said.iter().filter(|sentence| !sentence.is_empty()) {
            tracing::info!("{sentence}");
        }
        tracing::info!("reloaded");
    }
}
