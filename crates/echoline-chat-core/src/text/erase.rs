//! Applies editing keys such as Backspace to a line, as a terminal driver does.
//!
//! A client in character mode sends each key at once, so a typing mistake and its correction arrive
//! together. The result is the text that the user sees after all keys.

use std::borrow::Cow;
use std::str;

use unicode_segmentation::UnicodeSegmentation;

/// The keys that erase the last character: Ctrl-H, and the code that most terminals send for
/// Backspace.
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;
/// Ctrl-U: erases the whole line (`kill` of termios).
const KILL_LINE: u8 = 0x15;
/// Ctrl-W: erases the last word (`werase` of termios).
const KILL_WORD: u8 = 0x17;

/// The number of bytes at the end of a line in which the last character is searched. A longer
/// character is erased in parts. The limit keeps the time linear.
const CHARACTER_BYTES_MAX: usize = 64;

/// Applies the editing keys in a line. A line without such keys is returned without a copy.
pub fn erase(line: &[u8]) -> Cow<'_, [u8]> {
    if !line.iter().any(|&byte| is_key(byte)) {
        return Cow::Borrowed(line);
    }
    let mut left = Vec::with_capacity(line.len());
    for &byte in line {
        match byte {
            BACKSPACE | DELETE => erase_character(&mut left),
            KILL_LINE => left.clear(),
            KILL_WORD => erase_word(&mut left),
            _ => left.push(byte),
        }
    }
    Cow::Owned(left)
}

fn is_key(byte: u8) -> bool {
    matches!(byte, BACKSPACE | DELETE | KILL_LINE | KILL_WORD)
}

/// Erases the last grapheme cluster (Unicode Standard Annex 29), which a user sees as one
/// character. Bytes that are not UTF-8 are erased one by one.
fn erase_character(line: &mut Vec<u8>) {
    let mut start = line.len().saturating_sub(CHARACTER_BYTES_MAX);
    // Skips bytes of a character that began earlier.
    while start < line.len() && (0x80..0xc0).contains(&line[start]) {
        start += 1;
    }
    let end = line[start..].utf8_chunks().last();
    let erased = match end.as_ref().map(|end| (end.valid(), end.invalid())) {
        Some((_, [_, ..])) => 1,
        Some((text, [])) => text.graphemes(true).next_back().map_or(0, str::len),
        // The bytes are only continuation bytes, or there are none.
        None => 1,
    };
    line.truncate(line.len().saturating_sub(erased));
}

/// Erases the last word and the white space after it.
fn erase_word(line: &mut Vec<u8>) {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let word = line.iter().rposition(|byte| !is_space(byte)).map_or(0, |last| last + 1);
    let start = line[..word].iter().rposition(is_space).map_or(0, |space| space + 1);
    line.truncate(start);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn obeyed(line: &[u8]) -> Vec<u8> {
        erase(line).into_owned()
    }

    /// Issue 11, item 15: Backspace and Delete erase the last character.
    #[test]
    fn regression_backspace_and_delete_are_obeyed() {
        for (typed, left) in [
            ("helo\x7flo", "hello"),
            ("annx\x08", "ann"),
            ("\x08\x7fann", "ann"),
            ("ab\x08\x08\x08c", "c"),
            ("приветт\x7f", "привет"),
            ("cafe\u{301}\x7fé", "café"),
            ("a👨\u{200d}👩\u{200d}👧\x7fb", "ab"),
            ("日本\x08", "日"),
            ("one two \x17three", "one three"),
            ("one two\x15three", "three"),
            ("one\x17\x17two", "two"),
            ("a\tb\x7f\x7fc", "ac"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8(obeyed(typed.as_bytes())).unwrap(), left, "{typed:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_erased_one_by_one() {
        assert_eq!(obeyed(b"a\xff\xfe\x7f"), b"a\xff");
        assert_eq!(obeyed(b"a\xd0\x7f\x7f"), b"");
        assert_eq!(obeyed(&[&[0x80; 100][..], b"\x7f"].concat()), [0x80; 99]);
    }

    /// A line of flag emoji is the worst case: for each of them, the rules of Unicode Standard
    /// Annex 29 look back to the beginning of the line.
    #[test]
    fn erasing_takes_linear_time() {
        let flags = "🇦".repeat(200_000);
        let typed = [flags.as_bytes(), &vec![0x7f; 400_000]].concat();
        assert_eq!(obeyed(&typed), b"");
    }

    proptest! {
        #[test]
        fn no_editing_key_is_left(typed in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(!obeyed(&typed).iter().any(|&byte| is_key(byte)));
        }

        #[test]
        fn erasing_leaves_valid_utf8(typed in "[a-zé日👩\u{200d}\u{301}\\x08\\x7f ]{0,80}") {
            prop_assert!(String::from_utf8(obeyed(typed.as_bytes())).is_ok());
        }
    }
}
