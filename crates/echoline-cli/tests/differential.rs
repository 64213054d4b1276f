//! Compares the lesson's servers with `echoline echo` on the same generated scripts.
//!
//! Our output must always be the one that [`Pair::rule`] computes. The output of the lesson's
//! server may differ only because of one of the lesson's known defects, which the script must
//! trigger. `ECHOLINE_SEED=N` repeats a run, and `ECHOLINE_SCRIPTS=N` sets the number of scripts.

mod lesson;
#[path = "lesson/script.rs"]
mod script;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use lesson::{DEADLINE, Running, eventually, programs, say, serve};
use script::{Random, Script};
use tempfile::TempDir;

/// Defects of the lesson's programs, by their numbers in docs/lesson.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Defect {
    /// 1: the result of one `read` or `recv` counts as a message.
    ChunkIsMessage,
    /// 2: bytes that are not UTF-8 end the connection.
    NotUtf8,
    /// 3: a line over 64 KiB ends the connection without a message.
    LongLine,
    /// 4: a client over the limit gets no message.
    BusyIsSilent,
    /// 8: the time has no offset.
    TimeWithoutOffset,
}

/// One of the lesson's servers, and the flags with which our server does the same.
struct Pair {
    program: &'static str,
    flags: &'static [&'static str],
    greeting: &'static str,
    eol: &'static str,
    message: Message,
    commands: bool,
}

/// The unit that the lesson's server treats as a message.
#[derive(Clone, Copy, PartialEq)]
enum Message {
    Chunk,
    Line,
}

const PAIRS: [Pair; 5] = [
    Pair {
        program: "s1_simple_echo.py",
        flags: &["--mode", "line", "--eol", "lf"],
        greeting: "",
        eol: "\n",
        message: Message::Chunk,
        commands: false,
    },
    Pair {
        program: "s3_command_echo.py",
        flags: &["--mode", "command"],
        greeting: "Welcome to Echo Server!\r\nCommands: TIME, QUIT, or any text for echo\r\n",
        eol: "\r\n",
        message: Message::Line,
        commands: true,
    },
    Pair {
        program: "s4_low_level_echo.py",
        flags: &["--mode", "line", "--eol", "crlf", "--greeting", "Welcome!"],
        greeting: "Welcome!\r\n",
        eol: "\r\n",
        message: Message::Chunk,
        commands: false,
    },
    Pair {
        program: "s6_timeouts.py",
        flags: &[
            "--mode",
            "line",
            "--eol",
            "crlf",
            "--idle-timeout",
            "60s",
            "--line-timeout",
            "off",
        ],
        greeting: "",
        eol: "\r\n",
        message: Message::Line,
        commands: false,
    },
    S7,
];

const S7: Pair = Pair {
    program: "s7_connection_limit.py",
    flags: &["--mode", "line", "--eol", "crlf", "--max-connections", "10"],
    greeting: "",
    eol: "\r\n",
    message: Message::Line,
    commands: false,
};

/// The line length that both servers allow, and the size that the lesson's servers pass to `read`
/// and `recv`.
const LINE_MAX: usize = 64 * 1024;
const CHUNK_MAX: usize = 1024;

/// The placeholder for times in compared output.
const SOME_TIME: &str = "<some time>";

#[test]
fn every_difference_is_a_known_defect() {
    let Some(folder) = programs() else { return };
    let seed = number("ECHOLINE_SEED", 1);
    let scripts = number("ECHOLINE_SCRIPTS", 60);
    say(&format!("ECHOLINE_SEED={seed} ECHOLINE_SCRIPTS={scripts}"));
    let mut table = String::new();
    for pair in PAIRS {
        let (_theirs, their_address) = serve(&folder.join(pair.program), &[]);
        let (_ours, our_address) = echoline(pair.flags);
        let mut random = Random(seed);
        let mut counts: BTreeMap<Option<Defect>, usize> = BTreeMap::new();
        for number in 0..scripts {
            let script = script::script(&mut random, pair.longest());
            let rule = pair.rule(&script);
            let ours = without_time(&talk(our_address, &script, |sent| pair.due(sent)), true);
            let theirs = talk(their_address, &script, |sent| pair.due_from_original(sent));
            let shown = || show(&pair, number, &script, &theirs, &ours);
            assert!(ours == rule, "our output is wrong\n{}expected: {}\n", shown(), escape(&rule));
            let reason = (theirs != ours).then(|| {
                let reason = pair.explain(&script, &theirs, &ours);
                reason.unwrap_or_else(|| panic!("nothing explains the difference\n{}", shown()))
            });
            *counts.entry(reason).or_default() += 1;
        }
        let _ = write!(table, "{:<24}", pair.program);
        for (reason, count) in counts {
            let reason = reason.map_or("same".to_owned(), |defect| format!("{defect:?}"));
            let _ = write!(table, " {reason} {count}");
        }
        table.push('\n');
    }
    say(&table);
}

