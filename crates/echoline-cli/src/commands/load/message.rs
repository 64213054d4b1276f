//! Flags of `load` for the messages and the expected replies.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::usage_error::{UsageError, WrongSetting};
use crate::values::{self, EolName};
use echoline_load::message::LinePattern;
use echoline_load::{Expect, ExpectedReply, Plan, Template};

/// The maximum size of a message file, in bytes, because it is held in memory.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Messages and expected replies.
#[derive(Debug, Args)]
#[command(next_help_heading = "Messages")]
pub(super) struct MessageArgs {
    /// Size of a message, including its line end.
    #[arg(long, env = "ECHOLINE_SIZE", value_name = "BYTES", value_parser = values::bytes)]
    #[arg(default_value = "64")]
    size: usize,

    /// Text of the messages, instead of generated text.
    ///
    /// {seq} is the number of the message, {client} the number of the client, and {random} twelve
    /// random letters. \n, \r, \t and \xHH are bytes.
    #[arg(long, env = "ECHOLINE_MESSAGE", value_name = "TEXT", conflicts_with = "messages_from")]
    message: Option<Template>,

    /// File with messages, one per line, which are sent in turn.
    #[arg(long, env = "ECHOLINE_MESSAGES_FROM", value_name = "FILE")]
    messages_from: Option<PathBuf>,

    /// Line end of messages; replies may have either.
    #[arg(long, env = "ECHOLINE_EOL", value_enum, default_value = "lf")]
    eol: EolName,

    /// Seed of generated messages and random times.
    ///
    /// The same seed sends the same bytes.
    #[arg(long, env = "ECHOLINE_SEED", value_name = "NUMBER", default_value = "1")]
    #[arg(value_parser = |text: &str| values::number_in(text, 0..=u64::MAX))]
    pub(super) seed: u64,

    /// Correct reply: echo, line, any, text:TEXT or regex:PATTERN.
    ///
    /// echo: a line that ends with the message. line: any line. any: any bytes. text: this line,
    /// with placeholders as in --message. regex: a line that matches.
    #[arg(long, env = "ECHOLINE_EXPECT", value_name = "REPLY", value_parser = reply)]
    #[arg(default_value = "echo")]
    expect: ExpectedReply,

    /// Text before each echo [default: learned from the first reply].
    #[arg(long, env = "ECHOLINE_PREFIX", value_name = "TEXT")]
    prefix: Option<String>,

    /// Lines to skip before the first reply, as a greeting.
    #[arg(long, env = "ECHOLINE_SKIP_GREETING", value_name = "LINES", default_value = "0")]
    #[arg(value_parser = |text: &str| values::number_in(text, 0..=u32::MAX))]
    skip_greeting: u32,

    /// Lines of each reply; the last one is checked.
    #[arg(long, env = "ECHOLINE_REPLY_LINES", value_name = "N", default_value = "1")]
    #[arg(value_parser = values::count::<NonZero<u32>>)]
    reply_lines: NonZero<u32>,
}

/// Parses the expected reply.
fn reply(text: &str) -> Result<ExpectedReply, String> {
    match text.split_once(':') {
        None if text == "echo" => Ok(ExpectedReply::Echo { prefix: None }),
        None if text == "line" => Ok(ExpectedReply::Line),
        None if text == "any" => Ok(ExpectedReply::Any),
        Some(("text", template)) => {
            template.parse().map(ExpectedReply::Text).map_err(|error| format!("{error}"))
        }
        Some(("regex", pattern)) => {
            let regex = regex::bytes::Regex::new(pattern)
                .map_err(|error| format!("'{pattern}' is not a regular expression: {error}"))?;
            Ok(ExpectedReply::Matching(LinePattern::new(pattern, move |line: &[u8]| {
                regex.is_match(line)
            })))
        }
        _ => Err(format!(
            "'{text}' is not a reply to expect: write echo, line, any, text:TEXT or regex:PATTERN, \
             for example 'regex:^\\+PONG'"
        )),
    }
}

impl MessageArgs {
    /// Returns the usage error of flags that do not fit together.
    pub(super) fn usage_error(&self, depth: u32) -> Option<&'static str> {
        let echo = matches!(self.expect, ExpectedReply::Echo { .. });
        if self.prefix.is_some() && !echo {
            return Some("--prefix is the text before an echo: remove --expect");
        }
        (matches!(self.expect, ExpectedReply::Any) && depth > 1).then_some(
            "--expect any cannot tell one reply from the next: use --depth 1, or --expect line",
        )
    }

    pub(super) fn expect(&self) -> Expect {
        let reply = match (&self.expect, &self.prefix) {
            (ExpectedReply::Echo { .. }, Some(prefix)) => {
                ExpectedReply::Echo { prefix: Some(prefix.clone().into_bytes()) }
            }
            (reply, _) => reply.clone(),
        };
        Expect { reply, lines: self.reply_lines.get(), greeting_lines: self.skip_greeting }
    }

    /// Returns the message plan of the run.
    ///
    /// # Errors
    /// A sentence that names the flag.
    pub(super) fn plan(
        &self,
        clients: NonZero<u32>,
        messages: Option<NonZero<u32>>,
    ) -> anyhow::Result<Plan> {
        let eol = self.eol.into();
        if let Some(file) = &self.messages_from {
            let plan = Plan::lines(clients, messages, read_lines(file)?, eol);
            let wrong =
                |error| WrongSetting(format!("--messages-from {}: {error}", file.display()));
            return Ok(plan.map_err(wrong)?);
        }
        if let Some(template) = &self.message {
            return Ok(Plan::template(clients, messages, template.clone(), eol, self.seed));
        }
        let plan = Plan::new(clients, messages, self.size, eol, self.seed);
        let size = self.size;
        Ok(plan.map_err(|error| UsageError::new(format!("--size {size}: {error}")))?)
    }
}

/// Reads the lines of a file without their line ends. Empty lines are skipped.
fn read_lines(file: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let name = file.display();
    let length = std::fs::metadata(file)
        .with_context(|| format!("cannot read --messages-from {name}"))?
        .len();
    anyhow::ensure!(
        length <= FILE_BYTES_MAX,
        "--messages-from {name} has {length} bytes: use a file of at most {FILE_BYTES_MAX} bytes"
    );
    let bytes =
        std::fs::read(file).with_context(|| format!("cannot read --messages-from {name}"))?;
    let lines = bytes.split(|&byte| byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    Ok(lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect())
}
