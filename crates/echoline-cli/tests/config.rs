//! Tests of the configuration file and of `echoline check`.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod programs;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use programs::{Ended, Program, echoline, run, wait_for};

/// Creates a folder with this configuration. Returns it and the path of the file.
fn config(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echoline.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// Starts an echo server with this environment and these flags. Returns the prefix of its echo.
fn prefix(environment: &[(&str, &str)], flags: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let mut command = echoline(&["echo", "--listen", "127.0.0.1:0"]);
    command.arg("--ready-file").arg(&ready).args(flags).envs(environment.iter().copied());
    let server = Program::start(&mut command);
    wait_for("the ready file", || ready.exists());
    let address = fs::read_to_string(&ready).unwrap();
    let ended = run(&["send", address.trim(), "x"], b"");
    server.signal("TERM");
    assert_eq!(server.finish().code(), Some(0));
    ended.text().trim().strip_suffix('x').unwrap().to_owned()
}

/// The command line takes precedence over the environment, the environment over the file, and the
/// file over the default.
#[test]
fn the_command_line_wins_over_environment_file_and_default() {
    let (_folder, path) = config("[echo]\nprefix = 'file '\n[chat]\nlobby = 'hall'\n");
    let variable = ("ECHOLINE_PREFIX", "environment ");
    let file = ["--config", path.as_str()];
    assert_eq!(prefix(&[], &[]), "Echo: ");
    assert_eq!(prefix(&[], &file), "file ");
    assert_eq!(prefix(&[("ECHOLINE_CONFIG", &path)], &[]), "file ");
    assert_eq!(prefix(&[variable], &file), "environment ");
    let typed = [&file[..], &["--prefix", "typed "]].concat();
    assert_eq!(prefix(&[variable], &typed), "typed ");
    assert_eq!(prefix(&[], &typed), "typed ");
}

/// Issue 11, item 43: a variable applies to the commands that have its flag with the same meaning.
/// An empty variable counts as unset, a variable for one command takes precedence, and an error
/// names the variable.
#[test]
fn regression_variables_apply_to_commands_with_the_same_meaning() {
    let server = programs::EchoServer::start(&[]);
    let with = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = echoline(arguments);
        Program::start(command.envs(variables.iter().copied())).finish()
    };
    let send = ["send", &server.address, "x"];
    // Variables for a server, variables for every client, and an empty variable.
    let variables = [
        ("ECHOLINE_CERT", "/nowhere/server.pem"),
        ("ECHOLINE_KEY", "/nowhere/server-key.pem"),
        ("ECHOLINE_CA", "/nowhere/ca.pem"),
        ("ECHOLINE_EOL", ""),
        ("ECHOLINE_TIMEOUT", "off"),
    ];
    let ended = with(&variables, &send);
    assert_eq!((ended.code(), ended.text().as_str()), (Some(0), "Echo: x\n"), "{ended:?}");
    let load = ["load", &server.address, "--clients", "1", "--messages", "1"];
    let mut quiet = variables.to_vec();
    quiet.push(("ECHOLINE_QUIET", "yes"));
    assert_eq!(with(&quiet, &load).code(), Some(0));
    // The variable of the command takes precedence over the general one, and a typed flag over
    // both.
    let both = [("ECHOLINE_TIMEOUT", "never"), ("ECHOLINE_SEND_TIMEOUT", "5s")];
    assert_eq!(with(&both, &send).code(), Some(0));
    let wrong = with(&both[..1], &send);
    let sentence = "error: ECHOLINE_TIMEOUT: 'never' is not a time";
    assert!(wrong.code() == Some(2) && wrong.stderr.starts_with(sentence), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("Usage: echoline send "), "{}", wrong.stderr);
    assert_eq!(with(&both[..1], &[&send[..], &["--timeout", "5s"]].concat()).code(), Some(0));
    // A variable can turn off a switch of the file, and the error of conflicting flags names the
    // variable.
    let (_folder, path) = config("[echo]\nmode = 'raw'\n[send]\nno-half-close = true\n");
    let conflict = with(&[("ECHOLINE_CA", "ca.pem")], &[&send[..], &["--insecure"]].concat());
    assert_eq!(conflict.code(), Some(2));
    assert!(conflict.stderr.contains("--ca comes from ECHOLINE_CA"), "{}", conflict.stderr);
    let off = [("ECHOLINE_NO_HALF_CLOSE", "no")];
    assert_eq!(with(&off, &[&send[..], &["--config", &path]].concat()).code(), Some(0));
}

