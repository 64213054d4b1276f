//! What cannot work is refused in a sentence that says what to do.

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use echoline_chat::nats::NatsOptions;

use crate::recorder::Machine;
use crate::server::{Server, free_port};

fn refusal(options: &NatsOptions) -> String {
    match Machine::try_start("ann", options) {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn names_and_addresses_that_are_none() {
    let sentence = refusal(&NatsOptions::new("nats://127.0.0.1:1", "two words"));
    assert!(sentence.contains("'two words'") && sentence.contains("1 to 32"), "{sentence}");
    let sentence = refusal(&NatsOptions::new("http://127.0.0.1:1", "tea"));
    assert!(sentence.contains("nats://host:4222"), "{sentence}");
    let sentence = refusal(&NatsOptions::new("nats://127.0.0.1:many", "tea"));
    assert!(sentence.contains("nats://host:4222"), "{sentence}");
    let mut options = NatsOptions::new("nats://127.0.0.1:1", "tea");
    options.credentials = Some("/nowhere/me.creds".into());
    let sentence = refusal(&options);
    assert!(sentence.contains("/nowhere/me.creds"), "{sentence}");
}

#[test]
fn nobody_there() {
    let mut options = NatsOptions::new(format!("nats://127.0.0.1:{}", free_port()), "tea");
    options.start_timeout = Duration::from_millis(300);
    let sentence = refusal(&options);
    assert!(sentence.starts_with("no NATS server answers at nats://127.0.0.1:"), "{sentence}");
    assert!(sentence.contains("tried for 0 s"), "{sentence}");
    assert!(sentence.contains("nats-server -js"), "{sentence}");
}

#[test]
fn a_server_that_keeps_no_streams() {
    let Some(server) = Server::start_with(|_| Vec::new()) else { return };
    let sentence = refusal(&server.options());
    assert!(sentence.contains("no JetStream"), "{sentence}");
}

#[test]
fn a_stream_that_is_no_order() {
    let Some(server) = Server::start() else { return };
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
