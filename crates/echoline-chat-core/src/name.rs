//! Names of users and rooms: their rules, and checks whether two names are equal or look alike.

pub(crate) mod key;
pub(crate) mod name_error;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use unicode_normalization::UnicodeNormalization;

use crate::name::key::fold;
use crate::name::name_error::{MARKS_MAX, NAME_CHARACTERS_MAX};
use crate::text::character::{is_digit, is_letter};
use crate::text::{CharacterKind, kind};
use crate::{Key, NameError, NameFault, NameKind};

/// The maximum length of a name before normalisation, in bytes: 32 characters of three code points
/// each, plus a reserve.
const TEXT_BYTES_MAX: usize = 512;

/// Names reserved for the server, or with a meaning in commands and sentences. No user may have
/// them.
const RESERVED_NAMES: &str = "admin administrator all console echoline everybody everyone here me \
    moderator nobody notice oper operator root server system you";

/// Names that no room may have, because sentences about such a room would be ambiguous.
const RESERVED_ROOMS: &str = "all everyone here server system";

/// The name of a user or a room: 1 to 32 letters, digits, `_` and `-` of any script, in the normal
/// form NFKC. Cloning is cheap. The keys for comparisons are computed once.
///
/// ```
/// use echoline_chat_core::Name;
///
/// let anna = Name::parse("Anna")?;
/// assert!(anna.same_as(&Name::parse("ANNA")?));
/// let cyrillic = Name::parse("Аnnа")?;
/// assert!(cyrillic.looks_like(&anna) && !cyrillic.same_as(&anna));
/// # Ok::<(), echoline_chat_core::NameError>(())
/// ```
#[derive(Clone)]
pub struct Name(Arc<Spelling>);

struct Spelling {
    text: Box<str>,
    key: Key,
    shown_key: Option<Key>,
}

impl Name {
    /// Parses the name of a user.
    ///
    /// # Errors
    /// [`NameError`], whose message tells the user what to type instead.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        static RESERVED: LazyLock<HashSet<Key>> = LazyLock::new(|| keys_of(RESERVED_NAMES));
        Self::new(text, &RESERVED).map_err(|fault| NameError::new(NameKind::User, text, fault))
    }

    /// Parses the name of a room. A leading `#` is not part of the name.
    ///
    /// # Errors
    /// Like [`Name::parse`], with other reserved names.
    pub fn parse_room(text: &str) -> Result<Self, NameError> {
        static RESERVED: LazyLock<HashSet<Key>> = LazyLock::new(|| keys_of(RESERVED_ROOMS));
        let name = text.strip_prefix('#').unwrap_or(text);
        Self::new(name, &RESERVED).map_err(|fault| NameError::new(NameKind::Room, name, fault))
    }

    /// Returns the name of a user who chose none: `User_` and the port of the connection.
    #[must_use]
    pub fn numbered(port: u16) -> Self {
        Self(Arc::new(Spelling::new(format!("User_{port}").into())))
    }

    /// Returns the name with `_` and a number appended, shortened if it would be too long.
    /// Different numbers give different names.
    #[must_use]
    pub fn with_suffix(&self, number: u32) -> Self {
        let suffix = format!("_{number}");
        let room = NAME_CHARACTERS_MAX - suffix.len();
        let text = self.as_str().chars().take(room).chain(suffix.chars()).collect();
        Self(Arc::new(Spelling::new(text)))
    }

    fn new(text: &str, reserved: &HashSet<Key>) -> Result<Self, NameFault> {
        // Normalisation can make a text 18 times as long, so the length is checked first.
        if text.len() > TEXT_BYTES_MAX {
            return Err(NameFault::TooLong);
        }
        let text: Box<str> = text.nfkc().collect();
        check(&text)?;
        let name = Self(Arc::new(Spelling::new(text)));
        // `_server_` is reserved too, because users would mistake it for the server.
        let bare = Spelling::new(name.as_str().trim_matches(['_', '-']).into());
        if bare.keys().any(|key| reserved.contains(key)) {
            return Err(NameFault::Reserved);
        }
        Ok(name)
    }

    /// Returns the name in the spelling that is shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Returns the key that identifies this name in any case.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.0.key
    }

    /// Returns all keys of the name, one or two. The first is [`Name::key`].
    ///
    /// Two names conflict if they share any key, so the user table holds each user under every key.
    /// The second key describes the look of the name with its capitals. For example, `Ian` (with a
    /// capital i) and `lan` (with an l) have different first keys, but look alike.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.keys()
    }

    /// Returns whether both names are the same except for case or spelling.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.key == other.0.key && fold(self.as_str()) == fold(other.as_str())
    }

    /// Returns whether the names are equal or look alike.
    #[must_use]
    pub fn looks_like(&self, other: &Self) -> bool {
        self.keys().any(|key| other.keys().any(|theirs| key == theirs))
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Name {
    /// Accepts the name of a user or a room. Reserved names are accepted too: they are rejected
    /// earlier, when a user types one.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::new(&text, &HashSet::new())
            .map_err(|_| serde::de::Error::custom(format!("{text:?} is not a name")))
    }
}

