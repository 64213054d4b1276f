//! Wraps long lines for narrow terminals.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::text::is_joiner;

/// The indentation of every part except the first, so that no part looks like a separate line.
const INDENT: &str = "  ";

/// The number of columns between two tab stops.
const TAB_COLUMNS: usize = 8;

/// The minimum width in columns. A narrower window is treated as this wide, so that a line is not
/// split into hundreds of parts.
const COLUMNS_MIN: usize = 20;

/// Returns the parts of a line for a terminal with `columns` columns, each with its indentation:
/// none for the first part, two spaces for the others.
///
/// Parts end at spaces if possible, and those spaces are omitted. A joiner (U+200C, U+200D) at the
/// end of a part joins nothing and is omitted too. Otherwise no character is lost, and a character
/// is never separated from its marks (Unicode Standard Annex 29). A tab advances to the next
/// multiple of 8 columns.
///
/// ```
/// use echoline_chat_core::text::wrap;
///
/// let parts: Vec<_> = wrap("bob: the bees are in the garden again", 20).collect();
/// assert_eq!(parts, [("", "bob: the bees are in"), ("  ", "the garden again")]);
/// ```
pub fn wrap(line: &str, columns: u16) -> impl Iterator<Item = (&'static str, &str)> {
    let columns = usize::from(columns).max(COLUMNS_MIN);
    let is_simple = line.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    let mut rest = Some(line);
    let mut indent = "";
    std::iter::from_fn(move || {
        let (part, later) = match is_simple {
            true => split_simple(rest?, indent.len(), columns),
            false => split(rest?, indent.len(), columns),
        };
        let before = std::mem::replace(&mut indent, INDENT);
        rest = later;
        Some((before, part))
    })
}

/// Returns the first part and the rest, if there is any. The part begins at column `start` and ends
/// before column `room`.
fn split(text: &str, start: usize, room: usize) -> (&str, Option<&str>) {
    let clusters = text.grapheme_indices(true);
    split_at_edge(text, start, room, clusters.map(|(at, cluster)| (at, cluster, cluster.width())))
}

/// Like `split`, for printable ASCII and tabs: each byte is one character.
fn split_simple(text: &str, start: usize, room: usize) -> (&str, Option<&str>) {
    let bytes = 0..text.len();
    split_at_edge(text, start, room, bytes.map(|at| (at, &text[at..=at], 1)))
}

/// Splits before any character that exceeds the edge, preferably at a space. Reads each character
/// of a part once. The characters after the last space are read again for the next part, so the
/// time is linear in the length of the line.
fn split_at_edge<'t>(
    text: &'t str,
    start: usize,
    room: usize,
    characters: impl Iterator<Item = (usize, &'t str, usize)>,
) -> (&'t str, Option<&'t str>) {
    let mut taken = start;
    let mut last_space = None;
    // A part must not end at the spaces before its first word.
    let mut has_words = false;
    for (at, character, width) in characters {
        taken += if character == "\t" { TAB_COLUMNS - taken % TAB_COLUMNS } else { width };
        // A space may exceed the edge, because it is not shown there.
        if is_space(character) {
            last_space = if has_words { Some(at) } else { last_space };
        } else if taken > room && at > 0 {
            return cut(text, last_space.unwrap_or(at));
        } else {
            has_words = true;
        }
    }
    // At this point, only spaces can exceed the edge.
    if taken > room { cut(text, last_space.unwrap_or(text.len())) } else { (text, None) }
}

fn cut(text: &str, at: usize) -> (&str, Option<&str>) {
    let (part, rest) = text.split_at(at);
    let rest = rest.trim_start_matches([' ', '\t']);
    let part = part.trim_end_matches([' ', '\t']).trim_end_matches(is_joiner);
    (part, (!rest.is_empty()).then_some(rest))
}

