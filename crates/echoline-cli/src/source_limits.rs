//! Rates and penalties per source: the flag, and its reload.

use std::sync::Arc;

use clap::Args;

use super::reload::{Commit, Fresh, Renewal};
use echoline::sources::{SourceLimits, Sources};

/// The flag that changes the rates of a source.
#[derive(Debug, Args)]
pub(super) struct SourceLimitFlags {
    /// Change the limits of one source (an address, IPv6: one /64 network; a user of this machine
    /// at a Unix socket), for example "logins 5/s burst 300, exempt 192.0.2.0/24" or "off"; may be
    /// given several times. [default: a chat limits every action; an echo none]
    ///
    /// The actions are connections, logins, wrong-passwords, wrong-operator-passwords, rooms,
    /// tokens, moderation and expensive-commands. Each is `ACTION RATE [burst N]` or `ACTION off`.
    /// A source that goes over a rate is refused for `first-penalty` (2s), each further time twice
    /// as long up to `longest-penalty` (5m); the length halves after each `penalty-decay` (2m)
    /// without another one. `exempt NETWORK` has no limits. `loopback limited` limits connections
    /// and logins from loopback addresses too. `max-sources N` bounds the table (65536).
    #[arg(long, env = "ECHOLINE_SOURCE_LIMIT", value_name = "TEXT", value_parser = check)]
    #[arg(help_heading = "Rates and penalties per source")]
    source_limit: Vec<String>,
}

/// Each text is checked by itself, so that the error names the flag.
fn check(text: &str) -> Result<String, String> {
    let error = SourceLimits::off().change(text).err();
    error.map_or_else(|| Ok(text.to_owned()), |error| Err(error.to_string()))
}

impl SourceLimitFlags {
    /// The limits of a command whose defaults these are.
    pub(super) fn limits(&self, defaults: &SourceLimits) -> SourceLimits {
        let mut limits = defaults.clone();
        for text in &self.source_limit {
            limits.change(text).expect("the parser of the flag has read it");
        }
        limits
    }
}

/// Puts changed limits in force; penalties stay.
pub(super) fn renewal(defaults: SourceLimits, sources: Arc<Sources>) -> Renewal {
    let prepare = move |fresh: &Fresh| {
        let limits = fresh.serving().bounds.source_limits(&defaults);
        if limits == sources.limits() {
            return Ok(None);
        }
        let sources = Arc::clone(&sources);
        let commit: Commit = Box::new(move || {
            sources.set_limits(limits);
            String::new()
        });
        Ok(Some(commit))
    };
    Renewal { keys: &["source-limit"], prepare: Box::new(prepare) }
}
