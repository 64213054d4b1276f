//! The HTTP server of the admin address. It accepts few connections, each for one request and a
//! short time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use super::access::{Access, HttpClient};
use super::site::AdminSite;
use echoline::transport::Stream;
use echoline::{Phase, Shutdown};

/// The maximum number of simultaneous connections. If a further client connects, the oldest
/// connection is closed. A request takes about a millisecond, so the oldest of sixteen connections
/// is idle. Idle connections therefore cannot lock other clients out.
const CONNECTIONS_MAX: usize = 16;

/// The time limits for receiving the request headers and for the whole connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum size of a request's first line and headers together, in bytes.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// The pause after `accept` has failed, which usually means that there are no free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The interval between two samples for the live page.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A listening socket of the admin address.
#[derive(Debug)]
pub(super) struct AdminListener {
    pub(super) socket: OwnedFd,
    pub(super) is_unix: bool,
    /// The rights of clients without a secret.
    pub(super) access: Access,
}

#[derive(Debug)]
enum BoundListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl BoundListener {
    fn open(door: &AdminListener) -> io::Result<Self> {
        let socket = door.socket.try_clone()?;
        if door.is_unix {
            let socket = std::os::unix::net::UnixListener::from(socket);
            socket.set_nonblocking(true)?;
            return Ok(Self::Unix(UnixListener::from_std(socket)?));
        }
        let socket = std::net::TcpListener::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self::Tcp(TcpListener::from_std(socket)?))
    }

    /// Accepts the next connection. Cancel safe.
    async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(socket) => {
                socket.accept().await.map(|(stream, address)| (stream.into(), Some(address)))
            }
            Self::Unix(socket) => socket.accept().await.map(|(stream, _)| (stream.into(), None)),
        }
    }
}

/// Answers requests at `doors` in a separate runtime. Returns on an error, or when a successor has
/// taken over the sockets.
pub(super) fn serve(
    doors: &[AdminListener],
    site: &Arc<AdminSite>,
    shutdown: &Shutdown,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut parts = JoinSet::new();
        for door in doors {
            let listening = BoundListener::open(door)?;
            parts.spawn(accept_from(listening, door.access, Arc::clone(site), shutdown.clone()));
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

/// Waits until a successor has taken over. If both processes answered, requests would reach one or
/// the other by chance.
async fn retired(shutdown: &Shutdown) {
    shutdown.reached(Phase::Retiring).await;
    if shutdown.phase() != Phase::Retiring {
        std::future::pending::<()>().await;
    }
}

async fn look(site: &AdminSite) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    // If ticks were missed, one sample is enough.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        site.look();
    }
}

async fn accept_from(
    listener: BoundListener,
    access: Access,
    site: Arc<AdminSite>,
    shutdown: Shutdown,
) {
    let mut connections = HttpConnections::default();
    let retired = retired(&shutdown);
    tokio::pin!(retired);
    loop {
        tokio::select! {
            () = &mut retired => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let client = HttpClient { access, address };
                    connections.push(answer(stream, client, Arc::clone(&site)));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(ended) = connections.tasks.join_next() => note(ended),
        }
    }
    // Requests that have already been received are still answered.
    while connections.tasks.join_next().await.is_some() {}
}

/// Logs that a request panicked. The panic ends only this request, and the panic hook has already
/// logged its message.
fn note(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("a request to the admin address could not be answered");
    }
}

async fn answer(stream: Stream, client: HttpClient, site: Arc<AdminSite>) {
    let service = service_fn(|request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(request, client).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        // Each connection serves one request, so that no idle client occupies a slot.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // An error concerns only this client.
    let _ = timeout(CONNECTION_TIMEOUT, connection).await;
}

/// The open connections, the oldest first.
#[derive(Debug, Default)]
struct HttpConnections {
    tasks: JoinSet<()>,
    order: VecDeque<AbortHandle>,
}

impl HttpConnections {
    fn push(&mut self, answer: impl Future<Output = ()> + Send + 'static) {
        self.order.retain(|task| !task.is_finished());
        if self.order.len() == CONNECTIONS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        self.order.push_back(self.tasks.spawn(answer));
    }
}
