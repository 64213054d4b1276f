//! Tests of `echoline send` as a whole program.

#[path = "send/foreign_text.rs"]
mod foreign_text;
mod programs;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::thread;

use programs::{EchoServer, Ended, Program, echoline, nobody, read_to_end, run, serve};

fn send(address: &str, arguments: &[&str], stdin: &[u8]) -> Ended {
    let mut all = vec!["send", address];
    all.extend_from_slice(arguments);
    run(&all, stdin)
}

/// The dialogue of the lesson's client.
#[test]
fn texts_are_sent_and_answers_printed() {
    let server = EchoServer::start(&[]);
    let ended = send(&server.address, &["Hello, Server!", "How are you?"], b"");
    assert_eq!(ended.text(), "Echo: Hello, Server!\nEcho: How are you?\n");
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""));
}

/// Issue 11, item 40: the bytes come back unchanged, and no line end is added.
#[test]
fn regression_bytes_of_stdin_come_back_unchanged() {
    let server = EchoServer::start(&["--mode", "raw"]);
    let input = b"\xff\x00 a \r\n\nno end";
    let ended = send(&server.address, &[], input);
    assert_eq!(ended.stdout, b"\xff\x00 a \r\n\nno end");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let ended = send(&server.address, &["--eol", "crlf"], input);
    assert_eq!(ended.stdout, b"\xff\x00 a \r\n\r\nno end");
    let ended = send(&server.address, &[], b"");
    assert_eq!((ended.code(), ended.stdout.len()), (Some(0), 0));
}

/// Fault 37: client and server do not wait for each other to read first, and no buffer has to hold
/// the whole input.
#[test]
fn much_data_against_small_buffers_does_not_lock() {
    let address = serve(|mut stream| {
        // A buffer smaller than a packet of the loopback interface would make TCP probe the window.
        socket2::SockRef::from(&stream).set_recv_buffer_size(256 * 1024).unwrap();
        socket2::SockRef::from(&stream).set_send_buffer_size(256 * 1024).unwrap();
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut chunk) {
            stream.write_all(&chunk[..count]).unwrap();
        }
    });
    let input: Vec<u8> = (0..2_000_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    // The time-out is long, because both ends may wait long on a busy machine.
    let ended = send(&address, &["--timeout", "60s"], &input);
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout == input, "{} of {} bytes", ended.stdout.len(), input.len());
}

#[test]
fn a_greeting_is_printed_and_is_no_answer() {
    let address = serve(|mut stream| {
        stream.write_all(b"Welcome!\nname: ").unwrap();
        read_to_end(&mut stream);
    });
    let ended = send(&address, &["a"], b"");
    assert_eq!(ended.text(), "Welcome!\nname: ");
    assert_eq!(ended.code(), Some(5));
    assert!(ended.stderr.contains("1 of 1 lines were not answered by"), "{ended:?}");
    assert!(ended.stderr.contains("add --no-half-close"), "{ended:?}");
}

#[test]
fn a_silent_server_times_out() {
    let (deaf, held) = std::sync::mpsc::channel();
    let address = serve(move |stream| deaf.send(stream).unwrap());
    let ended = send(&address, &["a", "b", "--timeout", "300ms"], b"");
    assert_eq!(ended.code(), Some(4));
    assert!(ended.stderr.contains("sent nothing for 300ms"), "{ended:?}");
    assert!(ended.stderr.contains("2 of 2 lines were not answered"), "{ended:?}");
    // The server does not even read, and the input is larger than all buffers.
    let mut program = Program::start(&mut echoline(&["send", &address, "--timeout", "300ms"]));
    program.write(&vec![b'x'; 32 * 1024 * 1024]);
    let ended = program.finish();
    assert!(ended.stderr.contains("read and sent nothing for 300ms"), "{ended:?}");
    drop(held);
}

/// If a server answers every line but keeps the connection open, `send` still succeeds.
#[test]
fn a_server_that_does_not_close_is_no_failure() {
    let address = serve(|mut stream| {
        let mut line = [0; 2];
        stream.read_exact(&mut line).unwrap();
        stream.write_all(&line).unwrap();
        thread::park();
    });
    // The answer itself may take up to the time-out.
    let ended = send(&address, &["a", "--timeout", "3s"], b"");
    assert_eq!((ended.code(), ended.text().as_str()), (Some(0), "a\n"), "{ended:?}");
}

