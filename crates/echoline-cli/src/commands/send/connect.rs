//! Connects to a server over TCP or a Unix socket, and performs the handshakes before the dialogue.

use std::io;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpStream;

use super::failure::SendFailure;
use echoline::Address;
use echoline::transport::{Origin, Stream, Transport};

/// Connects to the first address that accepts. The time-out applies to each address.
pub(super) async fn connect(
    address: &Address,
    timeout: Option<Duration>,
) -> Result<Stream, SendFailure> {
    if let Some(path) = address.unix_path() {
        let connecting = Stream::connect_unix(path);
        let connected = match timeout {
            Some(length) => tokio::time::timeout(length, connecting).await.ok(),
            None => Some(connecting.await),
        };
        let Some(connected) = connected else {
            return Err(SendFailure::timed_out(anyhow!(
                "cannot connect to {address}: the queue of the server has been full for {:?} \
                 (--timeout)",
                timeout.unwrap_or_default()
            )));
        };
        return connected.map_err(|error| refused(address, error));
    }
    let found = address.resolve().await;
    let found = found.with_context(|| format!("cannot connect to {address}"));
    let found = found.map_err(SendFailure::not_connected)?;
    let mut last = SendFailure::not_connected(anyhow!("{address} has no address"));
    for socket in found {
        let connecting = TcpStream::connect(socket);
        let connected = match timeout {
            Some(length) => tokio::time::timeout(length, connecting).await,
            None => Ok(connecting.await),
        };
        last = match connected {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
                return Ok(stream.into());
            }
            Ok(Err(error)) => refused(address, error),
            Err(_) => SendFailure::timed_out(anyhow!(
                "cannot connect to {address}: no reply within {:?}; is the address correct, or \
                 does a firewall drop the packets?",
                timeout.unwrap_or_default()
            )),
        };
    }
    Err(last)
}

fn refused(address: &Address, error: io::Error) -> SendFailure {
    let (kind, advice) = (error.kind(), advice(&error));
    let error = anyhow!(error).context(format!("cannot connect to {address}{advice}"));
    SendFailure::of_connecting(kind, error)
}

/// Performs the handshakes between the socket and the dialogue, within the time-out.
pub(super) async fn shake_hands(
    transport: &Transport,
    stream: Stream,
    address: &Address,
    timeout: Option<Duration>,
) -> Result<Stream, SendFailure> {
    let mut origin = Origin::default();
    let opened = {
        let opening = transport.open(stream, &mut origin);
        match timeout {
            Some(length) => tokio::time::timeout(length, opening).await,
            None => Ok(opening.await),
        }
    };
    match opened {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(closed)) => {
            let why = origin.failure.unwrap_or_else(|| closed.to_string());
            Err(anyhow!("cannot talk to {address}: {why}").into())
        }
        Err(_) => Err(SendFailure::timed_out(anyhow!(
            "cannot talk to {address}: the handshake was not complete within {:?} (--timeout)",
            timeout.unwrap_or_default()
        ))),
    }
}

/// Returns advice about an error of the system, in brackets; empty if there is none.
pub(super) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " (the socket does not exist; is the server running?)",
        io::ErrorKind::ConnectionRefused => " (is the server running at this address?)",
        io::ErrorKind::AddrNotAvailable => " (all local ports are in use; wait a minute)",
        _ => "",
    }
}
