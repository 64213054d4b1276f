//! Runs every example as a whole program, and compares its output with that of the lesson's
//! program, if the lesson has one. If the lesson's own Python programs are available, they must
//! produce the same output.
//!
//! The dialogues use only input that the lesson's programs handle correctly: one line at a time,
//! valid UTF-8, and a wait for each reply. `differential.rs` covers other input.

mod lesson;
#[path = "examples/library.rs"]
mod library;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::LazyLock;
use std::thread;

use lesson::{DEADLINE, Running, eventually, programs, python, serve};
use tempfile::TempDir;

/// The folder target/PROFILE/examples. This test is target/PROFILE/deps/examples-HASH.
static EXAMPLES: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = std::env::current_exe().expect("a test knows where it is");
    let [profile, target] = [2, 3].map(|up| test.ancestors().nth(up).expect("a folder above"));
    // `cargo test` builds the examples, but `cargo test --test examples` does not, so they may be
    // missing or outdated. Without cargo the test uses the existing ones.
    if let Some(cargo) = std::env::var_os("CARGO") {
        let release = profile.ends_with("release").then_some("--release");
        let mut build = Command::new(cargo);
        build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        build.args(["build", "--quiet", "--offline", "--examples"]).args(release);
        build.arg("--target-dir").arg(target);
        assert!(build.status().is_ok_and(|status| status.success()), "cannot build: {build:?}");
    }
    profile.join("examples")
});

fn example(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(EXAMPLES.join(name));
    command.args(arguments);
    command
}

fn directory() -> TempDir {
    TempDir::new().expect("a directory can be made")
}

/// Starts an example that serves on a free port.
fn start(name: &str, more: &[&str]) -> (Running, SocketAddr) {
    let arguments = [&["127.0.0.1:0"], more].concat();
    let mut running = Running::start(example(name, &arguments), directory());
    let line = running.first_line().unwrap_or_else(|| panic!("{name} ended at once"));
    let address = line.strip_prefix("listening on ").expect("it says where it listens");
    let address = address.parse().expect("the address is one");
    (running, address)
}

/// Runs a program until it ends by itself, and returns its output.
fn run(command: Command) -> (ExitStatus, String) {
    let mut running = Running::start(command, directory());
    let status = wait(&mut running);
    (status, running.output())
}

fn wait(running: &mut Running) -> ExitStatus {
    eventually("the end", || running.child.try_wait().expect("a child can be waited for"))
}

/// A client.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("the time-out is not zero");
        Self(BufReader::new(stream))
    }

    fn port(&self) -> u16 {
        self.0.get_ref().local_addr().expect("a connected socket has an address").port()
    }

    fn send(&self, text: &str) {
        self.0.get_ref().write_all(text.as_bytes()).expect("the server reads");
    }

    /// Reads the next line with its end. Returns an empty text at the end of the stream.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the server answers");
        line
    }

    /// Works like [`ask`](Self::ask), but the server may refuse the client.
    fn try_ask(&mut self, line: &str) -> std::io::Result<String> {
        let mut answer = String::new();
        self.0.get_ref().write_all(line.as_bytes())?;
        self.0.read_line(&mut answer)?;
        Ok(answer)
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.hear()
    }

    /// Reads this number of bytes, for output without a line end.
    fn hear_exactly(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).expect("the server says more");
        String::from_utf8(bytes).expect("it is text")
    }

    /// Ends the stream and reads the rest.
    fn leave(mut self) -> String {
        self.0.get_ref().shutdown(Shutdown::Write).expect("the connection is open");
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("the server ends the stream in order");
        rest
    }
}

/// Runs `dialogue` with the example, and with the lesson's program if there is one.
fn check(example: &str, more: &[&str], program: &str, parts: &[(&str, &str)], dialogue: Dialogue) {
    let (_running, address) = start(example, more);
    dialogue(address);
    if let Some(folder) = programs() {
        let (_running, address) = serve(&folder.join(program), parts);
        dialogue(address);
    }
}

type Dialogue = fn(SocketAddr);

/// Checks the answers of an echo server of the lesson, with its own line end.
fn echoes(client: &mut Client, eol: &str) {
    for (line, text) in [
        ("hello\n", "hello"),
        ("  two  words \t\r\n", "two  words"),
        ("\n", ""),
        ("\u{3000}Привет, 世界\u{1f}\n", "Привет, 世界"),
        ("bare\rreturn\n", "bare\rreturn"),
    ] {
        assert_eq!(client.ask(line), format!("Echo: {text}{eol}"));
    }
    let long = "x".repeat(1000);
    assert_eq!(client.ask(&format!("{long}\n")), format!("Echo: {long}{eol}"));
}

