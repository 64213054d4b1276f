//! The request that opened a WebSocket, as a handler reads it. Pure.

use std::fmt;

use bytes::Bytes;

/// The request that opened a WebSocket: path, query, headers, cookies and the chosen subprotocol.
///
/// [`Connection::websocket`](crate::Connection::websocket) returns it. The client has chosen every
/// value except the subprotocol. Request line and headers have at most 16 KiB and 100 headers; a
/// longer request is refused before a handler starts.
///
/// On a client's side, path and query are those that it has requested, and the headers are those of
/// the server's answer.
///
/// ```
/// use echoline::websocket::WebSocketFacts;
///
/// let headers = [("Cookie", "theme=dark; session=4711"), ("User-Agent", "test")];
/// let request = WebSocketFacts::new("/chat?room=7", headers, Some("chat.v1"));
/// assert_eq!((request.path(), request.query()), ("/chat", Some("room=7")));
/// assert_eq!(request.header("user-agent"), Some("test"));
/// assert_eq!(request.cookie("session"), Some("4711"));
/// assert_eq!(request.subprotocol(), Some("chat.v1"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct WebSocketFacts {
    /// The request target: path and query.
    target: Box<str>,
    /// Each header as its name in lower case, a colon, its value and a line end. A name contains no
    /// colon, and a value no line end (RFC 9110 section 5).
    headers: Bytes,
    subprotocol: Option<Box<str>>,
}

impl WebSocketFacts {
    /// Creates the facts of a request, for a test of a handler. A header that no request can have
    /// is left out: an empty name, a colon in the name, or a line end.
    #[must_use]
    pub fn new<'a>(
        target: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        subprotocol: Option<&str>,
    ) -> Self {
        let headers = headers.into_iter().map(|(name, value)| (name, value.as_bytes()));
        Self::collect(target, headers, subprotocol)
    }

    /// Copies the facts of a request.
    pub(crate) fn collect<'a>(
        target: &str,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
        subprotocol: Option<&str>,
    ) -> Self {
        let mut lines = Vec::new();
        for (name, value) in headers {
            let is_header = !name.is_empty() && !name.contains([':', '\n']);
            if is_header && !value.contains(&b'\n') {
                lines.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
                lines.push(b':');
                lines.extend_from_slice(value.trim_ascii());
                lines.push(b'\n');
            }
        }
        lines.shrink_to_fit();
        Self {
            target: target.into(),
            headers: Bytes::from(lines),
            subprotocol: subprotocol.map(Box::from),
        }
    }

    /// Returns the path as the client wrote it, with its percent-encoding: `/chat`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.parts().0
    }

    /// Returns the text after the first `?`, with its percent-encoding; `None` without a `?`. A
    /// crate such as `form_urlencoded` splits it into parameters.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.parts().1
    }

    /// Returns the path and the query. The target may also be a whole URL (RFC 9112 section 3.2.2).
    fn parts(&self) -> (&str, Option<&str>) {
        let (before, query) = match self.target.split_once('?') {
            Some((before, query)) => (before, Some(query)),
            None => (&*self.target, None),
        };
        let authority = before.split_once("://").filter(|_| !before.starts_with('/'));
        let path =
            authority.map_or(before, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
        (path, query)
    }

    /// Returns the value of the first header with this name, in any case. `None` without such a
    /// header, and for a value that is not UTF-8.
    ///
    /// A request may have several headers with the same name: [`headers`](Self::headers) returns
    /// all of them.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.all(name).next()?).ok()
    }

    /// Returns all headers in the order of the request: the name in lower case, and the value
    /// without the spaces around it. A value may contain bytes that are not UTF-8.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.split(|byte| *byte == b'\n').filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = str::from_utf8(&line[..colon]).ok()?;
            Some((name, &line[colon + 1..]))
        })
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let named = self.headers().filter(move |(found, _)| found.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value)
    }

    /// Returns the value of the first cookie with this name, in exactly this case. The browser
    /// sends the cookie with the longest path first (RFC 6265 section 5.4).
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Returns all cookies in the order of the request: names and values as they were sent, with
    /// any quotes and percent-encoding. Parts that have no name, or are not UTF-8, are left out.
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all("cookie").flat_map(|value| value.split(|byte| *byte == b';')).filter_map(
            |cookie| {
                let (name, value) = str::from_utf8(cookie).ok()?.split_once('=')?;
                let space = [' ', '\t'];
                let (name, value) = (name.trim_matches(space), value.trim_matches(space));
                (!name.is_empty()).then_some((name, value))
            },
        )
    }

    /// Returns the subprotocol that the server has chosen (RFC 6455 section 4.2.2); `None` if it
    /// supports none that the client offers.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }
}

/// Shows no header, because headers contain secrets such as session cookies.
impl fmt::Debug for WebSocketFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketFacts")
            .field("path", &self.path())
            .field("subprotocol", &self.subprotocol)
            .finish_non_exhaustive()
    }
}

/// The text is not the name of a subprotocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{}' is not a WebSocket subprotocol: its name has only letters, digits and !#$%&'*+-.^_`|~",
    .0.escape_debug()
)]
pub struct InvalidSubprotocol(String);

/// The subprotocols that a server supports or a client offers, each of them a token (RFC 9110
/// section 5.6.2) and listed once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subprotocols(Vec<String>);

impl Subprotocols {
    /// Checks the names.
    pub(crate) fn new<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidSubprotocol> {
        let mut checked = Vec::new();
        for name in names {
            let name = name.into();
            if !is_token(&name) {
                return Err(InvalidSubprotocol(name));
            }
            if !checked.contains(&name) {
                checked.push(name);
            }
        }
        Ok(Self(checked))
    }

