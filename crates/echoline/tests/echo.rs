//! Tests of the echo modes over a stream with a capacity of eight bytes. A second, simple
//! implementation predicts the output.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use echoline::echo::{self, EchoDialogue, EchoMode};
use echoline::testing::TestServer;
use echoline::{Closed, Eol};
use proptest::prelude::*;

fn clock() -> String {
    "2026-11-23T12:00:00.000000+01:00".to_owned()
}

/// Returns the output for a client that sends `input` in the given pieces and then ends its stream.
async fn hear(dialogue: &EchoDialogue, pieces: &[&[u8]]) -> (Vec<u8>, Closed) {
    let (eol, farewell) = (dialogue.eol, dialogue.farewell());
    let shared = Arc::new(dialogue.clone());
    let server = TestServer::new(move |client| echo::serve(client, Arc::clone(&shared)))
        .configure(|server| server.eol(eol).farewell(farewell))
        .capacity(8);
    // From a stream without a peer address, like a Unix socket.
    let mut client = server.connect_from(None);
    for piece in pieces {
        client.send(piece).await;
    }
    client.shutdown_write().await;
    let heard = client.read_to_end().await;
    (heard, client.closed().await)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn cut<'a>(input: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    cuts.extend([0, input.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect()
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"time\n".to_vec()),
        Just(b" HELP \r\n".to_vec()),
        Just("é日 \u{3000}".as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
        "[ a-z]{0,30}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Returns the expected output of line mode. This is a second, simple implementation.
fn expected(dialogue: &EchoDialogue, input: &[u8]) -> Vec<u8> {
    let eol = dialogue.eol.as_str();
    let mut heard: Vec<u8> =
        dialogue.greeting.iter().flat_map(|line| format!("{line}{eol}").into_bytes()).collect();
    let mut lines: Vec<&[u8]> = input.split(|&byte| byte == b'\n').collect();
    if lines.last() == Some(&&b""[..]) {
        lines.pop();
    }
    for line in lines {
        let line = strip(line);
        let reply = match line.to_ascii_uppercase().as_slice() {
            b"TIME" if dialogue.mode == EchoMode::Command => {
                format!("Server time: {}", clock()).into_bytes()
            }
            b"HELP" if dialogue.mode == EchoMode::Command => b"Commands: TIME, QUIT, HELP".to_vec(),
            b"QUIT" if dialogue.mode == EchoMode::Command => {
                heard.extend(format!("Goodbye!{eol}").into_bytes());
                break;
            }
            _ => [dialogue.prefix.as_bytes(), line].concat(),
        };
        heard.extend(reply);
        heard.extend(eol.as_bytes());
    }
    heard
}

fn strip(line: &[u8]) -> &[u8] {
    let space = |letter: char| letter.is_whitespace() || ('\x1c'..='\x1f').contains(&letter);
    let mut line = line;
    'start: loop {
        for length in 1..=line.len().min(3) {
            if std::str::from_utf8(&line[..length]).is_ok_and(|text| text.chars().all(space)) {
                line = &line[length..];
                continue 'start;
            }
        }
        break;
    }
    'end: loop {
        for length in 1..=line.len().min(3) {
            let start = line.len() - length;
            if std::str::from_utf8(&line[start..]).is_ok_and(|text| text.chars().all(space)) {
                line = &line[..start];
                continue 'end;
            }
        }
        return line;
    }
}

proptest! {
    /// Faults 21, 27: any bytes, cut into packets anywhere, give the same output.
    #[test]
    fn cutting_the_input_never_changes_the_output(
        input in input(),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
    ) {
        for mode in EchoMode::ALL.into_iter().filter(|mode| *mode != EchoMode::Chargen) {
            let dialogue = EchoDialogue::new(mode, clock);
            let (heard, ended) = run(hear(&dialogue, &cut(&input, &cuts)));
            let wanted = match mode {
                EchoMode::Raw => input.clone(),
                EchoMode::Line | EchoMode::Command => expected(&dialogue, &input),
                EchoMode::Daytime => (clock() + "\r\n").into_bytes(),
                EchoMode::Whoami => b"peer: unix\nlistener: 1\n".to_vec(),
                EchoMode::Discard | EchoMode::Chargen => Vec::new(),
            };
            prop_assert_eq!(
                String::from_utf8_lossy(&heard), String::from_utf8_lossy(&wanted), "{:?}", mode
            );
            prop_assert_eq!(heard, wanted);
            // The handler may end before it has read the end of the client's stream.
            let ends = matches!(mode, EchoMode::Command | EchoMode::Whoami | EchoMode::Daytime);
            let in_order = ended == Closed::EndOfStream || ends && ended == Closed::Finished;
            prop_assert!(in_order, "{:?} ended as {:?}", mode, ended);
        }
    }
}

#[tokio::test]
async fn the_command_echo_answers_like_the_lesson() {
    let dialogue = EchoDialogue::new(EchoMode::Command, clock);
    let (heard, _) = hear(&dialogue, &[b"hi\nTime\nhelp\n\nquit\nnever heard\n"]).await;
    assert_eq!(
        String::from_utf8(heard).unwrap(),
        "Welcome to Echo Server!\r\nCommands: TIME, QUIT, or any text for echo\r\n\
         Echo: hi\r\nServer time: 2026-11-23T12:00:00.000000+01:00\r\n\
         Commands: TIME, QUIT, HELP\r\nEcho: \r\nGoodbye!\r\n"
    );
}

/// Defect 1 of the lesson: a message is a line, at any length and with any packet boundaries.
#[tokio::test]
async fn a_message_is_a_line() {
    let long = "é".repeat(1500);
    let input = format!("{long}\none\ntwo\n");
    let dialogue = EchoDialogue::new(EchoMode::Line, clock);
    let (heard, _) = hear(&dialogue, &[input.as_bytes()]).await;
    assert_eq!(heard, format!("Echo: {long}\nEcho: one\nEcho: two\n").into_bytes());
}

/// Defect 2 of the lesson, fault 21: bytes that are not UTF-8 come back unchanged.
#[tokio::test]
async fn the_echo_is_eight_bit_clean() {
    let line: Vec<u8> = (0..=255).filter(|&byte| byte != b'\n').collect();
    let mut dialogue = EchoDialogue::new(EchoMode::Line, clock);
    dialogue.prefix = "> ".to_owned();
    dialogue.eol = Eol::CrLf;
    dialogue.greeting = vec!["Welcome!".to_owned()];
    let (heard, ended) = hear(&dialogue, &[&line, b"\n"]).await;
    assert_eq!(heard, [b"Welcome!\r\n> ", line.as_slice(), b"\r\n"].concat());
    assert_eq!(ended, Closed::EndOfStream);
}

/// Fault 29: a client that shuts down its sending side still gets all its bytes, and then the end.
#[tokio::test]
async fn raw_gives_everything_back_after_a_half_close() {
    let bytes: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
    let dialogue = EchoDialogue::new(EchoMode::Raw, clock);
    let (heard, ended) = hear(&dialogue, &[&bytes]).await;
    assert!(heard == bytes, "{} of {} bytes came back", heard.len(), bytes.len());
    assert_eq!(ended, Closed::EndOfStream);
}
