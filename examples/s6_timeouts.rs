//! Chapter 6, time-outs. asyncio: `wait_for(reader.readline(), 60)` around each read. Better here:
//! the limits are set once and apply to every wait, also for writing: a client that sends and never
//! reads is disconnected after `stall_timeout` (30 s by default). Run it: `cargo run --example
//! s6_timeouts [ADDRESS [SECONDS]]`

use std::env;
use std::io::{self, Write};
use std::time::Duration;

use echoline::{Closed, Connection, Eol, Limits, Server};

/// The handler needs no timer. After the time-out `read_line` returns `Closed::IdleTimeout`, `?`
/// passes it on, and the client gets `Connection timeout. Goodbye!`
async fn echo(mut client: Connection) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        client.write_parts(&[b"Echo: ", &line.trim(), b"\r\n"]).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let seconds = env::args().nth(2).map_or(Ok(60), |text| text.parse());
    let limits = Limits {
        idle_timeout: Some(Duration::from_secs(seconds.map_err(io::Error::other)?)),
        // The lesson has one time-out for a whole line. Your own server should keep this limit,
        // which disconnects clients that send one byte now and then.
        line_timeout: None,
        ..Limits::default()
    };
    let server = Server::bind(address).await?.eol(Eol::CrLf).limits(limits);
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    server.serve(echo).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use echoline::testing::TestServer;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_silent_for_a_minute_is_disconnected() {
        let limits = Limits { idle_timeout: Some(Duration::from_secs(60)), ..Limits::default() };
        let server = TestServer::new(echo).configure(|server| server.eol(Eol::CrLf).limits(limits));
        let mut client = server.connect();
        client.expect_silence(Duration::from_secs(59)).await;
        client.send_line("still here").await;
        client.expect_line("Echo: still here").await;
        client.expect_silence(Duration::from_secs(59)).await;
        client.expect_line("Connection timeout. Goodbye!").await;
        client.expect_end().await;
        client.expect_closed(Closed::IdleTimeout).await;
    }
}
