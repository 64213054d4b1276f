//! With any frames, the reader gets the same bytes for every buffer size, and never more than the
//! client sent. It may get only a part of a text that turns out to be invalid.
#![no_main]

use echoline::websocket::{Framing, WebSocket};
use libfuzzer_sys::fuzz_target;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

/// Returns the bytes that a reader gets, and whether they are complete.
async fn read(bytes: &[u8], framing: Framing, room: usize) -> (Vec<u8>, bool) {
    let (client, server) = UnixStream::pair().unwrap();
    drop(client);
    let mut server = WebSocket::server(server.into(), bytes.to_vec(), framing);
    let (mut heard, mut chunk) = (Vec::new(), vec![0; room]);
    loop {
        match server.read(&mut chunk).await {
            Ok(0) => return (heard, true),
            Ok(count) => heard.extend_from_slice(&chunk[..count]),
            Err(_) => return (heard, false),
        }
    }
}

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (room, bytes) = input;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (whole, is_all) = read(&bytes, Framing::Lines, 65_536).await;
        let (cut, is_too) = read(&bytes, Framing::Lines, usize::from(room) + 1).await;
        assert_eq!(is_all, is_too);
        assert!(if is_all { whole == cut } else { cut.starts_with(&whole) });
        assert!(cut.len() <= bytes.len());
        assert!(read(&bytes, Framing::Messages, 65_536).await.0.len() <= bytes.len());
    });
});
