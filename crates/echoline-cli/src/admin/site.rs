//! Answers requests to the paths of the admin address.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use askama::Template;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, Request, StatusCode};
use tokio::time::{Instant, sleep};

use super::access::{Access, AdminSecret, HttpClient, authorize};
use super::gate::{AdminReach, admit, admit_change};
use super::history::History;
use super::metrics::{self, MetricsInput, SourceFigures};
use super::observed_server::{ExtraMetrics, FaultControl, ObservedServer};
use super::process::ProcessState;
use super::refusals::Refusals;
use super::reply::{HttpReply, RequestError, kind, reply, to_page};
use super::view::{AdminView, ViewSources, VisiblePart, word};
use crate::log::newest_lines::newest_lines;
use echoline::Phase;
use echoline::udp::DatagramCounts;
use echoline_base::poison::IgnorePoison;
use echoline_base::printable::printable;

/// The maximum size of a fault plan, in bytes.
const PLAN_BYTES_MAX: usize = 64 * 1024;

/// The delay of the answer to a wrong secret. Together with the small number of connections it
/// allows only a few guesses per second. No source is locked out, because all users of a host share
/// one address.
const GUESS_PAUSE: Duration = Duration::from_secs(1);

/// The number of penalties that the page lists.
const PENALTIES_MAX: usize = 50;

const STYLE: &str = include_str!("../../templates/admin.css");
const SCRIPT: &str = include_str!("../../templates/admin.js");

/// Everything that the admin address shows.
#[derive(Debug)]
pub(super) struct AdminSite {
    reach: AdminReach,
    secret: Option<AdminSecret>,
    /// The counts of requests with a wrong secret.
    refusals: Refusals,
    served: ObservedServer,
    start: Instant,
    /// The start of the server, in seconds since 1970.
    started: f64,
    history: Mutex<History>,
}

#[derive(Template)]
#[template(path = "admin.html")]
struct AdminPage {
    view: AdminView,
}

impl AdminSite {
    pub(super) fn new(
        served: ObservedServer,
        reach: AdminReach,
        secret: Option<AdminSecret>,
    ) -> Self {
        Self {
            reach,
            secret,
            refusals: Refusals::default(),
            served,
            start: Instant::now(),
            started: jiff::Timestamp::now().as_duration().as_secs_f64(),
            history: Mutex::default(),
        }
    }

    /// Takes a sample of the server for the live page.
    pub(super) fn look(&self) {
        let snapshot = self.served.observer.snapshot();
        self.history().push(self.start.elapsed(), &snapshot);
    }

    /// Returns the answer to one request.
    pub(super) async fn answer(&self, request: Request<Incoming>, client: HttpClient) -> HttpReply {
        let answer = self.try_answer(request, client).await;
        if let Err(RequestError::WrongSecret) = answer {
            sleep(GUESS_PAUSE).await;
        }
        answer.unwrap_or_else(RequestError::into_reply)
    }

    async fn try_answer(
        &self,
        request: Request<Incoming>,
        client: HttpClient,
    ) -> Result<HttpReply, RequestError> {
        let hosts = values(request.headers(), header::HOST);
        let reach = if client.address.is_some() { self.reach } else { AdminReach::Socket };
        admit(&hosts, reach)?;
        let access = self.access(request.headers(), client)?;
        match (&self.served.faults, request.uri().path()) {
            (_, "/faults" | "/login") if access == Access::Metrics => Err(self.needs_more()),
            (Some(faults), "/faults") => answer_faults(faults, request, reach).await,
            (_, "/login") if is_question(request.method()) => Ok(to_page()),
            (_, path) => {
                let reply = self.tell(path, access)?;
                let is_question = is_question(request.method());
                if is_question { Ok(reply) } else { Err(RequestError::Method("GET, HEAD")) }
            }
        }
    }

    /// Returns the rights of a request.
    fn access(&self, headers: &HeaderMap, client: HttpClient) -> Result<Access, RequestError> {
        if client.access == Access::Full {
            return Ok(Access::Full);
        }
        let headers = values(headers, header::AUTHORIZATION);
        authorize(&headers, self.secret.as_ref()).map_err(|_| {
            self.refusals.count(client.address);
            RequestError::WrongSecret
        })
    }

