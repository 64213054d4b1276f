//! When a datagram has come back as an ICMP message: nobody is there.

use std::io;

use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Completes when the system has heard that what a connected socket sends does not get there, with
/// the error. Whoever waits to read is not woken by that. Cancel safe.
pub async fn socket_error(socket: &UdpSocket) -> io::Error {
    loop {
        if let Err(error) = socket.ready(Interest::ERROR).await {
            return error;
        }
        if let Ok(Some(error)) = socket.take_error() {
            return error;
        }
        // Sending or receiving has met it already.
        let _ = socket.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
}
