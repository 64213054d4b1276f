//! Tests of the look of lines: links, colours, folded joins; `/quiet`, `/times`, `/numbers`; the
//! layout on a phone.

use serde_json::{Value, json};

use super::web_harness::browser::{Browser, Driver};
use super::web_harness::{Terminal, WebChat};

/// A script that computes the lowest contrast between a name's colour and the backgrounds of names.
const CONTRAST: &str = "\
    const light = (text) => {\
        const [r, g, b] = text.match(/[0-9.]+/g).map(Number).map(c => c / 255)\
        .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);\
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };\
    const probe = document.body.appendChild(document.createElement('b'));\
    const colour = (value) => { probe.className = ''; probe.style.color = value;\
        return light(getComputedStyle(probe).color); };\
    const grounds = ['ground', 'panel', 'mention', 'private']\
        .map(name => colour(`var(--${name})`));\
    probe.style.color = '';\
    const worst = [...Array(12).keys()].map(n => { probe.className = `hue-${n}`;\
        const name = light(getComputedStyle(probe).color);\
        return Math.min(...grounds\
            .map(g => (Math.max(g, name) + 0.05) / (Math.min(g, name) + 0.05)));\
    });\
    probe.remove(); return Math.min(...worst)";

/// Issue 11, items 11 and 18: links can be clicked, each name has a readable colour, and joins and
/// leaves are folded. With `/quiet` the list of members stays right. `/times` and `/numbers` work.
/// On a phone the header has one row.
#[test]
fn regression_lines_are_easy_to_read() {
    let Some(driver) = Driver::start() else { return };
    let chat = WebChat::start(&["--flood", "off"]);
    let page = format!("http://{}/", chat.web);
    let (ann, vera) = (driver.browser(1280, "en-US"), driver.browser(390, "ru-RU"));
    ann.enter(&page, "ann");
    let mut ben = chat.terminal("ben");
    ann.see("ben joined");
    ben.say("see (https://example.com/a_(b)?x=1&y=2), http://example.org. Not ftp://example.org");
    ann.see("Not ftp://example.org");
    let links = "return [...document.querySelectorAll('#log a')].map(a => [a.textContent, a.href,\
                 a.rel, a.target])";
    let link = |text: &str, href: &str| json!([text, href, "noopener noreferrer", "_blank"]);
    let wanted = [
        link("https://example.com/a_(b)?x=1&y=2", "https://example.com/a_(b)?x=1&y=2"),
        link("http://example.org", "http://example.org/"),
    ];
    assert_eq!(ann.run(links, &json!([])), Value::from(wanted.to_vec()));
    for scheme in ["light", "dark"] {
        ann.prefer(scheme);
        let worst = ann.run(CONTRAST, &json!([])).as_f64().unwrap();
        assert!(worst >= 4.5, "{scheme}: {worst}");
    }
    ann.prefer("light");
    let hue = "return [...new Set([...document.querySelectorAll('.said .who')]\
               .filter(e => e.textContent.startsWith(arguments[0])).map(e => e.className))]";
    ben.say("again");
    ann.see("again");
    ann.say("mine");
    ann.see("mine");
    let of = |name: &str| ann.run(hue, &json!([name]));
    assert!(of("ben")[0].as_str().unwrap().contains("hue-"), "{}", of("ben"));
    assert_ne!(of("ben")[0], of("ann")[0]);
    // Three users join and one leaves: one row, with the details behind a button.
    let (carl, dora) = (chat.terminal("carl"), chat.terminal("dora"));
    drop(dora);
    ann.see("dora left");
    drop(carl);
    ann.see_in("#log > .fold > div > .text", "carl and dora joined and left");
    ann.run("document.querySelector('#log > .fold:last-child button').click()", &json!([]));
    let details = ann.texts("#log > .fold:last-child ul:not([hidden]) .text");
    assert_eq!(details, ["carl joined", "dora joined", "dora left", "carl left"]);
    a_row_stays_open(&ann, &chat);
    hostile_lines_take_little_time(&ann);
    ann.say("/quiet on");
    ann.see("quiet on");
    assert_eq!(ann.texts("#log > .fold"), [""; 0]);
    let emil = chat.terminal("emil");
    ann.wait(
        "[...document.querySelectorAll('#present li')].some(li => li.textContent === 'emil')",
        &json!([]),
    );
    assert!(!ann.texts("#log .text").iter().any(|text| text.contains("emil joined")));
    ann.say("/quiet off");
    ann.see("emil joined");
    ann.say("/numbers on");
    ann.see_in("#log .number", "#1");
    ann.say("/times on");
    ann.wait(
        "/^\\d\\d:\\d\\d:\\d\\d$/.test(document.querySelector('#log .said time').textContent)",
        &json!([]),
    );
    ann.say("/times off");
    ann.wait(
        "/^\\d\\d:\\d\\d$/.test(document.querySelector('#log .said time').textContent)",
        &json!([]),
    );
    drop(emil);
    has_one_row_on_a_phone(&vera, &page, &mut ben);
    for browser in [&ann, &vera] {
        assert_eq!(browser.complaints(), Vec::<String>::new());
    }
}

/// An opened row stays open when another user joins.
fn a_row_stays_open(ann: &Browser<'_>, chat: &WebChat) {
    drop(chat.terminal("fay"));
    ann.see("fay left");
    let details = ann.texts("#log > .fold:last-child ul:not([hidden]) .text");
    assert_eq!(details[4..], ["fay joined", "fay left"]);
}

/// A line with many brackets or many names takes little time.
fn hostile_lines_take_little_time(ann: &Browser<'_>) {
    let slow = "return import('/text.js').then(({ mentions, parts }) => {\
                const start = performance.now();\
                parts('http://a.b' + ')'.repeat(200000)); mentions('x'.repeat(200000), 'x');\
                return performance.now() - start; })";
    let took = ann.run(slow, &json!([])).as_f64().unwrap();
    assert!(took < 2000.0, "{took} ms");
}

/// On a phone the header has one row, no element is wider than the screen, and the keyboard makes
/// the page smaller.
fn has_one_row_on_a_phone(vera: &Browser<'_>, page: &str, ben: &mut Terminal) {
    vera.enter(page, "Вера");
    ben.say("/topic a topic that is much longer than a phone is wide, and then some words more");
    vera.wait("document.getElementById('topic').textContent.startsWith('a topic')", &json!([]));
    let rows = "const box = (id) => document.getElementById(id).getBoundingClientRect();\
                const [rooms, people, head] = [box('rooms-button'), box('people-button'),\
                document.querySelector('header').getBoundingClientRect()];\
                return [rooms.top === people.top, box('room-name').top < rooms.bottom,\
                head.height < 60, document.documentElement.scrollWidth <= innerWidth]";
    assert_eq!(vera.run(rows, &json!([])), json!([true, true, true, true]));
    let viewport = "return document.querySelector('meta[name=viewport]').content";
    let viewport = vera.run(viewport, &json!([]));
    assert!(viewport.as_str().unwrap().contains("interactive-widget=resizes-content"));
}
