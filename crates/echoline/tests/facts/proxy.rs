//! The TLVs of a PROXY header, invented ones and those of HAProxy.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use echoline::proxy::{AcceptProxy, ProxyFacts, ProxyHeader, ProxyVersion};
use echoline::transport::Step;
use echoline::{Closed, Connection, Limits};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{Served, line};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The client 192.0.2.1:4711, which has connected to 198.51.100.2:80.
const ADDRESSES: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 0, 80];

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind][..], &length, value].concat()
}

fn header(command: u8, tlvs: &[u8]) -> Vec<u8> {
    let length = u16::try_from(ADDRESSES.len() + tlvs.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, 0x11], &length, &ADDRESSES, tlvs].concat()
}

fn parse(tlvs: &[u8]) -> Result<ProxyFacts, String> {
    let facts = ProxyFacts::parse(&header(0x21, tlvs)).map_err(|error| error.to_string())?;
    Ok(facts.expect("the header is complete"))
}

fn accept() -> [Arc<dyn Step>; 1] {
    [Arc::new(AcceptProxy::from_networks(vec!["127.0.0.0/8".parse().unwrap()]))]
}

/// Says what the proxy has told.
async fn tell(mut client: Connection) -> Result<(), Closed> {
    let facts = client.proxy().unwrap();
    assert_eq!(client.peer().is_some(), facts.source().is_some() || facts.is_local());
    let tls = facts.tls();
    let name = tls.as_ref().filter(|tls| tls.is_verified()).and_then(|tls| tls.common_name());
    let text = format!(
        "{:?} {:?} authority {:?}, unique id {:?}, tls {:?}, client {name:?}",
        facts.source(),
        facts.destination(),
        facts.authority(),
        facts.unique_id().map(<[u8]>::escape_ascii).map(|id| id.to_string()),
        tls.as_ref().and_then(|tls| tls.version()),
    );
    client.write_line(text).await
}

#[test]
fn reads_every_kind_of_tlv() {
    let inside = [tlv(0x21, b"TLSv1.3"), tlv(0x22, b"alice"), tlv(0x23, b"AES"), tlv(0xFF, b"?")];
    let tls = [&[0x01 | 0x02, 0, 0, 0, 0][..], &inside.concat()].concat();
    let tlvs = [
        tlv(0x04, &[0; 9]),
        tlv(0x01, b"h2"),
        tlv(0x02, b"a.example"),
        tlv(0x02, b"second.example"),
        tlv(0x05, b"\0\xFFid"),
        tlv(0x20, &tls),
        tlv(0x30, b"blue"),
        tlv(0xEA, b"\x01vpce-1"),
        tlv(0xE0, b""),
    ];
    let facts = parse(&tlvs.concat()).unwrap();
    assert_eq!((facts.version(), facts.is_local()), (ProxyVersion::V2, false));
    assert_eq!(facts.source(), "192.0.2.1:4711".parse().ok());
    assert_eq!(facts.destination(), "198.51.100.2:80".parse().ok());
    assert_eq!((facts.alpn(), facts.netns()), (Some(&b"h2"[..]), Some("blue")));
    assert_eq!(facts.authority(), Some("a.example"), "the first of two");
    assert_eq!(facts.unique_id(), Some(&b"\0\xFFid"[..]));
    assert_eq!((facts.tlv(0xEA), facts.tlv(0xE0)), (Some(&b"\x01vpce-1"[..]), Some(&b""[..])));
    assert_eq!((facts.tlv(0xE1), facts.tlvs().count()), (None, 9));
    let tls = facts.tls().unwrap();
    assert_eq!((tls.version(), tls.common_name()), (Some("TLSv1.3"), Some("alice")));
    assert_eq!((tls.cipher(), tls.key_algorithm()), (Some("AES"), None));
    assert_eq!((tls.tlv(0xFF), tls.tlvs().count()), (Some(&b"?"[..]), 4));
    assert!(tls.is_verified() && tls.has_certificate());
    let shown = format!("{facts:?}");
    assert!(shown.contains("tlvs: [4, 1, 2, 2, 5, 32, 48, 234, 224]"), "{shown}");
}

