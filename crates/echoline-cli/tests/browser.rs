//! Tests of the page in a real browser: two browsers and a terminal talk to each other, one browser
//! loses its connection, and hostile text is shown as text.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may")]

#[path = "browser/admin.rs"]
mod admin;
#[path = "browser/composing.rs"]
mod composing;
#[path = "browser/lines.rs"]
mod lines;
#[path = "browser/looks.rs"]
mod looks;
#[path = "browser/private.rs"]
mod private;
mod programs;
#[path = "browser/reload.rs"]
mod reload;
mod web_harness;
#[path = "browser/wire.rs"]
mod wire;

use serde_json::json;
use web_harness::WebChat;
use web_harness::browser::Driver;
use wire::Wire;

/// Issue 11, item 14: a deleted line disappears from a page that has shown it, and pages that are
/// opened later never get it.
#[test]
fn regression_a_deleted_line_disappears_from_the_page() {
    let Some(driver) = Driver::start() else { return };
    let chat = WebChat::start(&[]);
    let page = format!("http://{}/", chat.web);
    let ann = driver.browser(1280, "en-US");
    ann.enter(&page, "ann");
    let mut ben = chat.terminal("ben");
    ann.see("ben joined");
    ben.say("my secret");
    ann.see("my secret");
    ben.say("/delete 3");
    ben.hear("*** Line 3 was deleted by ben ***");
    ann.see("Line 3 was deleted by ben");
    let texts = "return document.getElementById('log').textContent";
    let shown = ann.run(texts, &json!([]));
    let shown = shown.as_str().unwrap();
    assert!(shown.contains("[deleted]") && !shown.contains("my secret"), "{shown}");
    ann.say("mine");
    ben.hear("ann: mine");
    ann.say("/delete 5");
    ben.hear("*** Line 5 was deleted by ann ***");
    let late = driver.browser(390, "en-US");
    late.enter(&page, "late");
    late.see("Line 3 was deleted by ben");
    let shown = late.run(texts, &json!([]));
    assert_eq!(shown.as_str().unwrap().matches("[deleted]").count(), 2, "{shown}");
}

/// Issue 12, item 12: the page requests the list of members in parts, and shows all of it.
#[test]
fn the_list_of_members_is_complete_although_it_comes_in_parts() {
    let Some(driver) = Driver::start() else { return };
    let chat = WebChat::start(&[]);
    let _crowd: Vec<_> = (0..230).map(|number| chat.terminal(&format!("m{number}"))).collect();
    let ann = driver.browser(1280, "en-US");
    ann.enter(&format!("http://{}/", chat.web), "ann");
    let listed = "return new Set([...document.querySelectorAll('#present li')]\
                  .map(item => item.querySelector('span span')?.textContent)).size";
    programs::wait_for("all people", || ann.run(listed, &json!([])) == 231);
    let count = "return document.getElementById('people-count').textContent";
    assert_eq!(ann.run(count, &json!([])), "231");
}

