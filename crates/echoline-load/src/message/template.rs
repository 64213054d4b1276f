//! Templates of messages, `PING {seq}`. Pure.

use std::fmt::Write;

use super::header::write_number;
use echoline_base::random::Random;

/// The letters of a message's body. There are 32 of them, so that five random bits select one. None
/// is white space, because a line server would strip it.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyzABCDEF";

/// The number of letters of `{random}`.
const RANDOM_LETTERS: usize = 12;

/// A message with placeholders.
///
/// `{seq}` is the number of the message of its client, from 0. `{client}` is the number of the
/// client. `{random}` is twelve letters derived from the seed. `\n`, `\r`, `\t`, `\\` and `\xHH`
/// are escapes of bytes, `{{` and `}}` of braces.
///
/// ```
/// use echoline_load::Template;
///
/// let template: Template = r"SET key:{client}\t{seq}".parse()?;
/// let mut message = Vec::new();
/// template.write(1, 7, 42, &mut message);
/// assert_eq!(message, b"SET key:7\t42");
/// # Ok::<(), echoline_load::message::TemplateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Bytes(Vec<u8>),
    Sequence,
    Client,
    Random,
}

/// The error for a text that is not a [`Template`]. Its message names the correct form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// An unknown placeholder.
    #[error(
        "'{{{0}}}' is not a placeholder: write {{seq}}, {{client}} or {{random}}, or {{{{ for a \
         brace"
    )]
    UnknownPlaceholder(String),
    /// An unmatched brace.
    #[error("a brace has no partner: write {{{{ or }}}} for a literal brace")]
    LoneBrace,
    /// An unknown escape.
    #[error(r"'\{0}' is not an escape: write \n, \r, \t, \\ or \xHH")]
    UnknownEscape(String),
    /// The template is empty.
    #[error("the text is empty: write for example 'PING {{seq}}'")]
    Empty,
}

impl Template {
    /// Appends the message `number` of `client`.
    pub fn write(&self, seed: u64, client: u32, number: u32, message: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                TemplatePart::Bytes(bytes) => message.extend_from_slice(bytes),
                TemplatePart::Sequence => push_decimal(number, message),
                TemplatePart::Client => push_decimal(client, message),
                TemplatePart::Random => {
                    push_letters(&mut Random::new(seed, client, number), RANDOM_LETTERS, message);
                }
            }
        }
    }

    /// Returns the length of the longest message.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        let bytes = self.parts.iter().map(|part| match part {
            TemplatePart::Bytes(bytes) => bytes.len(),
            TemplatePart::Sequence | TemplatePart::Client => 10,
            TemplatePart::Random => RANDOM_LETTERS,
        });
        bytes.sum()
    }
}

fn push_decimal(number: u32, message: &mut Vec<u8>) {
    let start = message.len();
    message.resize(start + number.checked_ilog10().unwrap_or(0) as usize + 1, b'0');
    write_number(number, &mut message[start..]);
}

/// Appends `count` random letters.
pub(crate) fn push_letters(random: &mut Random, mut count: usize, bytes: &mut Vec<u8>) {
    while count > 0 {
        let letters = letters(random);
        let wanted = count.min(letters.len());
        bytes.extend_from_slice(&letters[..wanted]);
        count -= wanted;
    }
}

/// Returns twelve letters from 64 random bits.
fn letters(random: &mut Random) -> [u8; 12] {
    let mut bits = random.next_u64();
    std::array::from_fn(|_| {
        let letter = LETTERS[(bits % 32) as usize];
        bits /= 32;
        letter
    })
}

impl std::str::FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            rest = &rest[letter.len_utf8()..];
            match letter {
                '{' if rest.starts_with('{') => rest = push_brace(rest, &mut bytes),
                '}' if rest.starts_with('}') => rest = push_brace(rest, &mut bytes),
                '{' => {
                    let (name, after) = rest.split_once('}').ok_or(TemplateError::LoneBrace)?;
                    parts.push(TemplatePart::Bytes(std::mem::take(&mut bytes)));
                    parts.push(placeholder(name)?);
                    rest = after;
                }
                '}' => return Err(TemplateError::LoneBrace),
                '\\' => rest = escape(rest, &mut bytes)?,
                _ => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        parts.push(TemplatePart::Bytes(bytes));
        parts.retain(|part| !matches!(part, TemplatePart::Bytes(bytes) if bytes.is_empty()));
        if parts.is_empty() {
            return Err(TemplateError::Empty);
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

fn push_brace<'text>(rest: &'text str, bytes: &mut Vec<u8>) -> &'text str {
    bytes.push(rest.as_bytes()[0]);
    &rest[1..]
}

fn placeholder(name: &str) -> Result<TemplatePart, TemplateError> {
    match name {
        "seq" => Ok(TemplatePart::Sequence),
        "client" => Ok(TemplatePart::Client),
        "random" => Ok(TemplatePart::Random),
        _ => Err(TemplateError::UnknownPlaceholder(name.to_owned())),
    }
}

/// Parses the escape after a backslash, and appends its byte. Returns the text after the escape.
fn escape<'text>(rest: &'text str, bytes: &mut Vec<u8>) -> Result<&'text str, TemplateError> {
    let unknown = |letters: usize| {
        TemplateError::UnknownEscape(rest.chars().take(letters).collect::<String>())
    };
    let byte = match rest.chars().next().ok_or_else(|| unknown(0))? {
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        '\\' => b'\\',
        'x' => {
            let digits = rest.get(1..3).ok_or_else(|| unknown(3))?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| unknown(3))?);
            return Ok(&rest[3..]);
        }
        _ => return Err(unknown(1)),
    };
    bytes.push(byte);
    Ok(&rest[1..])
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_char('\'')?;
        f.write_str(&self.text)?;
        f.write_char('\'')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> Result<Vec<u8>, TemplateError> {
        let template: Template = text.parse()?;
        let mut message = Vec::new();
        template.write(1, 3, 1_000, &mut message);
        assert!(message.len() <= template.bytes_max());
        Ok(message)
    }

    #[test]
    fn replaces_placeholders_and_escapes() {
        assert_eq!(written("PING {seq}").unwrap(), b"PING 1000");
        assert_eq!(written(r"{client}\x00\\\r\t{{}}").unwrap(), b"3\0\\\r\t{}");
        assert_eq!(written("{random}").unwrap().len(), 12);
        assert_ne!(written("{random}"), written("{random}a"));
        assert_eq!(written("привет {seq}").unwrap(), "привет 1000".as_bytes());
    }

    #[test]
    fn rejects_invalid_templates_with_a_remedy() {
        for (text, wanted) in [
            ("{sequence}", "{seq}, {client} or {random}"),
            ("{seq", "has no partner"),
            ("a}b", "has no partner"),
            (r"a\q", r"'\q' is not an escape"),
            (r"a\xg0", r"'\xg0' is not an escape"),
            (r"a\x1", r"\xHH"),
            ("\\", r"\xHH"),
            ("", "the text is empty"),
        ] {
            let error = text.parse::<Template>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in r"([{}\\xnseqclint01\u{e9}]|\{seq\}|\PC){0,12}") {
            let _ = written(&text);
        }
    }
}
