//! Tests of the facts that a handler reads about its connection: TLS, WebSocket, the header of a
//! proxy, and the process at a Unix socket.
#![cfg(all(feature = "proxy", feature = "tls", feature = "web"))]
#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(clippy::disallowed_methods, reason = "certificates live by the wall clock")]

mod certificates;
mod proxy;
mod tls;
mod unix;
mod websocket;

use std::future::Future;
use std::time::Duration;

use echoline::transport::{Origin, Step, Stream, Transport};
use echoline::{
    Address, Closed, Connection, Limits, Listener, ListenerOptions, Report, Server, Shutdown,
};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A server inside the test; [`end`](Self::end) stops it.
struct Served {
    address: Address,
    shutdown: Shutdown,
    serving: JoinHandle<Report>,
}

impl Served {
    /// Serves `handler` at a scheme, behind `steps`.
    async fn start<F>(
        scheme: &str,
        steps: impl IntoIterator<Item = Arc<dyn Step>>,
        handler: impl Fn(Connection) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        let address: Address = format!("{scheme}://127.0.0.1:0").parse().unwrap();
        let transport = steps.into_iter().fold(Transport::plain(), Transport::then);
        let listeners = Listener::bind(&address, &ListenerOptions::default()).await.unwrap();
        let listeners = listeners.into_iter().map(|one| one.transport(transport.clone())).collect();
        let server = Server::new(listeners);
        let (address, shutdown) = (server.addresses().unwrap().remove(0), server.shutdown());
        let serving = server.serve_until(handler, std::future::pending());
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, shutdown, serving }
    }

    async fn socket(&self) -> TcpStream {
        TcpStream::connect((self.address.host(), self.address.port())).await.unwrap()
    }

    /// Connects through `steps`. Fails with the sentence of the step that failed.
    async fn connect(
        &self,
        steps: impl IntoIterator<Item = Arc<dyn Step>>,
    ) -> Result<Connection, String> {
        let transport = steps.into_iter().fold(Transport::plain(), Transport::then);
        let mut origin = Origin::default();
        let stream = Stream::from(self.socket().await);
        let opened = transport.open(stream, &mut origin).await;
        let failure = origin.failure.clone();
        let opened = opened.map_err(|closed| failure.unwrap_or_else(|| closed.to_string()))?;
        Ok(Connection::new(opened, Limits::default()).with_origin(origin))
    }

    async fn end(self) -> Report {
        self.shutdown.drain();
        tokio::time::timeout(Duration::from_secs(30), self.serving).await.unwrap().unwrap()
    }
}

/// Returns the next line of the peer, or the reason for which there is none.
async fn line(peer: &mut Connection) -> String {
    match peer.read_line().await {
        Ok(Some(line)) => line.to_string(),
        Ok(None) => "the end".to_owned(),
        Err(closed) => format!("{closed:?}"),
    }
}
