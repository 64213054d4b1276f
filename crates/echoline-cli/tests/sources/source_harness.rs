//! A whole chat behind a trusted proxy. The test is the proxy, so that clients have addresses of
//! other hosts and the default limits apply to them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use tempfile::TempDir;

use crate::programs::{Program, echoline, wait_for};

/// The address of the source of a flood.
pub(crate) const FLOOD: &str = "192.0.2.1";
pub(crate) const OTHER: &str = "2001:db8:7::7";

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A running `echoline chat` with the default limits.
pub(crate) struct Chat {
    pub(crate) program: Program,
    /// The addresses for terminals, for programs and for administration.
    people: String,
    programs: String,
    pub(crate) admin: String,
    _folder: TempDir,
}

impl Chat {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready");
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&password, private).unwrap();
        let mut command = echoline(&["chat", "--listen", "127.0.0.1:0", "--bot", "127.0.0.1:0"]);
        command.args(["--admin", "127.0.0.1:0", "--proxy-from", "127.0.0.1"]);
        command.arg("--operator-password-file").arg(&password);
        command.arg("--ready-file").arg(&ready).args(flags);
        let program = Program::start(&mut command);
        wait_for("the ready file", || ready.exists());
        let ready = std::fs::read_to_string(ready).unwrap();
        let mut lines = ready.lines().map(str::to_owned);
        let mut next = || lines.next().unwrap();
        let (people, programs) = (next(), next());
        let admin = next().strip_prefix("admin ").unwrap().to_owned();
        Self { program, people, programs, admin, _folder: folder }
    }

    /// Connects to the terminal address as a client at `from`.
    pub(crate) fn connect(&self, from: &str) -> Client {
        Client::connect(&self.people, from)
    }

    /// Connects to the terminal address, gives a name and enters the chat.
    pub(crate) fn enter(&self, from: &str, name: &str) -> Client {
        let mut client = self.connect(from);
        client.say(name);
        client.hear(&format!("*** {name} joined the chat ***"));
        client
    }

    /// Connects as a program and enters the chat.
    pub(crate) fn program(&self, from: &str, hello: &str) -> Client {
        let mut client = Client::connect(&self.programs, from);
        client.say(hello);
        client.hear("\"kind\":\"welcome\"");
        client
    }

    /// Connects as a program without sending anything.
    pub(crate) fn programs(&self, from: &str) -> Client {
        Client::connect(&self.programs, from)
    }

    /// Returns the value of a metric.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", self.admin);
        stream.write_all(request.as_bytes()).unwrap();
        let answer = std::io::read_to_string(stream).unwrap();
        let line = answer.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {answer}"))
    }
}

/// One connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    pub(crate) heard: Vec<String>,
}

impl Client {
    fn connect(address: &str, from: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        let (family, to) =
            if from.contains(':') { ("TCP6", "2001:db8::80") } else { ("TCP4", "192.0.2.80") };
        let header = format!("PROXY {family} {from} {to} 4711 80\r\n");
        // The server may have refused and closed the connection already.
        let _ = stream.write_all(header.as_bytes());
        Self { stream: BufReader::new(stream), heard: Vec::new() }
    }

    /// Sends a line. A closed connection is noticed when the client reads.
    pub(crate) fn say(&mut self, line: &str) {
        let _ = self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes());
    }

    /// Returns the next line; `None` at the end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(1..) => {}
            Ok(0) => return None,
            // The server does not wait until a refused client has read the refusal.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => {
                panic!("{error} after {:?}", self.heard.iter().rev().take(5).collect::<Vec<_>>())
            }
        }
        let line = String::from_utf8(line).unwrap().trim_end().to_owned();
        self.heard.push(line.clone());
        Some(line)
    }

    /// Reads up to a line that contains one of these texts; `None` at the end.
    pub(crate) fn hear_any(&mut self, words: &[&str]) -> Option<String> {
        loop {
            let line = self.line()?;
            if words.iter().any(|words| line.contains(words)) {
                return Some(line);
            }
        }
    }

    #[track_caller]
    pub(crate) fn hear(&mut self, words: &str) -> String {
        let heard = self.hear_any(&[words]);
        heard.unwrap_or_else(|| panic!("no {words:?} in {:?}", self.heard))
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str, words: &str) -> String {
        self.say(line);
        self.hear(words)
    }

    /// Returns whether no rate limit was reached so far.
    #[track_caller]
    pub(crate) fn has_met_nothing(&self) {
        for words in ["Too many", "Slow down", "muted", "wait_ms"] {
            let met = self.heard.iter().find(|line| line.contains(words));
            assert!(met.is_none(), "{met:?}");
        }
    }
}
