//! Reads the subject and the validity of a certificate. Pure.

use std::time::Duration;

use x509_cert::Certificate as Parsed;
use x509_cert::der::Decode;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The facts of one certificate. Times count from the beginning of 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CertificateFacts {
    /// The subject in the format of RFC 4514, for example `CN=echo,O=Example`.
    pub(super) subject: String,
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

/// Returns the whole days in `length`.
fn days(length: Duration) -> u64 {
    length.as_secs() / DAY.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_valid_from_its_first_second_to_its_last() {
        let begin = 100 * DAY;
        let end = begin + 10 * DAY;
        let facts = CertificateFacts { subject: String::new(), not_before: begin, not_after: end };
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
}
