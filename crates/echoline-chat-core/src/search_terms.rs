//! The terms of a search. The case of letters is ignored.
//!
//! A search scans the lines of a room one by one, newest first, up to a limit. The search functions
//! of SQLite are not suitable:
//!
//! * FTS5 doubles the disk space and slows down each write. It finds only whole words, or with
//!   `trigram` at least three letters. Its index keeps deleted text.
//! * LIKE ignores case only in ASCII.
//!
//! No character of a search has a special meaning, so nothing needs to be escaped.

use memchr::memmem::Finder;

/// The terms of a search, in lower case.
#[derive(Clone, Debug)]
pub struct SearchTerms(Vec<Finder<'static>>);

/// The maximum number of terms, which bounds the cost of a search.
const TERMS_MAX: usize = 16;

/// A reusable buffer for the lower-case forms of a line's name and text.
#[derive(Debug, Default)]
pub struct CaseFoldBuffer {
    name: String,
    text: String,
}

impl SearchTerms {
    /// Splits `typed` at white space into terms. Ignores all terms after the first 16.
    #[must_use]
    pub fn new(typed: &str) -> Self {
        let words = typed.split_whitespace().take(TERMS_MAX).map(str::to_lowercase);
        Self(words.map(|word| Finder::new(&word).into_owned()).collect())
    }

    /// Returns whether there are no terms.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether every term occurs in the name or in the text of a line, ignoring case.
    #[must_use]
    pub fn matches_line(&self, name: &str, text: &str, buffer: &mut CaseFoldBuffer) -> bool {
        fold(name, &mut buffer.name);
        fold(text, &mut buffer.text);
        let CaseFoldBuffer { name, text } = &*buffer;
        let occurs = |word: &Finder<'_>, text: &str| word.find(text.as_bytes()).is_some();
        self.0.iter().all(|word| occurs(word, text) || occurs(word, name))
    }
}

/// Writes the lower-case form of `text` into `folded`. ASCII text takes a fast path.
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
            SearchTerms::new(words).matches_line(name, text, &mut CaseFoldBuffer::default())
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
        assert_eq!(SearchTerms::new(&typed).0.len(), TERMS_MAX);
        assert!(SearchTerms::new(" \t ").is_empty());
    }

    proptest! {
        #[test]
        fn a_part_of_a_line_finds_it(
            before in ".{0,20}",
            part in "[a-zа-я%_'\"]{1,9}",
            after in ".{0,20}",
        ) {
            let text = format!("{before} {part}{after}");
            let words = SearchTerms::new(&part.to_uppercase());
            prop_assert!(words.matches_line("", &text, &mut CaseFoldBuffer::default()));
        }
    }
}