/// A script has only one client, so defect 4 needs a separate test.
#[test]
fn only_echoline_refuses_the_eleventh_client_with_a_message() {
    let Some(folder) = programs() else { return };
    let (_theirs, their_address) = serve(&folder.join(S7.program), &[]);
    let (_ours, our_address) = echoline(S7.flags);
    let eleventh = |address, patience| {
        let ten: Vec<Client> = (0..10)
            .map(|_| {
                let mut client = Client::connect(address);
                client.send(b"in?\n");
                client.hear(1);
                assert_eq!(client.heard, b"Echo: in?\r\n");
                client
            })
            .collect();
        let mut client = Client::connect(address);
        client.stream.set_read_timeout(Some(patience)).expect("it is not zero");
        client.hear(1);
        drop(ten);
        client.heard
    };
    assert_eq!(eleventh(our_address, DEADLINE), b"Server is busy. Try again later.\r\n");
    // The lesson's server closes the connection after 0.1 s, so a message would have arrived by
    // then.
    let patience = Duration::from_secs(1);
    assert_eq!(eleventh(their_address, patience), b"", "{:?}", Defect::BusyIsSilent);
}

impl Pair {
    /// Returns the correct output: each line stripped, with its prefix and line end. The output of
    /// our server must equal it byte by byte.
    fn rule(&self, script: &[Vec<u8>]) -> Vec<u8> {
        let mut said = self.greeting.as_bytes().to_vec();
        for line in lines(&script.concat()) {
            if line.len() - usize::from(line.ends_with(b"\r")) > LINE_MAX {
                let words = format!("Line too long (limit {LINE_MAX} bytes). Goodbye!{}", self.eol);
                said.extend(words.as_bytes());
                break;
            }
            if self.answer(line, &mut said) == Next::End {
                break;
            }
        }
        said
    }

    /// Returns an estimate of the output of the lesson's server. Only the number of lines is used,
    /// to know for how many lines to wait. The content may differ from the real output.
    fn original(&self, script: &[Vec<u8>]) -> Vec<u8> {
        let mut said = self.greeting.as_bytes().to_vec();
        let whole = script.concat();
        let messages: Vec<&[u8]> = match self.message {
            Message::Chunk => script.iter().flat_map(|chunk| chunk.chunks(CHUNK_MAX)).collect(),
            Message::Line => lines(&whole),
        };
        for message in messages {
            if message.len() > LINE_MAX || str::from_utf8(message).is_err() {
                break;
            }
            if self.answer(message, &mut said) == Next::End {
                break;
            }
        }
        said
    }

    /// Returns the maximum length of a message in a script. The network could split a longer one
    /// anywhere.
    fn longest(&self) -> usize {
        if self.message == Message::Line { LINE_MAX } else { 8 * CHUNK_MAX }
    }

    /// Returns the number of lines that our server has sent after it has received `sent`.
    fn due(&self, sent: &[Vec<u8>]) -> usize {
        line_ends(&self.rule(&[whole_lines(sent)]))
    }

    fn due_from_original(&self, sent: &[Vec<u8>]) -> usize {
        line_ends(&match self.message {
            Message::Chunk => self.original(sent),
            Message::Line => self.original(&[whole_lines(sent)]),
        })
    }

