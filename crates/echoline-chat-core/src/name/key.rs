//! Keys for the comparison of names: case folding and visual similarity.

use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;
use unicode_security::skeleton;

/// The maximum length of a key in input, in bytes. No valid name has a longer key.
const KEY_BYTES_MAX: usize = 8192;

/// A key that two names share if they are equal or look alike. Its text has no meaning outside of
/// this process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl serde::Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() > KEY_BYTES_MAX {
            return Err(serde::de::Error::custom("a key is longer than that of any name"));
        }
        Ok(Self(text.into()))
    }
}

impl Key {
    /// Returns the key for the look of `text`, regardless of case (UTS 39, section 4). The skeleton
    /// is folded again, because it may contain capitals: the skeleton of `0` is `O`.
    pub(crate) fn of_look(text: &str) -> Self {
        let skeleton: String = skeleton(text).collect();
        Self(fold(&skeleton).into())
    }
}

/// Applies full case folding (The Unicode Standard, section 3.13), and normalises the result.
pub(crate) fn fold(text: &str) -> Box<str> {
    text.chars().flat_map(fold_character).nfkc().collect()
}

/// Converts to lower case, to upper case and back to lower case. Several small letters can share
/// one capital, and the capital sharp s has capitals of its own. The dotless i is left alone,
/// because its capital is the capital of another letter.
fn fold_character(c: char) -> impl Iterator<Item = char> {
    let dotless = (c == 'ı').then_some(c);
    let other = (c != 'ı').then_some(c).into_iter().flat_map(char::to_lowercase);
    let folded = other.flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    dotless.into_iter().chain(folded)
}

#[cfg(test)]
mod tests {
    use caseless::default_case_fold_str;
    use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

    use super::*;
    use crate::text::character::is_letter;

    /// The folding agrees with Unicode's table for every character that a name may have. This
    /// includes the dotted capital I, which folds to an i and a dot.
    #[test]
    fn folding_agrees_with_unicode() {
        for c in '\0'..=char::MAX {
            if !is_letter(c) || c.nfkc().ne([c]) {
                continue;
            }
            let theirs = default_case_fold_str(&c.to_string());
            let ours = fold(&c.to_string());
            // The table is for Unicode 16, so it does not fold letters that later versions added.
            let newer =
                theirs.contains(c) && c.general_category() == GeneralCategory::UppercaseLetter;
            assert!(newer || *fold(&theirs) == *ours, "{c} {:04x}", u32::from(c));
            assert!(*fold(&ours) == *ours, "{c} {:04x}", u32::from(c));
        }
    }
}
