//! Tests with NATS servers that require authentication: TLS with private certificates on both
//! sides, and credentials. Without a `nats-server` the tests print that they are skipped.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

#[allow(dead_code)]
#[path = "../../echoline-chat-nats/tests/nats/server.rs"]
mod server;

mod programs;
mod web_harness;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use programs::{Ended, run, write_secret};
use server::NatsServer;
use web_harness::WebChat;

fn doctor(url: &str, flags: &[&str]) -> Ended {
    run(&[&["chat", "doctor", "--bus", url], flags].concat(), b"")
}

/// Checks that two nodes can talk over the server with these flags.
fn talk(url: &str, flags: &[&str]) {
    let found = doctor(url, flags);
    assert!(found.text().ends_with("No problem was found.\n"), "{}{}", found.text(), found.stderr);
    let machine =
        |name| WebChat::start(&[&["--bus", url, "--node", name, "--replay", "0"], flags].concat());
    let (east, west) = (machine("east"), machine("west"));
    let mut ann = east.terminal("ann");
    let mut ben = west.terminal("ben");
    ann.hear("*** ben joined the chat ***");
    ann.say("hello");
    ben.hear("ann: hello");
}

/// Checks that a chat is refused with this exit code, and with a message that contains `words`.
#[track_caller]
fn refused(url: &str, flags: &[&str], words: &str) {
    let all = [&["chat", "--listen", "127.0.0.1:0", "--bus", url], flags].concat();
    let found = run(&all, b"");
    assert_eq!(found.code(), Some(1), "{}", found.stderr);
    assert!(found.stderr.contains(words), "{}", found.stderr);
    assert!(!found.stderr.contains("panicked"), "{}", found.stderr);
}

#[test]
fn private_certificates_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let made = run(&["cert", "--ca", "--out", folder.path().to_str().unwrap()], b"");
    assert_eq!(made.code(), Some(0), "{}", made.stderr);
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client-key.pem"));
    let flags = |store: &str| {
        let mut flags = vec!["--jetstream".to_owned(), format!("--store_dir={store}")];
        flags.extend(["--tls".to_owned(), "--tlsverify".to_owned()]);
        flags.push(format!("--tlscert={}", file("server.pem")));
        flags.push(format!("--tlskey={}", file("server-key.pem")));
        flags.push(format!("--tlscacert={ca}"));
        flags
    };
    let Some(server) = NatsServer::start_with(flags) else { return };
    let url = server.url().replace("nats://", "tls://");
    talk(&url, &["--bus-ca", &ca, "--bus-cert", &cert, "--bus-key", &key]);
    let both = file("both.pem");
    let text = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    write_secret(&both, text("client-key.pem") + &text("client.pem"));
    let known = doctor(&url, &["--bus-ca", &ca, "--bus-cert", &both]);
    assert_eq!(known.code(), Some(0), "{}", known.text());
    // The NATS server's certificate is not signed by a system authority, and a client without a
    // certificate is refused.
    refused(&url, &[], "there is no TLS with the NATS server at tls://127.0.0.1:");
    refused(&url, &["--bus-ca", &ca], "NATS server");
    // Files that are missing or have the wrong content.
    let nowhere = file("nowhere.pem");
    refused(&url, &["--bus-ca", &nowhere], "nowhere.pem cannot be used for TLS: No such file");
    refused(&url, &["--bus-ca", &key], "it has no '-----BEGIN … CERTIFICATE-----'");
    refused(&url, &["--bus-ca", &ca, "--bus-cert", &cert], "it has no '-----BEGIN … PRIVATE KEY");
}

/// A client that requires TLS does not connect without it.
#[test]
fn refuses_a_server_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let made = run(&["cert", "--out", folder.path().to_str().unwrap()], b"");
    assert_eq!(made.code(), Some(0), "{}", made.stderr);
    let Some(server) = NatsServer::start() else { return };
    let url = server.url();
    let sentence = "or connect without TLS if the server has none";
    refused(&url.replace("nats://", "tls://"), &[], sentence);
    let ca = folder.path().join("server.pem");
    refused(&url, &["--bus-ca", ca.to_str().unwrap()], sentence);
}

