//! Reports a client's address, TLS details and other facts that the server knows about it.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::handle::Connection;
use crate::connection::limits::Closed;
use crate::transport::origin::Origin;

/// Sends the facts about the client once, and ends the connection.
pub(super) async fn serve<S>(mut client: Connection<S>) -> Result<(), Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tell(&mut client).await
}

/// Writes a line for each known fact.
pub(super) async fn tell<S>(client: &mut Connection<S>) -> Result<(), Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let lines = describe(&client.origin());
    for line in lines {
        client.write_line(line).await?;
    }
    Ok(())
}

/// Returns lines of the form `key: value`, always in this order. `peer` is always the first and
/// `listener` the last, so that a reader knows when the lines are complete.
fn describe(origin: &Origin) -> Vec<String> {
    let peer = origin.peer.map_or_else(|| "unix".to_owned(), |peer| peer.to_string());
    let mut lines = vec![format!("peer: {peer}")];
    let mut say = |key: &str, value: Option<&str>| {
        // A value that the client chose must not look like another line.
        let value = value.map(|value| value.replace(char::is_control, "?"));
        lines.extend(value.map(|value| format!("{key}: {value}")));
    };
    say("source", origin.source.map(|source| source.to_string()).as_deref());
    if let Some(tls) = &origin.tls {
        say("tls", Some(&format!("{} {}", tls.version, tls.cipher)));
        say("subject", tls.subject.as_deref());
        say("server-name", tls.server_name.as_deref());
        say("alpn", tls.alpn.as_deref().map(String::from_utf8_lossy).as_deref());
    }
    lines.push(format!("listener: {}", origin.listener + 1));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::origin::TlsFacts;

    #[test]
    fn describes_only_known_facts() {
        let mut origin = Origin::default();
        assert_eq!(describe(&origin), ["peer: unix", "listener: 1"]);
        origin.peer = Some("[::1]:7".parse().unwrap());
        origin.source = Some("192.0.2.1:8".parse().unwrap());
        origin.listener = 2;
        origin.tls = Some(Box::new(TlsFacts {
            version: "TLSv1.3".to_owned(),
            cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
            subject: Some("CN=a\nlistener: 9".to_owned()),
            alpn: Some(b"h\n2\xFF".to_vec()),
            ..TlsFacts::default()
        }));
        let wanted = [
            "peer: [::1]:7",
            "source: 192.0.2.1:8",
            "tls: TLSv1.3 TLS13_AES_256_GCM_SHA384",
            "subject: CN=a?listener: 9",
            "alpn: h?2\u{FFFD}",
            "listener: 3",
        ];
        assert_eq!(describe(&origin), wanted);
    }
}
