//! What somebody searches for.
//!
//! Not FTS5, whose index costs as much disk and time again for every line written, and which finds
//! whole words only; and not LIKE, which knows upper and lower case of ASCII alone. A room is
//! bounded, so its lines are looked at one by one, newest first, in steps between which others
//! get their turn. Nothing that is typed has a special meaning, so there is nothing to escape.

/// The words of a search, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words(Vec<String>);

/// So that a search of a thousand words costs no more than one of a few.
const WORDS_MAX: usize = 16;

impl Words {
    /// Splits at white space; what comes after the first 16 words does not count.
    pub(super) fn new(typed: &str) -> Self {
        Self(typed.split_whitespace().take(WORDS_MAX).map(str::to_lowercase).collect())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether each word occurs in the name or in the text, in any case.
    pub(super) fn match_line(&self, name: &str, text: &str) -> bool {
        let (name, text) = (name.to_lowercase(), text.to_lowercase());
        self.0.iter().all(|word| text.contains(word) || name.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_word_has_to_occur_in_any_case_of_any_script() {
        let line = |words: &str| Words::new(words).match_line("Ирина", "Привет, World: 100%_ok");
        for found in ["привет", "WORLD приВЕТ", "orl", "ирина ok", "100%_"] {
            assert!(line(found), "{found}");
        }
        for missing in ["hello", "world hello", "w%d", "o_k"] {
            assert!(!line(missing), "{missing}");
        }
    }

    #[test]
    fn the_number_of_words_is_bounded() {
        let typed = "a ".repeat(1000);
        assert_eq!(Words::new(&typed), Words::new(&"a ".repeat(WORDS_MAX)));
        assert!(Words::new(" \t ").is_empty());
    }

    proptest! {
        #[test]
        fn a_part_of_a_line_finds_it(
            before in ".{0,20}",
            part in "[a-zа-я%_'\"]{1,9}",
            after in ".{0,20}",
        ) {
            let text = format!("{before} {part}{after}");
            prop_assert!(Words::new(&part.to_uppercase()).match_line("", &text));
        }
    }
}
