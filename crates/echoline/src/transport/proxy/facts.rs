//! The contents of a PROXY header, as a handler reads them. Pure.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

use super::header::{HeaderDetails, HeaderProgress, ProxyVersion, TLS, TLS_FIXED, progress};
use super::tlv::{ProxyHeaderError, ProxyTlv, TlvReader};

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const UNIQUE_ID: u8 = 0x05;
const NETNS: u8 = 0x30;

/// The flags of the TLV with the TLS of the client: the client used TLS, and it has shown a
/// certificate in this connection or in the session that it resumed.
const CLIENT_TLS: u8 = 0x01;
const CLIENT_CERTIFICATE: u8 = 0x02 | 0x04;

/// The contents of a PROXY header: the addresses of the client's connection to the proxy, and the
/// TLVs (type, length, value) of version 2.
///
/// [`Connection::proxy`](crate::Connection::proxy) returns it. The proxy vouches for the contents,
/// so trust them as far as you trust the proxies of [`AcceptProxy`](super::AcceptProxy). The
/// specification of all TLVs is section 2.2 of
/// <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>. If a header has several TLVs of
/// one type, the methods return the first.
///
/// ```
/// use echoline::proxy::ProxyFacts;
///
/// let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x1A".to_vec();
/// header.extend([192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 0, 80]);
/// header.extend(b"\x02\0\x07a.queue\xEA\0\x01x");
/// let facts = ProxyFacts::parse(&header)?.expect("the header is complete");
/// assert_eq!(facts.source().unwrap().to_string(), "192.0.2.1:4711");
/// assert_eq!(facts.authority(), Some("a.queue"));
/// assert_eq!(facts.tlv(0xEA), Some(&b"x"[..]));
/// # Ok::<(), echoline::proxy::ProxyHeaderError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyFacts {
    version: ProxyVersion,
    is_local: bool,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    /// The checked TLVs.
    tlvs: Bytes,
}

impl ProxyFacts {
    /// Parses a header without any bytes after it; `None` while it is incomplete. At most 8 KiB of
    /// addresses and TLVs are accepted.
    ///
    /// # Errors
    /// The bytes are not the beginning of a header, the length of a TLV exceeds its place, or the
    /// checksum is wrong.
    pub fn parse(header: &[u8]) -> Result<Option<Self>, ProxyHeaderError> {
        Ok(match progress(header)? {
            HeaderProgress::More(_) => None,
            HeaderProgress::Complete(details) => Some(Self::of(header, &details)),
        })
    }

    /// Copies the contents of a header.
    pub(super) fn of(header: &[u8], details: &HeaderDetails) -> Self {
        Self {
            version: details.version,
            is_local: details.is_local,
            source: details.ends.map(|(source, _)| source),
            destination: details.ends.map(|(_, destination)| destination),
            tlvs: Bytes::copy_from_slice(&header[details.tlvs_start..]),
        }
    }

    /// Returns the version of the header.
    #[must_use]
    pub fn version(&self) -> ProxyVersion {
        self.version
    }