/// Issue 11, item 44: for a flag of another program, the error names the corresponding flag of
/// echoline.
#[test]
fn regression_a_flag_of_another_program_gets_a_hint() {
    for (arguments, hint) in [
        (&["load", "127.0.0.1:1", "-z", "50"][..], "use '--duration 50'"),
        (&["load", "127.0.0.1:1", "--requests", "9"], "use '--total-messages 9'"),
        (&["echo", "--port", "7"], "use '--listen 127.0.0.1:7'"),
        (&["chat", "--port=7"], "use '--listen 127.0.0.1:7'"),
        (&["echo", "127.0.0.1:7"], "use '--listen 127.0.0.1:7'"),
        (&["chat", "127.0.0.1:7"], "use '--listen 127.0.0.1:7'"),
        (&["echo", "9000"], "use '--listen 127.0.0.1:9000'"),
        (&["chat", "--retire-timeout", "1m"], "--retire-timeout was removed: a chat cannot be"),
    ] {
        let ended = run(arguments, b"");
        assert!(ended.code() == Some(2) && ended.stderr.contains(hint), "{}", ended.stderr);
    }
}

/// Issue 14, item 0: an error about a setting that is not on the command line names its variable,
/// or its file and line.
#[test]
fn an_error_names_the_variable_or_the_line_of_a_setting() {
    let (_folder, path) = config("[echo]\n\nkey = 'key.pem'\n[chat]\ncluster = 'tea'\n");
    let with = |variable: (&str, &str), arguments: &[&str]| {
        Program::start(echoline(arguments).envs([variable])).finish()
    };
    let none = ("ECHOLINE_ALLOW_ORIGIN", "");
    for (variable, arguments, origin) in [
        (none, &["echo", "--config", &path][..], format!("--key comes from {path} line 3")),
        (none, &["chat", "--config", &path], format!("--cluster comes from {path} line 5")),
        (("ECHOLINE_KEY", "k"), &["echo"], "--key comes from ECHOLINE_KEY".to_owned()),
        (("ECHOLINE_USER", "no-such"), &["echo"], "--user comes from ECHOLINE_USER".to_owned()),
        (("ECHOLINE_CHAT_CLUSTER", "x"), &["chat"], "from ECHOLINE_CHAT_CLUSTER".to_owned()),
    ] {
        let ended = with(variable, arguments);
        assert_eq!(ended.code(), Some(2), "{arguments:?}: {}", ended.stderr);
        let tip = ended.stderr.lines().find(|line| line.starts_with("  tip: ")).unwrap_or_default();
        assert!(tip.ends_with(&origin), "{origin}: {}", ended.stderr);
    }
    let wrong = with(("ECHOLINE_MAX_CONNECTIONS", "abc"), &["echo"]);
    let sentence = "error: ECHOLINE_MAX_CONNECTIONS: 'abc' is not a whole number of at least 1\n";
    assert!(wrong.code() == Some(2) && wrong.stderr.starts_with(sentence), "{}", wrong.stderr);
}

/// Issue 14, item 0: wrong usage ends with 2, and a failure that depends on the host with 1.
#[test]
fn wrong_usage_ends_with_2_and_a_failure_with_1() {
    for (arguments, code, sentence) in [
        (&["echo", "--user", "no-such-user"][..], 2, "there is no user 'no-such-user'"),
        (&["echo", "--user", "root"], 2, "name a user without its rights"),
        (&["echo", "--listen", "tls://127.0.0.1:0"], 2, "needs a certificate"),
        (&["echo", "--cert", "/no/such/file"], 2, "--cert has no effect"),
        (&["echo", "--admin", "0.0.0.0:0"], 2, "would be open to other hosts"),
        (&["echo", "--workers", "1000000"], 2, "write one from 1 to 1024"),
        (&["echo", "--log-level", "verbose"], 2, "error, warn, info, debug, trace"),
        (&["chat", "--data", "/x", "--bus", "nats://a"], 2, "exclude each other"),
        (&["chat", "--listen", "udp://127.0.0.1:0"], 2, "needs connections"),
        (&["send", "127.0.0.1:1", "x", "--insecure"], 2, "--insecure has no effect"),
        (&["compare", "a.json"], 2, "the report after the change is missing"),
        (&["compare", "/no/such/a", "/no/such/b"], 1, "No such file"),
        (&["echo", "--listen", "192.0.2.1:80"], 1, "cannot listen on 192.0.2.1:80"),
        (&["chat", "--data", "/proc/x"], 1, "the chat cannot access /proc/x"),
    ] {
        let ended = run(arguments, b"");
        assert_eq!(ended.code(), Some(code), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.matches(sentence).count(), 1, "{arguments:?}: {}", ended.stderr);
    }
    let tls = ["echo", "--listen", "tls://127.0.0.1:0", "--cert", "/no/such/file"];
    assert_eq!(run(&tls, b"").code(), Some(1), "a missing file is a failure, not wrong usage");
}

