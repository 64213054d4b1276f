//! HTTP for the admin address: few connections, each for one request and a short time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use super::site::Site;
use crate::net::{Phase, Shutdown};

/// Connections at once. One more breaks off the oldest: a request is answered in a millisecond, so
/// whoever is the oldest of sixteen is in no hurry, and sixteen of that kind shut nobody out.
const CONNECTIONS_MAX: usize = 16;

/// How long a client may take for its request, and for all of it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request's first line and headers together.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How long to leave a listener alone that cannot accept: then descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the server is looked at for the live page.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Answers at `listeners`, in a runtime of its own; returns where that cannot go on, or where
/// another process answers at the same sockets.
pub(super) fn serve(
    listeners: &[StdListener],
    site: &Arc<Site>,
    shutdown: &Shutdown,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut parts = JoinSet::new();
        for listener in listeners {
            let listener = listener.try_clone()?;
            // Not so where it was a service manager that bound it.
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            parts.spawn(accept_from(listener, Arc::clone(site), shutdown.clone()));
        }
        let looking = look(site);
        let accepting = async {
            while let Some(ended) = parts.join_next().await {
                ended.map_err(io::Error::other)?;
            }
            Ok(())
        };
        tokio::select! {
            ended = accepting => ended,
            () = looking => Ok(()),
        }
    })
}

/// Waits until a successor has taken over: of two processes that answer, one would be asked now and
/// the other the next time.
async fn retired(shutdown: &Shutdown) {
    shutdown.reached(Phase::Retiring).await;
    if shutdown.phase() != Phase::Retiring {
        std::future::pending::<()>().await;
    }
}

async fn look(site: &Site) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    // After a pause one look is enough.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        site.look();
    }
}

async fn accept_from(listener: TcpListener, site: Arc<Site>, shutdown: Shutdown) {
    let mut guests = Guests::default();
    let retired = retired(&shutdown);
    tokio::pin!(retired);
    loop {
        tokio::select! {
            () = &mut retired => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => guests.welcome(answer(stream, Arc::clone(&site))),
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(ended) = guests.tasks.join_next() => note(ended),
        }
    }
    // Who has asked already is answered.
    while guests.tasks.join_next().await.is_some() {}
}

/// A panic costs one request. The log has told of it already.
fn note(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("a request to the admin address could not be answered");
    }
}

async fn answer(stream: TcpStream, site: Arc<Site>) {
    let service = service_fn(|request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        // One request each, so that no client keeps a place that it does not use.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // However it ends, it was this client's own.
    let _ = timeout(CONNECTION_TIMEOUT, connection).await;
}

/// Who is connected, the oldest first.
#[derive(Debug, Default)]
struct Guests {
    tasks: JoinSet<()>,
    order: VecDeque<AbortHandle>,
}

impl Guests {
    fn welcome(&mut self, answer: impl Future<Output = ()> + Send + 'static) {
        self.order.retain(|task| !task.is_finished());
        if self.order.len() == CONNECTIONS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        self.order.push_back(self.tasks.spawn(answer));
    }
}
