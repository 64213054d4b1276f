//! The header in which a proxy names its client (PROXY protocol, versions 1 and 2:
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>). Pure.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::tlv::{ProxyHeaderError, TlvReader};
use echoline_base::checksum::CRC_32C;

/// The signature of a version 2 header.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The length of the longest line of version 1, including its line end.
const LINE_MAX: usize = 107;

/// The length of the shortest line of version 1, `PROXY UNKNOWN` with its line end. A header of
/// either version has at least this many bytes.
const LINE_MIN: usize = 15;

const FIXED: usize = 16;

/// The maximum length of a version 2 header after its fixed part: addresses and TLVs. The protocol
/// allows 64 KiB. The certificates that proxies pass on take a few KiB.
const BODY_MAX: usize = 8 * 1024;

/// The type of the TLV with a checksum (`PP2_TYPE_CRC32C`).
const CHECKSUM: u8 = 0x03;

/// The type of the TLV with the TLS of the client (`PP2_TYPE_SSL`).
pub(super) const TLS: u8 = 0x20;

/// Length of that TLV without the TLVs inside it: flags and the result of the verification.
pub(super) const TLS_FIXED: usize = 5;

/// The version of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The result of parsing the bytes of a header received so far.
///
/// ```
/// use echoline::proxy::ProxyHeader;
///
/// let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\r\n";
/// let client = "192.0.2.1:4711".parse()?;
/// assert_eq!(ProxyHeader::parse(line), Ok(ProxyHeader::Source(Some(client))));
/// assert_eq!(ProxyHeader::parse(b"PROXY TCP4"), Ok(ProxyHeader::More(5)));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The header is incomplete: at least this many more bytes belong to it.
    More(usize),
    /// A complete header with the client that the proxy names; `None` if the proxy does not know
    /// it.
    Source(Option<SocketAddr>),
    /// A complete header of a proxy that connects on its own behalf (LOCAL), usually for a health
    /// check.
    Local,
}

/// The progress of parsing a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderProgress {
    /// At least this many more bytes belong to the header.
    More(usize),
    Complete(HeaderDetails),
}

/// A complete header, whose TLVs are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeaderDetails {
    pub(super) version: ProxyVersion,
    pub(super) is_local: bool,
    /// The addresses of the client and of the proxy to which it has connected.
    pub(super) ends: Option<Ends>,
    /// The offset of the first TLV; the length of the header if it has none.
    pub(super) tlvs_start: usize,
}

type Ends = (SocketAddr, SocketAddr);

impl ProxyHeader {
    /// Parses a header. A caller that reads exactly the requested bytes each time never reads
    /// beyond the header.
    ///
    /// # Errors
    /// The bytes are not the beginning of a header.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProxyHeaderError> {
        parse(bytes)
    }
}

fn parse(bytes: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    Ok(match progress(bytes)? {
        HeaderProgress::More(more) => ProxyHeader::More(more),
        HeaderProgress::Complete(details) if details.is_local => ProxyHeader::Local,
        HeaderProgress::Complete(details) => {
            ProxyHeader::Source(details.ends.map(|(source, _)| source))
        }
    })
}

/// Parses the bytes of a header received so far.
pub(super) fn progress(bytes: &[u8]) -> Result<HeaderProgress, ProxyHeaderError> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] == SIGNATURE[..known] && known > 0 {
        return parse_v2(bytes);
    }
    let known = bytes.len().min(6);
    if bytes[..known] != b"PROXY "[..known] {
        return Err(ProxyHeaderError(
            "it does not begin with 'PROXY ' or the signature of version 2",
        ));
    }
    parse_v1(bytes)
}

