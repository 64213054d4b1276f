//! Types every command of `README.md` and `docs/`, and compares the output with the page.
//!
//! `CONTRIBUTING.md` has the rules for pages, under "Command blocks in documentation".
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
#![allow(clippy::print_stderr, reason = "says what was skipped, and how a page was run")]

mod flags;
mod messages;
mod output;
mod page;
mod ports;
#[path = "../programs/mod.rs"]
mod programs;
mod session;

use std::fs;
use std::path::Path;
use std::time::Duration;

use messages::Literals;
use output::{difference, lines};
use page::{Command, Page, invocations};
use ports::FreePorts;
use session::{Session, has_namespaces};

/// The number of blocks that cannot run, in all pages. Each has a comment with the reason.
const NOT_RUN: usize = 14;

/// The number of `text` blocks without a message of the program, in all pages: figures of earlier
/// runs, lines of users, and files of other programs.
const NOT_COMPARED: usize = 7;

/// Pages that do not follow the rules yet, with the number of their blocks.
const NOT_YET: &[(&str, usize)] = &[];

/// Programs that the pages' commands need, and that may not be installed.
const TOOLS: &[&str] = &[
    "curl",
    "haproxy",
    "jq",
    "nats-server",
    "nc",
    "ncat",
    "nginx",
    "openssl",
    "python3",
    "socat",
    "telnet",
];

/// Commands that take longer than this are printed, because all pages together must take less than
/// a minute.
const SLOW: Duration = Duration::from_secs(2);

/// After so many differences, the rest of a page is not typed.
const DIFFERENCES_MAX: usize = 5;

macro_rules! pages {
    ($($test:ident: $name:literal,)*) => {
        /// All pages, each with a test of its own.
        const PAGES: &[&str] = &[$($name),*];

        $(#[test]
        fn $test() {
            check($name);
        })*
    };
}

pages! {
    admin: "docs/admin.md",
    chat: "docs/chat.md",
    chat_server: "docs/chat-server.md",
    cluster: "docs/cluster.md",
    comparison: "docs/comparison.md",
    config: "docs/config.md",
    echo: "docs/echo.md",
    faults: "docs/faults.md",
    glossary: "docs/glossary.md",
    hardening: "docs/hardening.md",
    index: "docs/README.md",
    lesson: "docs/lesson.md",
    load: "docs/load.md",
    load_report: "docs/load-report.md",
    performance: "docs/performance.md",
    protocol: "docs/protocol.md",
    proxy: "docs/proxy.md",
    readme: "README.md",
    recipes: "docs/recipes.md",
    reliability: "docs/reliability.md",
    scale: "docs/scale.md",
    send: "docs/send.md",
    service: "docs/service.md",
    tls: "docs/tls.md",
    troubleshooting: "docs/troubleshooting.md",
    udp: "docs/udp.md",
    web: "docs/web.md",
    websocket: "docs/websocket.md",
}

/// Checks the blocks of a page, types its `console` commands, and parses its `sh` commands.
fn check(name: &str) {
    let page = Page::read(name);
    if let Some((_, blocks)) = NOT_YET.iter().find(|(page, _)| *page == name) {
        assert_eq!(page.blocks.len(), *blocks, "blocks of {name}: see NOT_YET");
        eprintln!("SKIPPED, not passed: {name} does not follow the rules yet");
        return;
    }
    let mistakes = page.mistakes();
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
    let missing = missing_tools(&page);
    if !missing.is_empty() {
        eprintln!("SKIPPED, not passed: {name} needs {}", missing.join(", "));
        return;
    }
    let wrong = [type_commands(&page, has_namespaces()), parse_commands(&page)].concat();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn missing_tools(page: &Page) -> Vec<&'static str> {
    let commands: Vec<Command> = page.typed().collect();
    let is_used = |tool: &str| {
        let mut words = commands.iter().flat_map(|command| command.text.split_whitespace());
        words.any(|word| word == tool)
    };
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let exists = |tool: &str| path.split(':').any(|folder| Path::new(folder).join(tool).exists());
    TOOLS.iter().copied().filter(|tool| is_used(tool) && !exists(tool)).collect()
}

