//! Refusals of sources, and the penalties that operators see.

use std::fmt;
use std::time::Duration;

use super::limits::SourceAction;
use crate::connection::limits::Closed;
use echoline_base::source::Source;

/// The refusal of one action of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceRefusal {
    /// The action that was refused.
    pub action: SourceAction,
    /// The time after which the source may try again.
    pub wait: Duration,
    /// Whether this refusal began a penalty. It is true only once for each penalty, so a log of
    /// such refusals cannot be flooded.
    pub is_new_penalty: bool,
}

/// A source that has a penalty, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PenalisedSource {
    /// The source.
    pub source: Source,
    /// The action that is refused.
    pub action: SourceAction,
    /// The time until the penalty ends.
    pub remaining: Duration,
    /// The number of recent penalties, which determines the length of the next one.
    pub level: u32,
}

impl SourceRefusal {
    /// Returns the wait in whole seconds, rounded up: at least one.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.wait_ms().div_ceil(1000)
    }

    /// Returns the wait in milliseconds, rounded up: at least one.
    #[must_use]
    pub fn wait_ms(&self) -> u64 {
        u64::try_from(self.wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
    }

    /// Returns the close reason of a connection that was refused for this reason.
    pub(crate) fn closed(&self) -> Closed {
        Closed::SourceRate(u16::try_from(self.seconds()).unwrap_or(u16::MAX))
    }
}

/// One sentence for the user, without a full stop: `Too many new rooms from your address; try
/// again in 8 s`.
impl fmt::Display for SourceRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions = match self.action {
            SourceAction::Connection => "connections",
            SourceAction::Login => "login attempts",
            SourceAction::WrongPassword => "wrong passwords or tokens",
            SourceAction::WrongOperatorPassword => "wrong operator passwords",
            SourceAction::Room => "new rooms",
            SourceAction::Token => "new tokens",
            SourceAction::Moderation => "moderation commands",
            SourceAction::Expensive => "searches and lists",
        };
        write!(f, "Too many {actions} from your address; try again in {} s", self.seconds())
    }
}
