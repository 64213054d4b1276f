//! The handshake of WebSocket (RFC 6455, section 4): HTTP requests and answers as bytes. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use super::facts::{Subprotocols, WebSocketFacts};
use super::origin_policy::{OriginPolicy, RequestSecurity};

/// The maximum length of a request or an answer. It is large because browsers send cookies.
pub(super) const HEAD_MAX: usize = 16 * 1024;

const HEADERS_MAX: usize = 100;

/// The GUID that is appended to the key (RFC 6455, 1.3).
const SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The requests that a server accepts.
#[derive(Clone, Debug, Default)]
pub(super) struct UpgradeRules {
    /// The only accepted path; `None` accepts all.
    pub(super) path: Option<String>,
    pub(super) policy: OriginPolicy,
    pub(super) subprotocols: Subprotocols,
    /// Whether the headers are not kept for the handler.
    pub(super) discards_headers: bool,
}

/// A valid request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UpgradeRequest {
    /// The length of the request in bytes. The first frame follows it.
    pub(super) length: usize,
    /// The value of `Sec-WebSocket-Accept` for the key of the request.
    pub(super) accept: String,
    /// The contents of the request for the handler, and the chosen subprotocol.
    pub(super) facts: WebSocketFacts,
}

/// A server's valid answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UpgradeAnswer {
    /// Length of the answer in bytes. The first frame follows it.
    pub(super) length: usize,
    pub(super) facts: WebSocketFacts,
}

/// The refusal of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denial {
    status: &'static str,
    /// An additional header, with its line end.
    header: &'static str,
    /// The sentence for the client and for the log.
    pub(super) sentence: String,
}

/// Returns the `Sec-WebSocket-Accept` value for a `Sec-WebSocket-Key`.
#[must_use]
pub(crate) fn accept_key(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(SALT).finalize())
}

/// Parses a request; `None` while it is incomplete.
pub(super) fn read_request(
    bytes: &[u8],
    rules: &UpgradeRules,
    security: RequestSecurity,
) -> Result<Option<UpgradeRequest>, Denial> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            let status = "431 Request Header Fields Too Large";
            return Err(Denial::new(status, "The request's headers are too long."));
        }
        Err(_) => return Err(Denial::bad("This is not an HTTP request.")),
    };
    let method = request.method.unwrap_or_default();
    if method != GET {
        return Err(HandshakeError::Method.into());
    }
    let target = request.path.unwrap_or_default();
    let asked = target.split('?').next().unwrap_or_default();
    let path = rules.path.as_deref();
    if path.is_some_and(|path| path != asked) {
        let sentence =
            format!("There is no such page; the WebSocket is at {}.", path.unwrap_or("/"));
        return Err(Denial::new("404 Not Found", &sentence));
    }
    let fields = Fields::of(request.headers);
    let accept = check_request(method, request.version == Some(1), &fields)?;
    let Some(host) = fields.one("Host")? else {
        return Err(Denial::bad("The request has no Host header."));
    };
    let admitted = rules.policy.admit_over(security, host, fields.one("Origin")?);
    admitted.map_err(|denied| Denial::new("403 Forbidden", &denied.to_string()))?;
    let subprotocol = fields.subprotocol(&rules.subprotocols);
    let headers = fields.headers().filter(|_| !rules.discards_headers);
    let facts = WebSocketFacts::collect(target, headers, subprotocol);
    Ok(Some(UpgradeRequest { length, accept, facts }))
}

/// Checks a request according to RFC 6455, section 4.2.1, except for Host and Origin. Returns the
/// value of `Sec-WebSocket-Accept`.
pub(crate) fn check_request(
    method: &str,
    is_1_1: bool,
    fields: &Fields<'_>,
) -> Result<String, HandshakeError> {
    if method != GET {
        return Err(HandshakeError::Method);
    }
    if !is_1_1 || !fields.lists("Upgrade", "websocket") || !fields.lists("Connection", "upgrade") {
        return Err(HandshakeError::NoUpgrade);
    }
    if fields.one("Sec-WebSocket-Version")? != Some("13") {
        return Err(HandshakeError::Version);
    }
    let key = fields.one("Sec-WebSocket-Key")?.unwrap_or_default();
    if STANDARD.decode(key).map_or(0, |key| key.len()) != 16 {
        return Err(HandshakeError::Key);
    }
    Ok(accept_key(key.as_bytes()))
}

