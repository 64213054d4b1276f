//! The terms of a search, matched without regard to case.
//!
//! A search scans the lines of a room one by one, newest first, with a limit for each search.
//! SQLite's own searches are not suitable. FTS5 doubles the disk space and slows down each write;
//! its tokens are whole words, or with `trigram` at least three letters; and its index keeps
//! deleted text. LIKE ignores case only in ASCII. No character of a search has a special meaning,
//! so nothing has to be escaped.

use memchr::memmem::Finder;

/// The terms of a search, in lower case.
#[derive(Clone, Debug)]
pub struct SearchTerms(Vec<Finder<'static>>);

/// The maximum number of terms, which bounds the cost of a search.
const TERMS_MAX: usize = 16;

/// A reusable buffer for the lower-case form of a line.
#[derive(Debug, Default)]
pub struct CaseFoldBuffer {
    name: String,
    text: String,
}

impl SearchTerms {
    /// Splits `typed` at white space into terms, and ignores all words after the first 16.
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

    /// Returns whether each term occurs in the name or in the text of a line, in any case.
    #[must_use]
    pub fn matches_line(&self, name: &str, text: &str, buffer: &mut CaseFoldBuffer) -> bool {
        fold(name, &mut buffer.name);
        fold(text, &mut buffer.text);
        let CaseFoldBuffer { name, text } = &*buffer;
        let occurs = |word: &Finder<'_>, text: &str| word.find(text.as_bytes()).is_some();
        self.0.iter().all(|word| occurs(word, text) || occurs(word, name))
    }
}

/// Writes the lower-case form of `text` into `folded`. ASCII, the usual case, is fast.
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
