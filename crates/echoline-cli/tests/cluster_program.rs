//! Tests of the program `echoline chat --bus`: two nodes and a NATS server, all on this machine.
//! Without a `nats-server` the tests print that they are skipped.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

#[allow(dead_code)]
#[path = "../../echoline-chat-nats/tests/nats/server.rs"]
mod server;

mod programs;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use programs::{Program, echoline, run, wait_for};
use server::NatsServer;

/// One node of the chat, on a free port.
struct Node {
    program: Program,
    address: String,
    _folder: tempfile::TempDir,
}

impl Node {
    fn start(name: &str, server: &NatsServer, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready");
        let mut command = echoline(&["chat", "--listen", "127.0.0.1:0", "--node", name]);
        command.args(["--bus", &server.url(), "--cluster", "tea", "--replay", "0"]);
        command.arg("--ready-file").arg(&ready).args(flags);
        let mut program = Program::start(&mut command);
        wait_for("the ready file", || ready.exists() || program.has_ended());
        assert!(ready.exists(), "{name} did not start: {}", program.stderr());
        let address = fs::read_to_string(ready).unwrap().trim().to_owned();
        Self { program, address, _folder: folder }
    }

    fn come(&self, name: &str) -> ChatClient {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut person = ChatClient(BufReader::new(stream));
        person.say(name);
        person.hear(&format!("Enter your name: *** {name} joined the chat ***"));
        person.say("/numbers on");
        person.hear("*** numbers on ***");
        person
    }
}

/// A client at a terminal.
struct ChatClient(BufReader<TcpStream>);

