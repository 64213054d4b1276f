//! Cleans text once, when a line enters the chat: only allowed characters stay. The result is safe
//! for terminals.
//!
//! Characters that are not allowed are removed. Nothing is escaped or marked, because people read
//! the text. The rules follow Unicode Technical Report 36, and Unicode Standard Annex 31 for the
//! joiners.

pub(crate) mod character;
mod erase;
pub(crate) mod wrap;

pub use character::{CharacterKind, has_break, kind, lines};
pub use erase::erase;
pub use wrap::wrap;

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::{self, Chars};

use unicode_properties::UnicodeEmoji;
use unicode_script::{Script, UnicodeScript};

use crate::text::character::{is_common, is_letter};

/// The maximum number of consecutive combining marks. More would cover the lines around them.
const MARKS_MAX: u8 = 4;

/// The maximum length of an excerpt, in characters.
const EXCERPT_CHARACTERS_MAX: usize = 24;

/// The maximum number of bytes that [`escape`] prints.
const ESCAPE_BYTES_MAX: usize = 128;

/// The error for bytes that are not UTF-8, such as other encodings, Telnet commands, surrogates and
/// overlong forms (RFC 3629, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("That line is not UTF-8 (byte {}): set your terminal to UTF-8 and send it again", .at + 1)]
pub struct NotText {
    /// The number of valid bytes before the first invalid one.
    pub at: usize,
}

/// Returns the part of `bytes` that is safe on any terminal: printable characters and tabs. Every
/// other kind of space becomes a plain space.
///
/// Separators of lines or paragraphs become spaces, so that words stay separate. Other control
/// characters (C0, DEL, C1), direction marks, zero-width characters, tags, fillers, private use
/// characters and unassigned code points (Unicode 18) are removed. The joiners U+200C and U+200D
/// stay only between emoji, and between letters of a script that needs them. At most 4 consecutive
/// combining marks stay, and none before the first character.
///
/// Printable ASCII is returned without a copy. Cleaning a text twice changes nothing.
///
/// ```
/// use echoline_chat_core::text::clean;
///
/// assert_eq!(clean(b"\x1b[31mred\x07\ttab")?, "[31mred\ttab");
/// assert_eq!(clean("привет".as_bytes())?, "привет");
/// assert!(clean(b"\xff").is_err());
/// # Ok::<(), echoline_chat_core::text::NotText>(())
/// ```
///
/// # Errors
/// [`NotText`] if the bytes are not UTF-8. Surrogates and overlong forms are not UTF-8.
pub fn clean(bytes: &[u8]) -> Result<Cow<'_, str>, NotText> {
    let plain = is_plain(bytes);
    let text = str::from_utf8(bytes).map_err(|error| NotText { at: error.valid_up_to() })?;
    if plain || is_clean(text) {
        return Ok(Cow::Borrowed(text));
    }
    let mut cleaned = String::with_capacity(text.len());
    cleaned.extend(Cleaned::new(text));
    Ok(Cow::Owned(cleaned))
}

/// Returns whether [`clean`] returns the text unchanged.
#[must_use]
pub fn is_clean(text: &str) -> bool {
    // Fast path: most lines need neither the tables nor the rules about neighbouring characters.
    text.chars().all(|c| matches!(c, ' ' | '\t') || is_common(c))
        || Cleaned::new(text).eq(text.chars())
}

/// Returns whether all bytes are printable ASCII.
fn is_plain(bytes: &[u8]) -> bool {
    // Tests the bytes in blocks, so that the compiler can vectorize the loop. The last block may
    // overlap the one before it, so that no byte needs a separate test.
    const BLOCK: usize = 16;
    let Some(last) = bytes.last_chunk::<BLOCK>() else { return are_plain(bytes) };
    bytes.chunks_exact(BLOCK).all(are_plain) && are_plain(last)
}

