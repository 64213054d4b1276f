//! Sends requests to the admin address as plain bytes, so that tests can also send invalid
//! requests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::NEVER;

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Returns the value of a header, whose name is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }
}

/// Sends a request with the address as its Host.
#[track_caller]
pub(crate) fn ask(at: SocketAddr, method: &str, path: &str) -> Answer {
    ask_with(at, method, path, &[&format!("Host: {at}")], "")
}

#[track_caller]
pub(crate) fn get(at: SocketAddr, path: &str) -> Answer {
    ask(at, "GET", path)
}

/// Sends a request with these headers and this body.
#[track_caller]
pub(crate) fn ask_with(
    at: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Answer {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    send(
        at,
        &format!("{method} {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}"),
    )
    .expect("an answer")
}

/// Sends `request` unchanged. Returns `None` if there is no answer.
pub(crate) fn send(at: SocketAddr, request: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&at, NEVER).unwrap();
    stream.set_read_timeout(Some(NEVER)).unwrap();
    // The server may reset the connection if it rejects the request early.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
