//! The handshake of an accepted connection: runs the steps of its transport in bounded time.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::admission::{self, Admission};
use super::registry::ConnectionSlot;
use super::shutdown::Phase;
use crate::connection::config::ConnectionConfig;
use crate::connection::limits::Closed;
use crate::transport::origin::Origin;
use crate::transport::steps::{OpenError, Transport};
use crate::transport::stream::Stream;

/// The maximum time that a handshake may continue after the server began to drain.
const HANDSHAKE_DRAIN: Duration = Duration::from_secs(1);

/// Runs the steps of `transport` in bounded time, with at most `Limits::max_handshakes`
/// handshakes at once.
pub(crate) async fn perform_handshake(
    transport: &Transport,
    stream: Stream,
    mut origin: Origin,
    config: &Arc<ConnectionConfig>,
    slot: &ConnectionSlot,
    admission: &Admission,
) -> Result<Stream, Closed> {
    let admit = |origin: &Origin| admission.take_proxied(origin);
    let opened = in_bounded_time(config, transport.open_admitted(stream, &mut origin, admit)).await;
    let opened = match opened {
        Ok(stream) => Ok(stream),
        Err(OpenError::Step(closed)) => Err(closed),
        Err(OpenError::Admission(refusal, stream)) => {
            admission::refuse_proxied(refusal, stream, &origin, transport, config, slot);
            slot.note_origin(origin);
            return Err(refusal.closed());
        }
    };
    match &opened {
        // The step has completed the connection, for example by serving the files of a page.
        Ok(_) | Err(Closed::Finished) => {}
        Err(closed) => {
            let why = origin.failure.clone().unwrap_or_else(|| closed.to_string());
            let (number, peer) = (slot.number(), PeerDisplay(origin.peer));
            // A proxy sends health checks every few seconds, so they are logged only at level
            // debug.
            match origin.is_proxy_itself {
                true => tracing::debug!(slot = number, %peer, "{why}"),
                false => tracing::info!(slot = number, %peer, "{why}"),
            }
        }
    }
    slot.note_origin(origin);
    opened
}

/// Performs a handshake within [`Limits::handshake_timeout`], as one of at most
/// [`Limits::max_handshakes`].
///
/// [`Limits::handshake_timeout`]: crate::Limits::handshake_timeout
/// [`Limits::max_handshakes`]: crate::Limits::max_handshakes
pub(crate) async fn in_bounded_time(
    config: &ConnectionConfig,
    handshake: impl Future<Output = Result<Stream, OpenError>>,
) -> Result<Stream, OpenError> {
    let opened = timeout(config.limits.handshake_timeout, async {
        // The semaphore is never closed, so this never fails.
        let _permit = config.handshakes.acquire().await;
        handshake.await
    });
    // A client that has not finished its handshake has sent no requests, so a drain may end it
    // early.
    let late = async {
        config.shutdown.reached(Phase::Draining).await;
        sleep(HANDSHAKE_DRAIN).await;
    };
    tokio::select! {
        opened = opened => opened.unwrap_or(Err(OpenError::Step(Closed::HandshakeTimeout))),
        () = late => Err(OpenError::Step(Closed::Drained)),
    }
}

/// Prints a peer in the log.
pub(crate) struct PeerDisplay(pub(crate) Option<SocketAddr>);

impl fmt::Display for PeerDisplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}