/// A client without a certificate, or with one that failed the verification, does not count as
/// verified.
#[test]
fn a_client_is_verified_only_with_a_valid_certificate() {
    for (flags, verify, is_verified) in [
        (0x03, 0, Some(true)),
        (0x05, 0, Some(true)),
        (0x01, 0, Some(false)),
        (0x03, 1, Some(false)),
        (0x03, 0x0100_0000, Some(false)),
        (0x02, 0, None),
        (0x00, 1, None),
    ] {
        let value = [&[flags][..], &u32::to_be_bytes(verify), &tlv(0x22, b"alice")].concat();
        let facts = parse(&tlv(0x20, &value)).unwrap();
        assert_eq!(facts.tls().map(|tls| tls.is_verified()), is_verified, "{flags:x} {verify}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_no_name() {
    let facts = parse(&[tlv(0x02, b"a\xFF"), tlv(0x30, b"\xFE")].concat()).unwrap();
    assert_eq!((facts.authority(), facts.netns()), (None, None));
    assert_eq!(facts.tlv(0x02), Some(&b"a\xFF"[..]));
}

#[test]
fn headers_without_tlvs_have_the_addresses_only() {
    let read = |bytes: &[u8]| ProxyFacts::parse(bytes).unwrap().unwrap();
    let line = read(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n");
    assert_eq!((line.version(), line.tlvs().count()), (ProxyVersion::V1, 0));
    assert_eq!(line.destination(), "[2001:db8::2]:65535".parse().ok());
    assert_eq!(read(b"PROXY UNKNOWN\r\n").source(), None);
    // The receiver of LOCAL skips the rest of the header (section 2.2).
    let local = read(&header(0x20, &tlv(0x02, b"a.example")));
    assert_eq!((local.is_local(), local.source(), local.authority()), (true, None, None));
    assert_eq!(ProxyFacts::parse(b"PROXY TCP4 "), Ok(None));
}

/// The TLVs of a client without an address (UNSPEC) begin at once. Another layout is skipped.
#[test]
fn a_client_without_an_address_may_have_tlvs() {
    let unspecified = |body: &[u8]| {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let header = [SIGNATURE, &[0x21, 0x00], &length, body].concat();
        ProxyFacts::parse(&header).map(|facts| facts.expect("the header is complete"))
    };
    let facts = unspecified(&tlv(0x02, b"a.example")).unwrap();
    assert_eq!((facts.source(), facts.authority()), (None, Some("a.example")));
    for other in [&b"whatever"[..], b"", &ADDRESSES] {
        assert_eq!(unspecified(other).unwrap().tlvs().count(), 0, "{other:x?}");
    }
    assert!(unspecified(&tlv(0x03, &[0; 4])).is_err(), "its checksum is wrong");
}

/// A length that exceeds its place is refused: at the end of the header, and inside the TLV about
/// TLS.
#[test]
fn refuses_lengths_that_lie() {
    let lying = [0x22, 0, 9, b'a'];
    for (tlvs, wanted) in [
        (vec![0x02], "a TLV is cut off"),
        (vec![0x02, 0], "a TLV is cut off"),
        (vec![0x02, 0, 2, b'a'], "a TLV is longer than the part that contains it"),
        (vec![0x02, 0xFF, 0xFF, b'a'], "a TLV is longer than the part that contains it"),
        ([tlv(0x01, b"h2"), vec![0x02, 0, 1]].concat(), "a TLV is longer"),
        (tlv(0x20, &[1, 0, 0, 0]), "its TLV about TLS is too short"),
        (tlv(0x20, b""), "its TLV about TLS is too short"),
        (tlv(0x20, &[&[1, 0, 0, 0, 0][..], &lying].concat()), "a TLV is longer"),
        // The value is in the header, but not in the TLV about TLS.
        ([tlv(0x20, &[1, 0, 0, 0, 0, 0x22, 0, 5]), tlv(0x22, b"al")].concat(), "a TLV is longer"),
        (tlv(0x03, &[0; 4]), "its checksum is wrong"),
    ] {
        let error = parse(&tlvs).unwrap_err();
        assert!(
            error.starts_with(&format!("invalid PROXY header: {wanted}")),
            "{tlvs:x?}: {error}"
        );
    }
}

/// Issue 15, item 5.
#[tokio::test]
async fn a_handler_reads_the_header_and_a_lying_proxy_is_refused() {
    let server = Served::start("tcp", accept(), tell).await;
    let tls = [&[3, 0, 0, 0, 0][..], &tlv(0x21, b"TLSv1.3"), &tlv(0x22, b"alice")].concat();
    let tlvs = [tlv(0x02, b"a.example"), tlv(0x05, b"4\n2"), tlv(0x20, &tls)].concat();
    let mut client = Connection::new(server.socket().await, Limits::default());
    client.write(&header(0x21, &tlvs)).await.unwrap();
    let told = client.read_line().await.unwrap().unwrap();
    assert_eq!(
        told,
        "Some(192.0.2.1:4711) Some(198.51.100.2:80) authority Some(\"a.example\"), unique id \
         Some(\"4\\\\n2\"), tls Some(\"TLSv1.3\"), client Some(\"alice\")"
    );
    drop(client);
    let mut liar = server.socket().await;
    liar.write_all(&header(0x21, &[0x02, 0, 9, b'a'])).await.unwrap();
    let mut heard = Vec::new();
    // The server may reset the connection, because it does not read the rest.
    let _ = liar.read_to_end(&mut heard).await;
    assert_eq!(heard, b"");
    let report = server.end().await;
    assert_eq!(report.count(Closed::HandshakeFailed), 1, "{report:?}");
}

/// A running HAProxy, which is killed on drop.
struct Haproxy(Child);

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The header of a real proxy, to which the client talks TLS.
#[tokio::test]
async fn reads_the_header_of_haproxy() {
    if Command::new("haproxy").arg("-v").output().is_err() {
        eprintln!("skipped: no haproxy (scripts/test.sh installs it)");
        return;
    }
    let server = Served::start("tcp", accept(), tell).await;
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
    std::fs::write(folder.path().join("proxy.pem"), pem).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let configuration = format!(
        "defaults\n mode tcp\n timeout connect 10s\n timeout client 10s\n timeout server 10s\n\
         listen front\n bind {free} ssl crt {}\n unique-id-format id-%pid\n\
         server back 127.0.0.1:{} send-proxy-v2 \
         proxy-v2-options ssl,cert-cn,authority,crc32c,unique-id\n",
        path("proxy.pem"),
        server.address.port(),
    );
    std::fs::write(path("haproxy.cfg"), configuration).unwrap();
    let mut command = Command::new("haproxy");
    let command = command.args(["-db", "-f", &path("haproxy.cfg")]).stderr(Stdio::piped());
    let mut haproxy = Haproxy(command.spawn().unwrap());
    let connected = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match tokio::net::TcpStream::connect(free).await {
                Ok(socket) => return socket,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let Ok(socket) = connected.await else {
        haproxy.0.kill().unwrap();
        let mut said = String::new();
        haproxy.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        panic!("haproxy does not listen: {said}");
    };
    let any = echoline::tls::Trust::AnyCertificate;
    let tls = echoline::tls::TlsClient::new(&any, None, Default::default()).unwrap();
    let tls = echoline::transport::Transport::plain().then(tls.step("localhost").unwrap());
    let own = socket.local_addr().unwrap();
    let client = Connection::new(echoline::transport::Stream::from(socket), Limits::default());
    let mut client = client.upgrade(&tls).await.unwrap();
    let told = line(&mut client).await;
    let wanted =
        format!("Some({own}) Some({free}) authority Some(\"localhost\"), unique id Some(\"id-");
    assert!(told.starts_with(&wanted), "{told}");
    assert!(told.ends_with("tls Some(\"TLSv1.3\"), client None"), "{told}");
    drop((client, haproxy));
    server.end().await;
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..40)
}

proptest! {
    /// Any TLVs are read again as they were written, or the header is refused.
    #[test]
    fn tlvs_are_read_as_they_were_written(
        written in prop::collection::vec((5..0x20_u8, any_value()), 0..20),
        flip in any::<prop::sample::Index>(),
        with: u8,
    ) {
        let bytes: Vec<u8> = written.iter().flat_map(|(kind, value)| tlv(*kind, value)).collect();
        let facts = parse(&bytes).unwrap();
        let read: Vec<_> = facts.tlvs().map(|tlv| (tlv.kind, tlv.value.to_vec())).collect();
        prop_assert_eq!(&read, &written);
        let mut damaged = header(0x21, &bytes);
        let at = flip.index(damaged.len());
        damaged[at] = with;
        if let Ok(Some(facts)) = ProxyFacts::parse(&damaged) {
            let named = ProxyHeader::Source(facts.source());
            let wanted = if facts.is_local() { ProxyHeader::Local } else { named };
            prop_assert_eq!(ProxyHeader::parse(&damaged), Ok(wanted));
            let _ = facts.tls().map(|tls| tls.tlvs().count());
        }
    }
}
