//! Tests of the fault plan over the admin address.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use super::access::ask_full;
use super::{metrics, start};
use crate::ask::Answer;
use crate::support::NEVER;

fn put(at: SocketAddr, plan: &str) -> Answer {
    ask_full(at, "PUT", "/faults", plan)
}

/// A client that stays connected.
struct Client {
    stream: TcpStream,
    heard: BufReader<TcpStream>,
}

impl Client {
    fn connect(at: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&at, NEVER).unwrap();
        stream.set_read_timeout(Some(NEVER)).unwrap();
        let heard = BufReader::new(stream.try_clone().unwrap());
        Self { stream, heard }
    }

    /// Sends `lines` at once. Returns the next line of the answer.
    fn ask(&mut self, lines: &str) -> String {
        self.stream.write_all(lines.as_bytes()).unwrap();
        let mut line = String::new();
        self.heard.read_line(&mut line).unwrap();
        line
    }
}

#[test]
fn a_plan_applies_to_open_connections_and_is_counted() {
    let server = start(&["--fault-seed", "7"]);
    let at = server.admin();
    let mut client = Client::connect(server.address());
    assert_eq!(client.ask("before\n"), "Echo: before\n");
    assert_eq!(ask_full(at, "GET", "/faults", "").body, "# seed 7\n# no faults are planned\n");
    let answer = put(at, "# the second\ndrop at=2\ntruncate=8 at=3 # and the third\n");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/plain; charset=utf-8"))
    );
    assert_eq!(client.ask("one\ntwo\nthree\nfour\n"), "Echo: one\n");
    assert_eq!(client.ask(""), "Echo: th\n");
    assert_eq!(client.ask(""), "Echo: four\n");
    let shown = "# seed 7\n# happened 1 time\ndrop at=2\n# happened 1 time\ntruncate=8 at=3\n";
    assert_eq!(ask_full(at, "GET", "/faults", "").body, shown);
    // The plan that GET shows is a valid body for PUT.
    assert_eq!(put(at, shown).status, 200);
    assert_eq!(client.ask("one\ntwo\nthree\n"), "Echo: one\n");
    assert_eq!(client.ask(""), "Echo: th\n");
    let count = |kind| metrics(at).of(&format!("echoline_faults_total{{kind=\"{kind}\"}}"));
    assert_eq!((count("drop"), count("truncate"), count("delay")), (2.0, 2.0, 0.0));
    assert_eq!(ask_full(at, "DELETE", "/faults", "").status, 200);
    assert_eq!(client.ask("one\ntwo\n"), "Echo: one\n");
    assert_eq!(client.ask(""), "Echo: two\n");
    assert_eq!(count("drop"), 2.0);
}

#[test]
fn an_invalid_plan_changes_nothing() {
    let server = start(&["--fault", "drop at=1"]);
    let at = server.admin();
    let answer = put(at, "drop at=2\ndorp\n");
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(answer.body.contains("line 2: 'dorp': there is no fault 'dorp'; did you mean 'drop'?"));
    assert!(ask_full(at, "GET", "/faults", "").body.ends_with("# happened 0 times\ndrop at=1\n"));
}

#[test]
fn a_new_plan_releases_a_stalled_connection() {
    let server = start(&["--fault", "stall after=12"]);
    let mut client = Client::connect(server.address());
    assert_eq!(client.ask("hello\n"), "Echo: hello\n");
    client.stream.write_all(b"again\n").unwrap();
    assert_eq!(put(server.admin(), "").status, 200);
    assert_eq!(client.ask(""), "Echo: again\n");
}
