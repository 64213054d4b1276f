//! The classes of characters on a terminal: the allow-list for text and names.

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_width::UnicodeWidthChar;

/// The effect of a character on a terminal. All characters without another kind are `Unwanted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CharacterKind {
    /// A letter, digit, punctuation mark or symbol that takes at least one column.
    Visible,
    /// A tab or any space, shown as one plain space.
    Space,
    /// A separator of lines or paragraphs; see `is_break`.
    Break,
    /// A character shown on top of the one before it: a combining mark, or a vowel of a Hangul
    /// syllable.
    Mark,
    /// U+200C or U+200D, which some scripts and emoji need between two characters.
    Joiner,
    /// U+FE0E or U+FE0F, which select whether the character before it is shown as text or as a
    /// picture.
    Presentation,
    /// An invisible character, or one that changes how other text is shown: control characters,
    /// direction marks, tags, fillers, private use and unassigned code points.
    Unwanted,
}

/// Returns the kind of `c`, derived from Unicode's general category, with some exceptions.
pub fn kind(c: char) -> CharacterKind {
    if is_common(c) {
        return CharacterKind::Visible;
    }
    match c {
        ' ' | '\t' => CharacterKind::Space,
        _ if is_break(c) => CharacterKind::Break,
        '\u{200C}' | '\u{200D}' => CharacterKind::Joiner,
        '\u{FE0E}' | '\u{FE0F}' => CharacterKind::Presentation,
        _ if is_blank(c) => CharacterKind::Unwanted,
        _ => by_category(c),
    }
}