/// The reason why a request does not open a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("Only GET opens a WebSocket.")]
    Method,
    #[error("This is a WebSocket server: open ws:// with a WebSocket client.")]
    NoUpgrade,
    #[error("Only version 13 of WebSocket is supported.")]
    Version,
    #[error("Sec-WebSocket-Key must be 16 bytes in Base64.")]
    Key,
    #[error("The request has {0} twice.")]
    Twice(&'static str),
    #[error("{0} is not text.")]
    NoText(&'static str),
}

impl From<HandshakeError> for Denial {
    fn from(error: HandshakeError) -> Self {
        let sentence = error.to_string();
        match error {
            HandshakeError::Method => {
                Self::new("405 Method Not Allowed", &sentence).with("Allow: GET\r\n")
            }
            HandshakeError::NoUpgrade | HandshakeError::Version => {
                Self::new("426 Upgrade Required", &sentence).with(WANTED)
            }
            HandshakeError::Key | HandshakeError::Twice(_) | HandshakeError::NoText(_) => {
                Self::bad(&sentence)
            }
        }
    }
}

const GET: &str = "GET";

const WANTED: &str = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";

/// The names and values of a message's headers. The case of names does not matter.
pub(crate) struct Fields<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> Fields<'a> {
    /// Collects the headers.
    pub(crate) fn new(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        Self(headers.collect())
    }

    fn of(headers: &[httparse::Header<'a>]) -> Self {
        Self::new(headers.iter().map(|header| (header.name, header.value)))
    }

    fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.0.iter().copied()
    }

    /// Returns the first offered subprotocol that is among `supported`. Several headers count as
    /// one list (RFC 6455 section 11.3.4).
    pub(crate) fn subprotocol<'b>(&self, supported: &'b Subprotocols) -> Option<&'b str> {
        let lists = self.all("Sec-WebSocket-Protocol");
        supported.choose(lists.flat_map(|list| list.split(|byte| *byte == b',')))
    }

    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let named = self.0.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name));
        named.map(|(_, value)| *value)
    }

    /// Returns the value of a header that may occur only once.
    fn one(&self, name: &'static str) -> Result<Option<&'a str>, HandshakeError> {
        let mut values = self.all(name);
        let value = values.next();
        if values.next().is_some() {
            return Err(HandshakeError::Twice(name));
        }
        let text = value.map(std::str::from_utf8).transpose();
        let text = text.map_err(|_| HandshakeError::NoText(name))?;
        Ok(text.map(str::trim))
    }

    /// Returns whether the list in that header contains `word`.
    fn lists(&self, name: &'static str, word: &str) -> bool {
        let words = self.all(name).flat_map(|value| value.split(|byte| *byte == b','));
        words.into_iter().any(|found| found.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// Returns the answer to a valid request.
pub(super) fn accept(upgrade: &UpgradeRequest) -> String {
    let accept = &upgrade.accept;
    let subprotocol = upgrade.facts.subprotocol().map_or_else(String::new, protocol_header);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{subprotocol}\r\n"
    )
}

fn protocol_header(value: &str) -> String {
    format!("Sec-WebSocket-Protocol: {value}\r\n")
}

impl Denial {
    fn new(status: &'static str, sentence: &str) -> Self {
        Self { status, header: "", sentence: sentence.to_owned() }
    }

    fn bad(sentence: &str) -> Self {
        Self::new("400 Bad Request", sentence)
    }

    /// Returns the refusal of a client without a connection slot.
    pub(super) fn busy(sentence: &str) -> Self {
        Self::new("503 Service Unavailable", sentence).with("Retry-After: 5\r\n")
    }

    fn with(self, header: &'static str) -> Self {
        Self { header, ..self }
    }

    /// Returns the whole answer.
    pub(super) fn answer(&self) -> String {
        let Self { status, header, sentence } = self;
        let length = sentence.len() + 1;
        format!(
            "HTTP/1.1 {status}\r\n{header}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{sentence}\n"
        )
    }
}

/// Returns a client's upgrade request; `nonce` must be random.
pub(super) fn request(
    host: &str,
    resource: &str,
    offered: &Subprotocols,
    nonce: [u8; 16],
) -> String {
    let key = STANDARD.encode(nonce);
    let offered = offered.header().map_or_else(String::new, |list| protocol_header(&list));
    format!(
        "GET {resource} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\
         {offered}\r\n"
    )
}

/// Parses the server's answer to a request for `resource`; `None` while it is incomplete.
pub(super) fn read_answer(
    bytes: &[u8],
    resource: &str,
    offered: &Subprotocols,
    nonce: [u8; 16],
) -> Result<Option<UpgradeAnswer>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let length = match answer.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
        _ if matches!(bytes, [0x15, 3, ..]) => {
            return Err(
                "the server uses TLS, but this client sent plain text: write wss://".to_owned()
            );
        }
        _ => {
            return Err("the server is not an HTTP server: give the address of a WebSocket server"
                .to_owned());
        }
    };
    let code = answer.code.unwrap_or_default();
    if code != 101 {
        let reason: String =
            answer.reason.unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
        let text = format!("the server answered {code} {reason}");
        return Err(format!("{} and did not open a WebSocket", text.trim_end()));
    }
    let fields = Fields::of(answer.headers);
    let wanted = accept_key(STANDARD.encode(nonce).as_bytes());
    let is_right = fields.lists("Upgrade", "websocket")
        && fields.lists("Connection", "upgrade")
        && fields.one("Sec-WebSocket-Accept").is_ok_and(|found| found == Some(wanted.as_str()));
    // The client offered no extension, so the server cannot accept one.
    let has_extension = fields.all("Sec-WebSocket-Extensions").next().is_some();
    if !is_right || has_extension {
        return Err("the server's answer does not belong to this handshake".to_owned());
    }
    // A server chooses one of the offered subprotocols or none (section 4.1, item 6).
    let chosen = fields.one("Sec-WebSocket-Protocol").map_err(|error| error.to_string())?;
    let subprotocol = fields.subprotocol(offered);
    if chosen != subprotocol {
        return Err("the server chose a subprotocol that was not offered".to_owned());
    }
    let facts = WebSocketFacts::collect(resource, fields.headers(), subprotocol);
    Ok(Some(UpgradeAnswer { length, facts }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: [u8; 16] = *b"the sample nonce";

    fn read(text: &str) -> Result<Option<UpgradeRequest>, Denial> {
        read_request(text.as_bytes(), &UpgradeRules::default(), RequestSecurity::Plain)
    }

    fn request(host: &str, resource: &str, nonce: [u8; 16]) -> String {
        super::request(host, resource, &Subprotocols::default(), nonce)
    }

    /// Returns the length of the server's answer.
    fn read_answer(bytes: &[u8], nonce: [u8; 16]) -> Result<Option<usize>, String> {
        let answer = super::read_answer(bytes, "/echo?a=b", &Subprotocols::default(), nonce)?;
        Ok(answer.map(|answer| answer.length))
    }

    #[test]
    fn the_two_ends_understand_one_another() {
        // This example is from RFC 6455, section 1.3.
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let asked = request("localhost:8080", "/echo?a=b", NONCE);
        for cut in 0..asked.len() {
            assert_eq!(read(&asked[..cut]), Ok(None), "{cut}");
        }
        let upgrade = read(&format!("{asked}more")).unwrap().unwrap();
        assert_eq!(upgrade.length, asked.len());
        let answer = accept(&upgrade);
        assert_eq!(read_answer(answer.as_bytes(), NONCE), Ok(Some(answer.len())));
        assert!(read_answer(answer.as_bytes(), [0; 16]).is_err(), "another's answer");
        assert_eq!(read_answer(b"HTTP/1.1 1", NONCE), Ok(None));
    }

    /// Fault 66: a request that is not a handshake gets an HTTP answer with one sentence.
    #[test]
    fn invalid_requests_get_a_reason() {
        let right = request("localhost", "/echo", NONCE);
        let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
        for (what, status) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "426"),
            (right.replace("HTTP/1.1", "HTTP/1.0"), "426"),
            (right.replace("Version: 13", "Version: 8"), "426"),
            (right.replace("GET", "POST"), "405"),
            (right.replace("Host: localhost\r\n", ""), "400"),
            (right.replace("Host: localhost", "Host: localhost\r\nHost: a"), "400"),
            (right.replace("Sec-WebSocket-Key: ", "Sec-WebSocket-Key: A"), "400"),
            (right.replace("\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n"), "403"),
            (right.replace("\r\n\r\n", &format!("\r\n{many}\r\n")), "431"),
            ("\x16\x03\x01\x02\0\x01\0".to_owned(), "400"),
        ] {
            let denial = read(&what).unwrap_err();
            assert!(denial.answer().starts_with(&format!("HTTP/1.1 {status} ")), "{denial:?}");
            assert!(denial.answer().ends_with(&format!("\r\n\r\n{}\n", denial.sentence)));
        }
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(HEAD_MAX));
        assert!(read(&endless).unwrap_err().answer().contains(" 431 "));
        let rules = UpgradeRules { path: Some("/chat".to_owned()), ..UpgradeRules::default() };
        let other = read_request(right.as_bytes(), &rules, RequestSecurity::Plain);
        assert!(other.unwrap_err().sentence.contains("at /chat"));
    }

    #[test]
    fn accepts_every_spelling_of_the_headers() {
        let request = |connection: &'static str, key: &'static str| {
            let headers = [
                ("upgrade", "h2c, WebSocket"),
                ("connection", "keep-alive"),
                ("Connection", connection),
                ("sec-websocket-version", "13"),
                ("SEC-WEBSOCKET-KEY", key),
            ];
            let fields = Fields::new(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
            check_request("GET", true, &fields)
        };
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(request("Upgrade", key), Ok(accept_key(key.as_bytes())));
        assert_eq!(request("x, upgrade ", key), Ok(accept_key(key.as_bytes())));
        assert_eq!(request("close", key), Err(HandshakeError::NoUpgrade));
        assert_eq!(request("Upgrade", "c2hvcnQ="), Err(HandshakeError::Key));
    }

    /// Issue 15, item 5: section 4.2.2 of the RFC, item 5 of `/subprotocol/`.
    #[test]
    fn a_subprotocol_is_offered_chosen_and_checked() {
        let names = |names: &[&str]| Subprotocols::new(names.iter().copied()).unwrap();
        let offered = names(&["v3", "v2", "v1"]);
        let asked = super::request("localhost", "/chat?a=b", &offered, NONCE);
        for (supported, chosen) in [
            (&["v1", "v2"][..], Some("v2")),
            (&["v1", "v4"], Some("v1")),
            (&["v4"], None),
            (&[], None),
        ] {
            let subprotocols = names(supported);
            let rules = UpgradeRules { subprotocols, ..UpgradeRules::default() };
            let upgrade = read_request(asked.as_bytes(), &rules, RequestSecurity::Plain);
            let upgrade = upgrade.unwrap().unwrap();
            assert_eq!(upgrade.facts.subprotocol(), chosen);
            assert_eq!(upgrade.facts.query(), Some("a=b"));
            assert_eq!(upgrade.facts.header("host"), Some("localhost"));
            let answer = accept(&upgrade);
            let heard = super::read_answer(answer.as_bytes(), "/chat?a=b", &offered, NONCE);
            let facts = heard.unwrap().unwrap().facts;
            assert_eq!((facts.subprotocol(), facts.path()), (chosen, "/chat"));
            let other = super::read_answer(answer.as_bytes(), "/", &names(&["v9"]), NONCE);
            assert_eq!(other.is_err(), chosen.is_some(), "{answer}");
            let twice = answer.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: v1\r\n\r\n");
            let twice = super::read_answer(twice.as_bytes(), "/", &offered, NONCE);
            assert_eq!(twice.is_err(), chosen.is_some());
        }
        let lists = asked.replace("v3, v2", "v3\r\nsec-websocket-protocol: ,v2,,");
        let rules = UpgradeRules { subprotocols: names(&["v1", "v2"]), ..UpgradeRules::default() };
        let upgrade = read_request(lists.as_bytes(), &rules, RequestSecurity::Plain);
        assert_eq!(upgrade.unwrap().unwrap().facts.subprotocol(), Some("v2"), "two lists");
    }

    #[test]
    fn headers_are_discarded_on_demand() {
        let rules = UpgradeRules { discards_headers: true, ..UpgradeRules::default() };
        let asked = request("localhost", "/chat?a=b", NONCE);
        let upgrade = read_request(asked.as_bytes(), &rules, RequestSecurity::Plain);
        let facts = upgrade.unwrap().unwrap().facts;
        assert_eq!((facts.headers().count(), facts.path()), (0, "/chat"));
    }

    #[test]
    fn a_client_reports_the_answer_of_the_server() {
        let busy = Denial::busy("Server is busy.").answer();
        let error = read_answer(busy.as_bytes(), NONCE).unwrap_err();
        assert_eq!(
            error,
            "the server answered 503 Service Unavailable and did not open a \
                           WebSocket"
        );
        assert!(read_answer(b"Welcome!\r\n", NONCE).unwrap_err().contains("not an HTTP server"));
        // Issue 11, item 40: the alert of a server that expects TLS is recognised.
        let alert = [0x15, 3, 3, 0, 2, 2, 50];
        assert!(read_answer(&alert, NONCE).unwrap_err().contains("write wss://"));
    }

    proptest! {
        #[test]
        fn no_input_causes_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let rules = UpgradeRules { path: Some("/".to_owned()), ..UpgradeRules::default() };
            let _ = read_request(&bytes, &rules, RequestSecurity::Plain);
            let _ = read_answer(&bytes, NONCE);
        }
    }
}
