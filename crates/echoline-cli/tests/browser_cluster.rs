//! Tests of the page of a chat on two nodes, in a real browser: what it shows when the nodes lose
//! each other, and when the link is back. Without Chromium or a `nats-server` the tests print that
//! they are skipped.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

#[allow(dead_code)]
#[path = "../../echoline-chat-nats/tests/nats/server.rs"]
mod server;

mod programs;
mod web_harness;

use serde_json::json;
use server::NatsServer;
use web_harness::WebChat;
use web_harness::browser::{Browser, Driver};

fn machine(name: &str, server: &NatsServer, flags: &[&str]) -> WebChat {
    let url = server.url();
    let bus = ["--bus", &url, "--cluster", "tea", "--node", name, "--flood", "off"];
    WebChat::start(&[&bus, flags].concat())
}

/// Sends these lines at once, as a user who pastes them.
fn paste(browser: &Browser<'_>, lines: &[String]) {
    let script = "const field = document.getElementById('input'); field.value = arguments[0];\
                  document.getElementById('composer').requestSubmit()";
    browser.run(script, &json!([lines.join("\n")]));
}

/// Fault 67: lines that a user sends while the link is lost are shown as waiting. Undelivered lines
/// can be sent again. When the link is back, all lines are in the right order.
#[test]
fn a_page_shows_waiting_and_undelivered_lines() {
    let Some(driver) = Driver::start() else { return };
    let Some(mut server) = NatsServer::start() else { return };
    let (east, west) = (machine("east", &server, &[]), machine("west", &server, &[]));
    let (ann, vera) = (driver.browser(1280, "en-US"), driver.browser(390, "ru-RU"));
    ann.enter(&format!("http://{}/", east.web), "ann");
    vera.enter(&format!("http://{}/", west.web), "Вера");
    let mut ben = west.terminal("ben");
    ann.see("ben joined");
    ann.say("good morning");
    vera.see("good morning");
    ben.hear("ann: good morning");
    assert_eq!(ann.texts("#waiting li"), [""; 0]);
    server.kill();
    ann.see("This node cannot reach the other nodes of the chat");
    vera.see("Этот сервер потерял связь с другими серверами чата");
    vera.say("/me машет");
    let said: Vec<String> = (1..=50).map(|number| format!("line {number}")).collect();
    paste(&ann, &said);
    ann.say("/me waves");
    ann.see_in("#log .alert .text", "Not delivered");
    let alert = ann.texts("#log .alert .text").pop().unwrap();
    assert_eq!(
        alert, "Not delivered (the link to the other nodes is lost): /me waves",
        "only fifty lines can wait, so the fifty-first is not delivered"
    );
    ann.see_in("#waiting li", "line 50");
    let waiting: Vec<String> = said.iter().map(|line| format!("sending: {line}")).collect();
    assert_eq!(ann.texts("#waiting li"), waiting);
    vera.see_in("#waiting li", "ожидает отправки: /me машет");
    server.start_again();
    ann.see("All nodes of the chat are connected again.");
    for line in &said {
        ben.hear(&format!("ann: {line}"));
    }
    ann.see("line 50");
    vera.see("line 50");
    vera.see("* Вера машет");
    for browser in [&ann, &vera] {
        browser.wait("document.getElementById('waiting').hidden", &json!([]));
    }
    let spoken = ann.texts("#log .said.own .text");
    assert_eq!(spoken, [&["good morning".to_owned()], &said[..]].concat());
    ann.run("document.querySelector('#log .alert button').click()", &json!([]));
    ben.hear("* ann waves");
    vera.see("* ann waves");
    // When a node shuts down, its users leave the page's member list too.
    ann.wait("document.querySelectorAll('#present li').length === 3", &json!([]));
    west.program.signal("TERM");
    ann.see("west is shut down, and with it");
    ann.wait("document.querySelectorAll('#present li').length === 1", &json!([]));
    assert_eq!(ann.complaints(), Vec::<String>::new());
}
