//! The replies that a run expects. Pure.

use std::fmt;
use std::sync::Arc;

use crate::message::Template;

/// The expectations that replies are checked against.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The expected last line of a reply.
    pub reply: ExpectedReply,
    /// The number of lines of a reply, at least one. All lines but the last are ignored.
    pub lines: u32,
    /// The number of greeting lines at the start of each connection.
    pub greeting_lines: u32,
}

impl Default for Expect {
    /// Expects an echo of one line, whose prefix is learnt from the first reply.
    fn default() -> Self {
        Self { reply: ExpectedReply::Echo { prefix: None }, lines: 1, greeting_lines: 0 }
    }
}

/// The expected line of a reply, without its line end.
#[derive(Clone, Debug)]
pub enum ExpectedReply {
    /// The message after a prefix. If no prefix is set, each connection learns it from its first
    /// reply, and treats up to 16 lines before that reply as a greeting.
    Echo {
        /// The prefix, for example `Echo: `.
        prefix: Option<Vec<u8>>,
    },
    /// The text of a template.
    Text(Template),
    /// Any line.
    Line,
    /// A line that matches a pattern.
    Matching(LinePattern),
    /// Any bytes: the first bytes after a message are its reply.
    Any,
}

/// A predicate on a line, and its name in reports.
#[derive(Clone)]
pub struct LinePattern {
    name: String,
    matches: Arc<LinePredicate>,
}

type LinePredicate = dyn Fn(&[u8]) -> bool + Send + Sync;

impl LinePattern {
    /// Creates a pattern that matches the lines for which `matches` returns true.
    pub fn new(
        name: impl Into<String>,
        matches: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), matches: Arc::new(matches) }
    }

    pub(crate) fn matches(&self, line: &[u8]) -> bool {
        (self.matches)(line)
    }
}

impl fmt::Debug for LinePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.name).finish()
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reply {
            ExpectedReply::Echo { prefix: None } => write!(f, "echo")?,
            ExpectedReply::Echo { prefix: Some(prefix) } => {
                write!(f, "echo after '{}'", prefix.escape_ascii())?;
            }
            ExpectedReply::Text(template) => write!(f, "text {template}")?,
            ExpectedReply::Line => write!(f, "any line")?,
            ExpectedReply::Matching(pattern) => write!(f, "a line that matches {}", pattern.name)?,
            ExpectedReply::Any => write!(f, "any bytes")?,
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