/// Returns a token in the format of `nsc`, signed by `by`.
fn token(by: &KeyPair, name: &str, about: &KeyPair, claims: &Value) -> String {
    let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let body = json!({
        "jti": name, "iat": 1_700_000_000, "iss": by.public_key(), "sub": about.public_key(),
        "name": name, "nats": claims,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&head), part(&body));
    let signature = by.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn write_credentials(path: &Path, token: &str, user: &KeyPair) {
    let seed = user.seed().unwrap();
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    write_secret(path, text);
}

#[test]
fn logs_in_with_credentials() {
    let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
    let (user, stranger) = (KeyPair::new_user(), KeyPair::new_user());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (config, credentials, other) = (path("config"), path("me.creds"), path("other.creds"));
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1,
        "consumer": -1,
    });
    let system = KeyPair::new_account();
    let of_operator = json!({
        "type": "operator", "version": 2, "system_account": system.public_key(),
    });
    let system_limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1,
    });
    let of_account = json!({ "type": "account", "version": 2, "limits": limits });
    let of_user = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let operator_token = token(&operator, "O", &operator, &of_operator);
    let account_token = token(&operator, "A", &account, &of_account);
    let of_system = json!({ "type": "account", "version": 2, "limits": system_limits });
    let system_token = token(&operator, "SYS", &system, &of_system);
    let (account_key, system_key) = (account.public_key(), system.public_key());
    write_secret(
        &config,
        format!(
            "operator: {operator_token}\nsystem_account: {system_key}\nresolver: MEMORY\n\
             resolver_preload: {{ {account_key}: {account_token}, {system_key}: {system_token} }}\n"
        ),
    );
    write_credentials(credentials.as_ref(), &token(&account, "me", &user, &of_user), &user);
    // Credentials that are signed with a foreign key instead of the operator's.
    write_credentials(other.as_ref(), &token(&stranger, "x", &stranger, &of_user), &stranger);
    let flags = |store: &str| {
        ["--jetstream", &format!("--store_dir={store}"), "--config", &config]
            .map(str::to_owned)
            .to_vec()
    };
    let Some(server) = NatsServer::start_with(flags) else { return };
    let url = server.url();
    talk(&url, &["--bus-credentials", &credentials]);
    let sentence = "refuses the login";
    refused(&url, &[], sentence);
    refused(&url, &["--bus-credentials", &other], sentence);
    refused(&url, &["--bus-credentials", &config], "cannot be used");
}

#[test]
fn a_user_and_a_password_in_the_address() {
    let flags = |store: &str| {
        ["--jetstream", &format!("--store_dir={store}"), "--user=tea", "--pass=p@t"]
            .map(str::to_owned)
            .to_vec()
    };
    let Some(server) = NatsServer::start_with(flags) else { return };
    let url = server.url();
    talk(&url.replace("//", "//tea:p%40t@"), &[]);
    let found = doctor(&url.replace("//", "//tea:cup@"), &[]);
    assert_eq!(found.code(), Some(3));
    assert!(!found.text().contains("cup"), "the output contains the password: {}", found.text());
    refused(&url, &[], "refuses the login");
    let (one, other) = (url.replace("//", "//tea:x@"), url.replace("//", "//ann:x@"));
    refused(&format!("{one},{other}"), &[], "name different users");
}

#[test]
fn a_token_in_the_address() {
    let flags = |store: &str| {
        ["--jetstream", &format!("--store_dir={store}"), "--auth=t0ken"].map(str::to_owned).to_vec()
    };
    let Some(server) = NatsServer::start_with(flags) else { return };
    talk(&server.url().replace("//", "//t0ken@"), &[]);
    refused(&server.url(), &[], "refuses the login");
}