impl Spelling {
    /// Computes the keys of `text`, which must be normalised.
    fn new(text: Box<str>) -> Self {
        let folded = fold(&text);
        let key = Key::of_look(&folded);
        let shown_key = Some(Key::of_look(&as_shown(&text))).filter(|shown| *shown != key);
        Self { text, key, shown_key }
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.key).chain(&self.shown_key)
    }
}

/// Returns the keys of reserved names.
fn keys_of(names: &str) -> HashSet<Key> {
    names.split(' ').map(Key::of_look).collect()
}

/// Returns the text as a reader perceives it. A capital I can be mistaken for an l only next to
/// small letters.
fn as_shown(text: &str) -> String {
    if text.chars().any(char::is_lowercase) { text.to_owned() } else { text.replace('I', "i") }
}

fn check(text: &str) -> Result<(), NameFault> {
    if text.is_empty() {
        return Err(NameFault::Empty);
    }
    // The number of marks on the current letter; `None` if there is no letter.
    let mut marks = None;
    for c in text.chars() {
        marks = match part(c)? {
            Part::Letter => Some(0),
            Part::Digit | Part::Sign => None,
            Part::Mark => Some(marks.ok_or(NameFault::LoneMark)? + 1),
        };
        if marks > Some(MARKS_MAX) {
            return Err(NameFault::TooManyMarks);
        }
    }
    if text.chars().count() > NAME_CHARACTERS_MAX {
        return Err(NameFault::TooLong);
    }
    if text.chars().all(|c| matches!(c, '_' | '-')) {
        return Err(NameFault::OnlySigns);
    }
    Ok(())
}

/// The class of a character of a name.
enum Part {
    Letter,
    Digit,
    Sign,
    Mark,
}

fn part(c: char) -> Result<Part, NameFault> {
    match kind(c) {
        CharacterKind::Visible if is_letter(c) => Ok(Part::Letter),
        CharacterKind::Visible if is_digit(c) => Ok(Part::Digit),
        CharacterKind::Visible if matches!(c, '_' | '-') => Ok(Part::Sign),
        CharacterKind::Mark => Ok(Part::Mark),
        _ => Err(NameFault::Character(c)),
    }
}

