//! Answers over HTTP, and the headers that all of them have.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// A complete HTTP response.
pub(super) type SiteResponse = Response<Full<Bytes>>;

/// The content security policy. A page may load only the site's own files and connect only to the
/// site, and other pages cannot embed it. Inline scripts and styles are forbidden, so text from
/// users can never run as a script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src 'self'; frame-ancestors 'none'; \
                      base-uri 'none'; form-action 'none'";

const ALWAYS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    // The browser may keep the file, but must ask at each use whether it has changed.
    (header::CACHE_CONTROL, "no-cache"),
];

/// Returns a response with the headers that every response has.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> SiteResponse {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Returns an answer that is one sentence.
pub(super) fn sentence(status: StatusCode, words: &str) -> SiteResponse {
    answer(status, "text/plain; charset=utf-8", Bytes::from(format!("{words}\n")))
}

/// Returns the answer that ends HTTP and begins WebSocket. RFC 6455 4.2.2.
pub(super) fn switch(key: &str, subprotocol: Option<&str>) -> SiteResponse {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    let key = HeaderValue::from_str(key).expect("Base64 has no letter that a header cannot have");
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    if let Some(name) = subprotocol {
        let name = HeaderValue::from_str(name).expect("a token has only letters of a header");
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    answer
}

/// Returns the refusal of a client without a connection slot, as bytes, because HTTP is not set up
/// yet.
pub(super) fn full(words: &str) -> String {
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nRetry-After: 5\r\nX-Content-Type-Options: nosniff\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{words}\n",
        words.len() + 1
    )
}