/// Types the commands of a page in one session. Returns the differences.
fn type_commands(page: &Page, in_namespaces: bool) -> Vec<String> {
    let commands: Vec<Command> = page.typed().collect();
    let mut wrong = Vec::new();
    if commands.is_empty() {
        return wrong;
    }
    let place = if in_namespaces { "in namespaces" } else { "without namespaces, on free ports" };
    eprintln!("{}: {} commands, {place}", page.name, commands.len());
    let mut session = Session::start(in_namespaces);
    let mut ports = FreePorts::default();
    if !in_namespaces {
        ports = FreePorts::choose(&commands);
        session.run(&ports.replace("export ECHOLINE_LISTEN=127.0.0.1:8080"), |_| true);
    }
    for Command { line, text, shown } in commands {
        let shown = lines(&ports.replace(&shown.join("\n")));
        // The output also contains documented ports, for example the default port.
        let compare = |output: &str| difference(&shown, &lines(&ports.replace(output)));
        let printed = session.run(&ports.replace(&text), |output| compare(output).is_none());
        let place = format!("{}:{line}: $ {text}", page.name);
        if printed.took > SLOW {
            eprintln!("{place}\n  took {:?}", printed.took);
        }
        if let Some(difference) = compare(&printed.output) {
            wrong.push(format!("{place}\n{difference}"));
        }
        if printed.status.is_none() {
            wrong.push(format!("{place}\n  the command does not end, or it ended the session"));
        }
        if printed.status.is_none() || wrong.len() >= DIFFERENCES_MAX {
            return wrong;
        }
    }
    let jobs = session.jobs();
    if !jobs.is_empty() {
        wrong.push(format!("{}: the page leaves jobs behind; end them:\n{jobs}", page.name));
    }
    wrong
}

/// Parses each `sh` command of a page with `echoline check`. Returns the errors.
fn parse_commands(page: &Page) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut session = None;
    for Command { line, text, .. } in page.parsed() {
        for arguments in invocations(&text) {
            let session = session.get_or_insert_with(|| Session::start(has_namespaces()));
            let check = if arguments.starts_with('-') { "" } else { "check" };
            // `echoline check` creates the folder of a history. In namespaces, /var/lib belongs to
            // the page alone.
            let arguments = if has_namespaces() {
                arguments
            } else {
                arguments.replace("--data /", "--data ./")
            };
            let checked = session.run(&format!("echoline {check} {arguments}"), |_| true);
            if !is_right(checked.status, &checked.output) {
                wrong.push(format!("{}:{line}: {text}\n{}", page.name, checked.output));
            }
        }
    }
    wrong
}

/// Returns whether the flags of a command are right. The files that they name need not exist.
fn is_right(status: Option<i32>, output: &str) -> bool {
    let missing = ["No such file", "no NATS server answers"];
    let errors = output.lines().filter(|line| line.starts_with("echoline: "));
    let mut errors = errors.map(|line| missing.iter().any(|reason| line.contains(reason)));
    status == Some(0) || (status == Some(1) && errors.all(|is_missing| is_missing))
}

#[test]
fn every_page_has_a_test() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let entries = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let names = entries.map(|name| format!("docs/{}", name.to_str().unwrap()));
    let mut pages: Vec<String> = names.filter(|name| name.ends_with(".md")).collect();
    pages.push("README.md".to_owned());
    pages.sort();
    let mut tested = PAGES.to_vec();
    tested.sort_unstable();
    assert_eq!(pages, tested);
}