fn parse_v1(bytes: &[u8]) -> Result<HeaderProgress, ProxyHeaderError> {
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        if bytes.contains(&b'\n') {
            return Err(ProxyHeaderError("its line does not end with CR and LF"));
        }
        if bytes.len() + 1 >= LINE_MAX {
            return Err(ProxyHeaderError("its line is longer than 107 bytes"));
        }
        let end = if bytes.ends_with(b"\r") { 1 } else { 2 };
        return Ok(HeaderProgress::More(end.max(LINE_MIN.saturating_sub(bytes.len()))));
    };
    let line = core::str::from_utf8(line).map_err(|_| ProxyHeaderError("its line is not text"))?;
    let complete = |ends| {
        let (version, is_local, tlvs_start) = (ProxyVersion::V1, false, bytes.len());
        HeaderProgress::Complete(HeaderDetails { version, is_local, ends, tlvs_start })
    };
    let mut words = line.split(' ');
    let is_ipv4 = match (words.next(), words.next()) {
        // The rest of the line is ignored.
        (_, Some("UNKNOWN")) => return Ok(complete(None)),
        (_, Some("TCP4")) => true,
        (_, Some("TCP6")) => false,
        _ => return Err(ProxyHeaderError("its protocol is not TCP4, TCP6 or UNKNOWN")),
    };
    let mut address = || {
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        address.filter(|address| address.is_ipv4() == is_ipv4)
    };
    let addresses = address().zip(address());
    let (source, destination) =
        addresses.ok_or(ProxyHeaderError("its addresses do not match its protocol"))?;
    let ports = words.next().and_then(port).zip(words.next().and_then(port));
    let (source_port, port) =
        ports.ok_or(ProxyHeaderError("its ports are not numbers from 0 to 65535"))?;
    match words.next() {
        None => {
            let source = SocketAddr::new(source, source_port);
            Ok(complete(Some((source, SocketAddr::new(destination, port)))))
        }
        Some(_) => Err(ProxyHeaderError("its line has more than two addresses and two ports")),
    }
}

/// Parses a port: digits only, without leading zeros.
fn port(word: &str) -> Option<u16> {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = word.len() == 1 || !word.starts_with('0');
    (is_number && is_short).then(|| word.parse().ok()).flatten()
}

fn parse_v2(bytes: &[u8]) -> Result<HeaderProgress, ProxyHeaderError> {
    if bytes.len() < FIXED {
        let most = if bytes.len() < LINE_MIN { LINE_MIN } else { FIXED };
        return Ok(HeaderProgress::More(most - bytes.len()));
    }
    let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    let is_local = match bytes[12] {
        0x20 => true,
        0x21 => false,
        command if command >> 4 != 2 => return Err(ProxyHeaderError("its version is not 2")),
        _ => return Err(ProxyHeaderError("its command is neither LOCAL nor PROXY")),
    };
    // A receiver of LOCAL "must accept the connection" and skip the address block, whatever its
    // family and length are (section 2.2).
    if length > BODY_MAX && !is_local {
        return Err(ProxyHeaderError("it is longer than 8 KiB"));
    }
    if bytes.len() < FIXED + length {
        return Ok(HeaderProgress::More(FIXED + length - bytes.len()));
    }
    let body = &bytes[FIXED..];
    // Without an address family, TLVs may follow at once (section 2.2). A sender may also use a
    // layout of its own, which is skipped.
    let is_opaque = bytes[13] >> 4 == 0 && TlvReader::new(body).any(|tlv| tlv.is_err());
    let (ends, tlvs_start) = if is_local || is_opaque {
        (None, bytes.len())
    } else {
        let (ends, addresses) = ends(bytes[13], body)?;
        check_tlvs(bytes, FIXED + addresses)?;
        (ends, FIXED + addresses)
    };
    let version = ProxyVersion::V2;
    Ok(HeaderProgress::Complete(HeaderDetails { version, is_local, ends, tlvs_start }))
}

/// Returns the addresses of both ends, if the family has some, and their length.
fn ends(family: u8, body: &[u8]) -> Result<(Option<Ends>, usize), ProxyHeaderError> {
    let length = match family >> 4 {
        // Unspecified: there are no addresses.
        0 => return Ok((None, 0)),
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Err(ProxyHeaderError("its address family is unknown")),
    };
    if family & 0x0F > 2 {
        return Err(ProxyHeaderError("its transport is unknown"));
    }
    if body.len() < length {
        return Err(ProxyHeaderError("it is shorter than its addresses"));
    }
    let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let ends = match length {
        12 => {
            let end = |ip: usize, at| {
                let ip = Ipv4Addr::new(body[ip], body[ip + 1], body[ip + 2], body[ip + 3]);
                SocketAddr::new(ip.into(), port(at))
            };
            Some((end(0, 8), end(4, 10)))
        }
        36 => {
            let end = |from: usize, at| {
                let mut ip = [0; 16];
                ip.copy_from_slice(&body[from..from + 16]);
                SocketAddr::new(Ipv6Addr::from(ip).into(), port(at))
            };
            Some((end(0, 32), end(16, 34)))
        }
        _ => None,
    };
    Ok((ends, length))
}

