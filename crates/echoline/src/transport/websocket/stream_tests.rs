use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::super::encode::push_frame;
use super::*;

/// Returns a frame from a client, with a mask.
fn frame(opcode: Opcode, is_last: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_frame(&mut bytes, opcode, is_last, payload, Some([1, 2, 3, 4]));
    bytes
}

fn text(payload: &str) -> Vec<u8> {
    frame(Opcode::Text, true, payload.as_bytes())
}

fn server(early: &[u8], framing: Framing) -> (UnixStream, WebSocket) {
    let (client, server) = UnixStream::pair().unwrap();
    (client, WebSocket::server(server.into(), early.to_vec(), framing))
}

/// Fault 23, 27: a message is a line, for every size of the reader's buffer and every split of the
/// input.
#[tokio::test]
async fn a_message_is_a_line_for_any_reader() {
    let sent = [
        text("one"),
        text(""),
        text("two\n"),
        frame(Opcode::Text, false, b"thr"),
        frame(Opcode::Ping, true, b"?"),
        frame(Opcode::Continuation, true, b"ee\nfour"),
        frame(Opcode::Binary, true, &[b'x'; 300]),
        frame(Opcode::Close, true, b""),
    ]
    .concat();
    let wanted = format!("one\n\ntwo\nthree\nfour\n{}\n", "x".repeat(300));
    for room in [1, 7, 100, 65_536] {
        for early in [0, 3, sent.len()] {
            let (mut client, mut server) = server(&sent[..early], Framing::Lines);
            client.write_all(&sent[early..]).await.unwrap();
            let (mut heard, mut chunk) = (Vec::new(), vec![0; room]);
            loop {
                match server.read(&mut chunk).await.unwrap() {
                    0 => break,
                    count => heard.extend_from_slice(&chunk[..count]),
                }
            }
            assert_eq!(String::from_utf8_lossy(&heard), wanted, "{room} {early}");
        }
    }
}

/// Each written line is sent as one message, even if it is written in pieces. A prompt without a
/// line end is also one message.
#[tokio::test]
async fn a_line_is_a_message() {
    let (mut client, mut server) = server(b"", Framing::Lines);
    server.write_all(b"one\r\ntw").await.unwrap();
    server.write_all(b"o\n\xff\nName: ").await.unwrap();
    server.flush().await.unwrap();
    server.write_all(b"Bob\n").await.unwrap();
    server.shutdown().await.unwrap();
    drop(server);
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    let wanted = b"\x81\x03one\x81\x03two\x82\x01\xff\x81\x06Name: \x81\x03Bob\x88\x02\x03\xe8";
    assert_eq!(heard, wanted);
}

/// Fault 13: a line without an end is not buffered. It is sent in fragments, cut between
/// characters.
#[tokio::test]
async fn a_long_line_goes_out_in_fragments() {
    let (mut client, mut server) = server(b"", Framing::Lines);
    let reading = tokio::spawn(async move {
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        let mut decoder = Decoder::new(EndpointRole::Server);
        let (mut pieces, mut at, mut line) = (0, 0, Vec::new());
        while let Ok((taken, Some(event))) = decoder.next(&mut heard[at..]) {
            if let FrameEvent::Piece { range, .. } = event {
                line.extend_from_slice(&heard[at..][range]);
                pieces += 1;
            }
            at += taken;
        }
        (pieces, String::from_utf8(line).unwrap())
    });
    let line = "ä€".repeat(700_000);
    for piece in line.as_bytes().chunks(65_521) {
        server.write_all(piece).await.unwrap();
        assert!(server.writer.len() < 2_500_000);
    }
    server.write_all(b"\n").await.unwrap();
    server.shutdown().await.unwrap();
    drop(server);
    let (pieces, heard) = reading.await.unwrap();
    assert!(pieces >= 3 && heard == line, "{pieces} pieces");
}

/// Fault 42: a peer that has vanished is detected by its silence.
#[tokio::test]
async fn pings_a_silent_peer_and_then_ends_the_connection() {
    let (mut client, server) = server(b"", Framing::Lines);
    let mut server = server.keep_alive(Duration::from_millis(50));
    let answering = async {
        let mut ping = [0; 2];
        for _ in 0..3 {
            client.read_exact(&mut ping).await.unwrap();
            assert_eq!(ping, *b"\x89\0");
            client.write_all(&frame(Opcode::Pong, true, b"")).await.unwrap();
        }
        // From now on the peer sends nothing.
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        read = server.read_u8() => read.unwrap_err(),
        () = answering => unreachable!("it never ends"),
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

/// Fault 66: only the newest of several waiting pings is answered, and too many pings end the
/// connection.
#[tokio::test]
async fn a_flood_of_pings_ends_the_connection() {
    let (mut client, mut server) = server(b"", Framing::Lines);
    let flood = frame(Opcode::Ping, true, &[b'!'; 125]).repeat(1000);
    client.write_all(&flood).await.unwrap();
    client.shutdown().await.unwrap();
    let error = server.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(server.writer.len() <= OUTGOING_HIGH + 200);
    server.shutdown().await.unwrap();
    // The rest of the input is read and ignored, so that no reset overtakes the Close.
    assert_eq!(server.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    drop(server);
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert!(heard.ends_with(b"\x88\x02\x03\xf0"), "closed as 1008");
}

/// A reader that receives only pings does not report the end of the stream. The writer is still
/// woken.
#[tokio::test]
async fn reading_and_writing_at_once_lose_nothing() {
    let (client, server) = server(b"", Framing::Messages);
    let (mut read, mut write) = tokio::io::split(server);
    let echo = tokio::spawn(async move {
        tokio::io::copy(&mut read, &mut write).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut client = WebSocket::client(client.into(), Vec::new());
    let sent: Vec<u8> = (0..5000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    let (mut hear, mut say) = tokio::io::split(&mut client);
    let saying = async {
        for chunk in sent.chunks(1000) {
            say.write_all(chunk).await.unwrap();
            say.flush().await.unwrap();
        }
        say.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let (_, ()) = tokio::join!(hear.read_to_end(&mut heard), saying);
    assert!(heard == sent, "{} of {} bytes came back", heard.len(), sent.len());
    echo.await.unwrap();
}