/// A list on the command line replaces the list in the file. The two lists are not joined.
#[test]
fn a_list_on_the_command_line_replaces_the_files_list() {
    let (_folder, path) = config("[echo]\nlisten = ['127.0.0.1:1', '127.0.0.1:2']\n");
    let ended = run(&["check", "echo", "--config", &path, "--listen", "127.0.0.1:0"], b"");
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.text().matches("listens on").count(), 1, "{}", ended.text());
}

/// The configuration file also has tables for clients.
#[test]
fn a_client_reads_its_table() {
    let (_folder, path) = config("[load]\nclients = 3\nmessages = 2\n[send]\ntimeout = 'never'\n");
    let server = programs::EchoServer::start(&[]);
    let load = run(&["load", &server.address, "--config", &path, "--quiet"], b"");
    assert!(load.text().contains("Messages: 6\n"), "{}", load.text());
    let send = run(&["send", &server.address, "--config", &path, "x"], b"");
    let sentence = "line 5: timeout: 'never' is not a time";
    assert!(send.code() == Some(2) && send.stderr.contains(sentence), "{}", send.stderr);
}

/// Fault 61: an invalid configuration ends the start at once with one sentence. No port is opened
/// and no file is written.
#[test]
fn a_wrong_file_starts_nothing() {
    let (folder, path) = config("[echo]\nmax-connections = 'many'\n");
    let ready = folder.path().join("ready");
    let log = folder.path().join("log");
    for command in ["echo", "chat"] {
        fs::write(&path, format!("[{command}]\nmax-connections = 'many'\n")).unwrap();
        let mut server = echoline(&[command, "--config", &path]);
        server.arg("--ready-file").arg(&ready).arg("--log-file").arg(&log);
        let ended = Program::start(&mut server).finish();
        let sentence = format!(
            "echoline: {path} line 2: max-connections: 'many' is not a whole number of at least 1\n"
        );
        assert_eq!((ended.code(), ended.stderr), (Some(2), sentence));
        assert!(!ready.exists() && !log.exists());
    }
}

/// Fault 61: the error for an unreadable file is one sentence too.
#[test]
fn an_unreadable_file_is_one_sentence() {
    let (folder, path) = config("[echo]\n");
    fs::write(&path, b"[echo]\nprefix = '\xff'\n").unwrap();
    let missing = folder.path().join("missing");
    for (path, sentence) in [
        (Path::new(&path), "is not UTF-8 text"),
        (&missing, "No such file or directory"),
        (folder.path(), "Is a directory"),
        (Path::new("/dev/zero"), "is longer than 1048576 bytes"),
    ] {
        let path = path.to_str().unwrap();
        let ended = run(&["echo", "--config", path], b"");
        let said = &ended.stderr;
        assert!(said.contains(sentence) && said.contains(path), "{said}");
        assert!(ended.code() == Some(1) && said.lines().count() == 1, "{said}");
    }
}

fn check(text: &str) -> Ended {
    let (_folder, path) = config(text);
    run(&["check", "--config", &path], b"")
}

/// Fault 61: a check reports all errors, not only the first, and lists the valid settings.
#[test]
fn a_check_reports_all_errors() {
    let ended = check(
        "[echo]\nlisten = ['127.0.0.1:0', '192.0.2.1:80', 'unix:/no/such/folder/x']\n\
         max-connections = 100000000\nlog-file = '/no/such/folder/log'\n\
         [chat]\noperator-password-file = '/no/such/file'\n",
    );
    assert_eq!(ended.code(), Some(1));
    for sentence in [
        "echo: cannot listen on 192.0.2.1:80: ",
        "this host does not have that address",
        "echo: listens on unix:/no/such/folder/x: no file can be created in /no/such/folder",
        "echo: --log-file /no/such/folder/log: no file can be created",
        "chat: cannot read --operator-password-file /no/such/file",
    ] {
        assert!(ended.stderr.contains(sentence), "{sentence}: {}", ended.stderr);
    }
    assert_eq!(ended.stderr.lines().count(), 4, "{}", ended.stderr);
    assert!(ended.stderr.lines().all(|line| line.starts_with("echoline: ")));
    let text = ended.text();
    assert!(text.contains("echo: listens on 127.0.0.1:0\n"), "{text}");
    assert!(
        text.contains("echo: note: --max-connections 100000000 needs more than the limit"),
        "{text}"
    );
}

