//! Accepts connections and starts their handlers.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::admission::{self, Admission};
use super::handler_error::BoxError;
use super::handler_task::HandlerTask;
use super::handshake::{PeerDisplay, perform_handshake};
use super::registry::{ConnectionRegistry, CountedAddress};
use super::shutdown::{Phase, Shutdown};
use super::workers::Workers;
use crate::connection::config::LiveLimits;
use crate::connection::handle::Connection;
use crate::connection::limits::Closed;
use crate::listener::accept_errors::{AcceptErrors, AcceptOutcome, ReserveOutcome};
use crate::listener::acceptor::{Acceptor, DrainedConnection};
use crate::transport::fault;
use crate::transport::origin::Origin;
use crate::transport::steps::Transport;
use crate::transport::stream::Stream;
use echoline_base::supervise::catch_panic;
use echoline_faults::{ConnectionFaults, Faults};

/// Connections accepted in a row before the accepting thread yields to its other tasks.
const ACCEPT_BATCH: usize = 64;

/// A running server.
pub(super) struct ServerInner {
    pub(super) live: LiveLimits,
    pub(super) shutdown: Shutdown,
    pub(super) registry: Arc<ConnectionRegistry>,
    pub(super) workers: Workers,
    pub(super) admission: Admission,
}

impl ServerInner {
    pub(super) async fn accept_from<H, F, E>(
        self: Arc<Self>,
        acceptor: Acceptor,
        context: ListenerContext,
        handler: H,
    ) where
        H: Fn(Connection) -> F + Clone + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let mut accept_errors =
            AcceptErrors::new(self.live.config().refusal(&context.transport, Closed::Busy));
        loop {
            let first = tokio::select! {
                biased;
                () = self.shutdown.reached(Phase::Retiring) => break,
                accepted = acceptor.accept() => accepted,
            };
            match self.accept_batch(first, &acceptor, &context, &handler, &mut accept_errors) {
                Some(pause) => tokio::select! {
                    () = sleep(pause) => {}
                    () = self.shutdown.reached(Phase::Retiring) => {}
                },
                None => tokio::task::yield_now().await,
            }
        }
        if self.shutdown.phase() == Phase::Retiring {
            return acceptor.leave();
        }
        // The number is bounded, so that a flood of connections cannot prolong the drain.
        let most = self.live.config().limits.max_connections.saturating_add(ACCEPT_BATCH);
        for queued in acceptor.drain_queue(accept_errors.reserve, accept_errors.words).take(most) {
            match queued {
                DrainedConnection::Connection(stream, peer) => {
                    drop(self.handle_accept(stream, peer, &context, &handler));
                }
                DrainedConnection::Refused => self.registry.count_descriptor_refusal(),
            }
        }
    }

    /// Serves the queued connections. Returns the time for which accepting must pause, if any.
    fn accept_batch<H, F, E>(
        &self,
        first: AcceptOutcome,
        acceptor: &Acceptor,
        context: &ListenerContext,
        handler: &H,
        accept_errors: &mut AcceptErrors,
    ) -> Option<Duration>
    where
        H: Fn(Connection) -> F + Clone + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let mut first = Some(first);
        for _ in 0..ACCEPT_BATCH {
            match first.take().unwrap_or_else(|| acceptor.accept_now()) {
                AcceptOutcome::Connection(stream, peer) => {
                    accept_errors.backoff.reset();
                    drop(self.handle_accept(stream, peer, context, handler));
                }
                AcceptOutcome::ConnectionLost => {}
                AcceptOutcome::QueueEmpty => break,
                AcceptOutcome::Exhausted(error) => {
                    accept_errors.log(&error);
                    match accept_errors
                        .reserve
                        .refuse(|| acceptor.accept_now(), &accept_errors.words)
                    {
                        ReserveOutcome::Refused => self.registry.count_descriptor_refusal(),
                        ReserveOutcome::QueueEmpty => break,
                        ReserveOutcome::NoDescriptor => {
                            return Some(accept_errors.backoff.next_delay());
                        }
                    }
                }
            }
        }
        None
    }

    /// Gives a new connection its slot and starts its handler. Returns the task, which runs on if
    /// the handle is dropped and whose result is the close reason.
    ///
    /// # Errors
    /// The close reason of a connection that gets no handler, for example because no slot is free.
    pub(super) fn handle_accept<H, F, E>(
        &self,
        stream: Stream,
        peer: Option<SocketAddr>,
        context: &ListenerContext,
        handler: &H,
    ) -> Result<JoinHandle<Closed>, Closed>
    where
        H: Fn(Connection) -> F + Clone + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let config = self.live.config();
        let origin = Origin::accepted(context.listener, peer, &stream);
        let count = match context.transport.speaks_for_others(&origin) {
            true => CountedAddress::Proxied,
            false => CountedAddress::Peer,
        };
        if count == CountedAddress::Peer
            && let Err(refusal) = self.admission.take(&origin)
        {
            let (transport, registry) = (&context.transport, &self.registry);
            admission::refuse(refusal, stream, &origin, transport, &config, registry);
            return Err(refusal.closed());
        }
        let Some(worker) = self.workers.least_loaded() else {
            return Err(self.refuse(stream, &origin, context, Closed::Busy));
        };
        let slot = match self.registry.take(&origin, &config.limits, count, worker.stats()) {
            Ok(slot) => slot,
            Err(closed) => return Err(self.refuse(stream, &origin, context, closed)),
        };
        tracing::debug!(slot = slot.number(), peer = %PeerDisplay(peer), "connected");
        // The faults are chosen in the order of acceptance, so that each connection has the same
        // faults in every run.
        let planned = context.faults.as_ref().map(Faults::next_connection);
        let _entered = worker.enter();
        let mut stream = match worker.adopt(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(peer = %PeerDisplay(peer), %error, "cannot serve a connection");
                return Err(slot.count(Err(Closed::from(error))));
            }
        };
        if planned.as_ref().is_some_and(ConnectionFaults::refuse) {
            stream.reset_on_close();
            Err(slot.count(Err(Closed::Reset)))
        } else if context.transport.is_plain() {
            let stream = fault::wrap_socket(stream, planned.as_ref());
            let stream = fault::wrap_stream(stream, planned);
            let connection = Connection::with_config(stream, config, Some(Arc::clone(&slot)));
            // A handler that panics before its first await must not end the accepting task.
            match catch_panic(|| handler(connection)) {
                Ok(dialogue) => Ok(worker.spawn(HandlerTask::new(dialogue, slot))),
                Err(_) => Err(slot.count(Err(Closed::Panicked))),
            }
        } else {
            let (transport, handler) = (Arc::clone(&context.transport), handler.clone());
            let (held, admission) = (Arc::clone(&slot), self.admission.clone());
            Ok(worker.spawn(HandlerTask::new(
                async move {
                    let stream = fault::wrap_socket(stream, planned.as_ref());
                    let opened =
                        perform_handshake(&transport, stream, origin, &config, &held, &admission);
                    let stream = opened.await?;
                    let stream = fault::wrap_stream(stream, planned);
                    let counted = match count {
                        CountedAddress::Proxied => held.count_source(&config.limits),
                        CountedAddress::Peer => Ok(()),
                    };
                    let client = Connection::with_config(stream, config, Some(held));
                    match counted {
                        Ok(()) => handler(client).await.map_err(Into::into),
                        Err(closed) => Err(client.refuse(closed).into()),
                    }
                },
                slot,
            )))
        }
    }

    fn refuse(
        &self,
        stream: Stream,
        origin: &Origin,
        context: &ListenerContext,
        closed: Closed,
    ) -> Closed {
        tracing::debug!(peer = %PeerDisplay(origin.peer), reason = closed.label(), "refused");
        self.registry.count_refusal(origin, closed);
        let config = self.live.config();
        if let Some(words) = config.refusal(&context.transport, closed) {
            Connection::with_config(stream, config, None).close_with(&words);
        }
        closed
    }
}

/// A listener's settings for the connections that it accepts.
pub(super) struct ListenerContext {
    pub(super) listener: usize,
    pub(super) transport: Arc<Transport>,
    pub(super) faults: Option<Faults>,
}