    /// Returns whether the proxy connects for itself (LOCAL), usually for a health check. Such a
    /// header names no addresses and has no TLVs.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// Returns the address of the client; `None` if the proxy does not know it, or if it is not an
    /// IP address.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        self.source
    }

    /// Returns the address of the proxy to which the client has connected; `None` as for
    /// [`source`](Self::source).
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        self.destination
    }

    /// Returns all TLVs in their order, also padding (NOOP) and the checksum, which was verified.
    pub fn tlvs(&self) -> impl Iterator<Item = ProxyTlv<'_>> {
        // They were checked when the header was parsed, so no error is left out.
        TlvReader::new(&self.tlvs).filter_map(Result::ok)
    }

    /// Returns the value of the first TLV of this type, for example 0xEA for the VPC endpoint of
    /// AWS.
    #[must_use]
    pub fn tlv(&self, kind: u8) -> Option<&[u8]> {
        self.tlvs().find(|tlv| tlv.kind == kind).map(|tlv| tlv.value)
    }

    /// Returns the application protocol of the client (`PP2_TYPE_ALPN`), for example `h2`.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tlv(ALPN)
    }

    /// Returns the host name that the client asked for (`PP2_TYPE_AUTHORITY`), usually the SNI of
    /// its TLS. `None` if it is not UTF-8.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.text(AUTHORITY)
    }

    /// Returns the proxy's ID for this connection (`PP2_TYPE_UNIQUE_ID`), by which its log can be
    /// searched. The specification allows 128 bytes, of any value.
    #[must_use]
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.tlv(UNIQUE_ID)
    }

    /// Returns the network namespace of the proxy (`PP2_TYPE_NETNS`). `None` if it is not UTF-8.
    #[must_use]
    pub fn netns(&self) -> Option<&str> {
        self.text(NETNS)
    }

    /// Returns the TLS between the client and the proxy (`PP2_TYPE_SSL`); `None` if the client used
    /// none, or if the proxy does not tell.
    #[must_use]
    pub fn tls(&self) -> Option<ProxyTls<'_>> {
        let ([flags, verify @ ..], tlvs) = self.tlv(TLS)?.split_first_chunk::<TLS_FIXED>()?;
        let is_verified = verify == &[0; 4];
        let tls = ProxyTls { flags: *flags, is_verified, tlvs: TlvReader::new(tlvs) };
        (flags & CLIENT_TLS != 0).then_some(tls)
    }

    fn text(&self, kind: u8) -> Option<&str> {
        str::from_utf8(self.tlv(kind)?).ok()
    }
}

impl fmt::Debug for ProxyFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyFacts")
            .field("version", &self.version)
            .field("is_local", &self.is_local)
            .field("source", &self.source)
            .field("destination", &self.destination)
            .field("tlvs", &self.tlvs().map(|tlv| tlv.kind).collect::<Vec<_>>())
            .finish()
    }
}

/// The TLS between a client and the proxy, as the PROXY header tells it (`PP2_TYPE_SSL`, section
/// 2.2.6 of the specification).
#[derive(Clone, Debug)]
pub struct ProxyTls<'a> {
    flags: u8,
    is_verified: bool,
    tlvs: TlvReader<'a>,
}

impl<'a> ProxyTls<'a> {
    /// Returns whether the client has shown a certificate, in this connection or in the session
    /// that it resumed.
    #[must_use]
    pub fn has_certificate(&self) -> bool {
        self.flags & CLIENT_CERTIFICATE != 0
    }

    /// Returns whether the client has shown a certificate that the proxy has verified.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.is_verified && self.has_certificate()
    }

    /// Returns the TLS version, for example `TLSv1.3`.
    #[must_use]
    pub fn version(&self) -> Option<&'a str> {
        self.text(0x21)
    }

    /// Returns the common name in the client's certificate. It identifies the client only if
    /// [`is_verified`](Self::is_verified).
    #[must_use]
    pub fn common_name(&self) -> Option<&'a str> {
        self.text(0x22)
    }

    /// Returns the cipher, for example `TLS_AES_128_GCM_SHA256`.
    #[must_use]
    pub fn cipher(&self) -> Option<&'a str> {
        self.text(0x23)
    }

    /// Returns the signature algorithm of the certificate that the proxy has shown, for example
    /// `SHA256`.
    #[must_use]
    pub fn signature_algorithm(&self) -> Option<&'a str> {
        self.text(0x24)
    }

    /// Returns the key algorithm of the certificate that the proxy has shown, for example
    /// `RSA2048`.
    #[must_use]
    pub fn key_algorithm(&self) -> Option<&'a str> {
        self.text(0x25)
    }

    /// Returns all TLVs inside this one, in their order.
    pub fn tlvs(&self) -> impl Iterator<Item = ProxyTlv<'a>> + use<'a> {
        self.tlvs.clone().filter_map(Result::ok)
    }

    /// Returns the value of the first TLV of this type inside this one.
    #[must_use]
    pub fn tlv(&self, kind: u8) -> Option<&'a [u8]> {
        self.tlvs().find(|tlv| tlv.kind == kind).map(|tlv| tlv.value)
    }

    fn text(&self, kind: u8) -> Option<&'a str> {
        str::from_utf8(self.tlv(kind)?).ok()
    }
}