    fn answer(&self, message: &[u8], said: &mut Vec<u8>) -> Next {
        let text = strip(message);
        let command = self.commands.then(|| str::from_utf8(&text).map(str::to_uppercase));
        let reply = match command.and_then(Result::ok).as_deref() {
            Some("QUIT") => b"Goodbye!".to_vec(),
            Some("TIME") => format!("Server time: {SOME_TIME}").into_bytes(),
            Some("HELP") => b"Commands: TIME, QUIT, HELP".to_vec(),
            _ => [b"Echo: ", &text[..]].concat(),
        };
        said.extend([&reply[..], self.eol.as_bytes()].concat());
        if reply == b"Goodbye!" { Next::End } else { Next::More }
    }

    /// Returns the defect because of which `theirs` may differ from `ours` for this script, if
    /// there is one. The script must trigger the defect, and up to that position both outputs must
    /// be equal.
    fn explain(&self, script: &Script, theirs: &[u8], ours: &[u8]) -> Option<Defect> {
        let plain = without_time(theirs, false);
        if plain == ours && plain != theirs {
            return Some(Defect::TimeWithoutOffset);
        }
        let (reason, before) = match self.message {
            Message::Chunk => script.iter().enumerate().find_map(|(place, chunk)| {
                let text = chunk.strip_suffix(b"\n").unwrap_or(chunk);
                let last = place + 1 == script.len();
                let is_line = !text.contains(&b'\n') && (text.len() < chunk.len() || last);
                let reason = if !is_line || chunk.len() > CHUNK_MAX {
                    Defect::ChunkIsMessage
                } else if str::from_utf8(chunk).is_err() {
                    Defect::NotUtf8
                } else {
                    return None;
                };
                Some((reason, self.original(&script[..place])))
            }),
            Message::Line => {
                let whole = script.concat();
                let lines = lines(&whole);
                lines.iter().enumerate().find_map(|(place, line)| {
                    let reason = if line.len() > LINE_MAX {
                        Defect::LongLine
                    } else if str::from_utf8(line).is_err() {
                        Defect::NotUtf8
                    } else {
                        return None;
                    };
                    let before = lines[..place].join(&b'\n');
                    Some((reason, self.rule(&[before, b"\n".repeat(place.min(1))])))
                })
            }
        }?;
        (plain.starts_with(&before) && ours.starts_with(&before)).then_some(reason)
    }
}

#[derive(PartialEq)]
enum Next {
    More,
    End,
}

/// Returns the lines of `bytes`. A last line without an end counts too.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    lines
}

/// Python's `str.strip()` for bytes that may not be text. It works character by character, because
/// the test compares it with `Line::trim` and must not share its code.
fn strip(bytes: &[u8]) -> Vec<u8> {
    let mut letters: Vec<(bool, Vec<u8>)> = Vec::new();
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let is_space = letter.is_whitespace() || ('\x1c'..='\x1f').contains(&letter);
            letters.push((is_space, letter.to_string().into_bytes()));
        }
        letters.push((chunk.invalid().is_empty(), chunk.invalid().to_vec()));
    }
    let is_ink = |letter: &(bool, Vec<u8>)| !letter.0;
    let Some(first) = letters.iter().position(is_ink) else { return Vec::new() };
    let last = letters.iter().rposition(is_ink).unwrap_or(first);
    letters[first..=last].iter().flat_map(|(_, bytes)| bytes.clone()).collect()
}

/// Replaces each well-formed time by a placeholder.
fn without_time(said: &[u8], has_offset: bool) -> Vec<u8> {
    const LABEL: &[u8] = b"Server time: ";
    let mut plain = Vec::new();
    for line in said.split_inclusive(|&byte| byte == b'\n') {
        let time = line.strip_prefix(LABEL).and_then(|time| str::from_utf8(time).ok());
        let time = time.map(|time| time.trim_end().replace(|c: char| c.is_ascii_digit(), "0"));
        let is_time = time.is_some_and(|time| match time.strip_prefix("0000-00-00T00:00:00") {
            // Python omits the microseconds if they are zero.
            Some("" | ".000000") => !has_offset,
            Some(".000000+00:00" | ".000000-00:00") => has_offset,
            _ => false,
        });
        let words = [LABEL, SOME_TIME.as_bytes(), b"\r\n"].concat();
        plain.extend_from_slice(if is_time { &words } else { line });
    }
    plain
}