    fn needs_more(&self) -> RequestError {
        if self.secret.is_some() { RequestError::NeedsSecret } else { RequestError::OnlyFigures }
    }

    /// Returns the response to a GET request for `path`.
    fn tell(&self, path: &str, access: Access) -> Result<HttpReply, RequestError> {
        let ok = StatusCode::OK;
        match path {
            "/" => AdminPage { view: self.view(access) }
                .render()
                .map(|page| reply(ok, kind::HTML, page))
                .map_err(|error| RequestError::Page(error.to_string())),
            "/page.css" => Ok(reply(ok, kind::STYLE, STYLE)),
            "/page.js" => Ok(reply(ok, kind::SCRIPT, SCRIPT)),
            "/snapshot.json" => serde_json::to_vec(&self.view(access))
                .map(|view| reply(ok, kind::JSON, view))
                .map_err(|error| RequestError::Page(error.to_string())),
            "/metrics" => Ok(reply(ok, kind::METRICS, self.metrics())),
            "/healthz" => Ok(self.failure(access).unwrap_or_else(|| reply(ok, kind::TEXT, "ok\n"))),
            "/readyz" => Ok(self.readiness(access)),
            path => {
                let more = self.served.faults.as_ref().map_or("", |_| ", and /faults");
                Err(RequestError::NotFound(printable(path).into_owned(), more))
            }
        }
    }

    /// Returns the answer if a part of the server has panicked; `None` while all parts work. The
    /// message of a panic may quote what a client sent.
    fn failure(&self, access: Access) -> Option<HttpReply> {
        let failure = self.served.observer.snapshot().failure?;
        let text = match (access, failure.split_once(" (")) {
            (Access::Metrics, Some((part, _))) => {
                format!("failed: {part}; the log has the reason\n")
            }
            _ => format!("failed: {}\n", printable(&failure)),
        };
        Some(reply(StatusCode::SERVICE_UNAVAILABLE, kind::TEXT, text))
    }

    fn readiness(&self, access: Access) -> HttpReply {
        if let Some(failure) = self.failure(access) {
            return failure;
        }
        let phase = self.served.observer.snapshot().phase;
        let status = match phase {
            Some(Phase::Running) => StatusCode::OK,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        reply(status, kind::TEXT, format!("{}\n", word(phase)))
    }

    fn metrics(&self) -> String {
        let faults = self.served.faults.as_ref().map(|faults| (faults.totals)());
        let datagrams = self.served.datagrams.as_ref().map(DatagramCounts::read);
        metrics::text(&MetricsInput {
            snapshot: &self.served.observer.snapshot(),
            process: &ProcessState::now(),
            started: self.started,
            mode: self.served.mode,
            datagrams: datagrams.as_ref(),
            faults: faults.as_deref(),
            certificate_expires: self.served.certificates.as_ref().and_then(|certificates| {
                let since = certificates.expires()?.duration_since(UNIX_EPOCH);
                Some(since.unwrap_or_default().as_secs_f64())
            }),
            sources: SourceFigures::of(&self.served.sources),
            refused_secrets: self.refusals.total(),
            others: &self.served.figures.as_ref().map(ExtraMetrics::read).unwrap_or_default(),
        })
    }

    fn view(&self, access: Access) -> AdminView {
        let line = |line: crate::log::newest_lines::LogLine| {
            [line.time, line.level.to_string(), line.text]
        };
        let is_full = access == Access::Full;
        AdminView::new(ViewSources {
            snapshot: &self.served.observer.snapshot(),
            history: &self.history(),
            process: &ProcessState::now(),
            up: self.start.elapsed(),
            mode: self.served.mode,
            shown: match (access, &self.secret) {
                (Access::Full, _) => VisiblePart::All,
                (Access::Metrics, Some(_)) => VisiblePart::FiguresUntilLogin,
                (Access::Metrics, None) => VisiblePart::Figures,
            },
            addresses: if is_full { &self.served.addresses } else { &[] },
            faults: self.served.faults.as_ref().filter(|_| is_full).map(|faults| (faults.rules)()),
            penalties: is_full.then(|| self.served.sources.penalised(PENALTIES_MAX)),
            log: if is_full { newest_lines().into_iter().map(line).collect() } else { Vec::new() },
        })
    }

    /// Locks the history. A poisoned lock is safe to use, because a panic leaves no incomplete
    /// sample.
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().ignore_poison()
    }
}