fn is_space(cluster: &str) -> bool {
    matches!(cluster, " " | "\t")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the part as a terminal shows it, with spaces instead of tabs.
    fn expand(part: &str) -> String {
        part.split_inclusive('\t').fold(String::new(), |mut shown, piece| {
            shown.push_str(piece.trim_end_matches('\t'));
            if piece.ends_with('\t') {
                shown.push_str(&" ".repeat(8 - shown.width() % 8));
            }
            shown
        })
    }

    fn wrapped(line: &str, columns: u16) -> Vec<String> {
        wrap(line, columns).map(|(indent, part)| format!("{indent}{part}")).collect()
    }

    #[test]
    fn a_line_that_fits_stays_one_part() {
        assert_eq!(wrapped("", 80), [""]);
        assert_eq!(wrapped("anna: hello", 80), ["anna: hello"]);
        let full = "x".repeat(80);
        assert_eq!(wrapped(&full, 80), [full.as_str()]);
    }

    #[test]
    fn parts_end_at_spaces() {
        assert_eq!(
            wrapped("anna: one two three four five six seven", 20),
            ["anna: one two three", "  four five six", "  seven"]
        );
        assert_eq!(wrapped("aaaaaaaaaa bbbbbbbbb  c", 20), ["aaaaaaaaaa bbbbbbbbb", "  c"]);
        assert_eq!(wrapped(&format!("  {}", "x".repeat(19)), 20), ["  xxxxxxxxxxxxxxxxxx", "  x"]);
    }

    /// Promise P9: a wrapped part never looks like a separate line.
    #[test]
    fn no_part_looks_like_a_separate_line() {
        let forged = format!("mallory: {}bob: I agree", " ".repeat(11));
        assert_eq!(wrapped(&forged, 20), ["mallory:", "  bob: I agree"]);
        let forged = format!("mallory: {}*** bob left the chat ***", "x".repeat(11));
        assert!(wrapped(&forged, 20)[1..].iter().all(|part| part.starts_with("  ")));
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let word = ["x".repeat(20), format!("  {}", "x".repeat(18)), "  x".into()];
        assert_eq!(wrapped(&"x".repeat(39), 20), word);
        assert_eq!(wrapped(&"日".repeat(11), 21), ["日".repeat(10), "  日".into()]);
        let accented = "e\u{301}".repeat(21);
        assert_eq!(wrapped(&accented, 20), ["e\u{301}".repeat(20), "  e\u{301}".into()]);
        let family = "👨\u{200d}👩\u{200d}👧".repeat(11);
        assert_eq!(wrapped(&family, 20)[1], "  👨\u{200d}👩\u{200d}👧");
    }

    /// Issue 11, item 15: a tab takes as many columns as on a terminal.
    #[test]
    fn regression_a_tab_takes_columns() {
        assert_eq!(wrapped("ann: x\ty\tz end", 20), ["ann: x\ty\tz", "  end"]);
        assert_eq!(wrapped("ann: x\ty\tz e", 20), ["ann: x\ty\tz e"]);
        assert_eq!(wrapped("ann: 12345678901\tword", 20), ["ann: 12345678901", "  word"]);
    }

    /// Issue 11, item G: no part ends with a joiner whose next character was cut off.
    #[test]
    fn regression_no_part_ends_with_a_joiner() {
        let line = format!("ann: {}", "ی\u{200c}".repeat(30) + "خ");
        for part in wrapped(&line, 20) {
            assert!(!part.ends_with('\u{200c}'), "{part:?}");
        }
    }

    /// Issue 12, item 13: the time to wrap a line is linear in its length, even if the line
    /// consists of spaces, tabs or characters without a width. Quadratic time would be minutes for
    /// 100 kB.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test tells linear time from quadratic time")]
    fn attack_a_line_of_spaces_is_wrapped_in_linear_time() {
        let start = std::time::Instant::now();
        for filler in [" ", "\t", "\u{3000} ", "x ", "\u{200b}"] {
            let line = format!("x{}y", filler.repeat(100_000 / filler.len()));
            assert!(wrap(&line, 20).count() >= 1);
        }
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }

    #[test]
    fn no_window_is_too_narrow() {
        for columns in [0, 1, 2, 19] {
            assert_eq!(wrapped(&"x".repeat(21), columns), ["x".repeat(20), "  x".into()]);
        }
    }

    proptest! {
        #[test]
        fn no_character_is_lost_and_every_part_fits(
            line in "[a-c日é\u{301}👩 \t]{0,200}",
            columns in 0_u16..60,
        ) {
            let parts = wrapped(&line, columns);
            let letters = |text: &str| text.replace([' ', '\t'], "");
            prop_assert_eq!(letters(&parts.concat()), letters(&line));
            for (number, part) in parts.iter().enumerate() {
                let shown = expand(part).width();
                prop_assert!(shown <= usize::from(columns).max(COLUMNS_MIN), "{:?}", part);
                prop_assert!(number == 0 || (part.starts_with("  ") && part.len() > 2));
            }
        }

        #[test]
        fn ascii_is_wrapped_as_other_text_is(line in "[ -~\t]{0,200}", columns in 20_u16..60) {
            let columns = usize::from(columns);
            for (start, room) in [(0, columns), (INDENT.len(), columns)] {
                let simple = split_simple(&line, start, room);
                prop_assert_eq!(simple, split(&line, start, room));
            }
        }

        #[test]
        fn wrapping_never_panics(line in "\\PC{0,200}", columns in any::<u16>()) {
            prop_assert!(wrap(&line, columns).count() <= line.len() + 1);
        }
    }
}
