//! Whatever frames a client sends, and whatever room a reader has, the reader gets the same bytes,
//! and no more of them than came.
#![no_main]

use echoline::{Framing, WebSocket};
use libfuzzer_sys::fuzz_target;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

async fn read(bytes: &[u8], framing: Framing, room: usize) -> Vec<u8> {
    let (client, server) = UnixStream::pair().unwrap();
    drop(client);
    let mut server = WebSocket::server(server.into(), bytes.to_vec(), framing);
    let (mut heard, mut chunk) = (Vec::new(), vec![0; room]);
    while let Ok(count @ 1..) = server.read(&mut chunk).await {
        heard.extend_from_slice(&chunk[..count]);
    }
    heard
}

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (room, bytes) = input;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let whole = read(&bytes, Framing::Lines, 65_536).await;
        let cut = read(&bytes, Framing::Lines, usize::from(room) + 1).await;
        assert_eq!(whole, cut);
        assert!(whole.len() <= bytes.len());
        assert!(read(&bytes, Framing::Messages, 65_536).await.len() <= bytes.len());
    });
});
