//! A TCP proxy: every connection is passed on to one upstream server, in both directions and with
//! the end of each. A signal lets open tunnels end by themselves for up to ten seconds.
//! Run it: `cargo run --example tcp_proxy LISTEN UPSTREAM`

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fmt};

use echoline::{Closed, Connection, Farewell, Limits, Server};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

/// The reason why a tunnel ended too early. If it contains a [`Closed`], the report counts the
/// connection under that reason.
#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error("cannot connect to {upstream}")]
    Upstream { upstream: Arc<str>, source: io::Error },
    #[error("the tunnel was cut")]
    Cut(#[from] io::Error),
    #[error(transparent)]
    Closed(#[from] Closed),
}

async fn tunnel(mut client: Connection, upstream: Arc<str>) -> Result<(), TunnelError> {
    let mut server = match TcpStream::connect(&*upstream).await {
        Ok(server) => server,
        Err(source) => {
            client.write_line("Upstream server is unavailable. Try again later.").await?;
            return Err(TunnelError::Upstream { upstream, source });
        }
    };
    let mut client = client.into_stream();
    // A drain waits for the tunnel as for a message.
    let mut client = client.begin_message();
    copy_bidirectional(&mut *client, &mut server).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let (listen, upstream) = (argument("127.0.0.1:8080"), argument("127.0.0.1:80"));
    tracing_subscriber::fmt().with_writer(io::stderr).with_target(false).init();
    let limits = Limits { drain_timeout: Duration::from_secs(10), ..Limits::default() };
    let server = Server::bind(listen).await?.limits(limits).farewell(Farewell::Refusal);
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    let upstream = Arc::from(upstream);
    let report = server.serve(move |client| tunnel(client, Arc::clone(&upstream))).await?;
    writeln!(io::stdout(), "{}", Ends(&report))
}

/// Prints the number of tunnels for each way of ending.
struct Ends<'a>(&'a echoline::Report);

impl fmt::Display for Ends<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tunnels", self.0.accepted)?;
        self.0
            .ends
            .iter()
            .try_for_each(|(closed, count)| write!(f, ", {}: {count}", closed.label()))
    }
}