/// Fault 61: a check opens no port, writes nothing, and works while the server runs.
#[test]
fn a_check_leaves_no_trace() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let (folder, path) = config("");
    let address = busy.local_addr().unwrap();
    let (log, ready) = (folder.path().join("log"), folder.path().join("ready"));
    let text = format!(
        "[echo]\nlisten = ['{address}']\nlog-file = '{}'\nready-file = '{}'\n",
        log.display(),
        ready.display()
    );
    fs::write(&path, text).unwrap();
    let ended = run(&["check", "--config", &path], b"");
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(ended.text().contains(&format!("echo: note: cannot listen on {address}")));
    assert!(ended.text().contains("which will be created"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the file itself exists");
    busy.set_nonblocking(true).unwrap();
    assert!(busy.accept().is_err(), "no client");
}

/// The settings of a running chat can be checked, although its folder is in use.
#[test]
fn a_running_chat_can_be_checked() {
    let (folder, path) = config("[chat]\nlisten = ['127.0.0.1:0']\n");
    let (data, ready) = (folder.path().join("data"), folder.path().join("ready"));
    let flags = ["--config", &path, "--data", data.to_str().unwrap()];
    let chat = [&["chat"][..], &flags].concat();
    let chat = Program::start(echoline(&chat).arg("--ready-file").arg(&ready));
    wait_for("the ready file", || ready.exists());
    let ended = run(&[&["check", "chat"][..], &flags].concat(), b"");
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let note = format!("is in use by process {}", chat.child.id());
    assert!(ended.text().contains(&note), "{}", ended.text());
    chat.signal("TERM");
    assert_eq!(chat.finish().code(), Some(0));
}

/// The exit code distinguishes wrong usage, a wrong file and an error of the system.
#[test]
fn a_check_has_three_exit_codes() {
    for (arguments, code) in [
        (&["check"][..], 2),
        (&["check", "echo", "--mode", "x"], 2),
        (&["check", "nonsense"], 2),
        (&["check", "echo", "--mode", "raw", "--prefix", "x"], 1),
        (&["check", "echo", "--config", "/no/such/file"], 1),
        (&["check", "echo", "--mode", "raw", "--listen", "127.0.0.1:0"], 0),
        (&["check", "chat", "--listen", "127.0.0.1:0"], 0),
        (&["check", "load", "127.0.0.1:1", "--clients", "5"], 0),
        (&["check", "--example"], 0),
    ] {
        let ended = run(arguments, b"");
        assert_eq!(ended.code(), Some(code), "{arguments:?}: {}", ended.stderr);
    }
}

/// The example is a valid configuration without changes.
#[test]
fn the_example_is_valid() {
    let path =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("packaging/echoline.toml");
    let mut command = echoline(&["check", "--config"]);
    let flags = [("ECHOLINE_LISTEN", "127.0.0.1:0"), ("ECHOLINE_LOG_LEVEL", "error")];
    let ended = Program::start(command.arg(&path).envs(flags)).finish();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(
        ended.text().contains("every key and value of [echo], [chat], [send], [load] is known")
    );
}

/// Issue 11, item 29: RUST_LOG applies if no --log-level is given, and an invalid one causes a
/// warning. NO_COLOR removes the colours of the log.
#[test]
fn regression_rust_log_and_no_color_are_honoured() {
    let log = |rust_log: &str, flags: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready");
        let mut command = echoline(&["echo", "--listen", "127.0.0.1:0", "--ready-file"]);
        command.arg(&ready).args(flags).env("RUST_LOG", rust_log);
        let program = Program::start(&mut command);
        wait_for("the ready file", || ready.exists());
        let address = fs::read_to_string(ready).unwrap();
        assert_eq!(run(&["send", address.trim(), "hello"], b"").text(), "Echo: hello\n");
        program.signal("TERM");
        program.finish().stderr
    };
    assert!(log("debug", &[]).contains(" connected "));
    assert!(log("echoline::net=debug", &[]).contains(" connected "));
    assert_eq!(log("error", &[]), "");
    assert!(!log("debug", &["--log-level", "info"]).contains(" connected "));
    let wrong = log("loud", &[]);
    assert_eq!(wrong.matches("WARN RUST_LOG is ignored: 'loud' is neither").count(), 1, "{wrong}");
    assert!(wrong.contains(" ready "), "{wrong}");
    for (variable, is_coloured) in [("NO_COLOR=", true), ("NO_COLOR=1", false)] {
        let folder = tempfile::tempdir().unwrap();
        let (ready, id) = (folder.path().join("ready"), folder.path().join("id"));
        let program = echoline(&[]);
        let words = format!(
            "echo $$ > {}; exec env {variable} {} echo --listen 127.0.0.1:0 --ready-file {}",
            id.display(),
            program.get_program().display(),
            ready.display()
        );
        let mut terminal = Command::new("script");
        let terminal = Program::start(terminal.args(["-q", "-c", &words, "/dev/null"]));
        wait_for("the ready file", || ready.exists());
        let id = fs::read_to_string(&id).unwrap();
        assert!(Command::new("kill").args(["-s", "TERM", id.trim()]).status().unwrap().success());
        let shown = terminal.finish().text();
        assert!(shown.contains("listening on"), "{shown}");
        assert_eq!(shown.contains('\x1b'), is_coloured, "{variable} {shown:?}");
    }
}
