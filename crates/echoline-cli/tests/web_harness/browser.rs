//! A real browser: Chromium without a window, controlled through WebDriver (a W3C Recommendation).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{Terminal, WebChat};
use crate::programs::wait_for;

/// A running chromedriver, and a folder for the browsers that it starts.
pub(crate) struct Driver {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Driver {
    /// Starts a browser. If Chromium is not installed, prints why and returns `None`.
    pub(crate) fn start() -> Option<Self> {
        let has = |name: &str| Command::new(name).arg("--version").output().is_ok();
        if !(has("chromium") && has("chromedriver")) {
            eprintln!(
                "skipped: this needs chromium and chromedriver (scripts/test.sh installs them)"
            );
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").arg(format!("--log-path={}", log.display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let mut port = None;
        wait_for("chromedriver", || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let rest = text.rsplit_once("successfully on port ").map(|(_, rest)| rest.to_owned());
            let digits = rest.and_then(|rest| rest.lines().next().map(str::to_owned));
            port = digits.and_then(|digits| digits.trim_end_matches('.').parse().ok());
            port.is_some()
        });
        Some(Self { child, port: port.unwrap(), folder })
    }

    /// Lets `ann` join a chat through the page on a desktop, and `ben` through a terminal. Waits
    /// until ann's page shows ben.
    pub(crate) fn ann_and_ben(&self, chat: &WebChat) -> (Browser<'_>, Terminal) {
        let ann = self.browser(1280, "en-US");
        ann.enter(&format!("http://{}/", chat.web), "ann");
        let ben = chat.terminal("ben");
        ann.see("ben joined");
        (ann, ben)
    }

    /// Opens a browser with a new profile, and with this width and language.
    pub(crate) fn browser(&self, width: u32, language: &str) -> Browser<'_> {
        let profile = tempfile::tempdir_in(self.folder.path()).unwrap();
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            format!("--window-size={width},844"),
            format!("--lang={language}"),
            format!("--accept-lang={language}"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session = self.ask("POST", "/session", &wanted);
        let id = session["sessionId"].as_str().unwrap();
        Browser { driver: self, path: format!("/session/{id}"), _profile: profile }
    }

    /// Sends one WebDriver command. Returns the value of the answer.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let (head, body) = answer_of(stream);
        let value: Value = serde_json::from_str(&body).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{method} {path}: {}", value["value"]["message"]);
        value["value"].clone()
    }
}

/// Returns the head and body of a response. Reads only its length, because chromedriver leaves the
/// connection open.
fn answer_of(stream: TcpStream) -> (String, String) {
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "chromedriver went away: {head}");
    }
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.unwrap().1.trim().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One browser with one tab.
pub(crate) struct Browser<'a> {
    driver: &'a Driver,
    path: String,
    _profile: tempfile::TempDir,
}

impl Browser<'_> {
    fn ask(&self, method: &str, command: &str, body: &Value) -> Value {
        self.driver.ask(method, &format!("{}{command}", self.path), body)
    }

    pub(crate) fn open(&self, address: &str) {
        self.ask("POST", "/url", &json!({ "url": address }));
    }

    pub(crate) fn reload(&self) {
        self.ask("POST", "/refresh", &json!({}));
    }

    /// Runs the body of a function in the page, and returns its result.
    pub(crate) fn run(&self, script: &str, arguments: &Value) -> Value {
        self.ask("POST", "/execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// Types into the element that `selector` finds; `\u{e007}` is Enter.
    pub(crate) fn write(&self, selector: &str, text: &str) {
        let find = json!({ "using": "css selector", "value": selector });
        let element = self.ask("POST", "/element", &find);
        let id = element.as_object().unwrap().values().next().unwrap().as_str().unwrap();
        self.ask("POST", &format!("/element/{id}/value"), &json!({ "text": text }));
    }

    /// Waits until the expression is true.
    #[track_caller]
    pub(crate) fn wait(&self, expression: &str, arguments: &Value) {
        let script = format!("return Boolean({expression})");
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(expression, || self.run(&script, arguments) == true);
        }));
        if found.is_err() {
            panic!(
                "{expression} {arguments}: {}",
                self.run("return document.body.innerText", &json!([]))
            );
        }
    }

    /// Waits until a line of the log has this text.
    #[track_caller]
    pub(crate) fn see(&self, text: &str) {
        self.see_in("#log .text", text);
    }

    /// Waits until one of the elements that the selector finds has this text.
    #[track_caller]
    pub(crate) fn see_in(&self, selector: &str, text: &str) {
        let is_there = "[...document.querySelectorAll(arguments[0])]\
                        .some(e => e.textContent.includes(arguments[1]))";
        self.wait(is_there, &json!([selector, text]));
    }

    /// Returns the texts of the elements that the selector finds.
    pub(crate) fn texts(&self, selector: &str) -> Vec<String> {
        let script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)";
        serde_json::from_value(self.run(script, &json!([selector]))).unwrap()
    }

    /// Enters the chat under this name.
    pub(crate) fn enter(&self, address: &str, name: &str) {
        self.open(address);
        self.write("#name", &format!("{name}\u{e007}"));
        self.wait("document.querySelector('#log li')", &json!([]));
    }

    /// Emulates the system setting "light" or "dark".
    pub(crate) fn prefer(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        let command = json!({
            "cmd": "Emulation.setEmulatedMedia", "params": { "features": [feature] },
        });
        self.ask("POST", "/goog/cdp/execute", &command);
    }

    /// Types a message and sends it.
    pub(crate) fn say(&self, text: &str) {
        self.write("#input", &format!("{text}\u{e007}"));
    }

    /// Returns the errors in the browser's log.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", &json!({ "type": "browser" }));
        let log = log.as_array().unwrap();
        log.iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.ask("DELETE", "", &Value::Null);
        }
    }
}
