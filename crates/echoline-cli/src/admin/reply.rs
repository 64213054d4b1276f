//! Answers of the admin address, and the headers that all of them have.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use super::gate::GateError;

/// A complete HTTP response.
pub(super) type HttpReply = Response<Full<Bytes>>;

/// The `Content-Type` of an answer.
pub(super) mod kind {
    pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
    pub(crate) const METRICS: &str = crate::admin::exposition::CONTENT_TYPE;
    pub(crate) const HTML: &str = "text/html; charset=utf-8";
    pub(crate) const STYLE: &str = "text/css; charset=utf-8";
    pub(crate) const SCRIPT: &str = "text/javascript; charset=utf-8";
    pub(crate) const JSON: &str = "application/json";
}

/// The content security policy. A page may load and run only files of this address, and other pages
/// may not embed it. So markup in a logged line of a client has no effect.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
                      form-action 'none'";

const ALWAYS: [(header::HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The challenge that makes a browser ask its user for the secret. The browser sends the secret
/// only to this origin, so a page under another name cannot use it.
const CHALLENGE: &str = "Basic realm=\"echoline admin\", charset=\"UTF-8\"";

/// Returns a redirect to the page.
pub(super) fn to_page() -> HttpReply {
    let mut reply = reply(StatusCode::SEE_OTHER, kind::TEXT, "signed in; the page is at /\n");
    reply.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/"));
    reply
}

/// Returns a response with the headers that every response has.
pub(super) fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> HttpReply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    reply
}

/// The reason why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error(transparent)]
    Refused(#[from] GateError),
    /// The secret of the request is wrong.
    #[error("this is not the secret of --admin-secret-file")]
    WrongSecret,
    /// The request has no secret, but asks for more than metrics.
    #[error(
        "this needs the secret of --admin-secret-file: send 'Authorization: Bearer SECRET', or \
         open /login in a browser and enter the secret as the password"
    )]
    NeedsSecret,
    /// No request on this socket can read more than the metrics.
    #[error(
        "without a secret this address shows metrics only: the log, the addresses and /faults need \
         --admin-secret-file FILE or --admin unix:PATH"
    )]
    OnlyFigures,
    #[error(
        "there is no page {0}; the pages are /, /metrics, /healthz, /readyz and /snapshot.json{1}"
    )]
    NotFound(String, &'static str),
    /// Contains the allowed methods.
    #[error("this page only accepts {0}")]
    Method(&'static str),
    #[error("a fault plan is UTF-8 text of at most {0} bytes")]
    Body(usize),
    /// Contains the error message about the plan.
    #[error("{0}; the plan has not changed")]
    Plan(String),
    #[error("the page cannot be rendered: {0}")]
    Page(String),
}

impl RequestError {
    /// Returns the response that explains this error.
    pub(super) fn into_reply(self) -> HttpReply {
        let status = match &self {
            Self::Refused(GateError::NoHost) | Self::Body(_) | Self::Plan(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Refused(_) | Self::OnlyFigures => StatusCode::FORBIDDEN,
            Self::WrongSecret | Self::NeedsSecret => StatusCode::UNAUTHORIZED,
            Self::NotFound(..) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Page(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut reply = reply(status, kind::TEXT, format!("{self}\n"));
        let headers = reply.headers_mut();
        if let Self::Method(allowed) = self {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        reply
    }
}