/// Shows or replaces the fault plan.
async fn answer_faults(
    faults: &FaultControl,
    request: Request<Incoming>,
    reach: AdminReach,
) -> Result<HttpReply, RequestError> {
    if !is_question(request.method()) {
        let hosts = values(request.headers(), header::HOST);
        let origins = values(request.headers(), header::ORIGIN);
        let fetch_site = HeaderName::from_static("sec-fetch-site");
        admit_change(&hosts, &origins, &values(request.headers(), fetch_site), reach)?;
        let plan = match *request.method() {
            Method::PUT | Method::POST => plan(request.into_body()).await?,
            Method::DELETE => String::new(),
            _ => return Err(RequestError::Method("GET, HEAD, PUT, POST, DELETE")),
        };
        (faults.replace)(&plan).map_err(RequestError::Plan)?;
        tracing::info!(rules = (faults.rules)().len(), "the admin address changed the faults");
    }
    Ok(reply(StatusCode::OK, kind::TEXT, faults.text()))
}

async fn plan(body: Incoming) -> Result<String, RequestError> {
    let body = Limited::new(body, PLAN_BYTES_MAX).collect().await;
    let bytes = body.map_err(|_| RequestError::Body(PLAN_BYTES_MAX))?.to_bytes();
    String::from_utf8(bytes.into()).map_err(|_| RequestError::Body(PLAN_BYTES_MAX))
}

