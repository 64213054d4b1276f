//! The first field of a file, which is read before the format of the file is known. Pure.

use std::fmt;

use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The maximum number of characters of a format name that an error shows.
const SHOWN_MAX: usize = 80;

/// The name of a format. If the field is not a string, only the kind of the value is kept, because
/// the value could take many times the memory of its text.
#[derive(Debug, PartialEq)]
pub(super) struct FormatName(String);

impl FormatName {
    /// Returns a quoted name, truncated if it is long.
    pub(super) fn of(text: &str) -> Self {
        let start: String = text.chars().take(SHOWN_MAX).collect();
        let rest = if start.len() < text.len() { "…" } else { "" };
        Self(format!("{start:?}{rest}"))
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl Default for FormatName {
    fn default() -> Self {
        Self("missing".to_owned())
    }
}

impl<'de> Deserialize<'de> for FormatName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FormatVisitor)
    }
}

struct FormatVisitor;

impl<'de> Visitor<'de> for FormatVisitor {
    type Value = FormatName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a format")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<FormatName, E> {
        Ok(FormatName::of(text))
    }

    fn visit_unit<E: de::Error>(self) -> Result<FormatName, E> {
        Ok(FormatName("null".to_owned()))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<FormatName, E> {
        Ok(FormatName(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<FormatName, E> {
        Ok(FormatName(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<FormatName, E> {
        Ok(FormatName(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<FormatName, E> {
        Ok(FormatName(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<FormatName, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(FormatName("a list".to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<FormatName, A::Error> {
        while items.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(FormatName("an object".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 12: only the kind of a value in place of the name is kept.
    #[test]
    fn attack_a_value_in_place_of_the_format_is_not_kept() {
        let long = "x".repeat(1 << 20);
        for (json, shown) in [
            ("null".to_owned(), "null"),
            ("7".to_owned(), "7"),
            ("-7".to_owned(), "-7"),
            ("0.5".to_owned(), "0.5"),
            ("true".to_owned(), "true"),
            ("\"other/1\"".to_owned(), "\"other/1\""),
            (format!("[{}0]", "0,".repeat(1 << 20)), "a list"),
            (format!("{{\"a\": \"{long}\"}}"), "an object"),
        ] {
            let name: FormatName = serde_json::from_str(&json).unwrap();
            assert_eq!(name.into_text(), shown);
        }
        let name: FormatName = serde_json::from_str(&format!("\"{long}\"")).unwrap();
        assert_eq!(name.into_text().chars().count(), 2 + SHOWN_MAX + 1);
    }
}