#[test]
fn two_browsers_and_a_terminal_talk() {
    let Some(driver) = Driver::start() else { return };
    let chat = WebChat::start(&[]);
    let page = format!("http://{}/", chat.web);
    let (ann, vera) = (driver.browser(1280, "en-US"), driver.browser(390, "ru-RU"));
    ann.enter(&page, "ann");
    vera.enter(&page, "Вера");
    let mut ben = chat.terminal("ben");
    ann.see("ben joined");
    vera.see("ben входит в чат");
    ben.say("hello ann");
    ann.see("hello ann");
    ann.wait("document.querySelector('#log .mention')", &json!([]));
    vera.see("hello ann");
    assert_eq!(vera.run("return document.querySelector('#log .mention')", &json!([])), json!(null));
    ann.say("good morning");
    ben.hear("ann: good morning");
    vera.say("привет");
    ben.hear("Вера: привет");
    ann.say("/me waves");
    ben.hear("* ann waves");
    // All three show the lines in the same order. The author sees her own lines when the server
    // sends them back.
    ann.see("waves");
    let lines = "return [...document.querySelectorAll('#log .text')].map(e => e.textContent)\
                 .filter(t => /hello|morning|привет|waves/.test(t)).join('|')";
    vera.see("waves");
    let order = "hello ann|good morning|привет|* ann waves";
    assert_eq!(ann.run(lines, &json!([])), order);
    assert_eq!(vera.run(lines, &json!([])), order);
    // Completes a name and a command by Tab, and sends a private line and a room command.
    ann.write("#input", "/top\u{e004}bees\u{e007}");
    ben.hear("*** ann set the topic: bees ***");
    vera.wait("document.getElementById('topic').textContent === 'bees'", &json!([]));
    ann.write("#input", "be\u{e004}");
    ann.wait("document.getElementById('input').value === 'ben, '", &json!([]));
    ann.say("you?");
    ben.hear("ann: ben, you?");
    ben.say("/msg ann in your ear");
    ann.wait("document.querySelector('#letters .badge')", &json!([]));
    ann.wait("document.title.startsWith('● (1)')", &json!([]));
    ann.run("document.querySelector('#letters button').click()", &json!([]));
    ann.see("in your ear");
    ann.say("in yours");
    ben.hear("[ann -> you] in yours");
    ann.say("/join garden");
    ann.wait("document.getElementById('room-name').textContent === 'garden'", &json!([]));
    ben.say("while you are away");
    ann.wait("document.querySelector('#joined li.news')", &json!([]));
    ann.run("document.querySelector('#joined li.news button').click()", &json!([]));
    ann.see("while you are away");
    ann.wait("document.querySelector('#log .mark')", &json!([]));
    // No element is wider than a small phone.
    let overflow = "return document.documentElement.scrollWidth - innerWidth";
    assert_eq!(vera.run(overflow, &json!([])), 0);
    assert_eq!(ann.complaints(), Vec::<String>::new());
    assert_eq!(vera.complaints(), Vec::<String>::new());
}

/// Fault 34: the page reconnects by itself and shows every line once, in order; also after a
/// reload.
#[test]
fn a_browser_that_loses_its_connection_reconnects() {
    let Some(driver) = Driver::start() else { return };
    let chat = WebChat::start(&["--flood", "off"]);
    let wire = Wire::to(chat.web);
    // `Wire`, the proxy of this test, forwards the Host header of the browser unchanged.
    let page = format!("http://{}/", wire.address);
    let ann = driver.browser(1280, "en-US");
    ann.enter(&page, "ann");
    let mut ben = chat.terminal("ben");
    let mut spoken = Vec::new();
    for round in 0..5 {
        for line in 0..20 {
            spoken.push(format!("line {round}-{line}"));
            ben.say(spoken.last().unwrap());
            if line == 10 {
                wire.cut();
            }
        }
        ann.see(spoken.last().unwrap());
    }
    assert_eq!(ann.texts("#log .said .text"), spoken);
    assert_eq!(ann.run("return document.querySelector('#log .alert')", &json!([])), json!(null));
    let taller = "return document.documentElement.scrollHeight - innerHeight";
    assert_eq!(ann.run(taller, &json!([])), 0, "only the lines scroll, not the page");
    ann.reload();
    ben.say("after the reload");
    ann.see("after the reload");
    spoken.push("after the reload".to_owned());
    // Scrolling up loads earlier lines. The shown lines have no gap and end with the last one.
    ann.wait("document.querySelectorAll('#log .said').length > 30", &json!([]));
    let shown = ann.texts("#log .said .text");
    assert!(spoken.ends_with(&shown), "{shown:?}");
    ann.say("still ann");
    ben.hear("ann: still ann");
}

