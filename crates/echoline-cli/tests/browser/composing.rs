//! Tests of the message field (input methods, earlier lines, long pastes) and of notifications.

use serde_json::json;

use super::web_harness::WebChat;
use super::web_harness::browser::{Browser, Driver};

const VALUE: &str = "return document.getElementById('input').value";

fn paste(browser: &Browser<'_>, lines: usize) -> bool {
    let script = "const data = new DataTransfer();\
        const lines = Array.from({ length: arguments[0] }, (_, n) => 'p' + n);\
        data.setData('text/plain', lines.join('\\n'));\
        return document.getElementById('input').dispatchEvent(\
            new ClipboardEvent('paste', { clipboardData: data, cancelable: true, bubbles: true }))";
    browser.run(script, &json!([lines])) == true
}

/// Issue 11, item 18: an Enter key that confirms an input method does not send the text. ArrowUp
/// restores the last line. The page asks before it sends more than ten pasted lines. A user can
/// turn on notifications about mentions.
#[test]
fn regression_the_field_supports_input_methods_earlier_lines_and_long_pastes() {
    let Some(driver) = Driver::start() else { return };
    let chat = WebChat::start(&["--flood", "off"]);
    let (ann, mut ben) = driver.ann_and_ben(&chat);
    ann.write("#input", "にほん");
    for key in ["{ key: 'Enter', keyCode: 229 }", "{ key: 'Enter', isComposing: true }"] {
        let press = format!(
            "return document.getElementById('input').dispatchEvent(new KeyboardEvent('keydown',\
             Object.assign({{ bubbles: true, cancelable: true }}, {key})))"
        );
        assert_eq!(ann.run(&press, &json!([])), true, "the page does not handle the key: {key}");
    }
    assert_eq!(ann.run(VALUE, &json!([])), "にほん");
    ann.write("#input", "ご\u{e007}");
    assert_eq!(ben.line(), "ann: にほんご");
    ann.say("second");
    assert_eq!(ben.line(), "ann: second");
    ann.write("#input", "\u{e013}");
    assert_eq!(ann.run(VALUE, &json!([])), "second");
    ann.write("#input", "\u{e013}");
    assert_eq!(ann.run(VALUE, &json!([])), "にほんご");
    ann.write("#input", "\u{e015}");
    ann.write("#input", "!\u{e007}");
    assert_eq!(ben.line(), "ann: second!");
    ann.write("#input", "kept");
    ann.write("#input", "\u{e013}");
    assert_eq!(ann.run(VALUE, &json!([])), "kept", "typed text is not replaced");
    assert!(paste(&ann, 10), "the browser itself pastes ten lines");
    assert!(!paste(&ann, 11));
    ann.see_in("#question-words", "Paste 11 lines?");
    assert_eq!(ann.run("return document.activeElement.id", &json!([])), "question-no");
    ann.run("document.getElementById('question-no').click()", &json!([]));
    assert_eq!(ann.run(VALUE, &json!([])), "kept");
    paste(&ann, 12);
    ann.run("document.getElementById('question-yes').click()", &json!([]));
    ann.wait(
        "document.getElementById('input').value.startsWith('p0\\np1\\np2\\np3\\np4\\np5\\np6\
              \\np7\\np8\\np9\\np10\\np11')",
        &json!([]),
    );
    ann.run("document.getElementById('input').value = ''", &json!([]));
    // There is no notification before ann turns them on, and then only for mentions and private
    // lines.
    ann.run(
        "window.told = []; const old = window.Notification; window.Notification = class {\
             static permission = 'default';\
             static async requestPermission() { return (this.permission = 'granted'); }\
             constructor(title, { body }) { window.told.push(title + ': ' + body); } close() {} };\
             Document.prototype.hasFocus = () => false",
        &json!([]),
    );
    ben.say("ann: not yet");
    ann.see("ann: not yet");
    ann.run("document.getElementById('notify').click()", &json!([]));
    ann.see_in("#notify", "Notifications: on");
    ben.say("for all");
    ben.say("ann: for you");
    ben.say("/msg ann psst");
    ann.wait("window.told.length === 2", &json!([]));
    let told = ann.run("return window.told.sort()", &json!([]));
    assert_eq!(told, json!(["ben · lobby: ann: for you", "ben: psst"]));
    assert_eq!(ann.complaints(), Vec::<String>::new());
}
