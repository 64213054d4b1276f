//! Several certificates, ALPN, settings of rustls itself, and the certificate of the peer.

use std::sync::Arc;

use echoline::proxy::{AcceptProxy, ProxySource, ProxyVersion, SendProxy};
use echoline::tls::rustls::client::Resumption as Sessions;
use echoline::tls::rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use echoline::tls::rustls::{ClientConfig, SignatureScheme};
use echoline::tls::{
    AltName, Certificates, ClientAuth, Fingerprint, Identity, Resumption, TlsClient, TlsError,
    TlsServerConfig, Trust, UnknownName,
};
use echoline::transport::{Origin, Step, Transport};
use echoline::{Closed, Connection};
use tokio::net::UnixStream;

use crate::certificates::Authority;
use crate::{Served, line};

/// Says what the server knows, and waits for the end.
async fn tell(mut client: Connection) -> Result<(), Closed> {
    let tls = client.tls().unwrap();
    let alpn = tls.alpn.as_deref().unwrap_or(b"none").escape_ascii().to_string();
    let name = tls.server_name.as_deref().unwrap_or("none").to_owned();
    let certificate = tls.peer_certificate().map_or_else(
        || "none".to_owned(),
        |one| format!("{} {:?} {}", one.subject().unwrap(), one.alt_names(), one.fingerprint()),
    );
    client.write_line(format!("alpn {alpn}, name {name}, certificate {certificate}")).await?;
    client.flush().await?;
    while client.read_line().await?.is_some() {}
    Ok(())
}

fn accept(config: TlsServerConfig) -> [Arc<dyn Step>; 1] {
    [Certificates::new(config).step()]
}

fn client(authority: &Authority) -> TlsClient {
    let trust = Trust::Authorities(authority.trusted());
    TlsClient::new(&trust, None, Resumption::Off).unwrap()
}

/// Returns the first DNS name in the certificate that the server shows to a client that asks for
/// `name`, or the sentence of the failure.
async fn shown(server: &Served, client: &TlsClient, name: &str) -> String {
    let server = match server.connect([client.step(name).unwrap()]).await {
        Ok(server) => server,
        Err(sentence) => return sentence,
    };
    let names = server.tls().unwrap().peer_certificate().unwrap().alt_names();
    match names.into_iter().next() {
        Some(AltName::Dns(name)) => name,
        other => format!("{other:?}"),
    }
}

/// Issue 15, item 5.
#[tokio::test]
async fn a_server_shows_the_certificate_for_the_requested_name() {
    let authority = Authority::new();
    let identities = [
        authority.sign("first", &["first.example", "127.0.0.1"]),
        authority.sign("wild", &["*.b.example", "B.example"]),
        authority.sign("exact", &["exact.b.example"]),
    ];
    let config =
        |unknown| TlsServerConfig::by_server_name(&identities, unknown, &ClientAuth::Off).unwrap();
    let client = client(&authority);
    for unknown in [UnknownName::FirstCertificate, UnknownName::Refuse] {
        let server = Served::start("tls", accept(config(unknown)), tell).await;
        for (asked, wanted) in [
            ("first.example", "first.example"),
            ("FIRST.example", "first.example"),
            ("a.b.example", "*.b.example"),
            ("b.example", "*.b.example"),
            ("exact.b.example", "exact.b.example"),
        ] {
            assert_eq!(shown(&server, &client, asked).await, wanted, "{asked}");
        }
        // A wildcard replaces one label, and a client does not ask for an IP address.
        for asked in ["a.a.b.example", "unknown.example", "example"] {
            let answer = shown(&server, &client, asked).await;
            let wanted = match unknown {
                UnknownName::Refuse => "the server has no certificate for the requested name",
                _ => "the server's certificate is for first.example, 127.0.0.1 and not for",
            };
            assert!(answer.starts_with(wanted), "{asked}: {answer}");
        }
        let bare = shown(&server, &client, "127.0.0.1").await;
        assert_eq!(bare == "first.example", unknown == UnknownName::FirstCertificate, "{bare}");
        let report = server.end().await;
        let refused = report.count(Closed::HandshakeFailed);
        assert_eq!(refused, if unknown == UnknownName::Refuse { 4 } else { 3 }, "{report:?}");
    }
}

/// Each side says why a handshake failed, in the words of its own side.
#[tokio::test]
async fn both_sides_explain_a_refused_handshake() {
    let authority = Authority::new();
    let identity = authority.sign("server", &["a.example"]);
    let config = TlsServerConfig::by_server_name(
        std::slice::from_ref(&identity),
        UnknownName::Refuse,
        &ClientAuth::Off,
    );
    let server = Certificates::new(config.unwrap().alpn(["echo/1"]).unwrap()).step();
    let client = client(&authority).alpn(["echo/2"]).unwrap();
    for (name, server_says, client_says) in [
        ("b.example", "no name that a certificate of the server has", "no certificate for the"),
        ("127.0.0.1", "no name that a certificate of the server has", "no certificate for the"),
        ("a.example", "none of the server's ALPN protocols", "none of the offered ALPN protocols"),
    ] {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut own, mut its) = (Origin::default(), Origin::default());
        let step = client.step(name).unwrap();
        let (opened, connected) =
            tokio::join!(server.open(here.into(), &mut own), step.open(there.into(), &mut its));
        assert_eq!(
            (opened.err(), connected.err()),
            (Some(Closed::HandshakeFailed), Some(Closed::HandshakeFailed))
        );
        let (own, its) = (own.failure.unwrap(), its.failure.unwrap());
        assert!(own.contains(server_says) && its.contains(client_says), "{own}; {its}");
    }
}

