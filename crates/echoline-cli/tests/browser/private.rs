//! Tests of private threads: each is with one user, and differs visibly from a room.

use serde_json::json;

use super::web_harness::browser::{Browser, Driver};
use super::web_harness::{Terminal, WebChat};

/// Opens the private thread with this user from the list of members.
fn open(browser: &Browser<'_>, name: &str) {
    let is_listed = "[...document.querySelectorAll('#present button')]\
                     .some(b => b.textContent === arguments[0])";
    browser.wait(is_listed, &json!([name]));
    let click = "[...document.querySelectorAll('#present button')]\
                 .find(b => b.textContent === arguments[0]).click()";
    browser.run(click, &json!([name]));
    browser.wait("document.getElementById('chat').dataset.kind === 'private'", &json!([]));
}

/// Reads the lines of a terminal up to this one, and returns them.
fn heard(terminal: &mut Terminal, last: &str) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let line = terminal.line();
        assert!(!line.is_empty(), "the chat ended before {last:?}: {heard:?}");
        heard.push(line);
        if heard.last().unwrap() == last {
            return heard;
        }
    }
}

/// Issue 11, item 7: a private thread sends actions and `//x` to one user only, and refuses
/// commands about a room. When the user leaves, the page reports this and keeps the typed text. The
/// next user with the same name gets a separate thread.
#[test]
fn regression_a_private_thread_is_with_one_user() {
    let Some(driver) = Driver::start() else { return };
    let chat = WebChat::start(&["--flood", "off"]);
    let ann = driver.browser(1280, "en-US");
    ann.enter(&format!("http://{}/", chat.web), "ann");
    let (mut ben, mut carl) = (chat.terminal("ben"), chat.terminal("carl"));
    open(&ann, "ben");
    let header = "document.getElementById('topic').textContent";
    ann.wait(&format!("{header} === 'Only you and ben can see this.'"), &json!([]));
    let looks = "!document.getElementById('private-badge').hidden\
                 && document.getElementById('input').placeholder === 'Private message to ben'\
                 && getComputedStyle(document.getElementById('talk')).backgroundColor\
                    !== getComputedStyle(document.body).backgroundColor";
    ann.wait(looks, &json!([]));
    ann.say("/me smiles");
    ben.hear("[ann -> you] * ann smiles");
    ann.say("//etc/hosts");
    ben.hear("[ann -> you] /etc/hosts");
    ann.say("/topic stolen");
    ann.see("That command works only in a room");
    assert_eq!(ann.texts("#log .private .text"), ["* ann smiles", "/etc/hosts"]);
    // The lobby has shown none of these lines.
    ben.say("over");
    let lines = heard(&mut carl, "ben: over");
    assert!(!lines.iter().any(|line| line.contains("ann ")), "{lines:?}");
    ben.say("/quit");
    ann.see("ben has left the chat.");
    let mut stranger = chat.terminal("ben");
    ann.say("secret");
    ann.see("ben has left the chat: your message stays here.");
    assert_eq!(ann.run("return document.getElementById('input').value", &json!([])), "secret");
    stranger.say("/msg ann hello, I am new");
    ann.wait("document.querySelectorAll('#letters li').length === 2", &json!([]));
    assert!(!ann.texts("#log .text").iter().any(|text| text.contains("I am new")));
    let draft = "document.querySelectorAll('#letters [data-thread]')[1].click()";
    ann.run(draft, &json!([]));
    ann.see("This ben is a different user than the ben of your other private chat.");
    assert_eq!(ann.run("return document.getElementById('input').value", &json!([])), "");
    ann.say("welcome");
    let lines = heard(&mut stranger, "[ann -> you] welcome");
    assert!(!lines.iter().any(|line| line.contains("secret")), "{lines:?}");
    // Wait for the page's own copy of the line, because it would open a closed thread again.
    let shown = "[...document.querySelectorAll('#log .private .text')]\
                 .some((text) => text.textContent === 'welcome')";
    ann.wait(shown, &json!([]));
    // A thread can be closed. The draft in the other thread stays.
    ann.run("document.querySelectorAll('#letters .end')[1].click()", &json!([]));
    ann.wait("document.querySelectorAll('#letters li').length === 1", &json!([]));
    ann.run("document.querySelector('#letters [data-thread]').click()", &json!([]));
    assert_eq!(ann.run("return document.getElementById('input').value", &json!([])), "secret");
    assert_eq!(ann.complaints(), Vec::<String>::new());
}
