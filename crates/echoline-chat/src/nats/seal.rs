//! The tags by which nodes know each other's messages: HMAC-SHA256 (RFC 2104, FIPS 180-4) with a
//! key that all nodes of a cluster have and the bus has not. Pure.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::error::BusError;
use echoline_base::SecretText;

/// The first byte of a message with a tag; no message without one begins so.
const MARK: u8 = 1;
const TAG_BYTES: usize = 32;
/// Letters of a key at least: 128 bits in hexadecimal digits.
const KEY_LETTERS_MIN: usize = 32;

/// The purpose of a message: a tag that is right for one purpose is wrong for another one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose<'a> {
    /// An entry of the stream that was made then (nanoseconds since 1970).
    Entry { stream: &'a str, created_ns: i128 },
    /// A message outside of the stream.
    Message { subject: &'a str },
    /// The label of a snapshot.
    Label { prefix: &'a str },
}

/// A message that has no tag of this cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotOurs;

/// The keys of a cluster: the first one signs, all of them are accepted.
pub(super) struct Seal(Vec<Hmac<Sha256>>);

impl Seal {
    /// Reads the lines of a key file; `None` if there is no file.
    pub(super) fn read(file: Option<&SecretText>) -> Result<Option<Self>, BusError> {
        let Some(file) = file else { return Ok(None) };
        let lines = file.reveal().lines().map(str::trim);
        let keys: Vec<&str> =
            lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        if keys.is_empty() || keys.iter().any(|key| key.len() < KEY_LETTERS_MIN) {
            return Err(BusError::KeyFile);
        }
        // A key of any length will do.
        let keys = keys.into_iter().map(|key| Hmac::new_from_slice(key.as_bytes()));
        Ok(Some(Self(keys.collect::<Result<_, _>>().map_err(|_| BusError::KeyFile)?)))
    }

    /// The message with its tag.
    pub(super) fn seal(&self, purpose: Purpose<'_>, message: &[u8]) -> Bytes {
        let mut sealed = BytesMut::with_capacity(1 + TAG_BYTES + message.len());
        sealed.put_u8(MARK);
        sealed.put_slice(&tag(&self.0[0], purpose, message).finalize().into_bytes());
        sealed.put_slice(message);
        sealed.freeze()
    }

    /// The message without its tag, which is right.
    pub(super) fn open(&self, purpose: Purpose<'_>, sealed: &Bytes) -> Result<Bytes, NotOurs> {
        if !is_sealed(sealed) {
            return Err(NotOurs);
        }
        let message = sealed.slice(1 + TAG_BYTES..);
        match self.is_tag(purpose, &message, &sealed[1..=TAG_BYTES]) {
            true => Ok(message),
            false => Err(NotOurs),
        }
    }

    /// The tag of a message, in hexadecimal digits.
    pub(super) fn tag(&self, purpose: Purpose<'_>, message: &[u8]) -> String {
        let tag = tag(&self.0[0], purpose, message).finalize();
        format!("{:x}", tag.into_bytes())
    }

    /// Whether these hexadecimal digits are the tag of the message.
    pub(super) fn is_tag_of(&self, purpose: Purpose<'_>, message: &[u8], tag: &str) -> bool {
        let digits = |at: usize| u8::from_str_radix(tag.get(at..at + 2)?, 16).ok();
        let tag: Option<Vec<u8>> = (0..tag.len()).step_by(2).map(digits).collect();
        tag.is_some_and(|tag| self.is_tag(purpose, message, &tag))
    }

    fn is_tag(&self, purpose: Purpose<'_>, message: &[u8], given: &[u8]) -> bool {
        // The comparison takes the same time wherever the tags differ.
        self.0.iter().any(|key| tag(key, purpose, message).verify_slice(given).is_ok())
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

/// Whether a message has a tag, right or wrong.
pub(super) fn is_sealed(message: &[u8]) -> bool {
    message.len() > TAG_BYTES && message[0] == MARK
}

/// Each part is followed by a zero byte, which no name has, so that no two purposes are the same.
fn tag(key: &Hmac<Sha256>, purpose: Purpose<'_>, message: &[u8]) -> Hmac<Sha256> {
    let mut tag = key.clone();
    let (kind, name) = match purpose {
        Purpose::Entry { stream, .. } => ("entry", stream),
        Purpose::Message { subject } => ("message", subject),
        Purpose::Label { prefix } => ("label", prefix),
    };
    for part in ["echoline 1", kind, name] {
        tag.update(part.as_bytes());
        tag.update(&[0]);
    }
    if let Purpose::Entry { created_ns, .. } = purpose {
        tag.update(&created_ns.to_le_bytes());
    }
    tag.update(message);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";
    const ENTRY: Purpose<'_> = Purpose::Entry { stream: "ECHOLINE_tea", created_ns: 7 };

    fn seal(file: &str) -> Seal {
        Seal::read(Some(&file.into())).unwrap().unwrap()
    }

    /// Issue 12, item 10: only a node with the key makes a tag, for one stream and one purpose.
    #[test]
    fn attack_a_message_without_the_key_is_not_opened() {
        let ours = seal(KEY);
        let sealed = ours.seal(ENTRY, b"tea");
        assert_eq!(ours.open(ENTRY, &sealed), Ok(Bytes::from_static(b"tea")));
        for purpose in [
            Purpose::Entry { stream: "ECHOLINE_tea", created_ns: 8 },
            Purpose::Entry { stream: "ECHOLINE_te", created_ns: 7 },
            Purpose::Message { subject: "ECHOLINE_tea" },
            Purpose::Label { prefix: "ECHOLINE_tea" },
        ] {
            assert_eq!(ours.open(purpose, &sealed), Err(NotOurs), "{purpose:?}");
        }
        assert_eq!(seal(OTHER).open(ENTRY, &sealed), Err(NotOurs));
        for place in 0..sealed.len() {
            let mut forged = sealed.to_vec();
            forged[place] ^= 1;
            assert_eq!(ours.open(ENTRY, &forged.into()), Err(NotOurs), "byte {place}");
            let short = sealed.slice(..place);
            assert_eq!(ours.open(ENTRY, &short), Err(NotOurs), "{place} bytes");
        }
        assert!(!is_sealed(b"{\"v\":1}") && is_sealed(&sealed));
        assert_eq!(ours.open(ENTRY, &Bytes::from_static(b"tea")), Err(NotOurs));
        let empty = ours.seal(ENTRY, b"");
        assert_eq!(ours.open(ENTRY, &empty), Ok(Bytes::new()));
    }

    #[test]
    fn a_tag_in_digits_is_known_again() {
        let (ours, label) = (seal(KEY), Purpose::Label { prefix: "p" });
        let tag = ours.tag(label, b"7.30");
        assert_eq!(tag.len(), 2 * TAG_BYTES);
        assert!(ours.is_tag_of(label, b"7.30", &tag) && !ours.is_tag_of(label, b"7.31", &tag));
        for wrong in ["", "0", "é", &tag[..62], &format!("{tag}00"), &"g".repeat(64)] {
            assert!(!ours.is_tag_of(label, b"7.30", wrong), "{wrong}");
        }
    }

    /// A key is replaced without a moment in which nodes do not understand each other.
    #[test]
    fn the_first_key_signs_and_all_are_accepted() {
        let (old, new) = (seal(KEY), seal(OTHER));
        let both = seal(&format!("# of December\n{OTHER}\n\n  {KEY}  \n"));
        assert!(both.open(ENTRY, &old.seal(ENTRY, b"tea")).is_ok());
        assert!(new.open(ENTRY, &both.seal(ENTRY, b"tea")).is_ok());
        assert!(old.open(ENTRY, &both.seal(ENTRY, b"tea")).is_err());
        assert_eq!(format!("{both:?}"), "Seal");
    }

    #[test]
    fn a_key_file_has_a_long_key() {
        assert!(Seal::read(None).unwrap().is_none());
        for file in ["", "\n# only words\n", "short", &format!("{KEY}\nshort")] {
            let error = Seal::read(Some(&file.into())).unwrap_err().to_string();
            assert!(error.contains("32 letters") && !error.contains("short"), "{error}");
        }
    }

    /// Issue 12, item 10: the cost of a tag.
    ///
    /// `cargo test --release --lib the_cost_of_a_tag -- --ignored --nocapture`
    #[test]
    #[ignore = "measures, which is of use only in a release build on a machine that is at rest"]
    #[expect(clippy::disallowed_methods, reason = "it measures")]
    fn the_cost_of_a_tag() {
        const ROUNDS: u32 = 100_000;
        let (ours, message) = (seal(KEY), vec![b'x'; 150]);
        let sealed = ours.seal(ENTRY, &message);
        let since = std::time::Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(ours.seal(ENTRY, &message));
        }
        println!("sealing an entry of 150 bytes: {:?}", since.elapsed() / ROUNDS);
        let since = std::time::Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(ours.open(ENTRY, &sealed)).unwrap();
        }
        println!("opening it: {:?}", since.elapsed() / ROUNDS);
    }

    /// Messages of other versions must have the same tag.
    #[test]
    fn the_tag_of_a_message_is_for_ever() {
        let tag = seal(KEY).tag(ENTRY, b"tea");
        assert_eq!(tag, "2af15760d1eb8f921942b1648fca9e530a182ff3b6e946d6723fedebc5439844");
    }
}