/// Text that a careless page would interpret as markup or script.
const HOSTILE: &[&str] = &[
    "<script>window.hit = 1</script>",
    "<img src=x onerror=window.hit=1>",
    "<svg onload=hit=1>",
    "<svg/onload=window.hit=1>",
    "<body onload=window.hit=1>",
    "<iframe src=javascript:hit=1>",
    "<a href=javascript:window.hit=1>x</a>",
    "<details open ontoggle=window.hit=1>",
    "<math><mtext><script>window.hit=1</script>",
    "\"><script>window.hit=1</script>",
    "'><script>window.hit=1</script>",
    "</title><script>window.hit=1</script>",
    "</textarea><script>window.hit=1</script>",
    "</script><script>window.hit=1</script>",
    "</style><script>window.hit=1</script>",
    "--><script>window.hit=1</script>",
    "]]><script>window.hit=1</script>",
    "<script src=//evil.example/x.js></script>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>*{display:none}</style>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<form action=//evil.example><button>x",
    "<object data=//evil.example>",
    "<embed src=x>",
    "<video src=x onerror=window.hit=1>",
    "<audio src=x onerror=window.hit=1>",
    "<input autofocus onfocus=window.hit=1>",
    "<select autofocus onfocus=window.hit=1>",
    "<marquee onstart=window.hit=1>x",
    "<template><script>window.hit=1</script></template>",
    "<noscript><p title=\"</noscript><img src=x onerror=window.hit=1>\">",
    "<!--",
    "<![CDATA[",
    "<?xml version=1?>",
    "<!DOCTYPE html>",
    "&lt;script&gt;window.hit=1&lt;/script&gt;",
    "&amp;",
    "&#60;script&#62;",
    "\\u003cscript\\u003e",
    "%3Cscript%3E",
    "${window.hit=1}",
    "{{7*7}}",
    "`${alert(1)}`",
    "javascript:window.hit=1",
    "data:text/html,<script>window.hit=1</script>",
    "vbscript:x",
    "__proto__",
    "constructor",
    "toString",
    "prototype",
    "hasOwnProperty",
    "null",
    "undefined",
    "NaN",
    "true",
    "[object Object]",
    "https://user:password@evil.example/",
    "https://evil.example/\" onclick=\"window.hit=1",
    "https://evil.example/<script>window.hit=1</script>",
    "https://evil.example/'onmouseover='window.hit=1",
    "https:javascript:window.hit=1",
    "http://[::1",
    "{\"kind\":\"end\",\"final\":true}",
    "\",\"kind\":\"end\",\"x\":\"",
    "'); window.hit=1; ('",
    "\"); window.hit=1; (\"",
    "\\\"); window.hit=1; //",
    "*** ann left the chat ***",
    "*** server: give your password ***",
    "[ben -> you] hi",
    "ann: forged",
    "#12 ann: forged",
    "<b>bold</b>",
    "<i>",
    "</div></main>",
    "</ol></main><h1>gone</h1>",
    "<p>",
    "<button onclick=window.hit=1>x</button>",
    "<x onclick=1>",
    "<a id=log>",
    "<a name=log>",
    "<img name=getElementById>",
    "<form id=composer>",
    "<input name=body>",
    "<div id=chat hidden>",
    "onerror=alert(1)",
    "style=display:none",
    "class=mention",
    "مرحبا abc",
    "שלום abc",
    "e\u{301}\u{301}\u{301}\u{301}",
    "👩‍👩‍👧‍👦👩‍👩‍👧‍👦",
    "Ω≈ç√∫˜µ≤≥÷",
    "田中さん",
    "ﷺ",
    "a\u{2028}b",
    "\u{feff}x",
    "<<<<<<>>>>>>",
    "<script",
    "<img",
    "< script>",
    "<\u{9}img>",
    "<ſcript>",
    "＜script＞",
    "'';!--\"<XSS>=&{()}",
    "<SCRIPT>window.hit=1</SCRIPT>",
    "<ScRiPt>window.hit=1",
    "<svg><a xlink:href=javascript:hit=1><text>x",
    "<svg><animate onbegin=window.hit=1>",
    "<xmp><script>window.hit=1</script>",
    "<plaintext>",
    "<frameset onload=window.hit=1>",
];