/// Issue 12, item 2: no log, page, metric, error, help text or reload message shows the password of
/// the NATS server.
#[test]
fn attack_the_password_of_the_nats_server_is_shown_nowhere() {
    let flags = |store: &str| {
        ["--jetstream", &format!("--store_dir={store}"), "--user=tea", "--pass=sesame"]
            .map(str::to_owned)
            .to_vec()
    };
    let Some(server) = NatsServer::start_with(flags) else { return };
    let url = server.url().replace("//", "//tea:sesame@");
    let admin = format!("127.0.0.1:{}", server::free_port());
    let chat = ["chat", "--bus", &url, "--admin", &admin, "--listen", "127.0.0.1:0"];
    let mut command = programs::echoline(&[&chat[..], &["--log-level", "debug"]].concat());
    let chat = programs::Program::start(&mut command);
    chat.wait_for_stderr("joined the cluster at");
    programs::wait_for("the admin page", || std::net::TcpStream::connect(&admin).is_ok());
    let address = admin.parse().unwrap();
    for path in ["/", "/metrics", "/status.json"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        let (head, page) = web_harness::ask(address, &request);
        assert!(!page.contains("sesame"), "{path}: {head}\n{page}");
    }
    let log = chat.stderr();
    assert!(log.contains("joined the cluster at nats://***@127.0.0.1:"), "{log}");
    assert_eq!(log.matches("the login of the NATS servers is on the command line").count(), 1);
    assert!(!log.contains("sesame"), "{log}");
    drop(chat);
    // Errors, and the output of a check and of --help.
    let closed = format!("nats://tea:sesame@127.0.0.1:{}", server::free_port());
    for arguments in [
        &["chat", "--bus", &closed, "--bus-timeout", "1s"][..],
        &["chat", "--check", "--bus", &url],
        &["chat", "--check", "--bus", &closed],
        &["chat", "--bus", "nats://tea:sesame@127.0.0.1:1/x"],
        &["chat", "doctor", "--bus", &closed],
        &["chat", "doctor", "--bus", "tea:sesame@127.0.0.1"],
        &["chat", "--data", "x", "--bus", &url],
    ] {
        let ended = run(arguments, b"");
        assert!(!(ended.text() + &ended.stderr).contains("sesame"), "{arguments:?}: {ended:?}");
    }
    for help in [&["chat", "--help"][..], &["chat", "doctor", "--help"]] {
        let mut command = programs::echoline(help);
        let help = programs::Program::start(command.env("ECHOLINE_BUS", &url)).finish();
        assert!(help.text().contains("--bus <URL>") && !help.text().contains("sesame"));
    }
}

/// Issue 12, item 2: a password in a file or in the environment works, without a warning.
#[test]
fn attack_a_password_need_not_be_an_argument() {
    let flags = |store: &str| {
        ["--jetstream", &format!("--store_dir={store}"), "--user=tea", "--pass=s:same"]
            .map(str::to_owned)
            .to_vec()
    };
    let Some(server) = NatsServer::start_with(flags) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("login");
    let file = path.to_str().unwrap();
    write_secret(&path, "tea:s:same\n");
    talk(&server.url(), &["--bus-login", file]);
    let mut command = programs::echoline(&["chat", "doctor"]);
    command.env("ECHOLINE_BUS", server.url().replace("//", "//tea:s%3Asame@"));
    let found = programs::Program::start(&mut command).finish();
    assert_eq!(found.code(), Some(0), "{found:?}");
    assert!(!found.text().contains("command line"), "{found:?}");
    write_secret(&path, "\n");
    refused(&server.url(), &["--bus-login", file], "its first line is empty");
    std::fs::remove_file(&path).unwrap();
    refused(&server.url(), &["--bus-login", file], "cannot read --bus-login");
    write_secret(&path, "ann:other\n");
    let url = server.url().replace("//", "//tea:s%3Asame@");
    refused(&url, &["--bus-login", file], "name different users");
    refused(&server.url(), &["--bus-login", file], "refuses the login");
}