/// Returns whether `c` ends a line or a paragraph. These are the mandatory breaks of Unicode
/// Standard Annex 14, and the ASCII separators of files, groups and records.
pub(crate) fn is_break(c: char) -> bool {
    matches!(c, '\n'..='\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Returns whether `c` is among the most frequent characters. They need no search in the tables.
pub(crate) fn is_common(c: char) -> bool {
    matches!(c,
        '!'..='~'
        // Latin, Greek and Cyrillic.
        | '\u{A1}'..='\u{AC}' | '\u{AE}'..='\u{2FF}' | '\u{3B1}'..='\u{3FF}'
        | '\u{400}'..='\u{482}' | '\u{48A}'..='\u{52F}'
        // Kana, ideographs and Hangul syllables.
        | '\u{3041}'..='\u{3096}' | '\u{30A0}'..='\u{30FF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{AC00}'..='\u{D7A3}')
}

/// Returns whether `c` is invisible although its category is letter, mark or symbol. These are the
/// grapheme joiner, fillers (Hangul, Khmer, Khitan), variation selectors, blank hieroglyphs and the
/// null notehead.
fn is_blank(c: char) -> bool {
    matches!(c,
        '\u{034F}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FFA0}' | '\u{13441}'..='\u{13442}'
        | '\u{16FE4}' | '\u{1D159}' | '\u{E0100}'..='\u{E01EF}')
}

fn by_category(c: char) -> CharacterKind {
    use GeneralCategoryGroup as Group;
    match c.general_category_group() {
        // A character of width 0 combines with its neighbour, whatever its category.
        Group::Letter | Group::Number | Group::Punctuation | Group::Symbol => match c.width() {
            Some(1..) => CharacterKind::Visible,
            _ => CharacterKind::Mark,
        },
        Group::Mark => CharacterKind::Mark,
        Group::Separator if c.general_category() == GeneralCategory::SpaceSeparator => {
            CharacterKind::Space
        }
        Group::Separator | Group::Other => CharacterKind::Unwanted,
    }
}

/// Returns whether `c` is a letter of any script. Letter-like numbers and symbols do not count.
pub(crate) fn is_letter(c: char) -> bool {
    c.general_category_group() == GeneralCategoryGroup::Letter
}

/// Returns whether `c` is a decimal digit of any script.
pub(crate) fn is_digit(c: char) -> bool {
    c.general_category() == GeneralCategory::DecimalNumber
}

/// Returns whether a text contains a separator of lines or paragraphs.
pub fn has_break(text: &str) -> bool {
    text.contains(is_break)
}

/// Splits a text into lines at any separator. Separators at the start and the end are ignored.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text.trim_matches(is_break));
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = text.find(is_break) else { return rest.take() };
        let (line, later) = text.split_at(at);
        let end = if later.starts_with("\r\n") { 2 } else { later.chars().next()?.len_utf8() };
        rest = Some(&later[end..]);
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::clean;

    fn all() -> impl Iterator<Item = char> {
        '\0'..=char::MAX
    }

    #[test]
    fn common_characters_agree_with_the_tables() {
        for c in all().filter(|&c| is_common(c)) {
            assert!(
                !is_blank(c) && by_category(c) == CharacterKind::Visible,
                "{:04x}",
                u32::from(c)
            );
        }
    }

    #[test]
    fn visible_characters_take_a_column() {
        for c in all().filter(|&c| kind(c) == CharacterKind::Visible) {
            assert!(c.width() >= Some(1), "{:04x}", u32::from(c));
        }
    }

    /// Fault 22: characters that are invisible or change how other text is shown are unwanted.
    #[test]
    fn characters_that_control_a_terminal_or_hide_text_are_unwanted() {
        let ranges = [
            (0x00, 0x08), // C0 without the tab
            (0x0A, 0x1F),
            (0x7F, 0x9F),     // DEL, C1
            (0x61C, 0x61C),   // Arabic letter mark
            (0x200B, 0x200B), // zero width space
            (0x200E, 0x200F), // direction marks
            (0x2028, 0x202E), // separators, embeddings, overrides
            (0x2060, 0x206F), // word joiner, invisible operators, isolates
            (0xD7FC, 0xD7FF), // not assigned
            (0xE000, 0xF8FF), // private use
            (0xFDD0, 0xFDEF), // noncharacters
            (0xFEFF, 0xFEFF), // byte order mark
            (0xFFF0, 0xFFFB), // specials
            (0xFFFE, 0xFFFF),
            (0xE0000, 0x10FFFF), // tags, selectors, private use
        ];
        for (first, last) in ranges {
            for c in (first..=last).filter_map(char::from_u32) {
                let expected =
                    if is_break(c) { CharacterKind::Break } else { CharacterKind::Unwanted };
                assert_eq!(kind(c), expected, "{:04x}", u32::from(c));
            }
        }
        for c in ['\u{AD}', '\u{115F}', '\u{1160}', '\u{3164}', '\u{FFA0}', '\u{180E}'] {
            assert_eq!(kind(c), CharacterKind::Unwanted, "{:04x}", u32::from(c));
        }
    }

    #[test]
    fn every_space_is_a_space() {
        for c in all().filter(|c| c.general_category() == GeneralCategory::SpaceSeparator) {
            assert_eq!(kind(c), CharacterKind::Space, "{:04x}", u32::from(c));
        }
        assert_eq!(kind('\t'), CharacterKind::Space);
    }

    #[test]
    fn ten_characters_break_lines() {
        let breaks = "\n\x0b\x0c\r\x1c\x1d\x1e\u{85}\u{2028}\u{2029}";
        assert!(all().filter(|&c| is_break(c)).eq(breaks.chars()));
        assert!(breaks.chars().all(|c| kind(c) == CharacterKind::Break));
    }

    /// Issue 11, item 10: every separator keeps the words on its two sides apart.
    #[test]
    fn regression_every_separator_of_lines_separates() {
        for separator in
            ["\n", "\r", "\r\n", "\u{85}", "\x0b", "\x0c", "\u{2028}", "\u{2029}", "\x1e"]
        {
            let text = format!("two{separator}lines");
            assert_eq!(lines(&text).collect::<Vec<_>>(), ["two", "lines"], "{separator:?}");
            assert!(
                has_break(&text) && !clean(text.as_bytes()).unwrap().contains("twolines"),
                "{separator:?}"
            );
        }
        let all: Vec<_> = lines("\n\r\n  one\t\n\n\r\ntwo\n").collect();
        assert_eq!(all, ["  one\t", "", "", "two"]);
        assert_eq!(lines("").collect::<Vec<_>>(), [""]);
    }
}
