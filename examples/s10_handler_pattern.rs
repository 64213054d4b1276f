//! Chapter 10, the handler pattern of good practice. asyncio: `try` / `except ConnectionResetError`
//! / `except Exception` / `finally`. Better here: `?` replaces all `except` clauses, since `Closed`
//! names every kind of end; `Drop` replaces `finally`, and also runs on a panic and on shutdown.
//! Run it: `cargo run --example s10_handler_pattern [ADDRESS]`

use std::env;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use echoline::{Closed, Connection, Eol, Limits, Server};

/// Counts the visits in progress. A visit is counted until its `Visit` is dropped, however it ends.
struct Visit(Arc<AtomicUsize>);

impl Visit {
    fn begin(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let left = self.0.fetch_sub(1, Ordering::Relaxed) - 1;
        // The visit ends even if this line cannot be written.
        let _ = writeln!(io::stdout(), "cleaned up, {left} still here");
    }
}

/// Contains only the dialogue.
async fn talk(client: &mut Connection) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        let line = line.trim();
        assert!(line != *b"bug", "a bug ends its own connection and no other");
        client.write_parts(&[b"Echo: ", &line, b"\r\n"]).await?;
    }
    Ok(())
}

/// Sets up a visit, runs the dialogue, and logs how it ended. From the returned reason the server
/// knows how to count the visit, and which farewell to send.
async fn handle(mut client: Connection, open: Arc<AtomicUsize>) -> Result<(), Closed> {
    let _visit = Visit::begin(&open);
    let end = talk(&mut client).await;
    let reason = end.map_or_else(Closed::label, |()| "finished");
    let _ = writeln!(io::stdout(), "{reason}");
    end
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let limits = Limits { max_line: 1000, ..Limits::default() };
    let server = Server::bind(address).await?.eol(Eol::CrLf).limits(limits);
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    let open = Arc::default();
    server.serve(move |client| handle(client, Arc::clone(&open))).await.map(|_report| ())
}

#[cfg(test)]
mod tests {
    use echoline::testing::TestServer;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_end_of_a_visit_is_cleaned_up() {
        let open = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&open);
        let limits = Limits { max_line: 1000, ..Limits::default() };
        let server = TestServer::new(move |client| handle(client, Arc::clone(&counted)))
            .configure(|server| server.eol(Eol::CrLf).limits(limits));
        let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send_line("hello").await;
            client.expect_line("Echo: hello").await;
        }
        assert_eq!(open.load(Ordering::Relaxed), 4);
        let [finished, reset, long, bug] = &mut clients[..] else { unreachable!("there are four") };
        finished.shutdown_write().await;
        finished.expect_end().await;
        finished.expect_closed(Closed::EndOfStream).await;
        reset.reset();
        reset.expect_closed(Closed::Reset).await;
        long.send("x".repeat(1001)).await;
        long.expect_line("Line too long (limit 1000 bytes). Goodbye!").await;
        long.expect_closed(Closed::LineTooLong).await;
        bug.send_line("bug").await;
        bug.expect_line("Server error. Goodbye!").await;
        bug.expect_closed(Closed::Panicked).await;
        assert_eq!(open.load(Ordering::Relaxed), 0);
    }
}
