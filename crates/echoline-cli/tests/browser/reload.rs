//! Tests of the state that survives a reload of the page, and of logging out.

use serde_json::json;

use super::web_harness::WebChat;
use super::web_harness::browser::Driver;

/// Issue 11, item 18: a reload keeps unread counts, the mention, the mark "New", drafts and private
/// threads. The buttons leave a room, and log out without leaving data behind.
#[test]
fn regression_a_reload_keeps_unread_counts_and_drafts() {
    let Some(driver) = Driver::start() else { return };
    let chat = WebChat::start(&["--flood", "off"]);
    let (ann, mut ben) = driver.ann_and_ben(&chat);
    ben.say("read by ann");
    ann.see("read by ann");
    ann.write("#input", "a draft for the lobby");
    ann.run(
        "document.getElementById('new-room').value = 'garden';\
             document.getElementById('join').requestSubmit()",
        &json!([]),
    );
    ann.wait("document.getElementById('room-name').textContent === 'garden'", &json!([]));
    ben.say("nothing for her");
    ben.say("ann: look at this");
    ben.say("/msg ann in your ear");
    ann.wait("document.querySelector('#letters .badge')", &json!([]));
    ann.write("#input", "a draft for the garden");
    let badges = "return [...document.querySelectorAll('#rooms li')].map(li => [\
        li.querySelector('[data-thread] span').textContent,\
        li.querySelector('.badge [aria-hidden]')?.textContent,\
        li.querySelector('.badge')?.className]).filter(entry => entry[1])";
    let before = ann.run(badges, &json!([]));
    assert_eq!(before, json!([["lobby", "2", "badge hot"], ["ben", "1", "badge hot"]]));
    ann.reload();
    ann.wait("document.querySelector('#letters .badge')", &json!([]));
    ann.see_in("#state-words", "connected");
    assert_eq!(ann.run(badges, &json!([])), before);
    let value = "return document.getElementById('input').value";
    assert_eq!(
        ann.run("return document.getElementById('room-name').textContent", &json!([])),
        "garden"
    );
    assert_eq!(ann.run(value, &json!([])), "a draft for the garden");
    ann.run("document.querySelector('#joined [data-thread=\"#lobby\"]').click()", &json!([]));
    assert_eq!(ann.run(value, &json!([])), "a draft for the lobby");
    // The mark "New" follows the last line that ann has read, even if that line is loaded later.
    let marked = "document.querySelector('#log .mark')?.previousElementSibling\
                  ?.textContent.includes('read by ann')";
    ann.wait(marked, &json!([]));
    ann.run("document.querySelector('#letters [data-thread]').click()", &json!([]));
    ann.see("in your ear");
    ann.say("still here");
    ben.hear("[ann -> you] still here");
    // Leaves the garden by its button. The only remaining room has no button.
    let leave = "document.querySelector('#joined [data-thread=\"#garden\"]')\
                 .parentElement.querySelector('.end').click()";
    ann.run(leave, &json!([]));
    ann.wait("document.querySelectorAll('#joined li').length === 1", &json!([]));
    assert_eq!(ann.run("return document.querySelector('#joined .end')", &json!([])), json!(null));
    ann.run("document.getElementById('log-out').click()", &json!([]));
    ben.hear("*** ann left the chat ***");
    ann.wait(
        "!document.getElementById('door').hidden && document.getElementById('chat').hidden",
        &json!([]),
    );
    assert_eq!(ann.run("return sessionStorage.getItem('echoline')", &json!([])), json!(null));
    ann.reload();
    ann.wait("!document.getElementById('door').hidden", &json!([]));
    assert!(!ann.texts("body")[0].contains("in your ear"));
    assert_eq!(ann.complaints(), Vec::<String>::new());
}

/// Issue 11, item 19: on the page too, aliases of a command do the same as the command.
#[test]
fn regression_aliases_work_on_the_page() {
    let Some(driver) = Driver::start() else { return };
    let chat = WebChat::start(&["--flood", "off"]);
    let (ann, mut ben) = driver.ann_and_ben(&chat);
    ann.say("/j garden");
    ann.wait("document.getElementById('room-name').textContent === 'garden'", &json!([]));
    // `/bye` is an alias of `/quit`. A page that mistook it for a lost connection would reconnect
    // at once.
    ann.say("/bye");
    ben.hear("*** ann left the chat ***");
    ann.wait("!document.getElementById('door').hidden", &json!([]));
    assert_eq!(ann.run("return sessionStorage.getItem('echoline')", &json!([])), json!(null));
    assert_eq!(ann.complaints(), Vec::<String>::new());
}
