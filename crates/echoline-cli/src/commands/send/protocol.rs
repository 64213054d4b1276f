//! Recognises a server that speaks another protocol than lines: TLS or HTTP. Pure.

/// The number of bytes that are kept of each direction. They are enough for a web server's answer
/// to plain text.
const HEAD_BYTES: usize = 1024;

/// The length of a TLS record's header in bytes: the type, two bytes of version, and two bytes of
/// length.
const RECORD_HEADER: usize = 5;

/// Sentences with which web servers (nginx, Apache, Go) answer plain text on a TLS port.
const HTTPS_WANTED: [&str; 3] = [
    "plain HTTP request was sent to HTTPS port",
    "speaking plain HTTP to an SSL-enabled server port",
    "HTTP request to an HTTPS server",
];

/// A protocol that the server speaks instead of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForeignProtocol {
    /// The server expects a TLS handshake and received plain text.
    Tls,
    /// The server is a web server that received something other than an HTTP request.
    Http,
}

/// The carrier of a dialogue's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamCarrier {
    /// TCP or a Unix socket, without TLS: the server receives the bytes unchanged.
    Plain,
    /// The TLS handshake is complete.
    Tls,
    /// The WebSocket handshake is complete, so the server speaks the expected protocol.
    WebSocket,
}

/// The first bytes of both directions.
#[derive(Debug)]
pub(super) struct FirstBytes {
    sent: Vec<u8>,
    received: Vec<u8>,
    carrier: StreamCarrier,
}

impl FirstBytes {
    pub(super) fn new(carrier: StreamCarrier) -> Self {
        Self { sent: Vec::new(), received: Vec::new(), carrier }
    }

    fn is_plain(&self) -> bool {
        self.carrier == StreamCarrier::Plain
    }

    pub(super) fn note_sent(&mut self, bytes: &[u8]) {
        note(&mut self.sent, bytes);
    }

    pub(super) fn note_received(&mut self, bytes: &[u8]) {
        note(&mut self.received, bytes);
    }

    /// Returns whether the first bytes of the reply can be a TLS record, but are too few to tell.
    pub(super) fn is_undecided(&self, reply: &[u8]) -> bool {
        let can_be = matches!(reply, [0x15 | 0x16] | [0x15 | 0x16, 3, ..]);
        self.received.is_empty() && self.is_plain() && can_be && reply.len() < RECORD_HEADER
    }

    /// Returns the protocol of the server, if its reply shows that it does not speak lines.
    pub(super) fn mismatch(&self) -> Option<ForeignProtocol> {
        if self.carrier == StreamCarrier::WebSocket {
            return None;
        }
        let is_echo = self.received.first() == self.sent.first();
        match &self.received[..] {
            // A TLS alert, whose length is two bytes, or the start of a TLS handshake.
            [0x15, 3, 0..=4, 0, 2, ..] | [0x16, 3, 0..=4, _, _, ..]
                if self.is_plain() && !is_echo =>
            {
                return Some(ForeignProtocol::Tls);
            }
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', ..] if !is_echo => {}
            // The answer to a request without a version (HTTP 0.9), which has no status line.
            page if !is_echo && is_html(page) => {}
            _ => return None,
        }
        let answer = String::from_utf8_lossy(&self.received);
        let is_refusal = answer.get(8..).is_some_and(|rest| rest.starts_with(" 400"));
        if self.is_plain() && is_refusal && HTTPS_WANTED.iter().any(|words| answer.contains(words))
        {
            return Some(ForeignProtocol::Tls);
        }
        let first = self.sent.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let is_request = memchr::memmem::find(first, b" HTTP/").is_some();
        (!is_request).then_some(ForeignProtocol::Http)
    }
}

/// Returns whether a reply starts like an HTML page.
fn is_html(reply: &[u8]) -> bool {
    ["<!DOCTYPE html", "<html"].iter().any(|start| {
        reply.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
    })
}