#[test]
fn a_server_that_closes_early_is_reported() {
    let address = serve(|mut stream| {
        let mut line = [0; 2];
        stream.read_exact(&mut line).unwrap();
        stream.write_all(b"Goodbye!").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        read_to_end(&mut stream);
    });
    let mut program = Program::start(&mut echoline(&["send", &address]));
    program.write(b"a\n");
    program.wait_for_stdout("Goodbye!");
    // Stdin stays open; the close by the server is enough to end the program.
    let mut status = None;
    programs::wait_for("the end", || {
        status = program.child.try_wait().unwrap();
        status.is_some()
    });
    let ended = program.finish();
    assert_eq!(ended.code(), Some(5));
    assert!(ended.stderr.contains("closed the connection before the end of the input"));
}

#[test]
fn a_typing_user_is_waited_for() {
    let server = EchoServer::start(&[]);
    // The time-out applies to an answer, not to the pause between two typed lines.
    let arguments = ["send", &server.address, "--timeout", "2s"];
    let mut program = Program::start(&mut echoline(&arguments));
    for text in ["one", "two"] {
        thread::sleep(std::time::Duration::from_millis(2500));
        program.write(format!("{text}\n").as_bytes());
        program.wait_for_stdout(&format!("Echo: {text}\n"));
    }
    assert_eq!(program.finish().code(), Some(0));
}

#[test]
fn an_unreachable_server_is_reported_in_one_sentence() {
    let address = nobody().to_string();
    let ended = send(&address, &["a"], b"");
    assert_eq!(ended.code(), Some(3));
    assert!(ended.stderr.contains(&address) && ended.stderr.contains("is the server running"));
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert_eq!(send("unix:/no/such/socket", &["a"], b"").code(), Some(3));
    assert_eq!(send("nowhere", &["a"], b"").code(), Some(2));
    assert_eq!(send("[::1]:1", &["a", "--timeout", "soon"], b"").code(), Some(2));
}

/// Issue 11, item 40: three bytes are sent as three bytes, both to a raw server and to a line
/// server, which answers a last line without a line end.
#[test]
fn regression_no_line_end_is_added_to_stdin() {
    let (sender, came) = std::sync::mpsc::channel();
    let address = serve(move |mut stream| {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        sender.send(bytes).unwrap();
        stream.write_all(b"ABC").unwrap();
    });
    let ended = send(&address, &[], b"abc");
    assert_eq!(came.recv().unwrap(), b"abc");
    assert_eq!((ended.code(), ended.text().as_str()), (Some(0), "ABC"), "{ended:?}");
    let server = EchoServer::start(&[]);
    let ended = send(&server.address, &[], b"one\nabc");
    assert_eq!((ended.code(), ended.text().as_str()), (Some(0), "Echo: one\nEcho: abc\n"));
    // Over UDP the last line is a datagram, and over WebSocket it is a message.
    let server = EchoServer::start_at("udp://127.0.0.1:0", &[]);
    let ended = send(&server.address, &[], b"one\nabc");
    assert_eq!((ended.code(), ended.text().as_str()), (Some(0), "one\nabc"), "{ended:?}");
    let server = EchoServer::start_at("ws://127.0.0.1:0", &[]);
    let ended = send(&server.address, &[], b"one\nabc");
    assert_eq!((ended.code(), ended.text().as_str()), (Some(0), "Echo: one\nEcho: abc\n"));
}

/// Issue 11, item 40: some peers, such as `ncat -l -k -c cat`, drop the connection at a half-close.
/// With --no-half-close, `send` gets their answers.
#[test]
fn regression_a_peer_that_takes_a_half_close_for_the_end_can_be_asked() {
    let address = serve(|mut stream| {
        let mut line = [0; 2];
        stream.read_exact(&mut line).unwrap();
        // Waits long enough for an end of the stream to arrive. If one arrives, the peer sends no
        // answer.
        stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        if stream.read(&mut [0; 1]).is_err() {
            stream.write_all(&line).unwrap();
            stream.set_read_timeout(None).unwrap();
            read_to_end(&mut stream);
        }
    });
    let with = send(&address, &["a"], b"");
    assert_eq!((with.code(), with.text().as_str()), (Some(5), ""), "{with:?}");
    let without = send(&address, &["--no-half-close", "a"], b"");
    assert_eq!((without.code(), without.text().as_str()), (Some(0), "a\n"), "{without:?}");
    let without = send(&address, &["--no-half-close"], b"a\n");
    assert_eq!((without.code(), without.text().as_str()), (Some(0), "a\n"), "{without:?}");
}

