//! The words of a search.
//!
//! Not FTS5: its index costs as much disk again, and time for every line written. Its tokens are
//! whole words, or with `trigram` at least three letters, and it keeps words that were deleted from
//! the lines. Not LIKE: it knows upper and lower case of ASCII alone. So the lines of a room are
//! looked at one by one, newest first, a bounded number of them for each search. Nothing that is
//! typed has a special meaning, so nothing has to be escaped.

use memchr::memmem::Finder;

/// The words of a search, in lower case.
#[derive(Clone, Debug)]
pub(crate) struct Words(Vec<Finder<'static>>);

/// So that a search of a thousand words costs no more than one of a few.
const WORDS_MAX: usize = 16;

/// Memory for the lower-case form of a line, which the next line uses again.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    name: String,
    text: String,
}

impl Words {
    /// Splits at white space; what comes after the first 16 words does not count.
    pub(crate) fn new(typed: &str) -> Self {
        let words = typed.split_whitespace().take(WORDS_MAX).map(str::to_lowercase);
        Self(words.map(|word| Finder::new(&word).into_owned()).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether each word occurs in the name or in the text, in any case.
    pub(crate) fn match_line(&self, name: &str, text: &str, folded: &mut Folded) -> bool {
        fold(name, &mut folded.name);
        fold(text, &mut folded.text);
        let Folded { name, text } = &*folded;
        let occurs = |word: &Finder<'_>, text: &str| word.find(text.as_bytes()).is_some();
        self.0.iter().all(|word| occurs(word, text) || occurs(word, name))
    }
}

/// Puts the lower-case form of `text` into `folded`. Most lines are ASCII, which is fast.
fn fold(text: &str, folded: &mut String) {
    folded.clear();
    if text.is_ascii() {
        folded.push_str(text);
        folded.make_ascii_lowercase();
    } else {
        folded.push_str(&text.to_lowercase());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_word_has_to_occur_in_any_case_of_any_script() {
        let line = |words: &str| {
            let (name, text) = ("Ирина", "Привет, World: 100%_ok");
            Words::new(words).match_line(name, text, &mut Folded::default())
        };
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
        assert_eq!(Words::new(&typed).0.len(), WORDS_MAX);
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
            let words = Words::new(&part.to_uppercase());
            prop_assert!(words.match_line("", &text, &mut Folded::default()));
        }
    }
}