/// Two names are equal if they have the same spelling. [`Name::same_as`] ignores case and spelling.
impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Name").field(&self.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::is_clean;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn fault(text: &str) -> NameFault {
        Name::parse(text).unwrap_err().fault()
    }

    #[test]
    fn accepts_names_in_many_scripts() {
        for text in [
            "a",
            "7",
            "anna_7",
            "Jean-Luc",
            "Łukasz",
            "Анна",
            "Ωmega",
            "山田",
            "たろう",
            "김민준",
            "محمد",
            "אבי",
            "श्री",
            "สมชาย",
            "ᎠᏂ",
            "Nguyễn",
            "١٢٣",
            "ALI",
        ] {
            assert_eq!(name(text).to_string(), text);
        }
        assert_eq!(name("Ａｎｎａ").as_str(), "Anna", "full-width letters are letters");
        assert_eq!(name(&"ﬁ".repeat(16)).as_str(), "fi".repeat(16));
    }

    #[test]
    fn a_name_has_at_most_32_characters() {
        assert_eq!(name(&"a".repeat(32)).as_str().len(), 32);
        assert_eq!(fault(&"a".repeat(33)), NameFault::TooLong);
        assert_eq!(
            fault(&"ﬁ".repeat(17)),
            NameFault::TooLong,
            "characters are counted after normalisation"
        );
        let error = Name::parse(&"a".repeat(1 << 20)).unwrap_err();
        assert_eq!(error.fault(), NameFault::TooLong);
        assert!(error.to_string().len() < 120, "the sentence stays short");
    }

    /// Fault 69, promise P6: a name in a different case or spelling is the same name.
    #[test]
    fn case_and_spelling_do_not_make_a_new_name() {
        for (one, other) in [
            ("Anna", "aNNA"),
            ("Straße", "STRASSE"),
            ("Straße", "STRAẞE"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("Ａnna", "anna"),
            ("ꭰꭱ", "ᎠᎡ"),
            ("\u{212a}ate", "kate"),
        ] {
            let (one, other) = (name(one), name(other));
            assert!(one.same_as(&other) && one.looks_like(&other), "{one} {other}");
            assert_eq!(one.key(), other.key());
        }
    }

    /// Fault 69, promise P6: names that only look alike are different names.
    #[test]
    fn look_alikes_are_distinguished_from_equal_names() {
        for (one, other) in [
            ("anna", "аnnа"), // Cyrillic a
            ("Bob", "Вob"),   // Cyrillic capital Ve
            ("bob", "b0b"),
            ("BOB", "B0B"),
            ("Ian", "lan"), // a capital i, a small l
            ("paypal", "paypaI"),
            ("paul1", "paull"),
            ("modern", "modem"),
            ("scope", "ѕсоре"), // all Cyrillic
            ("SCOPE", "ЅСОРЕ"),
        ] {
            let (one, other) = (name(one), name(other));
            assert!(one.looks_like(&other) && other.looks_like(&one), "{one} {other}");
            assert!(!one.same_as(&other), "{one} {other}");
        }
    }

    #[test]
    fn different_names_stay_different() {
        let names =
            ["anna", "anne", "ann", "Ann_", "bob", "вова", "boba", "ray", "yay", "ALI", "ALL1"];
        for (i, one) in names.iter().enumerate() {
            for other in &names[i + 1..] {
                assert!(!name(one).looks_like(&name(other)), "{one} {other}");
            }
        }
    }

    /// Fault 69: no user can have a name that looks like the server's, in any case.
    #[test]
    fn names_that_look_like_reserved_ones_are_reserved() {
        for text in [
            "server",
            "SERVER",
            "Ѕеrvеr",
            "ｓｅｒｖｅｒ",
            "_Server_",
            "sуstem",
            "SYSTEM",
            "ROOT",
            "r00t",
            "rооt",
            "AlI",
            "adrnin",
            "echoIine",
            "ΕCHOLINE",
            "me",
            "Nobody-",
        ] {
            assert_eq!(fault(text), NameFault::Reserved, "{text}");
        }
        for text in ["servers", "myserver", "Ali", "melanie", "serverin"] {
            assert_eq!(name(text).as_str(), text);
        }
    }

    #[test]
    fn rooms_have_names_of_the_same_kind() {
        assert_eq!(Name::parse_room("#Garden").unwrap().as_str(), "Garden");
        assert_eq!(Name::parse_room("admin").unwrap().as_str(), "admin");
        let error = Name::parse_room("##x").unwrap_err().to_string();
        assert!(error.starts_with("A room name is 1 to 32"), "{error}");
        assert!(error.ends_with(": '#x' has '#'"), "{error}");
        let error = Name::parse_room("#server").unwrap_err().to_string();
        assert_eq!(error, "The room name 'server' is reserved: choose another");
        assert_eq!(Name::parse_room("#").unwrap_err().fault(), NameFault::Empty);
    }

    #[test]
    fn numbered_names_are_names_and_all_different() {
        let mut keys = HashSet::new();
        for port in (0..=u16::MAX).step_by(11) {
            let numbered = Name::numbered(port);
            assert_eq!(numbered.as_str(), format!("User_{port}"));
            assert!(numbered.keys().all(|key| keys.insert(key.clone())), "{numbered}");
        }
    }

    #[test]
    fn a_suffix_fits_after_any_name() {
        assert_eq!(Name::numbered(5000).with_suffix(2).as_str(), "User_5000_2");
        let long = name(&"я".repeat(32)).with_suffix(u32::MAX);
        assert_eq!(long.as_str(), "я".repeat(21) + "_4294967295");
    }

    // Letters of scripts with upper and lower case, and of one without.
    const CASED: &str = r"[\p{Greek}\p{Cyrillic}\p{Latin}\p{Han}]{1,20}";

    proptest! {
        #[test]
        fn a_name_is_clean_and_parses_again(text in "[\\p{L}\\p{M}\\p{Nd}_-]{1,34}") {
            if let Ok(name) = Name::parse(&text) {
                prop_assert!(is_clean(name.as_str()));
                prop_assert!((1..=32).contains(&name.as_str().chars().count()));
                let again = Name::parse(name.as_str()).unwrap();
                prop_assert_eq!(again.as_str(), name.as_str());
                prop_assert_eq!(again.key(), name.key());
                let suffixed = name.with_suffix(7);
                prop_assert!(Name::parse(suffixed.as_str()).is_ok(), "{}", suffixed);
            }
        }

        /// Promise P6: a name in capitals is the same name.
        #[test]
        fn case_never_makes_a_new_name(text in CASED) {
            // In Turkish, the dotted capital I and the dotless i are separate letters.
            let turkic = text.contains(['İ', 'ı']);
            if let (false, Ok(one)) = (turkic, Name::parse(&text)) {
                for other in [text.to_lowercase(), text.to_uppercase()] {
                    if let Ok(other) = Name::parse(&other) {
                        prop_assert!(one.same_as(&other) && one.key() == other.key(), "{}", other);
                    }
                }
            }
        }
    }
}