#[test]
fn no_more_blocks_than_counted_are_not_run() {
    let pages = PAGES.iter().filter(|name| NOT_YET.iter().all(|(page, _)| page != *name));
    let mut marked = Vec::new();
    for page in pages.map(|name| Page::read(name)) {
        for block in &page.blocks {
            if let Some(reason) = &block.not_run {
                marked.push(format!("{}:{}: {reason}", page.name, block.line));
            }
        }
    }
    assert_eq!(marked.len(), NOT_RUN, "\n{}\n", marked.join("\n"));
}

/// Blocks of the language `text` are not typed. Each message in them must be one that the program
/// prints.
#[test]
fn the_messages_in_text_blocks_are_those_of_the_program() {
    let literals = Literals::read();
    let (mut wrong, mut not_compared) = (Vec::new(), Vec::new());
    for page in PAGES.iter().map(|name| Page::read(name)) {
        for block in page.blocks.iter().filter(|block| block.language == "text") {
            let place = format!("{}:{}", page.name, block.line);
            match literals.unknown(block) {
                Some(unknown) => {
                    wrong.extend(unknown.iter().map(|message| format!("{place}: {message}")));
                }
                None => not_compared.push(place),
            }
        }
    }
    assert!(wrong.is_empty(), "no literal makes these messages:\n{}\n", wrong.join("\n"));
    assert_eq!(not_compared.len(), NOT_COMPARED, "\n{}\n", not_compared.join("\n"));
}

/// A flag that is renamed or removed must not stay in the text of a page.
#[test]
fn every_flag_that_a_page_names_exists() {
    let known = flags::known();
    let mut wrong = Vec::new();
    for page in PAGES.iter().map(|name| Page::read(name)) {
        for (number, line) in &page.text {
            let unknown = flags::named(line, "`").into_iter().filter(|flag| !known.contains(flag));
            wrong.extend(unknown.map(|flag| format!("{}:{number}: {flag}", page.name)));
        }
    }
    assert!(wrong.is_empty(), "no command has these flags:\n{}\n", wrong.join("\n"));
}

/// A page that tests this runner itself, with and without namespaces.
const SAMPLE: &str = "\
```console
$ echoline echo --listen 127.0.0.1:8080 --log-level error &
$ printf '%s\\n' \\
> hello again | echoline send 127.0.0.1:8080
Echo: hello
Echo: …
$ echoline echo --listen 127.0.0.1:8081 &
…
… ready …
$ ls
$ kill %1; kill %2; wait
…
$ echoline send 127.0.0.1:8080 hello
echoline: cannot connect to 127.0.0.1:8080 …
$ echo $?
3
```
";

#[test]
fn the_sample_is_typed_with_and_without_namespaces() {
    let sample = Page::parse("sample.md", SAMPLE);
    for in_namespaces in [false, true] {
        if in_namespaces && !has_namespaces() {
            eprintln!("SKIPPED, not passed: this machine has no namespaces");
            continue;
        }
        let wrong = type_commands(&sample, in_namespaces);
        assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    }
}

#[test]
fn a_wrong_page_is_named_with_line_command_and_difference() {
    let text = "```console\n$ echo one; echo two\none\nthree\n$ exit 3\n```\n";
    let wrong = type_commands(&Page::parse("wrong.md", text), has_namespaces());
    assert_eq!(wrong[0], "wrong.md:2: $ echo one; echo two\n    one\n  - three\n  + two\n");
    assert_eq!(
        wrong[1],
        "wrong.md:5: $ exit 3\n  the command does not end, or it ended the session"
    );
    assert_eq!(wrong.len(), 2);
}

#[test]
fn a_page_that_leaves_a_job_behind_is_wrong() {
    let text = "```console\n$ sleep 100 &\n```\n";
    let wrong = type_commands(&Page::parse("wrong.md", text), has_namespaces());
    assert!(wrong[0].contains("leaves jobs behind") && wrong[0].contains("sleep 100 &"));
    assert_eq!(wrong.len(), 1);
}
