//! Reads and writes of plain sockets that try the system call first, and register the task only if
//! it has to wait. The calls do not use the C library, whose `recv` and `send` are cancellation
//! points (pthreads(7)), which takes about 30 instructions more for each call.

use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// A socket that is registered with the runtime.
pub(super) trait RegisteredSocket: AsFd {
    /// Runs `call` unless the runtime knows that the socket is not ready. After
    /// [`io::ErrorKind::WouldBlock`] from `call`, the socket is not ready until its next event.
    fn try_call<T>(
        &self,
        interest: Interest,
        call: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T>;

    /// Returns `Pending` while the socket has no input. The task is then woken when input arrives.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

macro_rules! registered_socket {
    ($($socket:ty),*) => {$(
        impl RegisteredSocket for $socket {
            #[inline]
            fn try_call<T>(
                &self,
                interest: Interest,
                call: impl FnOnce() -> io::Result<T>,
            ) -> io::Result<T> {
                self.try_io(interest, call)
            }

            #[inline]
            fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_read_ready(cx)
            }
        }
    )*};
}

registered_socket!(TcpStream, UnixStream);

/// Reads once, and returns the number of bytes. Returns `Pending` while the socket has no input.
#[inline]
pub(super) fn poll_read(
    socket: &impl RegisteredSocket,
    buffer: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    loop {
        match read_at_once(socket, buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready!(socket.poll_readable(cx))?;
            }
            result => return Poll::Ready(result),
        }
    }
}

#[inline]
fn read_at_once(socket: &impl RegisteredSocket, buffer: &mut [u8]) -> io::Result<usize> {
    let mut last = None;
    let result = socket.try_call(Interest::READABLE, || {
        let (length, _) = recv(socket, &mut *buffer, RecvFlags::empty())?;
        if 0 < length && length < buffer.len() {
            // A short read means that the socket is empty (epoll(7), question 9). So the next read
            // waits for an event instead of trying, as it would after `EAGAIN`.
            last = Some(length);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(length)
    });
    match last {
        Some(length) => Ok(length),
        None => result,
    }
}

/// Writes as many bytes as the socket takes at once, and returns their number.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if the socket takes nothing now. The task is not registered.
#[inline]
pub(super) fn write_at_once(socket: &impl RegisteredSocket, bytes: &[u8]) -> io::Result<usize> {
    socket.try_call(Interest::WRITABLE, || Ok(send(socket, bytes, SendFlags::NOSIGNAL)?))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn tcp_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    /// Returns whether a read of `socket` has to wait now.
    async fn has_to_wait(socket: &impl RegisteredSocket) -> bool {
        poll_fn(|cx| Poll::Ready(poll_read(socket, &mut [0; 8], cx).is_pending())).await
    }

    async fn read(socket: &impl RegisteredSocket, buffer: &mut [u8]) -> usize {
        let read = poll_fn(|cx| poll_read(socket, buffer, cx));
        let read = tokio::time::timeout(Duration::from_secs(10), read);
        read.await.expect("the read missed an event").unwrap()
    }

    async fn reads_everything_in_order<S>(socket: S, mut peer: S)
    where
        S: RegisteredSocket + AsyncWriteExt + Unpin + Send + 'static,
    {
        assert!(has_to_wait(&socket).await);
        let writing = tokio::spawn(async move {
            for part in [&b"12345678"[..], b"123456789", b"1"] {
                peer.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let (mut buffer, mut found) = ([0; 8], Vec::new());
        loop {
            match read(&socket, &mut buffer).await {
                0 => break,
                length => found.extend_from_slice(&buffer[..length]),
            }
        }
        assert_eq!(found, b"123456781234567891");
        assert_eq!(read(&socket, &mut buffer).await, 0, "the end stays");
        writing.await.unwrap();
    }

    #[tokio::test]
    async fn a_read_waits_returns_all_bytes_and_the_end() {
        let (here, there) = tcp_pair().await;
        reads_everything_in_order(here, there).await;
        let (here, there) = UnixStream::pair().unwrap();
        reads_everything_in_order(here, there).await;
    }

    #[tokio::test]
    async fn a_read_that_fills_the_buffer_is_followed_by_another_without_an_event() {
        let (here, mut there) = UnixStream::pair().unwrap();
        there.write_all(b"1234567812345").await.unwrap();
        assert_eq!(read(&here, &mut [0; 8]).await, 8);
        assert_eq!(read(&here, &mut [0; 8]).await, 5);
        assert!(has_to_wait(&here).await);
        there.write_all(b"6").await.unwrap();
        assert_eq!(read(&here, &mut [0; 8]).await, 1);
    }

    #[tokio::test]
    async fn a_write_takes_what_fits_and_then_asks_to_wait() {
        let (here, mut there) = UnixStream::pair().unwrap();
        here.writable().await.unwrap();
        let (mut sent, bytes) = (0, [7; 4096]);
        let error = loop {
            match write_at_once(&here, &bytes) {
                Ok(length) => sent += length,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let mut received = vec![0; sent];
        there.read_exact(&mut received).await.unwrap();
        here.writable().await.unwrap();
        assert_eq!(write_at_once(&here, &bytes).unwrap(), bytes.len());
    }

    #[tokio::test]
    async fn a_write_to_a_closed_socket_is_a_broken_pipe() {
        let (here, there) = UnixStream::pair().unwrap();
        here.writable().await.unwrap();
        drop(there);
        assert_eq!(write_at_once(&here, b"1").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
