//! Tests that each refusal is a sentence that tells the user what to do.

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use echoline_chat_nats::{ClusterFinding, NatsOptions, Severity, examine};

use crate::recorder::Node;
use crate::server::{NatsServer, free_port, installed_version};

fn refusal(options: &NatsOptions) -> String {
    match Node::try_start("ann", options) {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn refuses_malformed_names_and_addresses() {
    let sentence = refusal(&NatsOptions::new("nats://127.0.0.1:1", "two words"));
    assert!(sentence.contains("'two words'") && sentence.contains("1 to 32"), "{sentence}");
    let sentence = refusal(&NatsOptions::new("http://127.0.0.1:1", "tea"));
    assert!(sentence.contains("nats://HOST:4222"), "{sentence}");
    let sentence = refusal(&NatsOptions::new("nats://127.0.0.1:many", "tea"));
    assert!(sentence.contains("nats://HOST:4222"), "{sentence}");
    let mut options = NatsOptions::new("nats://127.0.0.1:1", "tea");
    options.credentials = Some("/nowhere/me.creds".into());
    let sentence = refusal(&options);
    assert!(sentence.contains("/nowhere/me.creds"), "{sentence}");
}

#[test]
fn refuses_a_server_that_does_not_answer() {
    let mut options = NatsOptions::new(format!("nats://127.0.0.1:{}", free_port()), "tea");
    options.start_timeout = Duration::from_millis(300);
    let sentence = refusal(&options);
    assert!(sentence.starts_with("no NATS server answers at nats://127.0.0.1:"), "{sentence}");
    assert!(sentence.contains("tried for 0 s"), "{sentence}");
    assert!(sentence.contains("nats-server -js"), "{sentence}");
}

#[test]
fn refuses_a_server_without_jetstream() {
    let Some(server) = NatsServer::start_with(|_| Vec::new()) else { return };
    let sentence = refusal(&server.options());
    assert!(sentence.contains("no JetStream"), "{sentence}");
}

#[test]
fn refuses_several_replicas_on_a_server_before_2_10_26() {
    let Some(version @ [2, ..=9, _]) = installed_version() else { return };
    let server = NatsServer::start().unwrap();
    let mut options = server.options();
    options.replicas = 3;
    let sentence = refusal(&options);
    let [major, minor, patch] = version;
    for words in [
        "3 replicas of the stream ECHOLINE_tea need NATS 2.10.26 or newer",
        &format!("the server is NATS {major}.{minor}.{patch}"),
        "--bus-replicas 1",
    ] {
        assert!(sentence.contains(words), "{words}: {sentence}");
    }
    let findings = examine(&options).unwrap();
    let found = |finding: &ClusterFinding| {
        finding.severity == Severity::Problem && finding.sentence == sentence
    };
    assert!(findings.iter().any(found), "{findings:?}");
    let stream = server.with(async |context| context.get_stream("ECHOLINE_tea").await);
    assert!(stream.is_err(), "the refused start created a stream");
}

#[test]
fn refuses_a_stream_with_other_settings() {
    let Some(server) = NatsServer::start() else { return };
    server.make(Config {
        name: "ECHOLINE_tea".to_owned(),
        subjects: vec!["echoline.tea.order".to_owned()],
        max_age: Duration::from_secs(60),
        ..Config::default()
    });
    let sentence = refusal(&server.options());
    assert!(sentence.contains("ECHOLINE_tea") && sentence.contains("60s"), "{sentence}");
    assert!(sentence.contains("nats stream rm"), "{sentence}");
}
