//! Hides passwords and tokens in lines that are logged.

use std::borrow::Cow;

use crate::command::command_table::{find, nearest};
use crate::text::{clean, erase, is_clean};

/// The commands whose first argument is a secret.
const SECRET: [&str; 3] = ["oper", "password", "resume"];

/// The command whose second argument is a secret.
const JOIN: &str = "join";

/// The JSON key of the token in a program's message.
const TOKEN: &str = "\"token\"";

/// Returns the line for a log. A password or a token, and everything after it, is replaced by `…`.
/// This also works if the command is misspelled, or if the user corrected it with the editing keys
/// of a terminal.
///
/// ```
/// use echoline_chat_core::command::without_secrets;
///
/// assert_eq!(without_secrets("/oper open sesame"), "/oper …");
/// assert_eq!(without_secrets("hello"), "hello");
/// ```
#[must_use]
pub fn without_secrets(line: &str) -> Cow<'_, str> {
    let hidden = hide(line);
    if matches!(hidden, Cow::Owned(_)) || is_clean(line) {
        return hidden;
    }
    // The chat removes control characters or applies them as editing keys. The result can be a
    // command even if the raw line is not one.
    match clean(&erase(line.as_bytes())).as_deref().map(hide) {
        Ok(Cow::Owned(shown)) => Cow::Owned(shown),
        _ => hidden,
    }
}

/// Hides the secret of a line without editing keys. Returns the line unchanged (borrowed) if it has
/// no secret.
fn hide(line: &str) -> Cow<'_, str> {
    let token = line.find(TOKEN).map(|at| at + TOKEN.len());
    let commands = line.match_indices('/').filter_map(|(at, _)| secret_after(line, at));
    match commands.chain(token).min() {
        Some(end) if !line[end..].trim().is_empty() => Cow::Owned(format!("{} …", &line[..end])),
        _ => Cow::Borrowed(line),
    }
}

/// Returns the position at which a secret begins, if a command with a secret begins at `slash`.
fn secret_after(line: &str, slash: usize) -> Option<usize> {
    let starts_word = !line[..slash].ends_with(|letter: char| letter.is_alphanumeric());
    let rest = &line[slash + 1..];
    let length = rest.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(rest.len());
    let word = rest[..length].to_ascii_lowercase();
    let end = slash + 1 + length;
    match meant(&word).filter(|_| starts_word)? {
        JOIN => {
            let room = line[end..].len() - line[end..].trim_start().len() + end;
            line[room..].find(char::is_whitespace).map(|length| room + length)
        }
        name => SECRET.contains(&name).then_some(end),
    }
}

/// Returns the command that the user probably meant.
fn meant(word: &str) -> Option<&'static str> {
    let begun = |name: &&&str| word.len() > 1 && name.starts_with(word);
    let begun = || SECRET.iter().find(begun).copied();
    let named = find(word).map(|entry| entry.name);
    named.or_else(begun).or_else(|| nearest(word).map(|entry| entry.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 48: passwords and tokens do not appear in a log of messages.
    #[test]
    fn regression_secrets_are_hidden_in_a_log() {
        for (line, shown) in [
            ("/oper sesame", "/oper …"),
            ("  /OPER sesame", "  /OPER …"),
            ("/opre sesame", "/opre …"),
            ("/pass sesame", "/pass …"),
            ("/password sesame", "/password …"),
            ("/resume sesame", "/resume …"),
            ("/join garden sesame", "/join garden …"),
            ("/join  garden  sesame", "/join  garden …"),
            (r#"{"do":"/oper sesame"}"#, r#"{"do":"/oper …"#),
            (r#"{"do": "\/resume sesame"}"#, r#"{"do": "\/resume …"#),
            (r#"{"token": "sesame"}"#, r#"{"token" …"#),
            ("/opx\x7fer sesame", "/oper …"),
            ("x\x08/op\x01er sesame", "/oper …"),
            ("/\u{200b}oper sesame", "/oper …"),
        ] {
            assert_eq!(without_secrets(line), shown);
            assert!(!without_secrets(line).contains("sesame"));
        }
        for line in [
            "hello",
            "helo\x7flo \x07",
            "wait …\x07",
            "/me waves",
            "/op anna",
            "/join garden",
            "and/or sesame",
            "/",
            "/oper",
        ] {
            assert_eq!(without_secrets(line), line);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_causes_a_panic(line in ".{0,40}", command in "(/oper|/join|/)?") {
            let _ = without_secrets(&format!("{command}{line}"));
        }
    }
}
