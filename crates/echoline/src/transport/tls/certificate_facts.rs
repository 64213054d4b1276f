//! Reads the subject, the names and the validity of a certificate. Pure.

use std::net::IpAddr;
use std::time::Duration;

use x509_cert::Certificate as Parsed;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Decode, Tag, TagNumber, Tagged};
use x509_cert::ext::Extension;

/// The extension `subjectAltName` (RFC 5280 section 4.2.1.6).
const ALT_NAMES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A name for which a certificate was issued (`subjectAltName`, RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AltName {
    /// A DNS name, which may begin with `*.`.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
    /// An email address.
    Email(String),
    /// A URI, such as the SPIFFE ID of a workload.
    Uri(String),
}

/// The facts of one certificate. Times count from the beginning of 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CertificateFacts {
    /// The subject in the format of RFC 4514, for example `CN=echo,O=Example`.
    pub(super) subject: String,
    pub(super) alt_names: Vec<AltName>,
    pub(super) not_before: Duration,
    pub(super) not_after: Duration,
}

/// The validity of a certificate at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validity {
    Valid,
    ExpiredDaysAgo(u64),
    ValidInDays(u64),
}

impl CertificateFacts {
    /// Parses a certificate in DER. Fails with the reason if it is invalid.
    pub(super) fn read(der: &[u8]) -> Result<Self, String> {
        let parsed = Parsed::from_der(der).map_err(|error| error.to_string())?;
        let certificate = parsed.tbs_certificate();
        let validity = certificate.validity();
        Ok(Self {
            subject: certificate.subject().to_string(),
            alt_names: alt_names(certificate.extensions().map_or(&[], Vec::as_slice)),
            not_before: validity.not_before.to_unix_duration(),
            not_after: validity.not_after.to_unix_duration(),
        })
    }

    pub(super) fn validity(&self, now: Duration) -> Validity {
        if now < self.not_before {
            Validity::ValidInDays(days(self.not_before - now))
        } else if now > self.not_after {
            Validity::ExpiredDaysAgo(days(now - self.not_after))
        } else {
            Validity::Valid
        }
    }
}

/// Returns the names of a certificate. A certificate has the extension at most once (section 4.2),
/// so the names in two of them count as none.
fn alt_names(extensions: &[Extension]) -> Vec<AltName> {
    let mut found = extensions.iter().filter(|extension| extension.extn_id == ALT_NAMES);
    let (Some(extension), None) = (found.next(), found.next()) else { return Vec::new() };
    // The type of x509-cert for the whole list refuses all names if it does not know the kind of
    // one.
    let names = Vec::<AnyRef<'_>>::from_der(extension.extn_value.as_bytes()).unwrap_or_default();
    names.into_iter().filter_map(alt_name).collect()
}

fn alt_name(name: AnyRef<'_>) -> Option<AltName> {
    let Tag::ContextSpecific { number: TagNumber(number), .. } = name.tag() else { return None };
    let text = || String::from_utf8(name.value().to_vec()).ok().filter(|text| text.is_ascii());
    match number {
        1 => text().map(AltName::Email),
        2 => text().map(AltName::Dns),
        6 => text().map(AltName::Uri),
        7 => {
            let ipv4 = || Some(IpAddr::from(<[u8; 4]>::try_from(name.value()).ok()?));
            let ipv6 = || Some(IpAddr::from(<[u8; 16]>::try_from(name.value()).ok()?));
            ipv4().or_else(ipv6).map(AltName::Ip)
        }
        _ => None,
    }
}

/// Returns the whole days in `length`.
fn days(length: Duration) -> u64 {
    length.as_secs() / DAY.as_secs()
}

#[cfg(test)]
mod tests {
    use x509_cert::der::asn1::OctetString;

    use super::*;

    #[test]
    fn a_certificate_is_valid_from_its_first_second_to_its_last() {
        let begin = 100 * DAY;
        let end = begin + 10 * DAY;
        let facts = CertificateFacts {
            subject: String::new(),
            alt_names: Vec::new(),
            not_before: begin,
            not_after: end,
        };
        for (now, validity) in [
            (begin - Duration::from_secs(1), Validity::ValidInDays(0)),
            (begin - 3 * DAY, Validity::ValidInDays(3)),
            (begin, Validity::Valid),
            (end, Validity::Valid),
            (end + Duration::from_secs(1), Validity::ExpiredDaysAgo(0)),
            (end + 2 * DAY, Validity::ExpiredDaysAgo(2)),
        ] {
            assert_eq!(facts.validity(now), validity);
        }
    }

    #[test]
    fn reports_bytes_that_are_not_a_certificate() {
        assert!(CertificateFacts::read(b"").is_err());
        assert!(CertificateFacts::read(b"hello").is_err());
    }

    /// The names of a hostile issuer: those of other kinds and malformed ones do not hide the
    /// others.
    #[test]
    fn reads_the_names_of_known_kinds() {
        let names = |der: &[u8]| {
            let extension = Extension {
                extn_id: ALT_NAMES,
                critical: false,
                extn_value: OctetString::new(der).unwrap(),
            };
            (
                alt_names(std::slice::from_ref(&extension)),
                alt_names(&[extension.clone(), extension]),
            )
        };
        let der = [
            &[0x30, 33][..],
            &[0x82, 3, b'a', b'.', b'b'],
            &[0x87, 4, 192, 0, 2, 1],
            &[0x87, 5, 192, 0, 2, 1, 0],
            &[0x82, 1, 0xFF],
            &[0x83, 1, b'x'],
            &[0x88, 1, 42],
            &[0x81, 1, b'e'],
            &[0x86, 1, b'u'],
        ]
        .concat();
        let known = vec![
            AltName::Dns("a.b".to_owned()),
            AltName::Ip([192, 0, 2, 1].into()),
            AltName::Email("e".to_owned()),
            AltName::Uri("u".to_owned()),
        ];
        assert_eq!(names(&der), (known, Vec::new()));
        // A length that exceeds the bytes.
        assert_eq!(names(&[0x30, 4, 0x82, 9, b'a', b'.']).0, []);
        assert_eq!(names(b"").0, []);
    }
}
