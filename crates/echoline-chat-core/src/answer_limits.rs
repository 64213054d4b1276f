//! Size limits of answers, so that a short question cannot cause a very long answer.

use crate::Name;

/// The size of one page of a list (members, rooms, names or bans), in bytes. The last item may
/// exceed it.
pub const LIST_BYTES_MAX: usize = 16 * 1024;

/// The maximum size of the earlier lines in one answer, in bytes. The last line may exceed it.
pub const PAST_BYTES_MAX: usize = 64 * 1024;

/// The maximum length of an away text, in characters.
pub const AWAY_CHARACTERS_MAX: usize = 200;

/// The maximum length of a topic in a list of rooms, in characters.
const TOPIC_CHARACTERS_MAX: usize = 100;

/// The maximum number of members that `/lag` lists.
const LAGS_SHOWN: usize = 20;

/// The number of bytes that an answer may still add.
#[derive(Debug)]
pub struct Budget(usize);

impl Budget {
    /// Creates a budget of `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Subtracts the size of the next part. Returns `false` if the answer was already full. The
    /// first part always fits, so that no page is empty.
    pub fn take(&mut self, bytes: usize) -> bool {
        let fits = self.0 > 0;
        self.0 = self.0.saturating_sub(bytes);
        fits
    }
}

/// Returns the beginning of `text`, at most `most` characters long.
pub(crate) fn start_of(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

/// Returns a topic, shortened for a list of rooms.
pub fn topic_in_list(topic: &str) -> String {
    let start = start_of(topic, TOPIC_CHARACTERS_MAX);
    let dots = if start.len() < topic.len() { "…" } else { "" };
    format!("{start}{dots}")
}

/// Joins as many names as fit on one page, and adds the number of the remaining names.
pub fn names_in_words<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let (total, mut shown, mut budget) = (names.len(), 0, Budget::new(LIST_BYTES_MAX));
    let mut words = String::new();
    for name in names.take_while(|name| budget.take(name.len() + 2)) {
        words.push_str(if shown > 0 { ", " } else { "" });
        words.push_str(name);
        shown += 1;
    }
    if shown < total {
        words.push_str(&format!(" and {} more", total - shown));
    }
    words
}

/// Lists the members who have not received all lines, each with the number of missing lines.
pub fn lags_in_words(lags: &[(&Name, u64)]) -> String {
    if lags.is_empty() {
        return "No one is behind".to_owned();
    }
    let mut parts: Vec<String> =
        lags.iter().take(LAGS_SHOWN).map(|(name, lines)| format!("{name} {lines}")).collect();
    if lags.len() > LAGS_SHOWN {
        parts.push(format!("and {} more", lags.len() - LAGS_SHOWN));
    }
    format!("Lines behind: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(start_of("日本語", 2), "日本");
        assert_eq!((start_of("ab", 2), start_of("", 2), start_of("ab", 0)), ("ab", "", ""));
        assert_eq!(topic_in_list("bees"), "bees");
        assert_eq!(topic_in_list(&"é".repeat(101)), "é".repeat(100) + "…");
    }

    /// Issue 12, item 12: a list of names has a bounded length, and states how many are left out.
    #[test]
    fn attack_a_list_of_names_is_bounded() {
        assert_eq!(names_in_words(["ann", "bob"].into_iter()), "ann, bob");
        assert_eq!(names_in_words([].into_iter()), "");
        let name = "日".repeat(32);
        let words = names_in_words(vec![name.as_str(); 10_000].into_iter());
        assert!(words.len() < LIST_BYTES_MAX + 200, "{}", words.len());
        assert!(words.ends_with(" and 9832 more"), "{}", &words[words.len() - 20..]);
    }

    #[test]
    fn a_page_has_one_part_at_least() {
        let mut budget = Budget::new(10);
        assert!(budget.take(1000) && !budget.take(1));
        let mut budget = Budget::new(10);
        assert!(budget.take(9) && budget.take(9) && !budget.take(0));
    }
}
