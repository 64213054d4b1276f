//! Reloads the settings on SIGHUP. A reload first reads and checks all settings, and then applies
//! either all of them or none.

use std::collections::BTreeSet;
use std::fmt;

use crate::config::{EffectiveSettings, SettingChange};

/// The hook by which one component of a running server takes part in a reload. `F` is the type of
/// the flags that it reads.
pub(crate) struct ReloadHook<F> {
    /// The flags, by their long names, that this component applies on a running server. A flag
    /// that no hook names takes effect at the next start, and the log says so.
    pub(crate) keys: &'static [&'static str],
    /// Reads and checks the new settings and their files, without a change. Returns `None` if there
    /// is nothing to apply. An error, in one sentence, cancels the whole reload. Runs on a thread
    /// that may block.
    pub(crate) prepare: Prepare<F>,
}

/// See [`ReloadHook::prepare`].
pub(crate) type Prepare<F> = Box<dyn FnMut(&F) -> anyhow::Result<Option<Commit>> + Send>;

impl<P: 'static> ReloadHook<P> {
    /// Returns the same hook for the type `F`, whose part `part` has this hook's flags.
    pub(crate) fn within<F>(mut self, part: impl Fn(&F) -> &P + Send + 'static) -> ReloadHook<F> {
        let prepare = move |flags: &F| (self.prepare)(part(flags));
        ReloadHook { keys: self.keys, prepare: Box::new(prepare) }
    }
}

/// A function that applies the prepared settings and cannot fail. It returns a note for the log, or
/// an empty string.
pub(crate) type Commit = Box<dyn FnOnce() -> String + Send>;

/// An action that runs at each SIGHUP, even if the settings cannot be reloaded.
pub(crate) type ReloadAction = Box<dyn FnMut() -> anyhow::Result<()> + Send>;

/// A function that reads the flags of a server, and its settings as text.
type ReadSettings<F> = Box<dyn FnMut() -> anyhow::Result<(F, EffectiveSettings)> + Send>;

/// Everything that a reload applies.
struct PreparedReload {
    settings: EffectiveSettings,
    commits: Vec<Commit>,
}

/// Reloads the settings of one process, any number of times. `F` are the flags of its command.
pub(crate) struct Reload<F> {
    read: ReadSettings<F>,
    /// The settings in effect. A key that cannot change at run time keeps its first value.
    settings: EffectiveSettings,
    /// The action, as the log names it, that applies the keys that a reload cannot apply.
    applied_by: &'static str,
    always: Vec<ReloadAction>,
    hooks: Vec<ReloadHook<F>>,
}

impl<F> fmt::Debug for Reload<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl<F> Reload<F> {
    /// Creates a reload of a program that runs with these settings and `read`s new ones.
    pub(crate) fn new(
        read: impl FnMut() -> anyhow::Result<(F, EffectiveSettings)> + Send + 'static,
        settings: EffectiveSettings,
        applied_by: &'static str,
    ) -> Self {
        let read = Box::new(read);
        Self { read, settings, applied_by, always: Vec::new(), hooks: Vec::new() }
    }

    /// Adds a hook. Hooks run in the order in which they were added.
    pub(crate) fn add(&mut self, hook: ReloadHook<F>) {
        self.hooks.push(hook);
    }

    /// Adds an action that runs at each SIGHUP, before the settings are read.
    pub(crate) fn always(&mut self, always: impl FnMut() -> anyhow::Result<()> + Send + 'static) {
        self.always.push(Box::new(always));
    }

    /// Reloads all settings and logs the result. Blocks while it reads files.
    pub(crate) fn run(&mut self) {
        for always in &mut self.always {
            if let Err(error) = always() {
                tracing::error!("{error:#}; it stays as it was");
            }
        }
        match self.prepare() {
            Ok(ready) => self.commit(ready),
            Err(error) => {
                tracing::error!("the settings were not reloaded, and none has changed: {error:#}")
            }
        }
    }

    fn prepare(&mut self) -> anyhow::Result<PreparedReload> {
        let (flags, settings) = (self.read)()?;
        let mut commits = Vec::new();
        for hook in &mut self.hooks {
            commits.extend((hook.prepare)(&flags)?);
        }
        Ok(PreparedReload { settings, commits })
    }

    fn commit(&mut self, prepared: PreparedReload) {
        let PreparedReload { settings: new, commits } = prepared;
        let said: Vec<String> = commits.into_iter().map(|commit| commit()).collect();
        let live: BTreeSet<&str> = self.hooks.iter().flat_map(|hook| hook.keys).copied().collect();
        for SettingChange { key, from, to } in self.settings.changes(&new) {
            if live.contains(key.as_str()) {
                tracing::info!("{key}: {from} → {to}");
                self.settings.take(&key, &new);
            } else {
                tracing::warn!("{key}: {to} needs {}; {from} stays", self.applied_by);
            }
        }
        for sentence in said.iter().filter(|sentence| !sentence.is_empty()) {
            tracing::info!("{sentence}");
        }
        tracing::info!("reloaded");
    }
}