#[test]
fn s1_echoes_as_the_lesson_does() {
    check("s1_simple_echo", &[], "s1_simple_echo.py", &[], |address| {
        let mut client = Client::connect(address);
        echoes(&mut client, "\n");
        client.send("a last line without an end");
        assert_eq!(client.leave(), "Echo: a last line without an end\n");
    });
}

#[test]
fn s2_shows_each_way_to_read() {
    let (status, output) = run(example("s2_streams", &["127.0.0.1:0"]));
    assert!(status.success());
    let shown = [
        r#"peer()             Some(127.0.0.1)"#,
        r#"read_line()        Some("a line")"#,
        r#"read_exact(4)      b"4321""#,
        r#"read_until("; ")   Some(b"up to here; ")"#,
        r#"read(8)            Some(b"the rest")"#,
        r#"split(): reply     Some("that was all")"#,
        r#"read_line()        Some("thank you")"#,
        r#"at the end         None"#,
    ];
    let mut lines: Vec<&str> = output.lines().collect();
    // The two ends run concurrently, so only the output of each one has an order.
    lines.sort_unstable();
    let mut expected = shown.to_vec();
    expected.sort_unstable();
    assert_eq!(lines, expected, "{output}");
}

#[test]
fn s3_answers_commands_as_the_lesson_does() {
    const GREETING: &str =
        "Welcome to Echo Server!\r\nCommands: TIME, QUIT, or any text for echo\r\n";
    check("s3_commands", &[], "s3_command_echo.py", &[], |address| {
        let mut client = Client::connect(address);
        assert_eq!(client.hear() + &client.hear(), GREETING);
        echoes(&mut client, "\r\n");
        assert_eq!(client.ask("help\n"), "Commands: TIME, QUIT, HELP\r\n");
        assert_eq!(client.ask(" HELP me\n"), "Echo: HELP me\r\n");
        let time = client.ask("tImE\n");
        let time = time.strip_prefix("Server time: ").expect("it tells the time");
        // The next test checks the offset that follows, as in 2026-01-31T23:59:59.123456+00:00.
        let form = time.replace(|letter: char| letter.is_ascii_digit(), "0");
        assert!(form.starts_with("0000-00-00T00:00:00.000000"), "{time}");
        assert_eq!(client.ask("QuIt\n"), "Goodbye!\r\n");
        assert_eq!(client.hear(), "", "the server ends the connection");
    });
}

/// Defect 8 of the lesson: the time has no offset.
#[test]
fn s3_sends_the_time_with_its_offset() {
    let (_running, address) = start("s3_commands", &[]);
    let mut client = Client::connect(address);
    let _greeting = (client.hear(), client.hear());
    let reply = client.ask("TIME\n");
    let time = reply.strip_prefix("Server time: ").expect("it tells the time").trim_end();
    time.parse::<jiff::Timestamp>().expect("a time with an offset is a moment");
}

#[test]
fn s4_greets_and_echoes_as_the_lesson_does() {
    check("s4_low_level", &[], "s4_low_level_echo.py", &[], |address| {
        let (mut first, mut second) = (Client::connect(address), Client::connect(address));
        assert_eq!(second.hear(), "Welcome!\r\n");
        assert_eq!(first.hear(), "Welcome!\r\n");
        echoes(&mut first, "\r\n");
        echoes(&mut second, "\r\n");
        first.send("a last line without an end");
        assert_eq!(first.leave(), "Echo: a last line without an end\r\n");
        assert_eq!(second.leave(), "");
    });
}

/// The client sends far more than the system buffers for a connection before it reads a byte. The
/// server has to stop in the middle of a write and of a line, and continue later.
#[test]
fn s4_continues_after_a_partial_write() {
    const LINES: usize = 100_000;
    let (_running, address) = start("s4_low_level", &[]);
    let mut client = Client::connect(address);
    let mut sender = client.0.get_ref().try_clone().expect("a socket can be shared");
    let sending = thread::spawn(move || {
        let text: String = (0..LINES).map(|number| format!("line {number}\n")).collect();
        sender.write_all(text.as_bytes()).expect("the server reads on");
        sender.shutdown(Shutdown::Write).expect("the connection is open");
    });
    assert_eq!(client.hear(), "Welcome!\r\n");
    for number in 0..LINES {
        assert_eq!(client.hear(), format!("Echo: line {number}\r\n"));
    }
    assert_eq!(client.hear(), "");
    sending.join().expect("everything was sent");
}

#[test]
fn s4_stops_when_asked() {
    let (mut running, address) = start("s4_low_level", &[]);
    let mut client = Client::connect(address);
    assert_eq!(client.hear(), "Welcome!\r\n");
    let mut keyboard = running.child.stdin.take().expect("the input is a pipe");
    keyboard.write_all(b"\n").expect("it reads its input");
    assert!(wait(&mut running).success());
    assert_eq!(client.hear(), "", "stopping the server closes the connections of its clients");
}

