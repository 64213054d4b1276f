//! Splits texts of several lines. Pure.

use crate::text::character::is_break;

/// Returns whether a text contains a separator of lines or paragraphs.
pub fn has_break(text: &str) -> bool {
    text.contains(is_break)
}

/// Returns the lines of a text, by any separator, without blank lines at its start and end.
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

    /// Issue 11, item 10: every separator keeps the words beside it apart.
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