/// Tests all bytes without an early exit, so that a block of fixed size is vectorized.
#[inline]
fn are_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |plain, byte| plain & (b' '..=b'~').contains(byte))
}

/// Returns the beginning of an untrusted text for use in a sentence, cleaned and at most 24
/// characters long.
#[must_use]
pub fn excerpt(text: &str) -> String {
    let spaced = |c| if c == '\t' { ' ' } else { c };
    let mut characters = Cleaned::new(text).map(spaced);
    let mut shown: String = characters.by_ref().take(EXCERPT_CHARACTERS_MAX).collect();
    if characters.next().is_some() {
        // A joiner at the end has lost the character that it would join.
        shown.truncate(shown.trim_end_matches(is_joiner).len());
        shown.push('…');
    }
    shown
}

/// An iterator over the cleaned characters of a text.
#[derive(Clone)]
struct Cleaned<'a> {
    characters: Chars<'a>,
    filter: Filter,
    /// The next character to return; the joiner before it was just returned.
    ready: Option<char>,
}

impl<'a> Cleaned<'a> {
    fn new(text: &'a str) -> Self {
        Self { characters: text.chars(), filter: Filter::default(), ready: None }
    }
}

impl Iterator for Cleaned<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        if let Some(ready) = self.ready.take() {
            return Some(ready);
        }
        loop {
            let (joiner, shown) = self.filter.take(self.characters.next()?);
            if let Some(joiner) = joiner {
                self.ready = shown;
                return Some(joiner);
            }
            if shown.is_some() {
                return shown;
            }
        }
    }
}

/// A filter for characters. It depends only on the characters that it has let through, and not on
/// removed ones. Cleaning a text twice therefore changes nothing.
#[derive(Clone, Default)]
struct Filter {
    /// The last character that was let through and is neither a mark nor a joiner.
    base: Option<char>,
    /// The number of marks after `base`.
    marks: u8,
    /// A joiner after `base`, held back until the next character shows whether it has a meaning.
    joiner: Option<char>,
}

impl Filter {
    /// Returns the output for `c`: the joiner that was held back, if any, and a character.
    fn take(&mut self, c: char) -> (Option<char>, Option<char>) {
        match kind(c) {
            CharacterKind::Visible => {
                let joiner = self.joiner.take().filter(|&joiner| self.joins(joiner, c));
                (self.base, self.marks) = (Some(c), 0);
                (joiner, Some(c))
            }
            CharacterKind::Space | CharacterKind::Break => {
                *self = Self { base: Some(' '), ..Self::default() };
                (None, Some(if c == '\t' { '\t' } else { ' ' }))
            }
            CharacterKind::Mark if self.base.is_some() && self.marks < MARKS_MAX => {
                self.marks += 1;
                (self.joiner.take().filter(|&joiner| self.joins(joiner, c)), Some(c))
            }
            CharacterKind::Presentation
                if self.marks == 0 && self.base.is_some_and(has_presentations) =>
            {
                self.marks = 1;
                self.joiner = None;
                (None, Some(c))
            }
            CharacterKind::Joiner => {
                self.joiner = self.joiner.or(Some(c));
                (None, None)
            }
            CharacterKind::Mark | CharacterKind::Presentation | CharacterKind::Unwanted => {
                (None, None)
            }
        }
    }

    /// Returns whether `joiner` has a meaning between the last base character and `next`.
    fn joins(&self, joiner: char, next: char) -> bool {
        let Some(base) = self.base else { return false };
        let letters = is_letter(base) && (is_letter(next) || kind(next) == CharacterKind::Mark);
        if letters {
            return needs_joiners(base.script()) && base.script() == next.script();
        }
        joiner == '\u{200D}' && is_emoji(base) && is_emoji(next)
    }
}

/// Returns whether `c` is U+200C or U+200D.
pub(crate) fn is_joiner(c: char) -> bool {
    kind(c) == CharacterKind::Joiner
}