impl ChatClient {
    fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Checks that the next line is `expected`.
    #[track_caller]
    fn hear(&mut self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    #[track_caller]
    fn hear_all(&mut self, expected: &[&str]) {
        expected.iter().for_each(|line| self.hear(line));
    }
}

#[test]
fn two_nodes_are_one_chat() {
    let Some(server) = NatsServer::start() else { return };
    let (east, west) = (Node::start("east", &server, &[]), Node::start("west", &server, &[]));
    let mut ann = east.come("ann");
    let mut ben = west.come("ben");
    ann.hear("#2 *** ben joined the chat ***");
    ann.say("hello");
    ben.hear("#3 ann: hello");
    ben.say("good morning");
    ann.hear_all(&["#3 ann: hello", "#4 ben: good morning"]);
    ben.hear("#4 ben: good morning");
    ben.say("/users");
    ben.hear("Online: ann, ben");
    // Nodes send heartbeats every few seconds.
    wait_for("both nodes in /status", || {
        ann.say("/status");
        ann.hear("*** This is node east of the cluster tea; the link is up ***");
        let machines = ann.line();
        assert!(ann.line().ends_with("; 0 messages from here wait, 0 were not delivered ***"));
        machines == "*** Nodes and their users: east (1), west (1) ***"
            || machines == "*** Nodes and their users: west (1), east (1) ***"
    });
    west.program.signal("TERM");
    assert_eq!(west.program.finish().code(), Some(0));
    ann.hear("#5 *** west is shut down, and with it ben ***");
    ann.say("/users");
    ann.hear("Online: ann");
}

const LOST: &str = "*** The link to the other nodes is lost: at most 50 of your messages wait, for \
                    up to 60 s (/status) ***";

#[test]
fn lines_wait_for_the_nats_server() {
    let Some(mut server) = NatsServer::start() else { return };
    let (east, west) = (Node::start("east", &server, &[]), Node::start("west", &server, &[]));
    let mut ann = east.come("ann");
    let mut ben = west.come("ben");
    ann.hear("#2 *** ben joined the chat ***");
    server.kill();
    ann.hear(LOST);
    ben.hear(LOST);
    ann.say("one");
    ann.say("two");
    ann.say("/status");
    ann.hear("*** This is node east of the cluster tea; the link is lost, messages wait ***");
    ann.line();
    assert!(ann.line().ends_with("; 2 messages from here wait, 0 were not delivered ***"));
    server.start_again();
    let back = "*** The link to the other nodes is back ***";
    ann.hear_all(&[back, "#3 ann: one", "#4 ann: two"]);
    // The other node may have read the lines before it noticed that the link is back.
    let mut heard = [ben.line(), ben.line(), ben.line()];
    heard.sort();
    assert_eq!(heard, ["#3 ann: one", "#4 ann: two", back]);
}

#[test]
fn doctor_reports_problems() {
    let Some(server) = NatsServer::start() else { return };
    let url = server.url();
    let found = run(&["chat", "doctor", "--bus", &url], b"");
    let text = found.text();
    assert_eq!(found.code(), Some(0), "{text}");
    assert!(text.starts_with(&format!("     ok  the server at {url} is NATS 2.")), "{text}");
    assert!(text.contains("   note  there is no stream ECHOLINE_chat yet: a chat creates it\n"));
    assert!(text.ends_with("No problem was found.\n"), "{text}");
    drop(server);
    let found = run(&["chat", "doctor", "--bus", &url], b"");
    assert_eq!(found.code(), Some(3));
    let wrong = format!("PROBLEM  no NATS server answers at {url}: ");
    assert!(found.text().starts_with(&wrong), "{}", found.text());
    assert!(found.text().ends_with("1 problem was found.\n"));
}

#[test]
fn reports_a_server_without_streams() {
    let Some(server) = NatsServer::start_with(|_| Vec::new()) else { return };
    let found = run(&["chat", "doctor", "--bus", &server.url()], b"");
    assert_eq!(found.code(), Some(3));
    assert!(found.text().contains("PROBLEM  JetStream is not available"), "{}", found.text());
    let started = run(&["chat", "--bus", &server.url(), "--listen", "127.0.0.1:0"], b"");
    assert_eq!(started.code(), Some(1));
    assert!(started.stderr.contains("has no JetStream: start it with 'nats-server -js'"));
}

#[test]
fn errors_of_flags_are_one_sentence() {
    let nobody = "nats://127.0.0.1:1";
    for (flags, code, sentence) in [
        (&["--bus", nobody, "--data", "/nowhere"][..], 2, "--data and --bus exclude each other"),
        (&["--machine", "east"], 2, "error: the following required arguments"),
        (&["--on-loss", "local"], 2, "tip: --on-loss was removed"),
        (&["--cluster", "tea"], 2, "--cluster tea needs --bus"),
        (&["--bus", "http://127.0.0.1:4222"], 2, "is not the address of a NATS server"),
        (&["--bus", nobody, "--cluster", "a b"], 2, "'a b' cannot be the name of a cluster"),
        (&["--bus", nobody, "--node", "a b"], 2, "write 1 to 64 letters"),
        (&["--bus", nobody, "--bus-timeout", "1s"], 1, "tried for 1 s): start one with"),
        (&["--bus", nobody, "--check"], 1, "no NATS server answers at"),
    ] {
        let ended = run(&[&["chat", "--listen", "127.0.0.1:0"], flags].concat(), b"");
        assert_eq!(ended.code(), Some(code), "{flags:?}: {}", ended.stderr);
        let told = ended.stderr.lines().filter(|line| line.contains(sentence)).count();
        assert_eq!(told, 1, "{flags:?}: {}", ended.stderr);
    }
}

/// Every command in the guide is valid.
#[test]
fn the_commands_of_the_guide_are_valid() {
    let Some(server) = NatsServer::start() else { return };
    let guide = include_str!("../../../docs/cluster.md");
    let typed = guide.split("```").filter_map(|block| block.strip_prefix("sh\n"));
    let lines = typed.flat_map(str::lines).map(|line| line.split('#').next().unwrap());
    let commands: Vec<&str> = lines.filter(|line| line.starts_with("echoline ")).collect();
    assert!(commands.len() >= 2, "{commands:?}");
    let folder = tempfile::tempdir().unwrap();
    for (name, secret) in [("bus-login", "node:a password"), ("cluster-key", &"5e".repeat(32))] {
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(folder.path().join(name));
        file.unwrap().write_all(secret.as_bytes()).unwrap();
    }
    let secrets = format!("{}/", folder.path().display());
    for command in commands {
        let words = command.replace("nats://127.0.0.1:4222", &server.url());
        let words = words.replace("/etc/echoline/", &secrets);
        let mut words: Vec<&str> = words.split_whitespace().skip(1).collect();
        words.push("--check");
        let checked = run(&words, b"");
        assert_eq!(checked.code(), Some(0), "{command}: {}", checked.stderr);
        assert!(checked.text().starts_with("The chat can start: "), "{}", checked.text());
        assert!(checked.text().contains("This node joins the cluster chat."));
    }
}