/// A client's socket and its received bytes.
struct Client {
    stream: TcpStream,
    heard: Vec<u8>,
    ended: bool,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("the time-out is not zero");
        // Sends each piece in a separate packet.
        stream.set_nodelay(true).expect("TCP has the option");
        Self { stream, heard: Vec::new(), ended: false }
    }

    /// Sends bytes. An error is ignored, because the server may have ended the connection.
    fn send(&self, bytes: &[u8]) {
        let _ = (&self.stream).write_all(bytes);
    }

    /// Reads until `lines` lines have arrived in total, or the stream ends.
    fn hear(&mut self, lines: usize) {
        let mut chunk = [0; 16 * 1024];
        while !self.ended && line_ends(&self.heard) < lines {
            match self.stream.read(&mut chunk) {
                // A server that closes with unread bytes resets the connection. This also counts as
                // the end.
                Ok(0) => self.ended = true,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => self.ended = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("cannot read: {error}"),
                Ok(length) => self.heard.extend(&chunk[..length]),
            }
        }
    }
}

/// Returns a server's output for `script`. Before each packet it waits for the number of lines that
/// `due` returns for the packets before, so that each packet arrives separately.
fn talk(address: SocketAddr, script: &Script, due: impl Fn(&[Vec<u8>]) -> usize) -> Vec<u8> {
    let mut client = Client::connect(address);
    for (sent, chunk) in script.iter().enumerate() {
        client.hear(due(&script[..sent]));
        client.send(chunk);
    }
    client.hear(due(script));
    // This fails if the server has already ended the connection.
    let _ = client.stream.shutdown(Shutdown::Write);
    client.hear(usize::MAX);
    assert!(client.ended, "the server does not end the connection");
    client.heard
}

fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// Returns the bytes of the script, up to the last line end.
fn whole_lines(script: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = script.concat();
    bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1));
    bytes
}

/// Starts our server with these flags.
fn echoline(flags: &[&str]) -> (Running, SocketAddr) {
    let directory = TempDir::new().expect("a directory can be made");
    let ready = directory.path().join("ready");
    let mut command = Command::new(env!("CARGO_BIN_EXE_echoline"));
    command.args(["echo", "--listen", "127.0.0.1:0", "--ready-file"]).arg(&ready).args(flags);
    let mut running = Running::start(command, directory);
    let address = eventually("the ready file", || {
        let ended = running.child.try_wait().expect("a child can be waited for");
        assert!(ended.is_none(), "echoline {flags:?} ended at once");
        fs::read_to_string(&ready).ok()
    });
    (running, address.trim().parse().expect("the file holds one address"))
}

fn number(variable: &str, default: u64) -> u64 {
    let parse = |text: String| text.parse().unwrap_or_else(|_| panic!("{variable} is no number"));
    std::env::var(variable).map_or(default, parse)
}

/// Returns the details of a difference between two servers, in printable characters.
fn show(pair: &Pair, number: u64, script: &Script, theirs: &[u8], ours: &[u8]) -> String {
    let mut text = format!("{}, script {number}\n", pair.program);
    for chunk in script {
        let _ = writeln!(text, "  sent   {}", escape(chunk));
    }
    let _ = writeln!(text, "  theirs {}\n  ours   {}", escape(theirs), escape(ours));
    text
}

/// Escapes bytes, and leaves out the middle of long lines.
fn escape(bytes: &[u8]) -> String {
    const SHOWN: usize = 300;
    if bytes.len() <= 2 * SHOWN {
        return bytes.escape_ascii().to_string();
    }
    let (start, end) = (&bytes[..SHOWN], &bytes[bytes.len() - SHOWN..]);
    let left_out = bytes.len() - 2 * SHOWN;
    format!("{} [{left_out} bytes] {}", start.escape_ascii(), end.escape_ascii())
}