fn is_emoji(c: char) -> bool {
    !c.is_ascii() && c.is_emoji_char()
}

/// Returns whether a presentation selector may follow `c`. Besides emoji, these are digits, `#` and
/// `*`, which form keycaps.
fn has_presentations(c: char) -> bool {
    c.is_emoji_char()
}

/// Returns whether a script is cursive or forms conjuncts (The Unicode Standard, sections 9.2 and
/// 12.1), so that a joiner between its letters has a meaning.
fn needs_joiners(script: Script) -> bool {
    use Script as S;
    matches!(
        script,
        S::Arabic
            | S::Balinese
            | S::Bengali
            | S::Devanagari
            | S::Gujarati
            | S::Gurmukhi
            | S::Javanese
            | S::Kannada
            | S::Khmer
            | S::Malayalam
            | S::Mongolian
            | S::Myanmar
            | S::Nko
            | S::Oriya
            | S::Sinhala
            | S::Syriac
            | S::Tamil
            | S::Telugu
            | S::Tibetan
    )
}

/// Formats untrusted bytes for the log, on one line. Allowed characters stay, other bytes become
/// for example `\x1b`, and a backslash becomes `\\`. After 128 bytes it prints `…`.
///
/// ```
/// use echoline_chat_core::text::escape;
///
/// assert_eq!(escape(b"\x1b[2J\xffok").to_string(), r"\x1b[2J\xffok");
/// ```
pub fn escape(bytes: &[u8]) -> impl fmt::Display + fmt::Debug + '_ {
    Escaped(bytes)
}

#[derive(Debug)]
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = &self.0[..self.0.len().min(ESCAPE_BYTES_MAX)];
        for chunk in kept.utf8_chunks() {
            for c in chunk.valid().chars() {
                escape_character(f, c)?;
            }
            escape_bytes(f, chunk.invalid())?;
        }
        if kept.len() < self.0.len() { f.write_char('…') } else { Ok(()) }
    }
}

