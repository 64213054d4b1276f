//! Authenticates messages between nodes with HMAC-SHA256 (RFC 2104, FIPS 180-4). All nodes of a
//! cluster have the key; the NATS servers do not have it.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::error::DriverError;
use echoline_base::SecretText;

/// The first byte of a message with a tag. A message without a tag never begins with it.
const TAGGED: u8 = 1;
const TAG_BYTES: usize = 32;
/// The minimum length of a key in characters: 128 bits as hexadecimal digits.
const KEY_LETTERS_MIN: usize = 32;

/// The purpose of a message. A tag is valid for one purpose only.
#[derive(Clone, Copy, Debug)]
pub(super) enum TagPurpose<'a> {
    /// An entry of a stream. `created_ns` is the creation time of the stream, in nanoseconds since
    /// 1970.
    Entry { stream: &'a str, created_ns: i128 },
    /// A message outside of the stream.
    Message { subject: &'a str },
    /// The label of a snapshot.
    Label { prefix: &'a str },
}

/// The error if a message has no valid tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAuthenticated;

/// The keys of a cluster. The first key signs messages; tags of all keys are accepted.
pub(super) struct ClusterKey(Vec<Hmac<Sha256>>);

impl ClusterKey {
    /// Parses the lines of a key file. Returns `None` if there is no file.
    pub(super) fn read(file: Option<&SecretText>) -> Result<Option<Self>, DriverError> {
        let Some(file) = file else { return Ok(None) };
        let lines = file.reveal().lines().map(str::trim);
        let keys: Vec<&str> =
            lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        if keys.is_empty() || keys.iter().any(|key| key.len() < KEY_LETTERS_MIN) {
            return Err(DriverError::KeyFile);
        }
        // HMAC accepts keys of any length, so this cannot fail.
        let keys = keys.into_iter().map(|key| Hmac::new_from_slice(key.as_bytes()));
        Ok(Some(Self(keys.collect::<Result<_, _>>().map_err(|_| DriverError::KeyFile)?)))
    }

    /// Returns the message with a tag in front of it.
    pub(super) fn sign(&self, purpose: TagPurpose<'_>, message: &[u8]) -> Bytes {
        let mut signed = BytesMut::with_capacity(1 + TAG_BYTES + message.len());
        signed.put_u8(TAGGED);
        signed.put_slice(&tag(&self.0[0], purpose, message).finalize().into_bytes());
        signed.put_slice(message);
        signed.freeze()
    }

    /// Returns the message without its tag, if the tag is valid.
    pub(super) fn verify(
        &self,
        purpose: TagPurpose<'_>,
        signed: &Bytes,
    ) -> Result<Bytes, NotAuthenticated> {
        if !is_tagged(signed) {
            return Err(NotAuthenticated);
        }
        let message = signed.slice(1 + TAG_BYTES..);
        match self.is_tag(purpose, &message, &signed[1..=TAG_BYTES]) {
            true => Ok(message),
            false => Err(NotAuthenticated),
        }
    }

    /// Returns the tag of a message, in hexadecimal digits.
    pub(super) fn tag(&self, purpose: TagPurpose<'_>, message: &[u8]) -> String {
        let tag = tag(&self.0[0], purpose, message).finalize();
        format!("{:x}", tag.into_bytes())
    }

    /// Returns whether `tag`, in hexadecimal digits, is a valid tag of the message.
    pub(super) fn is_tag_of(&self, purpose: TagPurpose<'_>, message: &[u8], tag: &str) -> bool {
        let digits = |at: usize| u8::from_str_radix(tag.get(at..at + 2)?, 16).ok();
        let tag: Option<Vec<u8>> = (0..tag.len()).step_by(2).map(digits).collect();
        tag.is_some_and(|tag| self.is_tag(purpose, message, &tag))
    }

    fn is_tag(&self, purpose: TagPurpose<'_>, message: &[u8], given: &[u8]) -> bool {
        // `verify_slice` compares in constant time.
        self.0.iter().any(|key| tag(key, purpose, message).verify_slice(given).is_ok())
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey")
    }
}

/// Returns whether a message has a tag, valid or not.
pub(super) fn is_tagged(message: &[u8]) -> bool {
    message.len() > TAG_BYTES && message[0] == TAGGED
}

/// Computes the tag. A zero byte ends each part of the input, and no name contains a zero byte.
/// Different purposes therefore have different inputs.
fn tag(key: &Hmac<Sha256>, purpose: TagPurpose<'_>, message: &[u8]) -> Hmac<Sha256> {
    let mut tag = key.clone();
    let (kind, name) = match purpose {
        TagPurpose::Entry { stream, .. } => ("entry", stream),
        TagPurpose::Message { subject } => ("message", subject),
        TagPurpose::Label { prefix } => ("label", prefix),
    };
    for part in ["echoline 1", kind, name] {
        tag.update(part.as_bytes());
        tag.update(&[0]);
    }
    if let TagPurpose::Entry { created_ns, .. } = purpose {
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
    const ENTRY: TagPurpose<'_> = TagPurpose::Entry { stream: "ECHOLINE_tea", created_ns: 7 };

    fn key(file: &str) -> ClusterKey {
        ClusterKey::read(Some(&file.into())).unwrap().unwrap()
    }

    /// Issue 12, item 10: only a node with the key can make a tag, and the tag is valid for one
    /// stream and one purpose.
    #[test]
    fn attack_a_message_without_the_key_is_refused() {
        let ours = key(KEY);
        let signed = ours.sign(ENTRY, b"tea");
        assert_eq!(ours.verify(ENTRY, &signed), Ok(Bytes::from_static(b"tea")));
        for purpose in [
            TagPurpose::Entry { stream: "ECHOLINE_tea", created_ns: 8 },
            TagPurpose::Entry { stream: "ECHOLINE_te", created_ns: 7 },
            TagPurpose::Message { subject: "ECHOLINE_tea" },
            TagPurpose::Label { prefix: "ECHOLINE_tea" },
        ] {
            assert_eq!(ours.verify(purpose, &signed), Err(NotAuthenticated), "{purpose:?}");
        }
        assert_eq!(key(OTHER).verify(ENTRY, &signed), Err(NotAuthenticated));
        for index in 0..signed.len() {
            let mut forged = signed.to_vec();
            forged[index] ^= 1;
            assert_eq!(ours.verify(ENTRY, &forged.into()), Err(NotAuthenticated), "byte {index}");
            let short = signed.slice(..index);
            assert_eq!(ours.verify(ENTRY, &short), Err(NotAuthenticated), "{index} bytes");
        }
        assert!(!is_tagged(b"{\"v\":1}") && is_tagged(&signed));
        assert_eq!(ours.verify(ENTRY, &Bytes::from_static(b"tea")), Err(NotAuthenticated));
        let empty = ours.sign(ENTRY, b"");
        assert_eq!(ours.verify(ENTRY, &empty), Ok(Bytes::new()));
    }

    #[test]
    fn a_tag_in_digits_is_verified() {
        let (ours, label) = (key(KEY), TagPurpose::Label { prefix: "p" });
        let tag = ours.tag(label, b"7.30");
        assert_eq!(tag.len(), 2 * TAG_BYTES);
        assert!(ours.is_tag_of(label, b"7.30", &tag) && !ours.is_tag_of(label, b"7.31", &tag));
        for wrong in ["", "0", "é", &tag[..62], &format!("{tag}00"), &"g".repeat(64)] {
            assert!(!ours.is_tag_of(label, b"7.30", wrong), "{wrong}");
        }
    }

    /// Keys can be replaced while the cluster runs.
    #[test]
    fn the_first_key_signs_and_all_are_accepted() {
        let (old, new) = (key(KEY), key(OTHER));
        let both = key(&format!("# of December\n{OTHER}\n\n  {KEY}  \n"));
        assert!(both.verify(ENTRY, &old.sign(ENTRY, b"tea")).is_ok());
        assert!(new.verify(ENTRY, &both.sign(ENTRY, b"tea")).is_ok());
        assert!(old.verify(ENTRY, &both.sign(ENTRY, b"tea")).is_err());
        assert_eq!(format!("{both:?}"), "ClusterKey");
    }

    #[test]
    fn refuses_a_short_key() {
        assert!(ClusterKey::read(None).unwrap().is_none());
        for file in ["", "\n# only words\n", "short", &format!("{KEY}\nshort")] {
            let error = ClusterKey::read(Some(&file.into())).unwrap_err().to_string();
            assert!(error.contains("32 letters") && !error.contains("short"), "{error}");
        }
    }

    /// Issue 12, item 10: measures the cost of a tag.
    ///
    /// `cargo test --release -p echoline-chat-nats the_cost_of_a_tag -- --ignored --nocapture`
    #[test]
    #[ignore = "measures, which needs a release build on an idle machine"]
    #[expect(clippy::disallowed_methods, reason = "it measures")]
    fn the_cost_of_a_tag() {
        const ROUNDS: u32 = 100_000;
        let (ours, message) = (key(KEY), vec![b'x'; 150]);
        let signed = ours.sign(ENTRY, &message);
        let since = std::time::Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(ours.sign(ENTRY, &message));
        }
        println!("signing an entry of 150 bytes: {:?}", since.elapsed() / ROUNDS);
        let since = std::time::Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(ours.verify(ENTRY, &signed)).unwrap();
        }
        println!("verifying it: {:?}", since.elapsed() / ROUNDS);
    }

    /// All versions must compute the same tag.
    #[test]
    fn the_tag_of_a_message_never_changes() {
        let tag = key(KEY).tag(ENTRY, b"tea");
        assert_eq!(tag, "2af15760d1eb8f921942b1648fca9e530a182ff3b6e946d6723fedebc5439844");
    }
}
