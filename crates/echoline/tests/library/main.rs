//! Tests of the library's public interface: how a server ends or fails, and the edge cases of its
//! calls.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod drains;
mod edges;
mod failures;
mod signals;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use echoline::metrics::Observer;
use echoline::{Closed, Connection, Limits, Report, Server, Shutdown};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The maximum wait. A test that waits for so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A time that is longer than a draining connection waits for input.
const LONGER_THAN_QUIET: Duration = Duration::from_millis(100);

/// A running server.
struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    observer: Observer,
    serving: JoinHandle<io::Result<Report>>,
}

impl Running {
    /// Serves on `workers` threads, or on the caller's runtime if `workers` is 0.
    async fn start<H, F>(limits: Limits, workers: usize, handler: H) -> Self
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        let mut server = Server::bind("127.0.0.1:0").await.unwrap().limits(limits);
        if let Some(workers) = NonZeroUsize::new(workers) {
            server = server.workers(workers);
        }
        Self::serve(server, handler)
    }

    fn serve<H, F, E>(mut server: Server, handler: H) -> Self
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let (address, shutdown) = (server.local_addr().unwrap(), server.shutdown());
        let observer = server.observe();
        let serving = tokio::spawn(server.serve_until(handler, std::future::pending()));
        Self { address, shutdown, observer, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn drain(self) -> Report {
        self.shutdown.drain();
        self.end().await.unwrap()
    }

    async fn end(self) -> io::Result<Report> {
        timeout(PATIENCE, self.serving).await.expect("the server ends").unwrap()
    }
}

/// Sends each line back.
async fn echo(mut client: Connection) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        client.write_line(&line).await?;
    }
    Ok(())
}

async fn exchange(stream: &mut TcpStream, line: &str) {
    stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    hear(stream, &format!("{line}\n")).await;
}

/// Reads exactly `text`.
async fn hear(stream: &mut TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    let read = timeout(PATIENCE, stream.read_exact(&mut heard)).await;
    read.expect("an answer in time").expect("an answer");
    assert_eq!(String::from_utf8(heard).unwrap(), text);
}

/// Returns everything that still arrives, up to the end of the stream or a reset.
async fn rest(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut heard)).await;
    // A reset also counts as the end.
    let _ = read.expect("an end in time");
    String::from_utf8(heard).unwrap()
}
