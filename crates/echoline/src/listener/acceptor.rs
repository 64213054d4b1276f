//! Accepts connections at a listener, and empties its queue when the server drains.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::task::{Context, Poll, Waker};

use tokio::net::TcpStream;

use super::accept_errors::{
    AcceptOutcome, AcceptedStream, ReserveDescriptor, ReserveOutcome, classify,
};
use super::address::canonical;
use super::unix::{UnixAcceptor, UnixSocket};
use crate::transport::steps::Transport;
use crate::transport::stream::Stream;

/// A listener that accepts connections.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(super) socket: AcceptorSocket,
    pub(super) transport: Transport,
}

#[derive(Debug)]
pub(super) enum AcceptorSocket {
    Tcp(tokio::net::TcpListener),
    Unix(UnixAcceptor),
}

impl Acceptor {
    /// Returns the steps that each socket passes before its handler begins.
    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Accepts one connection, waiting for it. Cancel safe.
    pub(crate) async fn accept(&self) -> AcceptOutcome {
        classify(poll_fn(|cx| self.poll_accept(cx)).await)
    }

    /// Accepts one connection without waiting.
    pub(crate) fn accept_now(&self) -> AcceptOutcome {
        match self.poll_accept(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => classify(result),
            Poll::Pending => AcceptOutcome::QueueEmpty,
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<AcceptedStream>> {
        match &self.socket {
            AcceptorSocket::Tcp(socket) => socket
                .poll_accept(cx)
                .map_ok(|(stream, peer)| (stream.into(), Some(canonical(peer)))),
            AcceptorSocket::Unix(socket) => {
                socket.poll_accept(cx).map_ok(|stream| (stream.into(), None))
            }
        }
    }

    /// Closes this process's descriptor of a socket on which another process also listens. Queued
    /// connections and the file of a Unix socket stay for that process.
    pub(crate) fn leave(self) {
        if let AcceptorSocket::Unix(socket) = self.socket {
            socket.leave();
        }
    }

    /// Accepts all queued connections, and then closes the listener. Otherwise the system would
    /// reset the queued clients, which have already connected. A client for which no descriptor is
    /// left is refused.
    pub(crate) fn drain_queue(
        self,
        mut reserve: ReserveDescriptor,
        words: String,
    ) -> impl Iterator<Item = DrainedConnection> {
        let socket = BlockingAcceptor::of(self.socket).ok();
        std::iter::from_fn(move || {
            let socket = socket.as_ref()?;
            loop {
                match socket.accept() {
                    AcceptOutcome::Connection(stream, peer) => {
                        return Some(DrainedConnection::Connection(stream, peer));
                    }
                    AcceptOutcome::ConnectionLost => {}
                    AcceptOutcome::QueueEmpty => return None,
                    AcceptOutcome::Exhausted(_) => {
                        let refused = reserve.refuse(|| socket.accept(), &words);
                        return (refused == ReserveOutcome::Refused)
                            .then_some(DrainedConnection::Refused);
                    }
                }
            }
        })
    }
}

/// A connection from the queue of a listener that closes.
#[derive(Debug)]
pub(crate) enum DrainedConnection {
    Connection(Stream, Option<SocketAddr>),
    /// No descriptor was left, and the client was refused.
    Refused,
}

/// A listener that accepts without the runtime, because the runtime may not have noticed the queued
/// connections yet.
#[derive(Debug)]
enum BlockingAcceptor {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

impl BlockingAcceptor {
    fn of(socket: AcceptorSocket) -> io::Result<Self> {
        Ok(match socket {
            AcceptorSocket::Tcp(socket) => Self::Tcp(socket.into_std()?),
            AcceptorSocket::Unix(socket) => Self::Unix(socket.into_std()?),
        })
    }

    fn accept(&self) -> AcceptOutcome {
        classify(match self {
            Self::Tcp(socket) => socket.accept().and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?.into(), Some(canonical(peer))))
            }),
            Self::Unix(socket) => socket.accept().map(|stream| (stream.into(), None)),
        })
    }
}