/// Checks the TLVs after the addresses, and those inside the one with the TLS of the client.
/// Verifies the checksum if it is among them.
fn check_tlvs(header: &[u8], start: usize) -> Result<(), ProxyHeaderError> {
    let mut tlvs = TlvReader::new(&header[start..]);
    while let Some(tlv) = tlvs.next() {
        let tlv = tlv?;
        let end = header.len() - tlvs.left();
        match tlv.kind {
            CHECKSUM => check_sum(header, end - tlv.value.len(), tlv.value)?,
            TLS => {
                let inside = tlv.value.get(TLS_FIXED..);
                let inside = inside.ok_or(ProxyHeaderError("its TLV about TLS is too short"))?;
                TlvReader::new(inside).try_for_each(|tlv| tlv.map(drop))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Verifies the checksum at offset `at`. It is computed over the whole header, with zeros in place
/// of its own four bytes.
fn check_sum(header: &[u8], at: usize, told: &[u8]) -> Result<(), ProxyHeaderError> {
    let told = <[u8; 4]>::try_from(told)
        .map_err(|_| ProxyHeaderError("its checksum does not have four bytes"))?;
    let mut sum = CRC_32C.digest();
    sum.update(&header[..at]);
    sum.update(&[0; 4]);
    sum.update(&header[at + 4..]);
    match sum.finalize() == u32::from_be_bytes(told) {
        true => Ok(()),
        false => Err(ProxyHeaderError("its checksum is wrong")),
    }
}

impl ProxyVersion {
    /// Returns the header for a client at `source` that has connected to `destination`.
    #[must_use]
    pub fn header(self, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
        write(self, source, destination)
    }
}

fn write(version: ProxyVersion, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let (from, to) = same_family(source.ip().to_canonical(), destination.ip().to_canonical());
    match version {
        ProxyVersion::V1 => {
            let protocol = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            let ports = (source.port(), destination.port());
            format!("PROXY {protocol} {from} {to} {} {}\r\n", ports.0, ports.1).into_bytes()
        }
        ProxyVersion::V2 => {
            let mut addresses = Vec::new();
            for ip in [from, to] {
                match ip {
                    IpAddr::V4(ip) => addresses.extend_from_slice(&ip.octets()),
                    IpAddr::V6(ip) => addresses.extend_from_slice(&ip.octets()),
                }
            }
            addresses.extend_from_slice(&source.port().to_be_bytes());
            addresses.extend_from_slice(&destination.port().to_be_bytes());
            let family = if from.is_ipv4() { 0x11 } else { 0x21 };
            // The length is 12 or 36 bytes, so it fits.
            [&SIGNATURE[..], &[0x21, family, 0, addresses.len() as u8], &addresses].concat()
        }
    }
}

/// Maps both addresses to one family, because a header cannot mix IPv4 and IPv6.
fn same_family(from: IpAddr, to: IpAddr) -> (IpAddr, IpAddr) {
    let mapped = |ip| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        v6 => v6,
    };
    if from.is_ipv4() == to.is_ipv4() { (from, to) } else { (mapped(from), mapped(to)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    const IPV4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0x1F, 0x90, 0, 80];

    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        assert_eq!(CRC_32C.checksum(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn parses_every_form() {
        let told = |text: &str| Ok(ProxyHeader::Source(text.parse().ok()));
        for (line, source) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.2 8080 80\r\n", "192.0.2.1:8080"),
            ("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", "[2001:db8::1]:65535"),
            ("PROXY UNKNOWN\r\n", ""),
            ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", ""),
        ] {
            assert_eq!(parse(line.as_bytes()), told(source), "{line}");
        }
        assert_eq!(parse(&v2(0x21, 0x11, IPV4)), told("192.0.2.1:8080"));
        let vector = [IPV4, &[4, 0, 2, 9, 9]].concat();
        assert_eq!(parse(&v2(0x21, 0x12, &vector)), told("192.0.2.1:8080"));
        assert_eq!(parse(&v2(0x20, 0x11, IPV4)), Ok(ProxyHeader::Local));
        assert_eq!(parse(&v2(0x20, 0, b"")), Ok(ProxyHeader::Local), "as HAProxy's checks send it");
        assert_eq!(parse(&v2(0x21, 0x31, &[b'/'; 216])), told(""), "a Unix socket");
        assert_eq!(parse(&v2(0x21, 0, b"whatever")), told(""), "unspecified");
    }

    /// Issue 11, item 22: LOCAL is accepted with any family and length. Its address block is
    /// skipped.
    #[test]
    fn regression_local_is_accepted_with_any_block() {
        for family in [0x00, 0x11, 0x12, 0x21, 0x31, 0x13, 0x41, 0xFF] {
            for body in [&b""[..], &IPV4[..5], IPV4, &[0xFF; 216], &[4; BODY_MAX + 1]] {
                let header = v2(0x20, family, body);
                let rest = [&header[..], b"hello"].concat();
                assert_eq!(read_whole(&rest), Ok((ProxyHeader::Local, header.len())), "{family:x}");
            }
        }
        let longest = v2(0x20, 0, &vec![0; usize::from(u16::MAX)]);
        assert_eq!(parse(&longest), Ok(ProxyHeader::Local));
        let mut checked = v2(0x20, 0x11, &[IPV4, &[CHECKSUM, 0, 4, 0, 0, 0, 0]].concat());
        assert_eq!(parse(&checked), Ok(ProxyHeader::Local), "its checksum is part of the block");
        checked[12] = 0x21;
        assert!(parse(&checked).is_err(), "the checksum of PROXY is checked");
    }

    #[test]
    fn a_checksum_is_checked() {
        let mut header = v2(0x21, 0x11, &[IPV4, &[CHECKSUM, 0, 4, 0, 0, 0, 0]].concat());
        let sum = CRC_32C.checksum(&header).to_be_bytes();
        let at = header.len() - 4;
        header[at..].copy_from_slice(&sum);
        assert_eq!(parse(&header), Ok(ProxyHeader::Source("192.0.2.1:8080".parse().ok())));
        header[17] ^= 1;
        assert_eq!(parse(&header), Err(ProxyHeaderError("its checksum is wrong")));
    }

    /// Fault 26: invalid input is refused as soon as it is recognized.
    #[test]
    fn refuses_invalid_headers() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_MAX));
        for line in [
            "GET / HTTP/1.1\r\n",
            "P ",
            "PROXY TCP4 192.0.2.1 198.51.100.2 8080\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 8080 80 1\r\n",
            "PROXY TCP4 192.0.2.1  198.51.100.2 8080 80\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 65536 80\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 +80 80\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 080 80\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.2 80 80\r\n",
            "PROXY TCP4 ::1 ::2 8080 80\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.2 8080 80\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.2 8080 80\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 8080 80\n",
            &long[..LINE_MAX + 1],
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
        for header in [
            v2(0x11, 0x11, IPV4),
            v2(0x22, 0x11, IPV4),
            v2(0x21, 0x41, IPV4),
            v2(0x21, 0x13, IPV4),
            v2(0x21, 0x11, &IPV4[1..]),
            v2(0x21, 0x21, IPV4),
            v2(0x21, 0x11, &[IPV4, &[4, 0]].concat()),
            v2(0x21, 0x11, &[IPV4, &[4, 0, 1]].concat()),
            v2(0x21, 0x11, &[IPV4, &[CHECKSUM, 0, 1, 0]].concat()),
            v2(0x21, 0, &[0; BODY_MAX + 1]),
        ] {
            assert!(parse(&header).is_err(), "{header:x?}");
        }
    }

    /// Reads `stream` as the step does: the requested number of bytes, until the header is
    /// complete.
    fn read_whole(stream: &[u8]) -> Result<(ProxyHeader, usize), ProxyHeaderError> {
        let mut taken = 0;
        loop {
            match parse(&stream[..taken])? {
                ProxyHeader::More(0) => panic!("a request for 0 bytes"),
                ProxyHeader::More(more) => taken += more,
                whole => return Ok((whole, taken)),
            }
        }
    }

    proptest! {
        /// Faults 26, 27: a header that is cut anywhere parses to the same value, and not a byte
        /// more is read.
        #[test]
        fn exactly_the_header_is_read(
            source in any::<SocketAddr>(),
            destination in any::<SocketAddr>(),
            is_text in any::<bool>(),
            rest in prop::collection::vec(any::<u8>(), 110..120),
        ) {
            let version = if is_text { ProxyVersion::V1 } else { ProxyVersion::V2 };
            let header = write(version, source, destination);
            let stream = [&header[..], &rest].concat();
            let (whole, taken) = read_whole(&stream).unwrap();
            let told = match whole {
                ProxyHeader::Source(told) => told,
                other => panic!("{other:?}"),
            };
            let told = told.map(|told| (told.ip().to_canonical(), told.port()));
            prop_assert_eq!(told, Some((source.ip().to_canonical(), source.port())));
            prop_assert_eq!(taken, header.len());
            for cut in 0..header.len() {
                let read = parse(&header[..cut]);
                let left = header.len() - cut;
                let asks = matches!(read, Ok(ProxyHeader::More(more)) if more <= left);
                prop_assert!(asks, "cut at {}: {:?}", cut, read);
            }
        }

        #[test]
        fn no_input_causes_a_panic(
            start in prop_oneof![Just(&b""[..]), Just(&b"PROXY TCP4 "[..]), Just(&SIGNATURE[..])],
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = parse(&[start, &bytes].concat());
        }
    }
}