#[test]
fn s5_delivers_lines_as_the_lesson_does() {
    check("s5_chat", &[], "s5_chat.py", &[], |address| {
        const PROMPT: &str = "Enter your name: ";
        let mut anna = Client::connect(address);
        assert_eq!(anna.hear_exactly(PROMPT.len()), PROMPT);
        assert_eq!(anna.ask(" Anna \r\n"), "*** Anna joined the chat ***\r\n");
        let mut other = Client::connect(address);
        let name = format!("User_{}", other.port());
        assert_eq!(other.hear_exactly(PROMPT.len()), PROMPT);
        assert_eq!(other.ask("\n"), format!("*** {name} joined the chat ***\r\n"));
        assert_eq!(anna.hear(), format!("*** {name} joined the chat ***\r\n"));
        anna.send("  hello all \n");
        assert_eq!(other.hear(), "Anna: hello all\r\n");
        other.send("\n");
        assert_eq!(anna.hear(), format!("{name}: \r\n"));
        // Authors do not get their own lines back.
        assert_eq!(anna.ask("/Users\n"), format!("Online: Anna, {name}\r\n"));
        assert_eq!(other.ask("/QUIT\n"), "", "a user who leaves gets no more lines");
        assert_eq!(anna.hear(), format!("*** {name} left the chat ***\r\n"));
        assert_eq!(anna.ask("/users\n"), "Online: Anna\r\n");
        assert_eq!(anna.leave(), "");
    });
}

/// Defect 5 of the lesson: a client that does not read delays no other, and a client may join and
/// leave while a line is being delivered.
#[test]
fn s5_no_client_waits_for_one_that_does_not_read() {
    let (_running, address) = start("s5_chat", &[]);
    let join = |name: &str| {
        let mut client = Client::connect(address);
        client.hear_exactly("Enter your name: ".len());
        assert_eq!(client.ask(&format!("{name}\n")), format!("*** {name} joined the chat ***\r\n"));
        client
    };
    let mut reader = join("reader");
    let author = join("author");
    assert_eq!(reader.hear(), "*** author joined the chat ***\r\n");
    let _stuck = join("stuck");
    assert_eq!(reader.hear(), "*** stuck joined the chat ***\r\n");
    // This is more than all buffers between the server and the client that does not read.
    let text = "x".repeat(4096);
    for round in 0..4000 {
        author.send(&format!("{text}\n"));
        if round % 100 == 0 {
            drop(join("passing"));
            let heard = [reader.hear(), reader.hear(), reader.hear()];
            assert!(heard.contains(&format!("author: {text}\r\n")), "{heard:?}");
        } else {
            assert_eq!(reader.hear(), format!("author: {text}\r\n"));
        }
    }
}

#[test]
fn s6_disconnects_an_idle_client() {
    // 3 s is long enough for the pause between two lines on a busy machine.
    let parts = [("IDLE_TIMEOUT = 60", "IDLE_TIMEOUT = 3")];
    check("s6_timeouts", &["3"], "s6_timeouts.py", &parts, |address| {
        let mut client = Client::connect(address);
        echoes(&mut client, "\r\n");
        assert_eq!(client.hear(), "Connection timeout. Goodbye!\r\n");
        assert_eq!(client.hear(), "");
        let mut client = Client::connect(address);
        assert_eq!(client.ask("bye\n"), "Echo: bye\r\n");
        assert_eq!(client.leave(), "");
    });
}

#[test]
fn s7_serves_as_many_clients_as_the_limit() {
    check("s7_connection_limit", &[], "s7_connection_limit.py", &[], |address| {
        let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(address)).collect();
        for client in &mut clients {
            echoes(client, "\r\n");
        }
        let leaver = clients.pop().expect("there are ten");
        assert_eq!(leaver.leave(), "");
        // The slot is free a moment after the client has seen the end.
        let mut client = eventually("a free slot", || {
            let mut client = Client::connect(address);
            // A client that sends before it is refused may see a reset instead of the refusal.
            client.try_ask("in?\n").is_ok_and(|line| line == "Echo: in?\r\n").then_some(client)
        });
        echoes(&mut client, "\r\n");
    });
}

/// Defect 4 of the lesson: its server sends the eleventh client no message.
#[test]
fn s7_refuses_the_eleventh_client() {
    let (_running, address) = start("s7_connection_limit", &[]);
    let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        assert_eq!(client.ask("in?\n"), "Echo: in?\r\n");
    }
    let mut refused = Client::connect(address);
    assert_eq!(refused.hear(), "Server is busy. Try again later.\r\n");
    assert_eq!(refused.hear(), "");
}

