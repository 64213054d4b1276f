//! `tls_client PORT CA CONNECTIONS SECONDS WARM_UP`: a closed loop on tokio-rustls, on one thread,
//! with one message of 64 bytes in flight on each connection.
//!
//! The least work that a TLS client can do on tokio: a task per connection, `write_all`, `flush`,
//! `read` until the reply is whole, compare. Prints one line of JSON like `generator`. Fails if a
//! reply is wrong.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const MESSAGE_BYTES: usize = 64;

type Failure = Box<dyn Error + Send + Sync>;

/// The measured time.
#[derive(Clone, Copy)]
struct Times {
    from: Instant,
    to: Instant,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, ca, connections, seconds, warm_up] = &arguments[..] else {
        return Err("usage: tls_client PORT CA CONNECTIONS SECONDS WARM_UP".into());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let mut streams = Vec::new();
    for _ in 0..connections.parse()? {
        let stream = TcpStream::connect(("127.0.0.1", port.parse()?)).await?;
        stream.set_nodelay(true)?;
        streams.push(connector.connect(ServerName::try_from("localhost")?, stream).await?);
    }
    let from = Instant::now() + Duration::from_secs_f64(warm_up.parse()?);
    let seconds: f64 = seconds.parse()?;
    let times = Times { from, to: from + Duration::from_secs_f64(seconds) };
    let mut clients = JoinSet::new();
    for (index, stream) in streams.into_iter().enumerate() {
        clients.spawn(exchange(stream, index as u32, times));
    }
    let (mut messages, mut all) = (0, 0);
    while let Some(client) = clients.join_next().await {
        let (measured, sent) = client??;
        messages += measured;
        all += sent;
    }
    let per_second = messages as f64 / seconds;
    println!(
        "{{\"messages\":{messages},\"messages_all\":{all},\"per_second\":{per_second:.1},\
         \"p50_us\":0,\"p99_us\":0}}"
    );
    Ok(())
}

/// Returns the messages of the measured time, and all messages.
async fn exchange(
    mut stream: TlsStream<TcpStream>,
    client: u32,
    times: Times,
) -> Result<(u64, u32), Failure> {
    let mut message = [b'x'; MESSAGE_BYTES];
    message[MESSAGE_BYTES - 1] = b'\n';
    message[..4].copy_from_slice(format!("{:04x}", client & 0xffff).as_bytes());
    let mut reply = [0; MESSAGE_BYTES];
    let (mut messages, mut all) = (0, 0u32);
    let mut now = Instant::now();
    while now < times.to {
        for (digit, byte) in message[4..12].iter_mut().rev().enumerate() {
            *byte = b"0123456789abcdef"[(all >> (4 * digit)) as usize & 15];
        }
        stream.write_all(&message).await?;
        stream.flush().await?;
        let mut received = 0;
        while received < MESSAGE_BYTES {
            match stream.read(&mut reply[received..]).await? {
                0 => return Err("the server closed the connection".into()),
                count => received += count,
            }
        }
        if reply != message {
            return Err("a reply differs from its message".into());
        }
        let end = Instant::now();
        messages += u64::from(now >= times.from && end < times.to);
        all += 1;
        now = end;
    }
    Ok((messages, all))
}
