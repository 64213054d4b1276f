//! The end of a connection: send the rest, FIN, linger.
//!
//! A socket that is closed while bytes from the peer lie unread resets the connection, and the
//! reset can overtake our last line. So after our FIN we go on reading for a moment and throw
//! away what comes (nginx's `lingering_close`; RFC 1122, 4.2.2.13, allows the reset).

use std::any::Any;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::connection::poll_output;
use super::inbound::poll_discard;
use super::limits::Closed;
use super::outbound::Outbound;
use super::place::Place;
use super::shutdown::Phase;
use super::terms::Terms;
use super::watch::Watch;

/// What is left of a connection that is being closed.
pub(super) struct Closing<S> {
    pub(super) stream: S,
    pub(super) output: Outbound,
    /// The peer has ended its stream: nothing can lie unread.
    pub(super) at_end: bool,
    /// Nothing can be sent any more, or must not.
    pub(super) broken: bool,
    pub(super) terms: Arc<Terms>,
    /// Given back when this value ends, and not before: a lingering connection counts.
    pub(super) _place: Option<Arc<Place>>,
}

impl<S> Closing<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Ends the connection; returns when nothing is left of it.
    pub(super) async fn run(mut self) {
        let terms = Arc::clone(&self.terms);
        if self.broken {
            return self.reset();
        }
        tokio::select! {
            result = self.finish() => if result.is_err() { self.reset() },
            () = terms.shutdown.reached(Phase::Aborting) => self.reset(),
        }
    }

    /// Like `run`, for a place that cannot wait. Most connections end without waiting: the peer
    /// has closed and the socket takes the rest at once. Only for the others a task is started.
    pub(super) fn run_in_background(mut self) {
        if self.broken || self.is_done_at_once() {
            return self.reset_if_broken();
        }
        // Outside a runtime (it is being torn down) the socket is just closed.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(self.run()));
        }
    }

    fn is_done_at_once(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        let flushed = self.output.poll_flush(&mut self.stream, cx, &mut false);
        if let Poll::Ready(Ok(())) = flushed {
            return Pin::new(&mut self.stream).poll_shutdown(cx).is_ready() && self.at_end;
        }
        self.broken = matches!(flushed, Poll::Ready(Err(_)));
        self.broken
    }

    async fn finish(&mut self) -> Result<(), Closed> {
        let mut watch = Watch::default();
        poll_fn(|cx| poll_output(&mut self.stream, &mut self.output, &mut watch, &self.terms, cx))
            .await?;
        poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await?;
        if !self.at_end
            && let Ok(_permit) = self.terms.lingering.try_acquire()
        {
            let limit = self.terms.limits.linger_timeout;
            // Whether the peer closed or the time ran out, the last line has had its chance.
            let _ = tokio::time::timeout(limit, linger(&mut self.stream, &self.terms)).await;
        }
        Ok(())
    }

    fn reset_if_broken(mut self) {
        if self.broken {
            self.reset();
        }
    }

    /// Has the socket's close break the connection off instead of sending what the system still
    /// holds, which a peer that takes nothing would make it hold for minutes.
    fn reset(&mut self) {
        if let Some(stream) = (&mut self.stream as &mut dyn Any).downcast_mut::<TcpStream>() {
            // It fails only on a socket that is gone, and then there is nothing to break off.
            let _ = stream.set_zero_linger();
        }
    }
}

async fn linger<S: AsyncRead + Unpin>(stream: &mut S, terms: &Terms) -> io::Result<()> {
    let mut left = terms.limits.linger_bytes;
    while left > 0 {
        let length = poll_fn(|cx| poll_discard(stream, cx)).await?;
        if length == 0 {
            break;
        }
        left = left.saturating_sub(length);
    }
    Ok(())
}