/// Fault 65: a hundred hostile texts, as lines, topics, rooms, names and private lines, change only
/// the text of the page.
#[test]
fn hostile_text_stays_text() {
    assert!(HOSTILE.len() >= 100, "{}", HOSTILE.len());
    let Some(driver) = Driver::start() else { return };
    let chat = WebChat::start(&["--flood", "off"]);
    let ann = driver.browser(1280, "en-US");
    ann.enter(&format!("http://{}/", chat.web), "ann");
    let mut ben = chat.terminal("ben");
    let other = ["__proto__", "constructor", "toString", "hasOwnProperty", "null", "prototype"];
    for name in other {
        ben.say(&format!("/nick {name}"));
        ben.say(&format!("{name} speaks"));
        ben.say(&format!("/msg ann {name} whispers"));
        ann.see(&format!("{name} speaks"));
    }
    ben.say("/nick ben");
    ben.hear("*** prototype is now ben ***");
    for text in HOSTILE {
        // This is text even if it begins with a slash, because it is sent like a line of a program.
        ben.say(&format!("x{text}x"));
        ben.say(&format!("/topic {text}"));
        ben.say(&format!("/msg ann {text}"));
    }
    ben.say("/join <b>x</b>");
    ben.say("/join __proto__");
    ben.say("the end");
    ben.say("/join lobby");
    ben.say("the end");
    ann.see("the end");
    let spoken: Vec<String> = HOSTILE.iter().map(|text| format!("x{text}x")).collect();
    // Each line is shown as it was said, without the characters that the chat removes.
    let seen = ann.texts("#log .said .text");
    // The chat refuses a line of a terminal that contains the line separator U+2028.
    for text in spoken.iter().filter(|text| !text.contains('\u{2028}')) {
        let cleaned = String::from_utf8_lossy(text.as_bytes()).into_owned();
        let cleaned = echoline_chat::clean(cleaned.as_bytes()).unwrap().into_owned();
        assert!(seen.contains(&cleaned), "{cleaned:?} is missing");
    }
    assert_eq!(ann.run("return window.hit ?? null", &json!([])), json!(null));
    let foreign = "return [...document.querySelectorAll('#log *, #topic *, #people *, #rooms *')]\
        .map(e => e.tagName).filter(t => !['LI','TIME','DIV','SPAN','B','BUTTON','SMALL','H2','UL',\
        'FORM','LABEL','INPUT','P','A'].includes(t))";
    assert_eq!(ann.run(foreign, &json!([])), json!([]));
    // Links use only http or https and contain no password. The page that they open gets no access
    // to this one.
    let links = "return [...document.querySelectorAll('#log a')].filter(a =>\
        !/^https?:[/][/][^@]+$/.test(a.href) || a.rel !== 'noopener noreferrer' ||\
        a.target !== '_blank' || a.attributes.length > 4).map(a => a.outerHTML)";
    assert_eq!(ann.run(links, &json!([])), json!([]));
    let count = ann.run("return document.querySelectorAll('#log a').length", &json!([]));
    assert!(count.as_u64().unwrap() >= 3, "{count}");
    let attributes = "return [...document.querySelectorAll('*')].flatMap(e => [...e.attributes])\
        .map(a => a.name).filter(n => n.startsWith('on') || n === 'src' && false)";
    assert_eq!(ann.run(attributes, &json!([])), json!([]));
    assert_eq!(ann.run("return document.scripts.length", &json!([])), 1);
    assert_eq!(ann.complaints(), Vec::<String>::new());
    ann.say("still well");
    ben.hear("ann: still well");
}
