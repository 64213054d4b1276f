//! The result of a command, which may fail before its end.

use echoline::Closed;
use echoline_chat_core::NameError;

/// The result of a command, or of a part of it.
pub(crate) type CommandResult<T = ()> = Result<T, Stop>;

/// The reason why a command stops before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The user is told this sentence.
    Notice(String),
    /// The user was already told the reason.
    Explained,
    /// The connection or the session has ended.
    Closed(Closed),
}

impl From<Closed> for Stop {
    fn from(closed: Closed) -> Self {
        Self::Closed(closed)
    }
}

impl From<String> for Stop {
    fn from(sentence: String) -> Self {
        Self::Notice(sentence)
    }
}

impl From<&str> for Stop {
    fn from(sentence: &str) -> Self {
        Self::Notice(sentence.to_owned())
    }
}

impl From<NameError> for Stop {
    fn from(error: NameError) -> Self {
        Self::Notice(error.to_string())
    }
}
