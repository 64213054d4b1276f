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
                "cannot connect to {address}: its queue has been full for {:?} (--timeout)",
                timeout.unwrap_or_default()
            )));
        };
        return connected.map_err(|error| refused(address, error));
    }
    let found = address.resolve().await.with_context(|| {
        format!("cannot find {address}: check the name, or write the number of the address")
    });
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
                "cannot connect to {address}: no answer within {:?}; is the address right, or does \
                 a firewall drop what is sent to it?",
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
            "cannot talk to {address}: it did not finish the handshake within {:?} (--timeout)",
            timeout.unwrap_or_default()
        ))),
    }
}

/// Returns advice about an error of the system, in brackets; empty if there is none.
pub(super) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " (there is no such socket; is the server running?)",
        io::ErrorKind::ConnectionRefused => " (is the server running, and there?)",
        io::ErrorKind::AddrNotAvailable => " (all local ports are in use; wait a minute)",
        _ => "",
    }
}
