//! Connects to a NATS server.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr, rustls,
};
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::error::DriverError;
use super::options::StreamNames;
use super::options::{NatsIdentity, NatsOptions};
use super::version;

/// The time-out for connecting to one server. After it, the next server is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval between pings. The connection ends after two pings without an answer.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// The minimum size of messages that a server must accept, in bytes. A long line may need it.
const PAYLOAD_MIN: usize = 64 << 10;

/// Connects to one of the servers. The client reconnects by itself later.
pub(super) async fn connect(
    options: &NatsOptions,
    names: &StreamNames,
) -> Result<(Client, UnboundedReceiver<Event>), DriverError> {
    let (events, receiver) = unbounded_channel();
    let addresses = addresses(names)?;
    let prepared = prepared(options, events).await?;
    let prepared = match login(options, names)? {
        None => prepared,
        Some(NatsLogin::User(user, password)) => prepared.user_and_password(user, password),
        Some(NatsLogin::Token(token)) => prepared.token(token),
    };
    let client = prepared.connect(addresses).await.map_err(|error| failed(&error, names))?;
    Ok((client, receiver))
}

/// The login of a node, if it has no credentials file.
#[derive(PartialEq, Eq)]
enum NatsLogin {
    User(String, String),
    Token(String),
}

/// Returns the login from the addresses or from `options.login`. The client ignores logins in
/// addresses, and uses one login for all servers.
fn login(options: &NatsOptions, names: &StreamNames) -> Result<Option<NatsLogin>, DriverError> {
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut logins = Vec::new();
    let servers = options.servers.reveal().split(',').zip(names.servers.split(','));
    for (address, shown) in servers.filter(|(address, _)| address.contains('@')) {
        let parsed: Result<ServerAddr, _> = address.parse();
        let parsed = parsed.map_err(|_| DriverError::Servers { address: shown.to_owned() })?;
        let Some(user) = parsed.username() else { continue };
        logins.push(match parsed.password() {
            Some(password) => NatsLogin::User(plain(user), plain(password)),
            None => NatsLogin::Token(plain(user)),
        });
    }
    logins.extend(options.login.as_ref().map(|login| match login.reveal().split_once(':') {
        Some((user, password)) => NatsLogin::User(user.to_owned(), password.to_owned()),
        None => NatsLogin::Token(login.reveal().to_owned()),
    }));
    logins.dedup();
    if logins.len() > 1 {
        return Err(DriverError::Logins);
    }
    Ok(logins.pop())
}

/// Parses the addresses one by one, because the client accepts no lists. The parsed addresses
/// contain no logins, so that the client cannot log them.
fn addresses(names: &StreamNames) -> Result<Vec<ServerAddr>, DriverError> {
    let parsed = names
        .servers
        .split(',')
        .map(|shown| shown.parse().map_err(|_| DriverError::Servers { address: shown.to_owned() }));
    parsed.collect()
}

async fn prepared(
    options: &NatsOptions,
    events: UnboundedSender<Event>,
) -> Result<ConnectOptions, DriverError> {
    let connect = ConnectOptions::new()
        .name(format!("echoline {}", options.cluster))
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(CONNECT_TIMEOUT))
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| {
            Duration::from_millis(50u64.saturating_mul(attempt as u64).min(1000))
        })
        .event_callback(move |event| {
            // Sending fails if the driver has just started over, because the receiver was dropped.
            let _ = events.send(event);
            std::future::ready(())
        });
    let connect = with_certificates(connect, options).await?;
    let Some(path) = &options.credentials else { return Ok(connect) };
    let unusable = |error: io::Error| DriverError::Credentials {
        path: path.clone(),
        reason: error.to_string(),
    };
    connect.credentials_file(path).await.map_err(unusable)
}

/// Adds the certificates. Checks their files first, because the client silently ignores a file
/// without a certificate.
async fn with_certificates(
    mut connect: ConnectOptions,
    options: &NatsOptions,
) -> Result<ConnectOptions, DriverError> {
    // If certificates are given, TLS is required.
    if options.authorities.is_some() || options.identity.is_some() {
        connect = connect.require_tls(true);
    }
    if let Some(path) = &options.authorities {
        look_for("CERTIFICATE-----", path).await?;
        connect = connect.add_root_certificates(path.clone());
    }
    if let Some(NatsIdentity { certificate, key }) = &options.identity {
        look_for("CERTIFICATE-----", certificate).await?;
        look_for("PRIVATE KEY-----", key).await?;
        connect = connect.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(connect)
}

/// Checks that a PEM file contains a certificate or a key.
async fn look_for(what: &str, path: &Path) -> Result<(), DriverError> {
    let text = tokio::fs::read_to_string(path).await.map_err(|error| error.to_string());
    let found = text.and_then(|text| match text.contains(what) {
        true => Ok(()),
        false => Err(format!("it has no '-----BEGIN … {what}', so it is not the PEM file meant")),
    });
    found.map_err(|reason| DriverError::Certificates { path: path.to_owned(), reason })
}

fn failed(error: &ConnectError, names: &StreamNames) -> DriverError {
    let (servers, reason) = (names.servers.clone(), reason(error));
    match error.kind() {
        ConnectErrorKind::ServerParse => DriverError::Servers { address: servers },
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            DriverError::Refused { servers, reason }
        }
        ConnectErrorKind::Tls => DriverError::Tls { servers, reason },
        // The client reports errors of the TLS handshake as I/O errors.
        _ if below(error).any(is_of_tls) => DriverError::Tls { servers, reason },
        _ => DriverError::Unreachable { servers, reason },
    }
}

/// Returns whether TLS caused this I/O error.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<rustls::Error>())
}

/// Returns the chain of causes of an error.
fn below(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

/// Returns the text of an error and its causes. A text that is already contained is left out.
pub(super) fn reason(error: &dyn Error) -> String {
    below(error).fold(error.to_string(), |text, below| {
        let below = below.to_string();
        if text.contains(&below) { text } else { format!("{text}: {below}") }
    })
}

/// Logs the server to which the client is connected, and known defects of its version.
pub(super) fn log_server(client: &Client) {
    let info = client.server_info();
    tracing::info!("connected to NATS {} at {}:{}", info.version, info.host, info.port);
    match version::parse(&info.version) {
        Some(version) if version >= version::RECOMMENDED => {}
        _ => tracing::warn!(
            "NATS {} has known defects, see 'echoline chat doctor': 2.9.21 or newer is better",
            info.version
        ),
    }
    if info.max_payload < PAYLOAD_MIN {
        tracing::warn!(
            "the NATS server takes messages up to {} bytes: long lines may not get through, set \
             max_payload to {PAYLOAD_MIN} or more",
            info.max_payload
        );
    }
}
