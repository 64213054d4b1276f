//! A certificate that the peer of a connection has shown.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::certificate_facts::{AltName, CertificateFacts};

/// A certificate that the peer of a connection has shown, in DER (RFC 5280). Clones share its
/// bytes.
///
/// A server has verified it with [`ClientAuth`](super::ClientAuth), a client with
/// [`Trust`](super::Trust), unless that accepts any certificate. The peer has proved that it has
/// the key of the first certificate of its chain.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PeerCertificate(Bytes);

impl PeerCertificate {
    /// Takes the bytes of a certificate, for a test of a handler or for a TLS library other than
    /// rustls.
    #[must_use]
    pub fn from_der(der: impl Into<Bytes>) -> Self {
        Self(der.into())
    }

    /// Returns the whole certificate in DER.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }

    /// Returns the SHA-256 of the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }

    /// Returns the subject, in the format of RFC 4514: `CN=alice,O=Example`. `None` if the
    /// certificate is malformed. Takes some microseconds, because it parses the certificate.
    ///
    /// The issuer of the certificate has chosen the text, which may contain control characters.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        CertificateFacts::read(&self.0).ok().map(|facts| facts.subject)
    }

    /// Returns the names for which the certificate was issued, without those of other kinds; none
    /// if the certificate is malformed. Takes some microseconds, because it parses the certificate.
    ///
    /// The issuer of the certificate has chosen the texts: compare them as a whole, and escape them
    /// when you print them.
    #[must_use]
    pub fn alt_names(&self) -> Vec<AltName> {
        CertificateFacts::read(&self.0).map(|facts| facts.alt_names).unwrap_or_default()
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PeerCertificate").field(&format_args!("{}", self.fingerprint())).finish()
    }
}

/// The SHA-256 of a certificate in DER, which identifies it.
///
/// It is printed as 64 lower-case digits. It is also parsed with colons and in upper case, as
/// `openssl x509 -noout -fingerprint -sha256` prints it.
///
/// ```
/// use echoline::tls::Fingerprint;
///
/// let digits = Fingerprint::of(b"hello").to_string();
/// assert!(digits.starts_with("2cf24dba5fb0a30e"));
/// assert_eq!(digits.to_uppercase().parse(), Ok(Fingerprint::of(b"hello")));
/// assert!("2c:f2".parse::<Fingerprint>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// The text is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 fingerprint has 64 hexadecimal digits, with or without a colon after each two")]
pub struct InvalidFingerprint;

impl Fingerprint {
    /// Computes the fingerprint of a certificate in DER.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// Returns the 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let (digits, colons): (Vec<_>, Vec<_>) =
            text.bytes().enumerate().partition(|(at, _)| text.len() == 64 || at % 3 != 2);
        if ![64, 95].contains(&text.len()) || colons.iter().any(|(_, byte)| *byte != b':') {
            return Err(InvalidFingerprint);
        }
        let digit = |(_, byte): (usize, u8)| char::from(byte).to_digit(16);
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let value = digit(pair[0]).zip(digit(pair[1])).map(|(high, low)| high * 16 + low);
            // Two digits are at most 255.
            *byte = value.ok_or(InvalidFingerprint)? as u8;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fingerprint_is_parsed_in_both_forms_and_nothing_else() {
        let fingerprint = Fingerprint::of(b"");
        let digits = fingerprint.to_string();
        let pairs: Vec<&str> = (0..32).map(|at| &digits[2 * at..2 * at + 2]).collect();
        let colons = pairs.join(":").to_uppercase();
        assert_eq!((digits.parse(), colons.parse()), (Ok(fingerprint), Ok(fingerprint)));
        for wrong in [
            String::new(),
            digits[1..].to_owned(),
            format!("{digits}0"),
            digits.replace('e', "g"),
            colons.replacen(':', "-", 1),
            format!("{colons}:"),
            colons[..94].to_owned() + ":",
            pairs.join("::"),
            "é".repeat(32),
        ] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(InvalidFingerprint), "{wrong}");
        }
    }

    #[test]
    fn a_malformed_certificate_has_no_subject_and_no_names() {
        let certificate = PeerCertificate::from_der(&b"hello"[..]);
        assert_eq!((certificate.subject(), certificate.alt_names()), (None, Vec::new()));
    }

    proptest! {
        #[test]
        fn no_text_and_no_bytes_cause_a_panic(text in ".{0,100}", bytes: Vec<u8>) {
            let _ = text.parse::<Fingerprint>();
            let _ = PeerCertificate::from_der(bytes).alt_names();
        }

        #[test]
        fn a_printed_fingerprint_is_parsed_again(bytes: [u8; 32]) {
            let fingerprint = Fingerprint::from(bytes);
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        }
    }
}