fn note(head: &mut Vec<u8>, bytes: &[u8]) {
    let room = HEAD_BYTES - head.len();
    head.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 50];

    fn mismatch(carrier: StreamCarrier, sent: &[u8], received: &[u8]) -> Option<ForeignProtocol> {
        let mut opening = FirstBytes::new(carrier);
        opening.note_sent(sent);
        for piece in received.chunks(3) {
            opening.note_received(piece);
        }
        opening.mismatch()
    }

    /// Issue 11, item 40: a reply in TLS or HTTP is recognised; an answer in lines never is.
    #[test]
    fn regression_a_reply_in_another_protocol_is_recognised() {
        let nginx = "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n<h1>400 Bad Request</h1>\r\n\
                     The plain HTTP request was sent to HTTPS port";
        let go =
            "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
        for (carrier, sent, received, wanted) in [
            (StreamCarrier::Plain, &b"hello\n"[..], ALERT, Some(ForeignProtocol::Tls)),
            (StreamCarrier::Plain, b"hello\n", &[0x16, 3, 1, 0, 80, 2], Some(ForeignProtocol::Tls)),
            (
                StreamCarrier::Plain,
                b"GET / HTTP/1.0\r\n",
                nginx.as_bytes(),
                Some(ForeignProtocol::Tls),
            ),
            (StreamCarrier::Plain, b"hello\n", go.as_bytes(), Some(ForeignProtocol::Tls)),
            (
                StreamCarrier::Plain,
                b"hello\n",
                b"HTTP/1.1 400 Bad Request\r\n\r\n",
                Some(ForeignProtocol::Http),
            ),
            (
                StreamCarrier::Tls,
                b"hello\n",
                b"HTTP/1.1 400 Bad Request\r\n\r\n",
                Some(ForeignProtocol::Http),
            ),
            // Python's http.server and nginx, if the request names no version.
            (
                StreamCarrier::Plain,
                b"hi\n",
                b"<!DOCTYPE HTML>\n<html lang",
                Some(ForeignProtocol::Http),
            ),
            (StreamCarrier::Plain, b"hi\n", b"<html>\r\n<head>", Some(ForeignProtocol::Http)),
            (StreamCarrier::Plain, b"<html>\n", b"<html>\n", None),
            (StreamCarrier::Plain, b"GET / HTTP/1.0\r\n", b"<html>\r\n<head>", None),
            (StreamCarrier::Plain, b"hi\n", b"<ht", None),
            // In a TLS connection these bytes are data.
            (StreamCarrier::Tls, b"hello\n", ALERT, None),
            (StreamCarrier::WebSocket, b"hello\n", ALERT, None),
            (StreamCarrier::WebSocket, b"hello\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", None),
            // The reply is an echo of the line.
            (StreamCarrier::Plain, ALERT, ALERT, None),
            (StreamCarrier::Plain, b"HTTP/1.1 is old\n", b"HTTP/1.1 is old\n", None),
            (
                StreamCarrier::Plain,
                b"GET / HTTP/1.1\r\n",
                nginx.replacen("400", "200", 1).as_bytes(),
                None,
            ),
            // A dialogue in HTTP that the user started.
            (StreamCarrier::Plain, b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", None),
            (StreamCarrier::Plain, b"hello\n", &[0x15, 9, 9, 9, 9], None),
            (StreamCarrier::Plain, b"hello\n", &[0x15, 3], None),
            (StreamCarrier::Plain, b"hello\n", b"Echo: hello\n", None),
            (StreamCarrier::Plain, b"hello\n", b"", None),
        ] {
            assert_eq!(mismatch(carrier, sent, received), wanted, "{sent:?} {received:?}");
        }
    }

    #[test]
    fn only_the_first_bytes_of_a_record_wait_for_more() {
        let mut opening = FirstBytes::new(StreamCarrier::Plain);
        for length in 1..RECORD_HEADER {
            assert!(opening.is_undecided(&ALERT[..length]), "{length}");
        }
        for reply in [ALERT, &b"Echo"[..], &[0x15, 9], b""] {
            assert!(!opening.is_undecided(reply), "{reply:?}");
        }
        assert!(!FirstBytes::new(StreamCarrier::Tls).is_undecided(&ALERT[..1]));
        opening.note_received(b"x");
        assert!(!opening.is_undecided(&ALERT[..1]));
        opening.note_received(&[b'x'; 2 * HEAD_BYTES]);
        assert_eq!(opening.received.len(), HEAD_BYTES);
    }
}