    /// Returns the first of `offered` that is in this list. The comparison is case-sensitive.
    pub(crate) fn choose<'a>(&self, mut offered: impl Iterator<Item = &'a [u8]>) -> Option<&str> {
        offered.find_map(|offered| {
            let name = offered.trim_ascii();
            self.0.iter().find(|known| known.as_bytes() == name).map(String::as_str)
        })
    }

    /// Returns the list as the value of a header; `None` if it is empty.
    pub(crate) fn header(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join(", "))
    }
}

fn is_token(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cookies(header: &[u8]) -> Vec<(String, String)> {
        let headers = [("cookie", header)].into_iter();
        let facts = WebSocketFacts::collect("/", headers, None);
        facts.cookies().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn splits_path_and_query() {
        for (target, path, query) in [
            ("/chat", "/chat", None),
            ("/chat?", "/chat", Some("")),
            ("/chat?a=b?c", "/chat", Some("a=b?c")),
            ("/?to=http://evil.example/x", "/", Some("to=http://evil.example/x")),
            ("/http://a/b", "/http://a/b", None),
            ("http://a.example/b?c", "/b", Some("c")),
            ("http://a.example?c=/d", "/", Some("c=/d")),
            ("*", "*", None),
            ("", "", None),
        ] {
            let facts = WebSocketFacts::new(target, [], None);
            assert_eq!((facts.path(), facts.query()), (path, query), "{target}");
        }
    }

    #[test]
    fn finds_headers_in_any_case_and_in_order() {
        let sent = [("X-A", "1"), ("x-b", " 2:3 "), ("X-a", "4"), ("bad:name", "5"), ("", "6")];
        let facts = WebSocketFacts::new("/", sent, None);
        assert_eq!((facts.header("x-A"), facts.header("X-B")), (Some("1"), Some("2:3")));
        assert_eq!((facts.header("x-"), facts.header("")), (None, None));
        let all: Vec<_> = facts.headers().collect();
        assert_eq!(all, [("x-a", &b"1"[..]), ("x-b", b"2:3"), ("x-a", b"4")]);
        // A value with a line end would look like another header.
        let forged = WebSocketFacts::new("/", [("a", "1\nadmin:yes")], None);
        assert_eq!(forged.headers().count(), 0);
        let latin = WebSocketFacts::collect("/", [("a", &b"\xE9"[..])].into_iter(), None);
        assert_eq!((latin.header("a"), latin.headers().next()), (None, Some(("a", &b"\xE9"[..]))));
    }

    /// Hostile cookies hide no other cookie and forge none.
    #[test]
    fn hostile_cookies_hide_no_other() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (header, wanted) in [
            (&b"a=1; b=2"[..], vec![pair("a", "1"), pair("b", "2")]),
            (b"a=1;b=2;", vec![pair("a", "1"), pair("b", "2")]),
            (b";;; =x; nothing; a=1", vec![pair("a", "1")]),
            (b"a=\xFF; b=2", vec![pair("b", "2")]),
            (b"a==1=", vec![pair("a", "=1=")]),
            (b"a=\"x y\"; b=", vec![pair("a", "\"x y\""), pair("b", "")]),
            (b"a=\"x; b=2\"", vec![pair("a", "\"x"), pair("b", "2\"")]),
            (b"\ta\t=\t1\t", vec![pair("a", "1")]),
            (b"A=1; a=2; a=3", vec![pair("A", "1"), pair("a", "2"), pair("a", "3")]),
            (b"", vec![]),
        ] {
            assert_eq!(cookies(header), wanted, "{}", header.escape_ascii());
        }
        let headers = [("Cookie", "a=1"), ("X", "a=0"), ("cookie", "b=2; a=3")];
        let facts = WebSocketFacts::new("/", headers, None);
        assert_eq!((facts.cookie("a"), facts.cookie("b")), (Some("1"), Some("2")));
        assert_eq!((facts.cookie("A"), facts.cookie("")), (None, None));
    }

    #[test]
    fn prints_no_secret() {
        let facts = WebSocketFacts::new("/a?token=s3cret", [("Cookie", "session=s3cret")], None);
        assert!(!format!("{facts:?}").contains("s3cret"), "{facts:?}");
    }

    #[test]
    fn chooses_the_first_offered_subprotocol_that_it_knows() {
        let known = Subprotocols::new(["v1", "v2", "v1"]).unwrap();
        let choose = |offered: &str| known.choose(offered.as_bytes().split(|byte| *byte == b','));
        assert_eq!(choose("v3, v2 ,v1"), Some("v2"));
        assert_eq!(
            (choose("V1"), choose(""), choose(",, v"), choose("v1 v2")),
            (None, None, None, None)
        );
        assert_eq!(known.header().as_deref(), Some("v1, v2"));
        for wrong in ["", "a b", "a,b", "a\r\nSet-Cookie: x", "é", "a/b"] {
            let refused = Subprotocols::new([wrong]).unwrap_err();
            assert!(refused.to_string().ends_with("!#$%&'*+-.^_`|~"), "{refused}");
            assert_eq!(refused.to_string().lines().count(), 1, "{refused}");
        }
    }

    proptest! {
        #[test]
        fn no_request_causes_a_panic(target in ".{0,40}", name in ".{0,9}", value: Vec<u8>) {
            let headers = [(&*name, &*value), ("cookie", &*value)].into_iter();
            let facts = WebSocketFacts::collect(&target, headers, None);
            let _ = (facts.path(), facts.query(), facts.header(&name));
            prop_assert!(facts.headers().count() <= 2);
            prop_assert!(facts.cookies().all(|(name, _)| !name.is_empty()));
        }
    }
}