fn escape_character(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '\\' => f.write_str(r"\\"),
        ' ' => f.write_char(' '),
        _ if kind(c) == CharacterKind::Visible => f.write_char(c),
        _ => escape_bytes(f, c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn escape_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cleaned(text: &str) -> String {
        clean(text.as_bytes()).unwrap().into_owned()
    }

    /// Fault 22: a byte that is not printable ASCII is found at any position of any line.
    #[test]
    fn finds_a_byte_that_is_not_plain_at_any_position() {
        for length in 0..70 {
            let mut text = vec![b'~'; length];
            assert!(is_plain(&text), "{length}");
            for at in 0..length {
                text[at] = b'\x7f';
                assert!(!is_plain(&text), "{at} of {length}");
                text[at] = b' ';
            }
        }
    }

    #[test]
    fn no_control_passes_in_any_spelling() {
        for byte in 0..=u8::MAX {
            let shown = clean(&[b'a', byte, b'b']).map(Cow::into_owned);
            match byte {
                b'\t' => assert_eq!(shown.as_deref(), Ok("a\tb")),
                b'\n'..=b'\r' | 0x1c..=0x1e => assert_eq!(shown.as_deref(), Ok("a b")),
                b' '..=b'~' => assert_eq!(shown, Ok(format!("a{}b", char::from(byte)))),
                0..=0x7F => assert_eq!(shown.as_deref(), Ok("ab"), "{byte:02x}"),
                0x80.. => assert_eq!(shown, Err(NotText { at: 1 }), "{byte:02x}"),
            }
        }
        for control in '\u{80}'..='\u{9F}' {
            let between = if control == '\u{85}' { " " } else { "" };
            assert_eq!(cleaned(&format!("a{control}b")), format!("a{between}b"), "{control:?}");
        }
    }

    /// Faults 22 and 23: escape sequences that other programs have let through become harmless.
    #[test]
    fn known_attacks_become_plain_text() {
        for (attack, shown) in [
            ("\x1b]52;c;cm0gLXJm\x07", "]52;c;cm0gLXJm"),
            ("\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\", "]8;;http://evil\\here]8;;\\"),
            ("\u{9b}31mred", "31mred"),
            ("\u{9d}0;title\u{9c}", "0;title"),
            ("\x1b[200~pasted\x1b[201~", "[200~pasted[201~"),
            ("hi\rmallory: x", "hi mallory: x"),
            ("hi\x0bmallory: x\u{85}y\u{2028}z\u{2029}.", "hi mallory: x y z ."),
            ("a\u{8}\u{8}\u{7f}b\0c", "abc"),
            ("\u{202e}evil\u{202c}\u{2066}x\u{2069}\u{200f}\u{61c}", "evilx"),
            ("ze\u{200b}ro\u{feff}\u{2060}\u{ad}", "zero"),
            ("\u{e0041}\u{e007f}tag", "tag"),
            ("\u{115f}\u{1160}\u{3164}\u{ffa0}filler", "filler"),
            ("\u{e000}\u{f8ff}\u{fffe}\u{fdd0}\u{10ffff}none", "none"),
            ("wide\u{3000}no\u{a0}break\u{2003}", "wide no break "),
        ] {
            assert_eq!(cleaned(attack), shown);
            assert!(is_clean(shown) && !is_clean(attack));
        }
    }

    /// Fault 21: invalid UTF-8 is refused, and the message states the position.
    #[test]
    fn refuses_invalid_utf8() {
        for bad in [
            &b"abc\xff"[..],
            b"abc\xed\xa0\x80",             // a lone surrogate
            b"abc\xed\xa0\xbd\xed\xb8\x80", // CESU-8
            b"abc\xc0\xaf",                 // overlong
            b"abc\xc0\x80",
            b"abc\xe0\x80\x9b",
            b"abc\xf0\x80\x80\x9b",
            b"abc\xf4\x90\x80\x80", // beyond U+10FFFF
            b"abc\xd0",             // cut off
        ] {
            let error = clean(bad).unwrap_err();
            assert_eq!(error, NotText { at: 3 }, "{bad:x?}");
            assert!(error.to_string().contains("(byte 4)"), "{error}");
        }
    }

    #[test]
    fn clean_text_is_not_copied() {
        for text in
            ["", "plain", "Привет, мир!", "日本語のテキスト", "e\u{301}te\u{301}", "👩\u{200d}🚀"]
        {
            assert!(matches!(clean(text.as_bytes()), Ok(Cow::Borrowed(same)) if same == text));
        }
    }

    #[test]
    fn joiners_stay_where_they_have_a_meaning() {
        for kept in [
            "👨\u{200d}👩\u{200d}👧",
            "🏳\u{fe0f}\u{200d}🌈",
            "👩🏽\u{200d}🚀",
            "1\u{fe0f}\u{20e3}",
            "می\u{200c}خواهم",
            "क\u{94d}\u{200d}ष",
            "র\u{200d}\u{9cd}য",
        ] {
            assert_eq!(cleaned(kept), kept);
        }
        for (dropped, left) in [
            ("a\u{200d}b", "ab"),
            ("а\u{200c}б", "аб"),
            ("\u{200d}👩", "👩"),
            ("👩\u{200d}", "👩"),
            ("👩\u{200d} 👩", "👩 👩"),
            ("👩\u{200c}👩", "👩👩"),
            ("👩\u{200d}\u{200d}\u{200b}👩", "👩\u{200d}👩"),
            ("1\u{200d}2", "12"),
            ("م\u{200c}ক", "مক"),
            ("a\u{fe0f}", "a"),
        ] {
            assert_eq!(cleaned(dropped), left, "{dropped:?}");
        }
    }

    #[test]
    fn the_number_of_consecutive_marks_is_bounded() {
        let tower = "\u{301}".repeat(100);
        assert_eq!(cleaned(&format!("a{tower}b")), format!("a{}b", "\u{301}".repeat(4)));
        assert_eq!(
            cleaned(&format!("{tower}b")),
            "b",
            "marks before the first character are removed"
        );
        let joined = "ক\u{9cd}".to_owned() + &"\u{200d}\u{9cd}".repeat(50);
        assert!(cleaned(&joined).chars().count() < 10);
        // The vowels of Hangul combine with the character before them too.
        assert_eq!(cleaned(&format!("a{}", "\u{1161}".repeat(50))).chars().count(), 5);
    }

    /// Issue 11, item G: the input that the fuzz target `command` found, and similar inputs.
    #[test]
    fn regression_an_excerpt_does_not_end_with_a_joiner() {
        for joined in ["ی\u{200c}خ", "क\u{94d}\u{200d}ष", "👩\u{200d}🚀"] {
            for before in 0..EXCERPT_CHARACTERS_MAX {
                let text = "x".repeat(before) + &joined.repeat(9);
                let shown = excerpt(&text);
                assert!(is_clean(&shown) && is_clean(&format!("'{shown}'")), "{shown:?}");
                assert!(shown.ends_with('…') && !shown.contains("\u{200c}…"), "{shown:?}");
            }
        }
        assert_eq!(excerpt("a\tb\u{2028}c"), "a b c");
    }

    #[test]
    fn an_excerpt_is_short_and_clean() {
        assert_eq!(excerpt("a\x1b[2Jb"), "a[2Jb");
        assert_eq!(excerpt(&"я".repeat(99)), "я".repeat(24) + "…");
    }

    /// Fault 22: a log entry is one short, readable line.
    #[test]
    fn every_byte_is_visible_in_the_log() {
        assert_eq!(escape(b"a\\b\r\n").to_string(), r"a\\b\x0d\x0a");
        assert_eq!(
            escape("Анна\u{202e}\u{9b}".as_bytes()).to_string(),
            r"Анна\xe2\x80\xae\xc2\x9b"
        );
        assert_eq!(escape(&[0xFF; 500]).to_string(), r"\xff".repeat(128) + "…");
        assert_eq!(escape(&[b'a'; 128]).to_string(), "a".repeat(128));
    }

    /// Characters from all of Unicode, most of them problematic ones.
    fn troublesome() -> impl Strategy<Value = String> {
        let c = prop_oneof![
            any::<char>(),
            prop::char::range('\0', '\u{ff}'),
            prop::char::range('\u{2000}', '\u{2070}'),
            prop::sample::select(vec![
                '\u{200c}', '\u{200d}', '\u{fe0f}', '\u{301}', '\u{94d}', '\u{20e3}', 'م', 'क',
                'a', ' ', '👩', '🏽', '\u{1161}', '1', '\u{200b}',
            ]),
        ];
        prop::collection::vec(c, 0..40).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn cleaning_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = clean(&bytes);
            let shown = escape(&bytes).to_string();
            prop_assert!(shown.chars().all(|c| c == ' ' || kind(c) == CharacterKind::Visible));
        }

        #[test]
        fn cleaning_twice_changes_nothing(text in troublesome()) {
            let once = cleaned(&text);
            prop_assert_eq!(&cleaned(&once), &once);
            prop_assert!(is_clean(&once));
            prop_assert_eq!(is_clean(&text), once == text);
            let is_bad = |c| matches!(kind(c), CharacterKind::Unwanted | CharacterKind::Break);
            prop_assert!(!once.chars().any(is_bad));
            prop_assert!(is_clean(&excerpt(&text)));
        }

        #[test]
        fn printable_ascii_is_unchanged(text in "[ -~]{0,200}") {
            prop_assert!(matches!(clean(text.as_bytes()), Ok(Cow::Borrowed(same)) if same == text));
        }
    }
}