#[tokio::test]
async fn a_client_gets_the_certificate_whose_key_it_can_verify() {
    let authority = Authority::new();
    let name = "a.example";
    let (first, _) = authority.sign_with("modern", &[name, "modern"], &rcgen::PKCS_ED25519);
    let second = authority.sign("common", &[name, "common"]);
    let config =
        TlsServerConfig::by_server_name(&[first, second], UnknownName::Refuse, &ClientAuth::Off);
    let server = Served::start("tls", accept(config.unwrap()), tell).await;
    let modern = client(&authority);
    let provider = aws_lc_rs::default_provider();
    let all = provider.signature_verification_algorithms;
    let known: Vec<_> = all
        .mapping
        .iter()
        .copied()
        .filter(|(scheme, _)| *scheme != SignatureScheme::ED25519)
        .collect();
    let signature_verification_algorithms =
        WebPkiSupportedAlgorithms { all: all.all, mapping: Box::leak(known.into_boxed_slice()) };
    let provider = CryptoProvider { signature_verification_algorithms, ..provider };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots());
    let old = TlsClient::from_rustls(config.with_no_client_auth());
    for (client, subject) in [(&modern, "CN=modern"), (&old, "CN=common")] {
        let server = server.connect([client.step(name).unwrap()]).await.unwrap();
        assert!(server.tls().unwrap().subject.as_deref().unwrap().contains(subject));
    }
    server.end().await;
}

#[test]
fn a_certificate_that_no_client_can_get_is_refused() {
    let authority = Authority::new();
    let named = authority.sign("named", &["a.example"]);
    let nameless = authority.sign("nameless", &["127.0.0.1"]);
    let by_name = |identities: &[Identity], unknown| {
        TlsServerConfig::by_server_name(identities, unknown, &ClientAuth::Off)
    };
    let pair = [nameless.clone(), named.clone()];
    by_name(&pair, UnknownName::FirstCertificate).unwrap();
    for (identities, unknown) in
        [(&pair, UnknownName::Refuse), (&[named, nameless], UnknownName::FirstCertificate)]
    {
        let error = by_name(identities, unknown).unwrap_err();
        assert!(matches!(&error, TlsError::Nameless(subject) if subject.contains("nameless")));
        assert!(error.to_string().contains("has no DNS name"), "{error}");
    }
    assert!(by_name(&[], UnknownName::Refuse).is_err());
}

#[tokio::test]
async fn both_sides_agree_on_an_application_protocol() {
    let authority = Authority::new();
    let identity = authority.sign("server", &["localhost"]);
    let config = TlsServerConfig::new(&identity, &ClientAuth::Off).unwrap();
    let config = config.alpn(["echo/2", "echo/1"]).unwrap();
    let server = Served::start("tls", accept(config), tell).await;
    let client = client(&authority);
    for (offered, chosen) in [
        (&["echo/1", "x", "echo/2"][..], Some("echo/2")),
        (&["echo/1"], Some("echo/1")),
        (&[], None),
    ] {
        let step = client.clone().alpn(offered.iter().copied()).unwrap().step("localhost").unwrap();
        let mut server = server.connect([step]).await.unwrap();
        let told = line(&mut server).await;
        let wanted = format!("alpn {}, name localhost,", chosen.unwrap_or("none"));
        assert!(told.starts_with(&wanted), "{told}");
        assert_eq!(server.tls().unwrap().alpn.as_deref(), chosen.map(str::as_bytes));
    }
    let step = client.clone().alpn(["other"]).unwrap().step("localhost").unwrap();
    let refused = server.connect([step]).await.unwrap_err();
    assert_eq!(refused, "the server speaks none of the offered ALPN protocols");
    assert_eq!(server.end().await.count(Closed::HandshakeFailed), 1);

    let long = "x".repeat(256);
    for wrong in ["", &long] {
        let error = client.clone().alpn(["a", wrong]).unwrap_err();
        assert!(matches!(error, TlsError::BadProtocol(_)), "{error}");
    }
    assert!(client.clone().alpn(vec!["x".repeat(255); 256]).is_err(), "longer than 64 KiB");
    assert!(client.alpn(["x".repeat(255)]).is_ok());
}

