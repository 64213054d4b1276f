//! Waits for the ICMP error of a datagram that could not be delivered.

use std::io;

use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Waits until the system reports that a datagram of a connected socket was not delivered. Returns
/// the error. Such an error does not wake a task that waits to read. Cancel safe.
pub async fn socket_error(socket: &UdpSocket) -> io::Error {
    loop {
        if let Err(error) = socket.ready(Interest::ERROR).await {
            return error;
        }
        if let Ok(Some(error)) = socket.take_error() {
            return error;
        }
        // Another send or receive call may have returned the error already.
        let _ = socket.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
}