#[test]
fn s8_talks_to_both_servers() {
    let (_running, address) = start("s1_simple_echo", &[]);
    let check = |address: SocketAddr| {
        let (status, output) = run(example("s8_client", &[&address.to_string()]));
        assert!(status.success());
        assert_eq!(
            output,
            "Sending: Hello, Server!\nReceived: Echo: Hello, Server!\n\
             Sending: How are you?\nReceived: Echo: How are you?\n"
        );
    };
    check(address);
    let Some(folder) = programs() else { return };
    let (_lesson, lesson) = serve(&folder.join("s1_simple_echo.py"), &[]);
    check(lesson);
    let output = run_lesson(&folder.join("s8_client.py"), address);
    assert_eq!(
        output,
        "Отправляем: Hello, Server!\nПолучили: Echo: Hello, Server!\n\
         Отправляем: How are you?\nПолучили: Echo: How are you?\n"
    );
}

#[test]
fn s9_counts_every_reply_of_both_servers() {
    let (_running, address) = start("s1_simple_echo", &[]);
    check_load(address, 100, 100);
    let Some(folder) = programs() else { return };
    let (_lesson, lesson) = serve(&folder.join("s1_simple_echo.py"), &[]);
    check_load(lesson, 20, 10);
    let output = run_lesson(&folder.join("s9_load_test.py"), address);
    assert!(output.contains("Успешных клиентов: 100/100\n"), "{output}");
    assert!(output.contains("Всего сообщений: 10000\n"), "{output}");
}

/// Defect 7 of the lesson: its load test counts any reply as right.
#[test]
fn s9_does_not_count_wrong_replies() {
    let (_running, address) = start("s4_low_level", &[]);
    let (_, output) = run(example("s9_load_test", &[&address.to_string(), "3", "2"]));
    assert!(output.starts_with("Successful clients: 0/3\nTotal messages: 0\n"), "{output}");
}

fn check_load(address: SocketAddr, clients: usize, messages: usize) {
    let arguments = [&*address.to_string(), &*clients.to_string(), &*messages.to_string()];
    let (status, output) = run(example("s9_load_test", &arguments));
    assert!(status.success());
    let total = clients * messages;
    let start = format!("Successful clients: {clients}/{clients}\nTotal messages: {total}\nTime: ");
    assert!(output.starts_with(&start), "{output}");
    let labels: Vec<&str> = output.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(labels[2..], ["Time", "Messages/sec", "Latency p50"], "{output}");
}

/// Returns the output of a lesson client that talks to `address`.
fn run_lesson(program: &std::path::Path, address: SocketAddr) -> String {
    let directory = directory();
    let port = address.port().to_string();
    let (status, output) = run(python(program, &[("8080", &port)], &directory));
    assert!(status.success(), "{output}");
    output
}

#[test]
fn s10_cleans_up_after_each_kind_of_end() {
    let (running, address) = start("s10_handler_pattern", &[]);
    let mut stays = Client::connect(address);
    echoes(&mut stays, "\r\n");
    assert_eq!(Client::connect(address).leave(), "");
    let mut client = Client::connect(address);
    assert_eq!(client.ask("bug\n"), "Server error. Goodbye!\r\n");
    let mut client = Client::connect(address);
    let long = "x".repeat(1001);
    let words = "Line too long (limit 1000 bytes). Goodbye!\r\n";
    assert_eq!(client.ask(&format!("{long}\n")), words);
    assert_eq!(stays.ask("still here\n"), "Echo: still here\r\n");
    let log = eventually("the log", || {
        let output = running.output();
        (output.matches("cleaned up, 1 still here").count() == 3).then_some(output)
    });
    assert!(log.contains("finished\n") && log.contains("line_too_long\n"), "{log}");
}

#[test]
fn s11_answers_received_lines_before_it_ends() {
    let (mut running, address) = start("s11_graceful_shutdown", &[]);
    let (mut idle, mut busy) = (Client::connect(address), Client::connect(address));
    assert_eq!(idle.ask("hello\n"), "Echo: hello\r\n");
    // A line in the same packet as `shutdown` is also answered.
    busy.send("shutdown\nand one more\n");
    assert_eq!(busy.hear(), "Echo: shutdown\r\n");
    assert_eq!(busy.hear(), "Echo: and one more\r\n");
    assert_eq!((busy.hear(), idle.hear()), (String::new(), String::new()));
    drop((busy, idle));
    assert!(wait(&mut running).success());
    let report = running.output();
    let (_, report) = report.split_once('\n').expect("the first line is the address");
    assert_eq!(report, "connections: 2\ndrained: 2\neverybody was answered: true\n");
}
