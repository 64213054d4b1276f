//! Makes text from outside harmless for terminals, logs and pages. Pure.
//!
//! Text from a peer, a file, a certificate or another program passes through here before people see
//! it. Control characters could control a terminal or forge a log line, and bidirectional controls
//! could reorder the text around them (Unicode Technical Report 36).

use std::borrow::Cow;

/// Returns whether a character can control a terminal, end a line, or reorder or hide the text
/// around it. These are C0, DEL, C1, line separators, bidirectional controls and invisible
/// operators.
pub fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}'
                | '\u{180e}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Returns `text` on one line, with its harmful characters as escapes: `\n`, `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    escape(text, is_harmful, |letter, shown| shown.extend(letter.escape_default()))
}

/// Works like [`printable`] for a text of several lines: line ends and tabs stay.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    let is_harmful = |letter| is_harmful(letter) && !matches!(letter, '\n' | '\t');
    escape(text, is_harmful, |letter, shown| shown.extend(letter.escape_default()))
}

/// Escapes the harmful characters of a JSON text without changing its meaning. JSON itself requires
/// escapes only for C0. White space between tokens stays.
pub fn printable_json(text: &str) -> Cow<'_, str> {
    let is_harmful = |letter| is_harmful(letter) && !matches!(letter, '\n' | '\r' | '\t');
    escape(text, is_harmful, |letter, shown| {
        for unit in letter.encode_utf16(&mut [0; 2]) {
            shown.push_str(&format!("\\u{unit:04x}"));
        }
    })
}

fn escape(
    text: &str,
    is_harmful: impl Fn(char) -> bool,
    push_escape: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    if !text.contains(&is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match is_harmful(letter) {
            true => push_escape(letter, &mut shown),
            false => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 12, item 15: every kind of harmful character is printed as an escape.
    #[test]
    fn attack_harmful_characters_are_printed_as_escapes() {
        let orders = [
            "\x1b[2J",
            "\x1b]52;c;aGk=\x07",
            "\u{9b}2J",
            "\u{85}",
            "\u{9d}0;x\u{9c}",
            "\x7f",
            "\0",
            "\x08",
            "a\rb",
            "a\nb",
            "\u{202e}",
            "\u{2066}",
            "\u{200f}",
            "\u{61c}",
            "\u{2028}",
            "\u{feff}",
            "\u{e0041}",
        ];
        for order in orders {
            let shown = printable(order);
            assert!(!shown.contains(is_harmful) && shown.contains('\\'), "{shown}");
        }
        for letter in (0..=0x9f).filter_map(char::from_u32) {
            let is_shown = printable(&letter.to_string()).contains(letter);
            assert_eq!(is_shown, matches!(letter, ' '..='~'), "{letter:?}");
        }
        assert_eq!(printable("a\x1b[31m\u{202e}b"), "a\\u{1b}[31m\\u{202e}b");
        for plain in ["zwölf 'µs' → \"1\"", "– … ‘’ “” \u{ad}", "שלום", "👩‍🚀"]
        {
            assert!(matches!(printable(plain), Cow::Borrowed(same) if same == plain), "{plain}");
        }
    }

    #[test]
    fn lines_and_tabs_of_a_longer_text_stay() {
        assert_eq!(printable_lines("a\n\tb\r\n\x1b"), "a\n\tb\\r\n\\u{1b}");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({ "a\u{9b}": "\x1b\x7f\u{202e}\u{e0041}é\r\n" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = printable_json(&text);
        assert!(!shown.replace('\n', "").contains(is_harmful), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
