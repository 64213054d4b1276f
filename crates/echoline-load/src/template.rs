//! Messages that are made from a pattern, `PING {seq}`. Pure.

use std::fmt::Write;

use super::plan::push_letters;
use echoline_base::random::Random;

/// Letters that `{random}` stands for.
const RANDOM_LETTERS: usize = 12;

/// A message with places that differ from one to the next.
///
/// `{seq}` is the number of the message of its client, from 0; `{client}` the number of the
/// client; `{random}` twelve letters made from the seed. `\n`, `\r`, `\t`, `\\` and `\xHH` stand
/// for bytes, `{{` and `}}` for braces.
///
/// ```
/// use echoline_load::Template;
///
/// let template: Template = r"SET key:{client}\t{seq}".parse()?;
/// let mut message = Vec::new();
/// template.write(1, 7, 42, &mut message);
/// assert_eq!(message, b"SET key:7\t42");
/// # Ok::<(), echoline_load::TemplateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    Sequence,
    Client,
    Random,
}

/// Why a text is no [`Template`]; the message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// Braces around something else.
    #[error("'{{{0}}}' is no place: write {{seq}}, {{client}} or {{random}}, or {{{{ for a brace")]
    UnknownPlace(String),
    /// A brace that has no other.
    #[error("a brace stands alone: write {{{{ or }}}} for one that is meant")]
    LoneBrace,
    /// A backslash before something else.
    #[error(r"a backslash stands before '{0}': write \n, \r, \t, \\ or \xHH")]
    UnknownEscape(String),
    /// Nothing at all.
    #[error("there is no text: write for example 'PING {{seq}}'")]
    Empty,
}

impl Template {
    /// Appends the message `number` of `client`.
    pub fn write(&self, seed: u64, client: u32, number: u32, message: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => message.extend_from_slice(bytes),
                Part::Sequence => push_decimal(number, message),
                Part::Client => push_decimal(client, message),
                Part::Random => {
                    push_letters(&mut Random::new(seed, client, number), RANDOM_LETTERS, message);
                }
            }
        }
    }

    /// The most bytes that a message takes.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        let bytes = self.parts.iter().map(|part| match part {
            Part::Bytes(bytes) => bytes.len(),
            Part::Sequence | Part::Client => 10,
            Part::Random => RANDOM_LETTERS,
        });
        bytes.sum()
    }
}

fn push_decimal(number: u32, message: &mut Vec<u8>) {
    let width = number.checked_ilog10().unwrap_or(0) as usize + 1;
    super::plan::push_number(number, width, message);
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
                '{' if rest.starts_with('{') => rest = take_brace(rest, &mut bytes),
                '}' if rest.starts_with('}') => rest = take_brace(rest, &mut bytes),
                '{' => {
                    let (name, after) = rest.split_once('}').ok_or(TemplateError::LoneBrace)?;
                    parts.push(Part::Bytes(std::mem::take(&mut bytes)));
                    parts.push(place(name)?);
                    rest = after;
                }
                '}' => return Err(TemplateError::LoneBrace),
                '\\' => rest = escape(rest, &mut bytes)?,
                _ => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        parts.push(Part::Bytes(bytes));
        parts.retain(|part| !matches!(part, Part::Bytes(bytes) if bytes.is_empty()));
        if parts.is_empty() {
            return Err(TemplateError::Empty);
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

fn take_brace<'text>(rest: &'text str, bytes: &mut Vec<u8>) -> &'text str {
    bytes.push(rest.as_bytes()[0]);
    &rest[1..]
}

fn place(name: &str) -> Result<Part, TemplateError> {
    match name {
        "seq" => Ok(Part::Sequence),
        "client" => Ok(Part::Client),
        "random" => Ok(Part::Random),
        _ => Err(TemplateError::UnknownPlace(name.to_owned())),
    }
}

/// Appends what the text after a backslash stands for, and gives back what follows it.
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
    fn places_and_escapes_become_bytes() {
        assert_eq!(written("PING {seq}").unwrap(), b"PING 1000");
        assert_eq!(written(r"{client}\x00\\\r\t{{}}").unwrap(), b"3\0\\\r\t{}");
        assert_eq!(written("{random}").unwrap().len(), 12);
        assert_ne!(written("{random}"), written("{random}a"));
        assert_eq!(written("привет {seq}").unwrap(), "привет 1000".as_bytes());
    }

    #[test]
    fn every_bad_form_says_what_to_write() {
        for (text, wanted) in [
            ("{sequence}", "{seq}, {client} or {random}"),
            ("{seq", "stands alone"),
            ("a}b", "stands alone"),
            (r"a\q", r"before 'q'"),
            (r"a\xg0", r"before 'xg0'"),
            (r"a\x1", r"\xHH"),
            ("\\", r"\xHH"),
            ("", "no text"),
        ] {
            let error = text.parse::<Template>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in r"([{}\\xnseqclint01\u{e9}]|\{seq\}|\PC){0,12}") {
            let _ = written(&text);
        }
    }
}
