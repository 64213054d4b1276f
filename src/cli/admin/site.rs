//! What there is at the admin address, path by path.

use std::sync::{Mutex, MutexGuard, PoisonError};

use askama::Template;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, Request, StatusCode};
use tokio::time::Instant;

use super::Served;
use super::control::FaultControl;
use super::gate::{Reach, admit, admit_change};
use super::history::History;
use super::metrics::{self, Figures};
use super::process::ProcessState;
use super::reply::{Problem, Reply, kind, reply};
use super::view::{Sources, View, word};
use crate::cli::newest_lines::newest_lines;
use crate::load::units::printable;
use crate::net::{DatagramCounts, Phase};

/// Bytes of a plan of faults.
const PLAN_BYTES_MAX: usize = 64 * 1024;

const STYLE: &str = include_str!("../../../templates/admin.css");
const SCRIPT: &str = include_str!("../../../templates/admin.js");

/// Everything that the admin address tells of.
#[derive(Debug)]
pub(super) struct Site {
    reach: Reach,
    served: Served,
    start: Instant,
    /// In seconds since 1970.
    started: f64,
    history: Mutex<History>,
}

#[derive(Template)]
#[template(path = "admin.html")]
struct Page {
    view: View,
}

impl Site {
    pub(super) fn new(served: Served, reach: Reach) -> Self {
        let started = jiff::Timestamp::now().as_duration().as_secs_f64();
        Self { reach, served, start: Instant::now(), started, history: Mutex::default() }
    }

    /// Looks at the server once more for the live page.
    pub(super) fn look(&self) {
        let snapshot = self.served.observer.snapshot();
        self.history().push(self.start.elapsed(), &snapshot);
    }

    /// The answer to one request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Reply {
        self.try_answer(request).await.unwrap_or_else(Problem::into_reply)
    }

    async fn try_answer(&self, request: Request<Incoming>) -> Result<Reply, Problem> {
        let hosts = values(request.headers(), header::HOST);
        admit(&hosts, self.reach)?;
        if let (Some(faults), "/faults") = (&self.served.faults, request.uri().path()) {
            return answer_faults(faults, request).await;
        }
        if !is_question(request.method()) {
            return Err(Problem::Method("GET, HEAD"));
        }
        let ok = StatusCode::OK;
        match request.uri().path() {
            "/" => Page { view: self.view() }
                .render()
                .map(|page| reply(ok, kind::HTML, page))
                .map_err(|error| Problem::Page(error.to_string())),
            "/page.css" => Ok(reply(ok, kind::STYLE, STYLE)),
            "/page.js" => Ok(reply(ok, kind::SCRIPT, SCRIPT)),
            "/snapshot.json" => serde_json::to_vec(&self.view())
                .map(|view| reply(ok, kind::JSON, view))
                .map_err(|error| Problem::Page(error.to_string())),
            "/metrics" => Ok(reply(ok, kind::METRICS, self.metrics())),
            // Whoever can answer is alive.
            "/healthz" => Ok(reply(ok, kind::TEXT, "ok\n")),
            "/readyz" => Ok(self.readiness()),
            path => {
                let more = self.served.faults.as_ref().map_or("", |_| ", and /faults");
                Err(Problem::NotFound(printable(path), more))
            }
        }
    }

    fn readiness(&self) -> Reply {
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
        metrics::text(&Figures {
            snapshot: &self.served.observer.snapshot(),
            process: &ProcessState::now(),
            started: self.started,
            mode: self.served.mode,
            datagrams: datagrams.as_ref(),
            faults: faults.as_deref(),
        })
    }

    fn view(&self) -> View {
        let line = |line: crate::cli::newest_lines::LogLine| {
            [line.time, line.level.to_string(), line.text]
        };
        View::new(Sources {
            snapshot: &self.served.observer.snapshot(),
            history: &self.history(),
            process: &ProcessState::now(),
            up: self.start.elapsed(),
            mode: self.served.mode,
            addresses: &self.served.addresses,
            faults: self.served.faults.as_ref().map(|faults| (faults.rules)()),
            log: newest_lines().into_iter().map(line).collect(),
        })
    }

    /// A panic while a second was pushed leaves nothing that the next could not go on with.
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows the plan, or puts another in its place.
async fn answer_faults(
    faults: &FaultControl,
    request: Request<Incoming>,
) -> Result<Reply, Problem> {
    if !is_question(request.method()) {
        let hosts = values(request.headers(), header::HOST);
        admit_change(&hosts, &values(request.headers(), header::ORIGIN))?;
        let plan = match *request.method() {
            Method::PUT | Method::POST => plan(request.into_body()).await?,
            Method::DELETE => String::new(),
            _ => return Err(Problem::Method("GET, HEAD, PUT, POST, DELETE")),
        };
        (faults.replace)(&plan).map_err(Problem::Plan)?;
        tracing::info!(rules = (faults.rules)().len(), "the admin address changed the faults");
    }
    Ok(reply(StatusCode::OK, kind::TEXT, faults.text()))
}

async fn plan(body: Incoming) -> Result<String, Problem> {
    let body = Limited::new(body, PLAN_BYTES_MAX).collect().await;
    let bytes = body.map_err(|_| Problem::Body(PLAN_BYTES_MAX))?.to_bytes();
    String::from_utf8(bytes.into()).map_err(|_| Problem::Body(PLAN_BYTES_MAX))
}

fn is_question(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The values of a header; one that is no text is as good as a foreign one.
fn values(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect()
}
