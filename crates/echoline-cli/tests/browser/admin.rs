//! Tests of the admin page in a real browser.

use std::io::{BufRead, BufReader, Write};

use serde_json::json;

use crate::programs::{EchoServer, serve, wait_for};
use crate::web_harness::ask;
use crate::web_harness::browser::Driver;

const SECRET: &str = "a-secret-for-a-browser";

/// Issue 12, item 11: a browser logs in with the secret and then sees the log. A page of another
/// site in this browser cannot use the login to change anything.
#[test]
fn attack_a_page_of_another_site_cannot_use_the_login_of_a_browser() {
    let Some(driver) = Driver::start() else { return };
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    writeln!(secret, "{SECRET}").unwrap();
    let path = secret.path().to_str().unwrap();
    let server = EchoServer::start(&[
        "--admin",
        "127.0.0.1:0",
        "--admin-secret-file",
        path,
        "--fault",
        "drop at=1000",
    ]);
    let admin = server.address.lines().find_map(|line| line.strip_prefix("admin ")).unwrap();
    let browser = driver.browser(1280, "en-US");
    browser.open(&format!("http://{admin}/"));
    browser.wait("document.getElementById('login') && !document.getElementById('log')", &json!([]));
    // This has the same effect as a user who types the secret when the browser asks for it. From
    // then on the browser sends the secret with each request.
    browser.open(&format!("http://any:{SECRET}@{admin}/login"));
    browser.wait("location.pathname === '/'", &json!([]));
    browser.open(&format!("http://{admin}/"));
    browser.wait("document.getElementById('log') && !document.getElementById('login')", &json!([]));
    // The page's own requests contain the login. Without the login, the fault plan would disappear
    // from the table.
    let rows = "document.getElementById('faults').textContent.includes('drop at=1000')";
    browser.wait(&format!("!document.getElementById('charts').hidden && {rows}"), &json!([]));

    let evil = serve(|mut stream| {
        let mut line = String::new();
        let _ = BufReader::new(&stream).read_line(&mut line);
        let page = "<!doctype html><title>evil</title>";
        let length = page.len();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
        let _ = write!(stream, "{head}Content-Length: {length}\r\n\r\n{page}");
    });
    browser.open(&format!("http://{evil}/"));
    let attack = "window.done = 0; const options = { method: 'POST', mode: 'no-cors', \
                  credentials: 'include', body: 'delay=1h' }; \
                  fetch(arguments[0], options).finally(() => { window.done = 1; })";
    browser.run(attack, &json!([format!("http://{admin}/faults")]));
    browser.wait("window.done === 1", &json!([]));
    let at = admin.parse().unwrap();
    let plan = || {
        let secret = format!("Authorization: Bearer {SECRET}");
        ask(at, &format!("GET /faults HTTP/1.1\r\nHost: {admin}\r\n{secret}\r\n\r\n")).1
    };
    wait_for("the plan", || plan().contains("drop at=1000"));
    assert!(!plan().contains("delay"), "{}", plan());
}
