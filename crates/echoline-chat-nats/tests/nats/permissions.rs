//! Tests of the server configuration in `packaging`: nodes have all rights that they need, and no
//! other user can write.

use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, Context};
use echoline_chat_nats::{NatsOptions, Severity, examine};

use crate::recorder::{Node, wait_for};
use crate::server::NatsServer;

/// The configuration from `packaging`. The test adds passwords, and a user of the chat's account
/// who may only read.
const CONFIG: &str = include_str!("../../../../packaging/nats-server.conf");
const READER: &str = r#"users: [
      {
        user: "reader"
        password: "reading"
        permissions: { publish: { allow: ["$JS.API.STREAM.INFO.>"] }, subscribe: { allow: [">"] } }
      }"#;

fn options(server: &NatsServer, login: &str) -> NatsOptions {
    let mut options = NatsOptions::new(server.url(), "chat");
    options.login = Some(login.into());
    options.max_entries = 100;
    options.heartbeat_interval = Duration::from_millis(50);
    options
}

/// Connects a client as this user. Returns `None` if the server refuses the login.
async fn client(server: &NatsServer, user: &str, password: &str) -> Option<Context> {
    let options = ConnectOptions::new().user_and_password(user.into(), password.into());
    let options = options.request_timeout(Some(Duration::from_secs(1)));
    let client = options.connect(server.url()).await.ok()?;
    Some(jetstream::new(client))
}

/// Tries all write operations as an attacker, and asserts that each fails.
async fn attack(jetstream: &Context, attacker: &str) {
    for subject in ["echoline.chat.order", "echoline.chat.snapshot.7.1.9.000000ab.1.00000000"] {
        let published = match jetstream.publish(subject, "forged".into()).await {
            Ok(published) => tokio::time::timeout(Duration::from_secs(1), published).await,
            Err(error) => Ok(Err(error)),
        };
        assert!(!matches!(published, Ok(Ok(_))), "{attacker} published to {subject}");
    }
    for subject in ["echoline.chat.pulse", "echoline.chat.digest"] {
        jetstream.client().publish(subject, "forged".into()).await.unwrap();
    }
    jetstream.client().flush().await.unwrap();
    for name in ["ECHOLINE_chat", "ECHOLINE_chat_SNAPSHOTS"] {
        if let Ok(stream) = jetstream.get_stream(name).await {
            assert!(stream.purge().await.is_err(), "{attacker} purged {name}");
            assert!(
                stream.delete_message(250).await.is_err(),
                "{attacker} removed a message of {name}"
            );
        }
        assert!(jetstream.delete_stream(name).await.is_err(), "{attacker} removed {name}");
        let config = jetstream::stream::Config {
            name: name.to_owned(),
            subjects: vec![">".to_owned()],
            ..Default::default()
        };
        assert!(jetstream.update_stream(config).await.is_err(), "{attacker} changed {name}");
    }
}

/// Issue 12, item 10: with this configuration the nodes work. A client without a login, a user of
/// another account, and a user with only read rights can neither publish nor purge.
#[test]
fn attack_only_the_nodes_write_on_the_shipped_server() {
    let folder = tempfile::tempdir().unwrap();
    let flags = |store: &str| {
        let config = folder.path().join("nats-server.conf");
        let text = CONFIG.replace("$ECHOLINE_BUS_PASSWORD", "\"node's\"");
        let text = text.replace("$OTHERS_PASSWORD", "\"other's\"").replace("/var/lib/nats", store);
        std::fs::write(&config, text.replacen("users: [", READER, 1)).unwrap();
        vec!["--config".to_owned(), config.to_str().unwrap().to_owned()]
    };
    let Some(server) = NatsServer::start_with(flags) else { return };
    let options = options(&server, "node:node's");
    let nodes = ["ann", "bob"].map(|name| Node::start(name, &options));
    for start in (0..300).step_by(20) {
        nodes[0].propose(start..start + 20);
        nodes.iter().for_each(|node| node.wait_for_ids(start + 20));
    }
    wait_for("a snapshot that reaches the stream", || {
        let findings = examine(&options).unwrap();
        findings.iter().all(|found| found.severity != Severity::Problem)
    });
    let late = Node::start("cat", &options);
    assert_eq!(late.ids(), nodes[0].ids());
    assert_eq!(late.driver.status().restores, 1);
    wait_for("heartbeats", || late.recorder.look().heard.len() == 3);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        assert!(client(&server, "node", "guessed").await.is_none());
        assert!(async_nats::connect(server.url()).await.is_err(), "a client without a login");
        for (user, password) in [("other", "other's"), ("reader", "reading")] {
            attack(&client(&server, user, password).await.unwrap(), user).await;
        }
        // Even a node has no right to remove entries.
        let node = client(&server, "node", "node's").await.unwrap();
        assert!(node.delete_stream("ECHOLINE_chat").await.is_err());
        assert!(node.get_stream("ECHOLINE_chat").await.unwrap().purge().await.is_err());
    });
    nodes[1].propose(0..20);
    for node in nodes.iter().chain([&late]) {
        node.wait_for_ids(320);
        assert!(!node.ids().contains(&"forged".to_owned()));
        assert_eq!(node.recorder.look().heard.len(), 3, "no forged heartbeat");
        assert_eq!(node.driver.status().resets, 0);
    }
}