/// The handler sees the whole certificate of its client, and no certificate of a client that has
/// none. A client that resumes its session has the certificate of the first handshake.
#[tokio::test]
async fn a_handler_reads_the_certificate_of_its_client() {
    let authority = Authority::new();
    let identity = authority.sign("server", &["localhost"]);
    let clients = ClientAuth::Requested(authority.trusted());
    let config = TlsServerConfig::new(&identity, &clients).unwrap();
    let server = Served::start("tls", accept(config), tell).await;
    let names = ["alice.example", "192.0.2.1", "spiffe://example/alice"];
    let (alice, der) = authority.sign_with("alice", &names, &rcgen::PKCS_ECDSA_P256_SHA256);
    let wanted = [
        AltName::Dns("alice.example".to_owned()),
        AltName::Ip([192, 0, 2, 1].into()),
        AltName::Uri("spiffe://example/alice".to_owned()),
    ];
    assert_eq!(alice.alt_names(), wanted);
    let fingerprint = Fingerprint::of(&der);
    let trust = Trust::Authorities(authority.trusted());
    let client = TlsClient::new(&trust, Some(&alice), Resumption::On).unwrap();
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut server = server.connect([client.step("localhost").unwrap()]).await.unwrap();
        let told = line(&mut server).await;
        assert!(told.contains("CN=alice"), "{told}");
        assert!(told.ends_with(&format!(" {wanted:?} {fingerprint}")), "{told}");
        // The client knows the server in the same way, and has its ticket now.
        assert!(server.tls().unwrap().subject.as_deref().unwrap().contains("CN=server"));
        kinds.push(server.tls().unwrap().certificates.len());
    }
    assert_eq!(kinds, [1, 1]);
    let anonymous = TlsClient::new(&trust, None, Resumption::Off).unwrap();
    let mut anonymous = server.connect([anonymous.step("localhost").unwrap()]).await.unwrap();
    assert!(line(&mut anonymous).await.ends_with("certificate none"));
    drop(anonymous);
    server.end().await;
}

/// The settings of rustls that the crate has made are changed, and used again.
#[tokio::test]
async fn settings_of_rustls_are_used_as_they_are() {
    let authority = Authority::new();
    let identity = authority.sign("server", &["localhost"]);
    let ours = TlsServerConfig::new(&identity, &ClientAuth::Off).unwrap();
    let mut config = (**ours.rustls()).clone();
    config.alpn_protocols = vec![b"own".to_vec()];
    let certificates = Certificates::new(TlsServerConfig::from_rustls(config));
    assert_eq!((certificates.subjects().len(), certificates.expires()), (0, None));
    let server = Served::start("tls", [certificates.step()], tell).await;
    let mut config = (**client(&authority).rustls()).clone();
    config.alpn_protocols = vec![b"own".to_vec()];
    config.resumption = Sessions::disabled();
    let step = TlsClient::from_rustls(Arc::new(config)).step("localhost").unwrap();
    let mut client = server.connect([step]).await.unwrap();
    assert!(line(&mut client).await.starts_with("alpn own,"));
    drop(client);
    certificates.replace(ours);
    assert!(certificates.subjects()[0].contains("CN=server"));
    server.end().await;
}

/// Issue 15, item 5: after an upgrade in the middle of a dialogue the facts of the first handshake
/// stay, and those of TLS are added. The client has the facts of its own upgrade.
#[tokio::test]
async fn an_upgrade_adds_the_facts_of_tls() {
    let authority = Authority::new();
    let identity = authority.sign("server", &["localhost"]);
    let config = TlsServerConfig::new(&identity, &ClientAuth::Off).unwrap();
    let tls = Arc::new(Transport::plain().then(Certificates::new(config).step()));
    let handler = move |mut client: Connection| {
        let tls = Arc::clone(&tls);
        async move {
            assert!(client.tls().is_none());
            client.write_line("go ahead").await?;
            let client = client.upgrade(&tls).await?;
            let source = client.proxy().unwrap().source().unwrap();
            assert_eq!(client.peer(), Some(source));
            tell(client).await
        }
    };
    let proxy = AcceptProxy::from_networks(vec!["127.0.0.0/8".parse().unwrap()]);
    let server = Served::start("tcp", [Arc::new(proxy) as Arc<dyn Step>], handler).await;
    let source = ProxySource::Address("192.0.2.1:4711".parse().unwrap());
    let header: Arc<dyn Step> = Arc::new(SendProxy::new(ProxyVersion::V2, source));
    let mut connection = server.connect([header]).await.unwrap();
    assert_eq!(line(&mut connection).await, "go ahead");
    assert!(connection.tls().is_none());
    let transport = Transport::plain().then(client(&authority).step("localhost").unwrap());
    let mut connection = connection.upgrade(&transport).await.unwrap();
    assert_eq!(connection.tls().unwrap().version, "TLSv1.3");
    assert!(line(&mut connection).await.starts_with("alpn none, name localhost"));
    drop(connection);
    assert_eq!(server.end().await.count(Closed::Panicked), 0);
}