/// Issue 11, item 40: an HTTP response does not count as an answer to a line, but it does count as
/// an answer to an HTTP request.
#[test]
fn regression_an_answer_in_http_is_no_answer_to_a_line() {
    let address = serve(|mut stream| {
        let mut chunk = [0; 1024];
        let _ = stream.read(&mut chunk);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\nno\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        read_to_end(&mut stream);
    });
    let ended = send(&address, &["hello"], b"");
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("is a web server (it replied in HTTP)"), "{ended:?}");
    let ended = send(&address, &["--eol", "crlf", "GET / HTTP/1.0", ""], b"");
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""));
}

/// Issue 11, item 40: a reset counts as a closed connection.
#[test]
fn regression_a_reset_has_the_exit_code_of_a_close() {
    let address = serve(|mut stream| {
        let mut line = [0; 2];
        stream.read_exact(&mut line).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    });
    let ended = send(&address, &["a"], b"");
    assert_eq!(ended.code(), Some(5), "{ended:?}");
    assert!(ended.stderr.contains("ended the connection"), "{ended:?}");
}

#[test]
fn a_closed_stdout_is_no_error() {
    let server = EchoServer::start(&["--mode", "raw"]);
    let mut command = echoline(&["send", &server.address]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writing = thread::spawn(move || while stdin.write_all(b"more\n").is_ok() {});
    stdout.read_exact(&mut [0; 5]).unwrap();
    drop(stdout);
    let ended = child.wait_with_output().unwrap();
    writing.join().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.stderr, b"");
}

/// The pseudo-terminal comes from `script` of util-linux.
#[test]
fn a_prompt_edits_lines_and_shows_answers() {
    if Command::new("script").arg("--version").output().is_err() {
        let _ = writeln!(std::io::stderr(), "skipped: there is no 'script' here");
        return;
    }
    let server = EchoServer::start(&["--mode", "command"]);
    let folder = tempfile::tempdir().unwrap();
    let send = format!("'{}' send {}", env!("CARGO_BIN_EXE_echoline"), server.address);
    let shell = format!("echo process $$; exec {send}");
    let start = || {
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &shell, "/dev/null"]);
        command.env("TERM", "xterm").env("XDG_STATE_HOME", folder.path());
        let program = Program::start(&mut command);
        program.wait_for_stdout("any text for echo");
        program
    };
    let mut program = start();
    program.write(b"helloo\x7f\r");
    program.wait_for_stdout("Echo: hello\r\n");
    program.write(b"\x04");
    assert_eq!(program.finish().code(), Some(0));
    let history = std::fs::read_to_string(folder.path().join("echoline/history")).unwrap();
    assert!(history.ends_with("hello\n"), "{history:?}");
    // The second session has the history of the first. The user presses arrow up and Return.
    let mut program = start();
    program.write(b"\x1b[A\r");
    program.wait_for_stdout("Echo: hello\r\n");
    // The server closes the connection while the prompt waits for a key.
    program.write(b"quit\r");
    program.wait_for_stdout("Goodbye!");
    assert_eq!(program.finish().code(), Some(0));
    let mut program = start();
    program.write(b"\x03");
    assert_eq!(program.finish().code(), Some(130));
    // After a SIGTERM the terminal is restored too: bracketed paste is off again.
    let program = start();
    // Once the prompt is below the greeting, the whole greeting has arrived.
    programs::wait_for("the prompt", || {
        let shown = program.stdout();
        let below = shown.rsplit_once("any text for echo").map(|(_, below)| below);
        below.is_some_and(|below| below.ends_with("\x1b[?2026l"))
    });
    let shown = program.stdout();
    let process = shown.split_once("process ").unwrap().1.lines().next().unwrap().trim();
    assert!(Command::new("kill").args(["-s", "TERM", process]).status().unwrap().success());
    let ended = program.finish();
    assert_eq!(ended.code(), Some(143), "{}", ended.text());
    assert!(ended.text().ends_with("\x1b[?2004l\r\r\n"), "{:?}", ended.text());
}
