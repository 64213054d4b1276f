//! Tests of refused lines and ended connections: the page shows the reason and keeps the text.

use serde_json::json;

use super::web_harness::WebChat;
use super::web_harness::browser::{Browser, Driver};
use super::wire::Wire;
use crate::programs::write_secret;

/// Sends a text of one or more lines, as if it had been pasted.
fn send(browser: &Browser<'_>, text: &str) {
    let script = "const field = document.getElementById('input'); field.value = arguments[0];\
                  document.getElementById('composer').requestSubmit()";
    browser.run(script, &json!([text]));
}

/// Dispatches the event that a browser sends when the computer wakes up, and records the time.
fn wake(browser: &Browser<'_>, event: &str) {
    browser.run(&format!("window.woken = performance.now(); {event}"), &json!([]));
}

/// Asserts that much less time has passed since [`wake`] than 35 s, the time of an ordinary ping
/// with its time-out.
fn assert_soon(browser: &Browser<'_>) {
    let seconds = browser.run("return (performance.now() - window.woken) / 1000", &json!([]));
    assert!(seconds.as_f64().unwrap() < 15.0, "{seconds} s");
}

fn field(browser: &Browser<'_>) -> String {
    let value = browser.run("return document.getElementById('input').value", &json!([]));
    value.as_str().unwrap().to_owned()
}

/// Issue 11, item 8: if one line of a text is too long, no line of the text is sent, so that a
/// second attempt duplicates nothing. The page knows `--max-line`. A refused line shows the reason,
/// and the user can send it again or edit it.
#[test]
fn regression_refused_lines_are_kept() {
    let Some(driver) = Driver::start() else { return };
    let chat = WebChat::start(&["--flood", "off", "--max-line", "300B"]);
    let (ann, mut ben) = driver.ann_and_ben(&chat);
    let long = format!("one\n{}\nthree", "x".repeat(300));
    send(&ann, &long);
    ann.see("Not sent: line 2 of 3 has 325 bytes, and the limit is 300.");
    assert_eq!(field(&ann), long);
    send(&ann, "one\ntwo\nthree");
    for line in ["ann: one", "ann: two", "ann: three"] {
        assert_eq!(ben.line(), line, "each line arrives once");
    }
    assert_eq!(field(&ann), "");
    send(&ann, &"x".repeat(301));
    ann.see("Not sent: the message has 326 bytes, and the limit is 300.");
    ben.say("/join garden");
    send(&ann, "/join garden");
    ann.wait("document.getElementById('room-name').textContent === 'garden'", &json!([]));
    ann.see("You are now talking in garden");
    ben.hear("*** ann joined the chat ***");
    ben.say("/mute ann");
    ben.hear("*** You muted ann in garden for good ***");
    send(&ann, "/me waves");
    ann.see("You are muted in this room for good. Your message: ");
    assert_eq!(ann.texts("#log .alert button"), ["Send again", "Edit"]);
    ann.wait("document.getElementById('waiting').hidden", &json!([]));
    ann.run("document.querySelectorAll('#log .alert button')[1].click()", &json!([]));
    assert_eq!(field(&ann), "/me waves");
    ben.say("/unmute ann");
    ben.hear("*** You unmuted ann in garden ***");
    ann.run("document.querySelector('#log .alert button').click()", &json!([]));
    ben.hear("* ann waves");
    ben.say("/kick ann go and have a walk");
    ann.see("You were kicked from garden by ben: go and have a walk");
    ann.wait("document.getElementById('room-name').textContent === 'lobby'", &json!([]));
    // Another tab takes over the session. The page reports this, and does not take the session back
    // by itself.
    let stored = "return JSON.parse(sessionStorage.getItem('echoline')).token";
    ann.wait("sessionStorage.getItem('echoline')", &json!([]));
    let token = ann.run(stored, &json!([]));
    let mut other = chat.socket();
    other.send(&json!({ "token": token }));
    other.until_kind("welcome");
    let words = "The chat closed the connection: You continue in another connection";
    ann.see_in("#state-words", words);
    ann.see(words);
    assert_eq!(ann.run("return sessionStorage.getItem('echoline')", &json!([])), json!(null));
    ann.write("#input", "x");
    ann.run("window.dispatchEvent(new Event('pagehide'))", &json!([]));
    assert_eq!(ann.run("return sessionStorage.getItem('echoline')", &json!([])), json!(null));
    // The button reconnects. Then an operator kicks the user from the chat, and the page shows the
    // reason at the top.
    ann.run("document.getElementById('retry').click()", &json!([]));
    ann.see_in("#state-words", "connected");
    assert_eq!(ann.complaints(), Vec::<String>::new());
}

/// Issue 11, item 8: a user who is kicked from the chat sees the reason in the status line, also a
/// user of only one room.
#[test]
fn regression_a_kicked_user_sees_the_reason() {
    let Some(driver) = Driver::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    write_secret(&file, "correct horse\n");
    let chat = WebChat::start(&["--operator-password-file", file.to_str().unwrap()]);
    let wire = Wire::to(chat.web);
    let ann = driver.browser(1280, "en-US");
    ann.enter(&format!("http://{}/", wire.address), "ann");
    let mut ben = chat.terminal("ben");
    ben.say("/oper correct horse");
    ben.hear("*** You are now an operator: /help lists your commands ***");
    ben.say("/kick ann calm down");
    let words = "The chat closed the connection: You were kicked from lobby by ben: calm down";
    ann.see_in("#state-words", words);
    ann.see("You were kicked from lobby by ben: calm down");
    assert!(!ann.texts("#state-words")[0].contains("you have left"));
    // A ban that was set while the page was disconnected ends its attempts to reconnect.
    ann.run("document.getElementById('retry').click()", &json!([]));
    ann.see_in("#state-words", "connected");
    ben.say("/ban 127.0.0.1 1h spam");
    ann.see_in("#state-words", "You are banned from this chat until ");
    ann.run("document.getElementById('retry').click()", &json!([]));
    ann.see_in("#state-words", "The chat closed the connection: You are banned from this chat");
    // Issue 11, item 18: after the computer wakes up, the page notices a dead connection within
    // seconds. The ban is lifted, and the page reconnects over a connection that then fails
    // silently.
    ben.say("/unban 127.0.0.1");
    ben.hear("*** 127.0.0.1 may join the chat again ***");
    ann.run("document.getElementById('retry').click()", &json!([]));
    ann.see_in("#state-words", "connected");
    ben.hear("*** ann joined the chat ***");
    wire.go_dead();
    ben.say("said while the connection was dead");
    wake(&ann, "document.dispatchEvent(new Event('visibilitychange'))");
    ann.see("said while the connection was dead");
    assert_soon(&ann);
    wire.go_dead();
    ben.say("said while it was dead again");
    wake(&ann, "window.dispatchEvent(new Event('online'))");
    ann.see("said while it was dead again");
    assert_soon(&ann);
}
