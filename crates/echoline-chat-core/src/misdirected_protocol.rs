//! Detects clients of other protocols on the chat's port, connected by mistake or as an attack.

/// Another protocol, recognized by its first bytes.
///
/// A web page can make a browser send a POST request to any port. The lines of that request must
/// not become lines of the chat (cross-protocol scripting). Besides, clients of other protocols
/// would wait for ever for an answer that they understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MisdirectedProtocol {
    /// A request of HTTP/0.9 to HTTP/2 (RFC 9112, 9113).
    Http,
    /// A TLS handshake record (RFC 8446, section 5.1).
    Tls,
    /// An SSH version string (RFC 4253, section 4.2).
    Ssh,
}

const METHODS: &[&[u8]] = &[
    b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE", b"PRI",
];

impl MisdirectedProtocol {
    /// Recognizes a protocol by the first line. If no line end has arrived, the first bytes are
    /// enough, because a TLS handshake may contain none. Returns `None` for input that may be a
    /// name.
    ///
    /// ```
    /// use echoline_chat_core::MisdirectedProtocol as Protocol;
    ///
    /// assert_eq!(Protocol::recognize(b"GET / HTTP/1.1\r\n"), Some(Protocol::Http));
    /// assert_eq!(Protocol::recognize(b"\x16\x03\x01\x02\0"), Some(Protocol::Tls));
    /// assert_eq!(Protocol::recognize(b"GET lost"), None);
    /// ```
    #[must_use]
    pub fn recognize(start: &[u8]) -> Option<Self> {
        match start {
            [0x16, 0x03, ..] => Some(Self::Tls),
            [b'S', b'S', b'H', b'-', ..] => Some(Self::Ssh),
            _ => is_request(start).then_some(Self::Http),
        }
    }

    /// Returns one line that tells the user how to connect. It is plain text, because the prompt
    /// for a name has already been sent.
    #[must_use]
    pub fn answer(self) -> &'static str {
        match self {
            Self::Http => "This is a chat for lines of text, not a web server: use nc or telnet.",
            Self::Tls => "This is a chat for lines of text without TLS: use nc or telnet.",
            Self::Ssh => "This is a chat for lines of text, not an SSH server: use nc or telnet.",
        }
    }
}

/// Returns whether a line begins like an HTTP request. The first word must be a method. The second
/// must begin with `/` or `*`, or a version must follow it.
fn is_request(start: &[u8]) -> bool {
    let line = start.split(|&byte| byte == b'\n').next().unwrap_or(start);
    let mut words = line.split(|&byte| byte == b' ');
    let method = words.next().is_some_and(|word| METHODS.contains(&word));
    let target = words.next().is_some_and(|word| matches!(word.first(), Some(b'/' | b'*')));
    method && (target || words.any(|word| word.starts_with(b"HTTP/")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Name;

    /// Fault 25: the three protocols are recognized by their first bytes.
    #[test]
    fn each_protocol_is_recognized() {
        for (start, foreign) in [
            (&b"GET / HTTP/1.1\r\nHost: x\r\n"[..], MisdirectedProtocol::Http),
            (b"GET /", MisdirectedProtocol::Http),
            (b"POST /chat HTTP/1.0", MisdirectedProtocol::Http),
            (b"CONNECT example.org:443 HTTP/1.1", MisdirectedProtocol::Http),
            (b"GET http://example.org/ HTTP/1.1", MisdirectedProtocol::Http),
            (b"OPTIONS * HTTP/1.1", MisdirectedProtocol::Http),
            (b"PRI * HTTP/2.0", MisdirectedProtocol::Http),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", MisdirectedProtocol::Tls),
            (b"\x16\x03\x03", MisdirectedProtocol::Tls),
            (b"SSH-2.0-OpenSSH_9.9", MisdirectedProtocol::Ssh),
        ] {
            assert_eq!(MisdirectedProtocol::recognize(start), Some(foreign), "{start:x?}");
        }
    }

    #[test]
    fn names_are_not_recognized_as_protocols() {
        for start in
            ["", "anna", "GET", "GET lost", "get / HTTP/1.1", "SSH", "GETTY / x", "POST it"]
        {
            assert_eq!(MisdirectedProtocol::recognize(start.as_bytes()), None, "{start}");
        }
    }

    /// Fault 25: the answer is one line with advice, and repeats no part of the input.
    #[test]
    fn each_answer_is_one_sentence() {
        for foreign in
            [MisdirectedProtocol::Http, MisdirectedProtocol::Tls, MisdirectedProtocol::Ssh]
        {
            let sentence = foreign.answer();
            assert!(sentence.starts_with("This is a chat") && sentence.ends_with("nc or telnet."));
            assert_eq!(sentence.lines().count(), 1);
        }
    }

    proptest! {
        #[test]
        fn recognizing_never_panics(start in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = MisdirectedProtocol::recognize(&start);
        }

        #[test]
        fn no_valid_name_is_recognized_as_a_protocol(name in "[A-Z_-]{1,32}") {
            prop_assume!(Name::parse(&name).is_ok() && !name.starts_with("SSH-"));
            prop_assert_eq!(MisdirectedProtocol::recognize(name.as_bytes()), None);
        }
    }
}
