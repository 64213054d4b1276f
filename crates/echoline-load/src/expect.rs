//! What a right reply is. Pure.

use std::fmt;
use std::sync::Arc;

use super::template::Template;

/// What the replies of a server are held against.
#[derive(Clone, Debug)]
pub struct Expect {
    /// What the last line of a reply must be.
    pub reply: Reply,
    /// Lines of a reply, at least one; all but the last may say anything.
    pub lines: u32,
    /// Lines that each connection begins with and that are no reply.
    pub greeting_lines: u32,
}

impl Default for Expect {
    /// An echo, whose prefix is learnt from the first reply, in one line.
    fn default() -> Self {
        Self { reply: Reply::Echo { prefix: None }, lines: 1, greeting_lines: 0 }
    }
}

/// What a line of the server must be, its line end left out.
#[derive(Clone, Debug)]
pub enum Reply {
    /// What was sent, and before it this prefix. Where none is given, each connection learns it
    /// from its first reply, and takes up to 16 lines before that for a greeting.
    Echo {
        /// What stands before the text, as `Echo: `.
        prefix: Option<Vec<u8>>,
    },
    /// Exactly this, made anew for each message.
    Text(Template),
    /// Any line.
    Line,
    /// A line with something in it.
    Matching(Pattern),
    /// Any bytes, line or not: what comes first after a message is its reply.
    Any,
}

/// A question to a line, with the words in which it is shown.
#[derive(Clone)]
pub struct Pattern {
    name: String,
    matches: Arc<Question>,
}

type Question = dyn Fn(&[u8]) -> bool + Send + Sync;

impl Pattern {
    /// Takes the lines for which `matches` says yes.
    pub fn new(
        name: impl Into<String>,
        matches: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), matches: Arc::new(matches) }
    }

    pub(super) fn matches(&self, line: &[u8]) -> bool {
        (self.matches)(line)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.name).finish()
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reply {
            Reply::Echo { prefix: None } => write!(f, "echo")?,
            Reply::Echo { prefix: Some(prefix) } => {
                write!(f, "echo after '{}'", prefix.escape_ascii())?;
            }
            Reply::Text(template) => write!(f, "text {template}")?,
            Reply::Line => write!(f, "any line")?,
            Reply::Matching(pattern) => write!(f, "a line that matches {}", pattern.name)?,
            Reply::Any => write!(f, "any bytes")?,
        }
        if self.lines > 1 {
            write!(f, ", in line {} of each reply", self.lines)?;
        }
        if self.greeting_lines > 0 {
            write!(f, ", after {} lines of greeting", self.greeting_lines)?;
        }
        Ok(())
    }
}
