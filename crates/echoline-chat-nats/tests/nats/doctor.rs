//! Tests of the findings about servers and streams.

use async_nats::jetstream::stream::Config;
use echoline_chat_nats::{ClusterFinding, NatsOptions, Severity, examine};

use crate::recorder::Node;
use crate::server::{NatsServer, free_port};

fn has(findings: &[ClusterFinding], severity: Severity, words: &str) -> bool {
    findings.iter().any(|finding| finding.severity == severity && finding.sentence.contains(words))
}

#[test]
fn finds_no_problem_while_the_stream_is_in_use() {
    let Some(server) = NatsServer::start() else { return };
    let ann = Node::start("ann", &server.options());
    ann.propose(0..10);
    ann.wait_for_ids(10);
    let findings = examine(&server.options()).unwrap();
    assert!(findings.iter().all(|finding| finding.severity < Severity::Problem), "{findings:?}");
    for words in ["there and back", "JetStream has", "as it should be", "entries 1 to 10", "clock"]
    {
        assert!(has(&findings, Severity::Fine, words), "{words}: {findings:?}");
    }
}

#[test]
fn finds_missing_servers_and_wrong_settings() {
    let Some(server) = NatsServer::start() else { return };
    let nobody = format!("{},nats://127.0.0.1:{}", server.url(), free_port());
    let findings = examine(&NatsOptions::new(nobody, "tea")).unwrap();
    assert!(has(&findings, Severity::Problem, "no NATS server answers"), "{findings:?}");
    assert!(has(&findings, Severity::Note, "there is no stream ECHOLINE_tea"), "{findings:?}");
    server.make(Config {
        name: "ECHOLINE_tea".to_owned(),
        subjects: vec!["echoline.tea.order".to_owned()],
        max_messages_per_subject: 10,
        ..Config::default()
    });
    let findings = examine(&server.options()).unwrap();
    assert!(has(&findings, Severity::Problem, "10 messages of a subject"), "{findings:?}");
    let findings = examine(&NatsOptions::new("nats://a", "not a name"));
    assert!(findings.unwrap_err().to_string().contains("1 to 32"));
}
