//! An axum application with a line port beside it, which share their state and drain together.
//! The line port receives measurements, `NAME VALUE` per line. The page `/` shows the last value of
//! each name, and takes measurements by POST. A signal drains both servers: lines and requests in
//! progress are answered.
//! Run it: `cargo run --example beside_axum [LINE-ADDRESS [WEB-ADDRESS]]`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{env, future::IntoFuture};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use echoline::{Closed, Connection, Limits, Phase, Server};
use tokio::{net::TcpListener, time::sleep};

/// The maximum number of names.
const NAMES_MAX: usize = 10_000;

#[derive(Clone, Default)]
struct App(Arc<Mutex<BTreeMap<String, f64>>>);

impl App {
    fn values(&self) -> MutexGuard<'_, BTreeMap<String, f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, line: &str) -> Result<(), &'static str> {
        let (name, value) = line.split_once(' ').ok_or("expected NAME VALUE")?;
        let value = value.parse().map_err(|_| "the value is not a number")?;
        let mut values = self.values();
        if values.len() >= NAMES_MAX && !values.contains_key(name) {
            return Err("there are too many names");
        }
        values.insert(name.to_owned(), value);
        Ok(())
    }
}

/// Answers only bad lines, so that a sender need not read.
async fn receive(mut client: Connection, app: App) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        let recorded =
            line.as_str().map_err(|_| "the line is not UTF-8").and_then(|line| app.record(line));
        if let Err(reason) = recorded {
            client.write_line(format!("ERROR {reason}")).await?;
        }
    }
    Ok(())
}

async fn page(State(app): State<App>) -> String {
    let mut page = String::new();
    for (name, value) in app.values().iter() {
        let _never_fails = writeln!(page, "{name} {value}");
    }
    page
}

async fn post(State(app): State<App>, body: String) -> Result<(), (StatusCode, &'static str)> {
    let mut lines = body.lines();
    lines.try_for_each(|line| app.record(line)).map_err(|reason| (StatusCode::BAD_REQUEST, reason))
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let (line_address, web_address) = (argument("127.0.0.1:8080"), argument("127.0.0.1:8081"));
    let server = Server::bind(line_address).await?;
    let limits = Limits { max_line: 1000, ..Limits::default() };
    let drain_timeout = limits.drain_timeout;
    let server = server.limits(limits);
    let listener = TcpListener::bind(web_address).await?;
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    writeln!(io::stdout(), "web pages on {}", listener.local_addr()?)?;

    let shutdown = server.shutdown();
    let app = App::default();
    let router = Router::new().route("/", get(page).post(post)).with_state(app.clone());
    let draining = {
        let shutdown = shutdown.clone();
        async move { shutdown.reached(Phase::Draining).await }
    };
    let web = axum::serve(listener, router).with_graceful_shutdown(draining);
    let lines = async {
        let report = server.serve(move |client| receive(client, app.clone())).await?;
        writeln!(io::stdout(), "{} line connections ended", report.accepted)
    };
    // axum waits for its requests without a limit: they get the drain time-out of the lines.
    let too_late = async {
        shutdown.reached(Phase::Draining).await;
        sleep(drain_timeout).await;
    };
    let web = async {
        tokio::select! {
            ended = web.into_future() => ended,
            () = too_late => Ok(()),
        }
    };
    // `serve` waits for signals, and its `Shutdown` tells axum. If one server fails, both end.
    tokio::try_join!(lines, web).map(|_| ())
}
