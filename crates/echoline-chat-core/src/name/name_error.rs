//! The errors of names. Each prints as one sentence with the rule for names.

use std::fmt;

use crate::text::{CharacterKind, excerpt, kind};

/// The reason why a text is not a valid [`Name`](super::Name). `Display` prints one sentence with
/// the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    kind: NameKind,
    /// The text, cleaned and shortened so that it is safe in logs.
    shown: String,
    fault: NameFault,
}

/// The rule that a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameFault {
    /// The text is empty.
    Empty,
    /// The text has more than 32 characters.
    TooLong,
    /// The text contains this character, which is not a letter, a digit, `_` or `-`.
    Character(char),
    /// A combining mark does not follow a letter.
    LoneMark,
    /// A letter has more than 2 combining marks.
    TooManyMarks,
    /// The text consists of `_` and `-` only.
    OnlySigns,
    /// The name is reserved, or looks like a reserved name.
    Reserved,
}

/// Whether a name is for a user or a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// The name of a user.
    User,
    /// The name of a room.
    Room,
}

impl NameError {
    /// Returns the error for this text.
    pub fn new(kind: NameKind, text: &str, fault: NameFault) -> Self {
        Self { kind, shown: excerpt(text), fault }
    }

    /// Returns the rule that the text breaks.
    #[must_use]
    pub fn fault(&self) -> NameFault {
        self.fault
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, noun) = (&self.shown, self.kind);
        if self.fault == NameFault::Reserved {
            return write!(f, "The {noun} '{shown}' is reserved: choose another");
        }
        write!(f, "A {noun} is 1 to {NAME_CHARACTERS_MAX} letters, digits, _ or -")?;
        match self.fault {
            NameFault::Empty => write!(f, ", for example {}", noun.example()),
            NameFault::Character(c) => write!(f, ": '{shown}' has {}", Described(c)),
            NameFault::LoneMark => write!(f, ": '{shown}' has an accent without a letter"),
            NameFault::TooManyMarks => {
                write!(f, ": '{shown}' has more than {MARKS_MAX} accents on one letter")
            }
            NameFault::OnlySigns => write!(f, ": '{shown}' has no letter or digit"),
            NameFault::TooLong | NameFault::Reserved => write!(f, ": '{shown}' is too long"),
        }
    }
}

impl std::error::Error for NameError {}

impl NameKind {
    fn example(self) -> &'static str {
        match self {
            Self::User => "anna_7",
            Self::Room => "garden",
        }
    }
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "name",
            Self::Room => "room name",
        })
    }
}

/// A character, displayed in words for an error message.
struct Described(char);

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (c, code) = (self.0, u32::from(self.0));
        match kind(c) {
            CharacterKind::Visible => write!(f, "'{c}'"),
            CharacterKind::Space => f.write_str("a space"),
            _ if c.is_control() => write!(f, "a control character (U+{code:04X})"),
            _ => write!(f, "an invisible character (U+{code:04X})"),
        }
    }
}

/// The maximum length of a name after normalisation, in characters.
pub(super) const NAME_CHARACTERS_MAX: usize = 32;

/// The maximum number of combining marks on one letter of a name.
pub(super) const MARKS_MAX: u8 = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Name;
    use crate::text::is_clean;

    /// Each error states the rule for names and the character that breaks it.
    #[test]
    fn errors_state_the_rule_and_the_wrong_character() {
        for (text, wanted, said) in [
            ("", NameFault::Empty, ", for example anna_7"),
            ("x y", NameFault::Character(' '), ": 'x y' has a space"),
            ("a!", NameFault::Character('!'), ": 'a!' has '!'"),
            ("a\u{200b}b", NameFault::Character('\u{200b}'), "invisible character (U+200B)"),
            ("\x1b[2J", NameFault::Character('\x1b'), ": '[2J' has a control character (U+001B)"),
            ("\u{301}a", NameFault::LoneMark, ": 'a' has an accent without a letter"),
            ("1\u{301}", NameFault::LoneMark, "without a letter"),
            ("q\u{301}\u{302}\u{303}", NameFault::TooManyMarks, "more than 2 accents"),
            ("-_-", NameFault::OnlySigns, ": '-_-' has no letter or digit"),
            ("Ⅷ!", NameFault::Character('!'), "has '!'"),
            ("a👩", NameFault::Character('👩'), "has '👩'"),
            ("a\u{3164}", NameFault::Character('\u{1160}'), "invisible"),
        ] {
            let error = Name::parse(text).unwrap_err();
            assert_eq!(error.fault(), wanted, "{text:?}");
            let sentence = error.to_string();
            assert!(
                sentence.starts_with("A name is 1 to 32 letters, digits, _ or -"),
                "{sentence}"
            );
            assert!(sentence.contains(said) && is_clean(&sentence), "{sentence}");
        }
        let error = Name::parse("Server").unwrap_err().to_string();
        assert_eq!(error, "The name 'Server' is reserved: choose another");
    }

    proptest! {
        #[test]
        fn the_message_of_an_error_is_clean(text in any::<String>()) {
            if let Err(error) = Name::parse(&text) {
                prop_assert!(is_clean(&error.to_string()), "{}", error);
            }
        }
    }
}
