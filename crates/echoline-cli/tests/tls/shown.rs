//! Tests of the certificates that client and server present to each other.

use std::time::SystemTime;

use echoline::tls::{ClientAuth, Identity};
use echoline::transport::Stream;
use echoline::{Closed, Limits};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pairs::{Authority, Kind};
use crate::served::{Handler, Served, localhost};

fn identity(authority: &Authority, kind: Kind) -> Identity {
    let pair = authority.sign("somebody", kind);
    Identity::load(&pair.cert, &pair.key, SystemTime::now()).unwrap()
}

async fn heard(stream: Stream) -> Result<String, String> {
    let mut text = String::new();
    let mut stream = stream;
    stream.read_to_string(&mut text).await.map_err(|error| error.to_string())?;
    Ok(text)
}

/// The handler gets the version, cipher, server name and client subject, in both TLS versions.
#[tokio::test]
async fn the_handler_gets_the_negotiated_parameters() {
    for (version, begin) in [(&TLS12, "TLSv1.2 TLS_ECDHE_ECDSA_"), (&TLS13, "TLSv1.3 TLS_AES_")] {
        let served = Served::plain(Handler::Facts).await;
        let connecting = served.connector(version).connect(localhost(), served.socket().await);
        let mut client = connecting.await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with(begin), "{text}");
        assert!(text.ends_with("nobody localhost\n"), "{text}");
        client.shutdown().await.unwrap();
        served.end().await;
    }
}

#[tokio::test]
async fn a_client_shows_a_certificate_of_the_authority_or_is_refused() {
    let served = Served::start(Handler::Facts, Limits::default(), ClientAuth::Required).await;
    let right = identity(&served.authority, Kind::Client);
    let text = heard(served.connect(Some(&right)).await.unwrap()).await.unwrap();
    assert!(text.contains(" CN=somebody localhost"), "{text}");
    // In TLS 1.3 a client learns only after the handshake that its certificate was refused.
    let without = heard(served.connect(None).await.unwrap()).await.unwrap_err();
    assert!(without.contains("give one with --cert FILE"), "{without}");
    let stranger = identity(&Authority::new(), Kind::Client);
    let wrong = heard(served.connect(Some(&stranger)).await.unwrap()).await.unwrap_err();
    assert!(wrong.contains("does not trust our certificate"), "{wrong}");
    let report = served.end().await;
    assert_eq!(report.count(Closed::HandshakeFailed), 2, "{report:?}");
    assert_eq!(report.count(Closed::Finished) + report.count(Closed::EndOfStream), 1);
}

#[tokio::test]
async fn a_certificate_that_is_only_asked_for_may_be_missing_but_not_wrong() {
    let served = Served::start(Handler::Facts, Limits::default(), ClientAuth::Requested).await;
    let without = heard(served.connect(None).await.unwrap()).await.unwrap();
    assert!(without.contains(" nobody localhost"), "{without}");
    let stranger = identity(&Authority::new(), Kind::Client);
    heard(served.connect(Some(&stranger)).await.unwrap()).await.unwrap_err();
    served.end().await;
}

#[tokio::test]
async fn a_client_trusts_only_its_authorities() {
    let served = Served::plain(Handler::Lines).await;
    let other = Served::plain(Handler::Lines).await;
    let error = served_by_another(&served, &other).await;
    assert!(error.contains("--ca FILE") && error.contains("--insecure"), "{error}");
    served.end().await;
    other.end().await;
}

/// Connects a client that trusts the authority of `served` to `other`.
async fn served_by_another(served: &Served, other: &Served) -> String {
    use echoline::tls::{Authorities, Resumption, TlsClient, Trust};
    use echoline::transport::{Origin, Transport};
    let trust = Trust::Authorities(Authorities::load(&served.authority.ca()).unwrap());
    let client = TlsClient::new(&trust, None, Resumption::Off).unwrap();
    let transport = Transport::plain().then(client.step("localhost").unwrap());
    let mut origin = Origin::default();
    transport.open(other.socket().await.into(), &mut origin).await.unwrap_err();
    origin.failure.unwrap()
}
