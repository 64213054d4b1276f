//! The connection to a server, and what the client tells of it.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr, rustls,
};
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::error::BusError;
use super::names::Names;
use super::options::{NatsIdentity, NatsOptions};
use super::version;

/// A server that does not answer this fast is not the one to wait for: there may be others.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Two of these without an answer, and the server is taken for dead.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// What a message must be able to hold: a long line with everything around it.
const PAYLOAD_MIN: usize = 64 << 10;

/// Connects, or says why it could not be done. The client connects again by itself later.
pub(super) async fn connect(
    options: &NatsOptions,
    names: &Names,
) -> Result<(Client, UnboundedReceiver<Event>), BusError> {
    let (events, heard) = unbounded_channel();
    let addresses = addresses(names)?;
    let prepared = prepared(options, events).await?;
    let prepared = match login(options, names)? {
        None => prepared,
        Some(Login::UserSession(user, password)) => prepared.user_and_password(user, password),
        Some(Login::Token(token)) => prepared.token(token),
    };
    let client = prepared.connect(addresses).await.map_err(|error| failed(&error, names))?;
    Ok((client, heard))
}

/// The login of a node at the servers, if it has no file of credentials.
#[derive(PartialEq, Eq)]
enum Login {
    UserSession(String, String),
    Token(String),
}

/// Returns the login that the addresses or `--bus-login` give: a user with a password, or a token
/// alone. The client takes no notice of addresses, and has one login for all servers.
fn login(options: &NatsOptions, names: &Names) -> Result<Option<Login>, BusError> {
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut logins = Vec::new();
    let servers = options.servers.reveal().split(',').zip(names.servers.split(','));
    for (address, shown) in servers.filter(|(address, _)| address.contains('@')) {
        let parsed: Result<ServerAddr, _> = address.parse();
        let parsed = parsed.map_err(|_| BusError::Servers { address: shown.to_owned() })?;
        let Some(user) = parsed.username() else { continue };
        logins.push(match parsed.password() {
            Some(password) => Login::UserSession(plain(user), plain(password)),
            None => Login::Token(plain(user)),
        });
    }
    logins.extend(options.login.as_ref().map(|login| match login.reveal().split_once(':') {
        Some((user, password)) => Login::UserSession(user.to_owned(), password.to_owned()),
        None => Login::Token(login.reveal().to_owned()),
    }));
    logins.dedup();
    if logins.len() > 1 {
        return Err(BusError::Logins);
    }
    Ok(logins.pop())
}

/// The addresses one by one, because the client takes a list for one address; and without logins,
/// so that its own log shows none.
fn addresses(names: &Names) -> Result<Vec<ServerAddr>, BusError> {
    let parsed = names
        .servers
        .split(',')
        .map(|shown| shown.parse().map_err(|_| BusError::Servers { address: shown.to_owned() }));
    parsed.collect()
}

async fn prepared(
    options: &NatsOptions,
    events: UnboundedSender<Event>,
) -> Result<ConnectOptions, BusError> {
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
            // Nobody hears it where the driver has just begun again.
            let _ = events.send(event);
            std::future::ready(())
        });
    let connect = with_certificates(connect, options).await?;
    let Some(path) = &options.credentials else { return Ok(connect) };
    let unusable =
        |error: io::Error| BusError::Credentials { path: path.clone(), reason: error.to_string() };
    connect.credentials_file(path).await.map_err(unusable)
}

/// The client itself would take a file without any certificate for one that trusts nobody.
async fn with_certificates(
    mut connect: ConnectOptions,
    options: &NatsOptions,
) -> Result<ConnectOptions, BusError> {
    // Who cares for certificates does not want to talk without.
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

/// Whether the file has such a part.
async fn look_for(what: &str, path: &Path) -> Result<(), BusError> {
    let text = tokio::fs::read_to_string(path).await.map_err(|error| error.to_string());
    let found = text.and_then(|text| match text.contains(what) {
        true => Ok(()),
        false => Err(format!("it has no '-----BEGIN … {what}', so it is not the PEM file meant")),
    });
    found.map_err(|reason| BusError::Certificates { path: path.to_owned(), reason })
}

fn failed(error: &ConnectError, names: &Names) -> BusError {
    let (servers, reason) = (names.servers.clone(), reason(error));
    match error.kind() {
        ConnectErrorKind::ServerParse => BusError::Servers { address: servers },
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            BusError::Refused { servers, reason }
        }
        ConnectErrorKind::Tls => BusError::Tls { servers, reason },
        // The handshake's own errors come as those of the connection.
        _ if below(error).any(is_of_tls) => BusError::Tls { servers, reason },
        _ => BusError::Unreachable { servers, reason },
    }
}

/// Whether it is an error of the connection that TLS made.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<rustls::Error>())
}

/// The errors below this one.
fn below(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

/// An error with those below it, each said once.
pub(super) fn reason(error: &dyn Error) -> String {
    below(error).fold(error.to_string(), |text, below| {
        let below = below.to_string();
        if text.contains(&below) { text } else { format!("{text}: {below}") }
    })
}

/// Tells the log which server it is and what is known about such a one.
pub(super) fn introduce(client: &Client) {
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