fn is_question(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Returns the values of a header. A value that is not text becomes empty, which matches no name.
fn values(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::Arc;

    use super::*;
    use crate::admin::http;
    use echoline::sources::{SourceLimits, Sources};
    use echoline::{Closed, Farewell, Server};

    /// Returns a fault control that accepts two rules, and counts nothing.
    fn control() -> FaultControl {
        let plan = Arc::new(Mutex::new(vec!["drop p=0.1".to_owned()]));
        let shown = Arc::clone(&plan);
        let replace = move |text: &str| {
            assert_ne!(text, "panic", "on purpose");
            let rules: Vec<String> =
                text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
            match rules.iter().find(|rule| !["drop p=0.1", "delay=50ms"].contains(&rule.as_str())) {
                Some(rule) => Err(format!("there is no fault '{rule}'")),
                None => {
                    *plan.lock().unwrap() = rules;
                    Ok(())
                }
            }
        };
        FaultControl {
            seed: Box::new(|| 42),
            rules: Box::new(move || shown.lock().unwrap().iter().cloned().zip(1..).collect()),
            totals: Box::new(|| vec![("drop", 7)]),
            replace: Box::new(replace),
        }
    }

    /// Starts a site with a fault plan on a thread. Returns its address.
    fn start() -> SocketAddr {
        start_for(&mut Server::new(Vec::new()), Access::Full)
    }

    fn start_for(server: &mut Server, access: Access) -> SocketAddr {
        let shutdown = server.shutdown();
        let served = ObservedServer {
            observer: server.observe(),
            shutdown: shutdown.clone(),
            mode: "line",
            addresses: Vec::new(),
            certificates: None,
            figures: None,
            sources: Arc::new(Sources::new(SourceLimits::off())),
            datagrams: None,
            faults: Some(control()),
        };
        let site = Arc::new(AdminSite::new(served, AdminReach::Loopback, None));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let door = http::AdminListener { socket: listener.into(), is_unix: false, access };
        std::thread::spawn(move || http::serve(&[door], &site, &shutdown));
        at
    }

    /// Issue 11, item C: if a part of the server has panicked, the server is neither healthy nor
    /// ready, and the answer says why.
    #[tokio::test]
    async fn regression_health_reports_a_part_that_panicked() {
        let words = |closed| match closed {
            Closed::Busy => panic!("as asked"),
            _ => None,
        };
        let mut server = Server::bind("127.0.0.1:0").await.unwrap();
        let at = start_for(&mut server, Access::Full);
        let public = start_for(&mut server, Access::Metrics);
        let health = move |at, path: &'static str| {
            tokio::task::spawn_blocking(move || ask_path(at, "GET", path, "", "").unwrap())
        };
        assert_eq!(health(at, "/healthz").await.unwrap(), (200, "ok\n".to_owned()));
        // The task that accepts connections calls this function for the text of a refusal. The
        // function panics.
        let server = server.farewell(Farewell::Custom(Arc::new(words)));
        let handler = |_| async { Ok::<(), Closed>(()) };
        server.serve_until(handler, std::future::pending()).await.unwrap_err();
        for path in ["/healthz", "/readyz"] {
            let (status, text) = health(at, path).await.unwrap();
            assert_eq!(status, 503, "{path}: {text}");
            let why = "failed: the task that accepts connections panicked (\"as asked\")";
            assert!(text.starts_with(why), "{path}: {text}");
            // The panic message may quote text from a client, so it is hidden.
            let text =
                "failed: the task that accepts connections panicked; the log has the reason\n";
            assert_eq!(health(public, path).await.unwrap(), (503, text.to_owned()));
        }
    }

    /// Returns the status and the body of the answer; `more` are headers with their line ends.
    fn ask(at: SocketAddr, method: &str, more: &str, body: &str) -> (u16, String) {
        try_ask(at, method, more, body).expect("an answer")
    }

    /// Works like `ask`, but returns `None` if there is no response.
    fn try_ask(at: SocketAddr, method: &str, more: &str, body: &str) -> Option<(u16, String)> {
        ask_path(at, method, "/faults", more, body)
    }

    fn ask_path(
        at: SocketAddr,
        method: &str,
        path: &str,
        more: &str,
        body: &str,
    ) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(at).unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {at}\r\n{more}Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        // The server does not read an oversized body to its end, so this write may fail.
        let _ = stream.write_all(body.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    #[test]
    fn a_plan_is_shown_replaced_and_ended() {
        let at = start();
        let shown = "# seed 42\n# happened 1 time\ndrop p=0.1\n".to_owned();
        assert_eq!(ask(at, "GET", "", ""), (200, shown.clone()));
        let (status, now) = ask(at, "PUT", "", "delay=50ms\ndrop p=0.1");
        assert_eq!(status, 200);
        assert!(now.ends_with("# happened 2 times\ndrop p=0.1\n"), "{now}");
        assert_eq!(ask(at, "POST", "", &shown), (200, shown), "a valid plan is shown");
        let (status, sentence) = ask(at, "PUT", "", "dorp");
        assert_eq!(
            (status, sentence.as_str()),
            (400, "there is no fault 'dorp'; the plan has not changed\n")
        );
        assert!(ask(at, "GET", "", "").1.contains("drop p=0.1"));
        let nothing = "# seed 42\n# no faults are planned\n".to_owned();
        assert_eq!(ask(at, "DELETE", "", ""), (200, nothing));
        assert_eq!(ask(at, "PATCH", "", "").0, 405);
        assert_eq!(ask(at, "PUT", "", &"x".repeat(PLAN_BYTES_MAX + 1)).0, 400);
    }

    /// Fault 55: a panic ends only the request in which it happens.
    #[test]
    fn a_panic_ends_one_request() {
        let at = start();
        assert_eq!(try_ask(at, "PUT", "", "panic"), None);
        assert_eq!(ask(at, "GET", "", "").0, 200);
    }

    /// Fault 70: a page of another site cannot change the fault plan.
    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let at = start();
        for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
            let (status, _) = ask(at, "POST", &format!("Origin: {origin}\r\n"), "delay=50ms");
            assert_eq!(status, 403, "{origin}");
        }
        assert!(ask(at, "GET", "", "").1.contains("drop p=0.1"));
        let own = format!("Origin: http://{at}\r\n");
        assert_eq!(ask(at, "POST", &own, "delay=50ms").0, 200);
    }
}
