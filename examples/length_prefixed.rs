//! Length-prefixed frames with the codecs of `tokio_util`: four bytes of length, then the payload.
//! The server returns each payload with its bytes in reverse order. The time-outs and the drain of
//! the connection apply to frames too.
//! Run it: `cargo run --example length_prefixed [ADDRESS]`

use std::io::{self, Write};
use std::{env, time::Duration};

use echoline::{Connection, Farewell, Limits, Server};
use futures_util::{SinkExt, StreamExt};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// The maximum length of a payload. A longer one ends the connection with an error.
const FRAME_MAX: usize = 1024 * 1024;

async fn reverse(client: Connection) -> io::Result<()> {
    let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_MAX).new_codec();
    let mut frames = Framed::new(client.into_stream(), codec);
    while let Some(frame) = frames.next().await {
        let mut frame = frame?;
        frame.reverse();
        frames.send(frame.freeze()).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let limits = Limits { idle_timeout: Some(Duration::from_secs(60)), ..Limits::default() };
    // The server sends no farewell, because its text would not be a valid frame.
    let server = Server::bind(address).await?.limits(limits).farewell(Farewell::Silent);
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    server.serve(reverse).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use echoline::Closed;
    use echoline::testing::TestServer;
    use tokio_util::bytes::Bytes;

    use super::*;

    /// A client of the test is a stream too, so the codec works on both sides.
    #[tokio::test(start_paused = true)]
    async fn frames_come_back_in_reverse() -> io::Result<()> {
        let server = TestServer::new(reverse);
        let mut client = Framed::new(server.connect(), LengthDelimitedCodec::new());
        for (sent, answer) in [("hello", "olleh"), ("", ""), ("ab", "ba")] {
            client.send(Bytes::from(sent)).await?;
            let frame = client.next().await.transpose()?;
            assert_eq!(frame.as_deref(), Some(answer.as_bytes()));
        }
        // The end in the middle of a frame is an error of the client.
        let mut client = client.into_inner();
        client.send(b"\0\0\0\x05he").await;
        client.shutdown_write().await;
        client.expect_end().await;
        client.expect_closed(Closed::Application).await;
        Ok(())
    }
}
