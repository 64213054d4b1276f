//! A server without listeners: its connections are streams in memory, which tests give to it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::accept::{ListenerContext, ServerInner};
use super::builder::Server;
use super::drain_guard::DrainGuard;
use super::failure::ServerFailure;
use super::handler_error::BoxError;
use super::report::Report;
use super::shutdown::{Phase, Shutdown};
use super::workers::Workers;
use crate::connection::config::Eol;
use crate::connection::handle::Connection;
use crate::connection::limits::Closed;
use crate::transport::steps::Transport;
use crate::transport::stream::Stream;

/// A running server on the current runtime. Dropping it aborts its connections.
pub(crate) struct InMemoryServer {
    inner: Arc<ServerInner>,
    context: ListenerContext,
    /// Ends the server when its phase says so.
    ending: Mutex<JoinHandle<()>>,
}

impl InMemoryServer {
    /// Starts a server with the settings of `server`, whose listeners are not used.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub(crate) fn start(mut server: Server, transport: Transport) -> Self {
        let (faults, metering) = server.take_faults();
        let (inner, guard) = server.begin(Workers::current(metering), &ServerFailure::default());
        let context = ListenerContext { listener: 0, transport: Arc::new(transport), faults };
        Self { inner, context, ending: Mutex::new(tokio::spawn(end(guard))) }
    }

    /// Starts `handler` on a connection over `stream`, after the steps of the transport. Returns
    /// the task, whose result is the close reason.
    ///
    /// # Errors
    /// The close reason of a connection that gets no handler.
    pub(crate) fn accept<H, F>(
        &self,
        stream: Stream,
        peer: Option<SocketAddr>,
        handler: &H,
    ) -> Result<JoinHandle<Closed>, Closed>
    where
        H: Fn(Connection) -> F + Clone + Send + 'static,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.inner.handle_accept(stream, peer, &self.context, handler)
    }

    /// Returns the handle that ends the server.
    pub(crate) fn shutdown(&self) -> &Shutdown {
        &self.inner.shutdown
    }

    /// Returns the line end of the connections.
    pub(crate) fn eol(&self) -> Eol {
        self.inner.live.config().eol
    }

    /// Drains the server as `Server::serve_until` does. Returns when it has ended. Call it once.
    pub(crate) async fn stop(&self) -> Report {
        self.inner.shutdown.drain();
        // It ends without a panic, and nothing aborts it before this value is dropped.
        let _ = (&mut *self.ending.lock().await).await;
        self.inner.registry.report()
    }
}

impl Drop for InMemoryServer {
    fn drop(&mut self) {
        self.ending.get_mut().abort();
    }
}

async fn end(guard: DrainGuard) {
    guard.shutdown.reached(Phase::Draining).await;
    guard.registry.wake_all();
    guard.drain().await;
}
