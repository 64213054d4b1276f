//! Chapter 3, commands. asyncio: `class EchoProtocol` with `receive`, `process_command`, `send`
//! and `close`. Better here: a plain function, which a test can call, decides the answer; the end
//! of the stream, a reset and a line without end are distinguished; `TIME` includes the time zone.
//! Run it: `cargo run --example s3_commands [ADDRESS]`

use std::env;
use std::io::{self, Write};

use echoline::{Closed, Connection, Eol, Line, Server};
use jiff::ZonedDateTime;

enum Answer {
    Say(String),
    /// The received text, which need not be UTF-8.
    Echo(Line),
    Goodbye,
}

/// Returns the answer to one line. It uses no socket, so it cannot wait or fail.
fn answer(line: Line) -> Answer {
    match line.to_string().to_uppercase().as_str() {
        "QUIT" => Answer::Goodbye,
        "TIME" => {
            let now = ZonedDateTime::now().strftime("%Y-%m-%dT%H:%M:%S%.6f%:z");
            Answer::Say(format!("Server time: {now}"))
        }
        "HELP" => Answer::Say("Commands: TIME, QUIT, HELP".to_owned()),
        _ => Answer::Echo(line),
    }
}

async fn talk(mut client: Connection) -> Result<(), Closed> {
    client.write_line("Welcome to Echo Server!").await?;
    client.write_line("Commands: TIME, QUIT, or any text for echo").await?;
    while let Some(line) = client.read_line().await? {
        match answer(line.trim()) {
            Answer::Say(text) => client.write_line(text).await?,
            Answer::Echo(text) => client.write_parts(&[b"Echo: ", &text, b"\r\n"]).await?,
            // The client gets this line before the connection ends, even if it continues to send.
            Answer::Goodbye => return client.write_line("Goodbye!").await,
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let server = Server::bind(address).await?.eol(Eol::CrLf);
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    server.serve(talk).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use echoline::testing::TestServer;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn commands_are_answered_in_any_case() {
        let server = TestServer::new(talk).configure(|server| server.eol(Eol::CrLf));
        let mut client = server.connect();
        client.expect_line("Welcome to Echo Server!").await;
        client.expect_line("Commands: TIME, QUIT, or any text for echo").await;
        client.send(" help \nHelp me\ntime\nquit\nnot read\n").await;
        client.expect_line("Commands: TIME, QUIT, HELP").await;
        client.expect_line("Echo: Help me").await;
        let time = client.read_line().await;
        assert!(time.starts_with("Server time: 2"), "{time}");
        client.expect_line("Goodbye!").await;
        client.expect_end().await;
        client.expect_closed(Closed::Finished).await;
    }
}
