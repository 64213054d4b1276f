//! Tests of the program `echoline chat`: the lesson's dialogue byte by byte, flags and signals.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod lesson;
mod programs;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use programs::{Program, echoline, run, wait_for, write_secret};

/// A chat on two free ports: one for terminals, one for programs.
struct Chat {
    program: Program,
    addresses: Vec<SocketAddr>,
    _folder: tempfile::TempDir,
}

impl Chat {
    fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready");
        let mut command = echoline(&["chat", "--listen", "127.0.0.1:0", "--bot", "127.0.0.1:0"]);
        command.arg("--ready-file").arg(&ready).args(flags);
        let program = Program::start(&mut command);
        wait_for("the ready file", || ready.exists());
        let text = fs::read_to_string(ready).unwrap();
        let addresses = text.lines().map(|line| line.parse().unwrap()).collect();
        Self { program, addresses, _folder: folder }
    }
}

/// A connection that reads bytes as they arrive.
struct Wire(BufReader<TcpStream>);

impl Wire {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self(BufReader::new(stream))
    }

    /// Connects from this loopback address.
    fn connect_from(source: [u8; 4], address: SocketAddr) -> Self {
        let (domain, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
        let socket = socket2::Socket::new(domain, kind, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self(BufReader::new(socket.into()))
    }

    /// Reads up to a line that contains these words, and returns it.
    #[track_caller]
    fn until(&mut self, words: &str) -> String {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "the stream ends before {words:?}");
            if line.contains(words) {
                return line;
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// Checks that exactly these bytes arrive next.
    #[track_caller]
    fn hear(&mut self, expected: &str) {
        let mut heard = vec![0; expected.len()];
        self.0.read_exact(&mut heard).unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), expected);
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        String::from_utf8(rest).unwrap()
    }
}

/// Runs the lesson's dialogue, and compares the output of each of the three clients byte by byte.
fn dialogue(address: SocketAddr) {
    let mut ann = Wire::connect(address);
    ann.hear("Enter your name: ");
    ann.send(b"  ann \n");
    ann.hear("*** ann joined the chat ***\r\n");
    let mut bob = Wire::connect(address);
    bob.hear("Enter your name: ");
    bob.send(b"bob\r\n");
    bob.hear("*** bob joined the chat ***\r\n");
    ann.hear("*** bob joined the chat ***\r\n");
    ann.send("привет, bob!  \r\n".as_bytes());
    bob.hear("ann: привет, bob!\r\n");
    bob.send(b"/USERS\n");
    bob.hear("Online: ann, bob\r\n");
    bob.send(b"one\ntwo\n");
    ann.hear("bob: one\r\nbob: two\r\n");
    let mut nameless = Wire::connect(address);
    nameless.hear("Enter your name: ");
    let name = format!("User_{}", nameless.0.get_ref().local_addr().unwrap().port());
    nameless.send(b"\n");
    for hearer in [&mut nameless, &mut ann, &mut bob] {
        hearer.hear(&format!("*** {name} joined the chat ***\r\n"));
    }
    nameless.send(b"\r\n");
    nameless.send(b"x\n");
    for hearer in [&mut ann, &mut bob] {
        hearer.hear(&format!("{name}: \r\n{name}: x\r\n"));
    }
    nameless.send(b"/quit\n");
    assert_eq!(nameless.rest(), "");
    ann.hear(&format!("*** {name} left the chat ***\r\n"));
    bob.hear(&format!("*** {name} left the chat ***\r\n"));
    drop(ann);
    bob.hear("*** ann left the chat ***\r\n");
    bob.send(b"/quit\r\n");
    assert_eq!(bob.rest(), "");
}

#[test]
fn the_dialogue_matches_the_lesson_to_the_byte() {
    dialogue(Chat::start(&[]).addresses[0]);
    let Some(folder) = lesson::programs() else { return };
    let (_running, address) = lesson::serve(&folder.join("s5_chat.py"), &[]);
    dialogue(address);
}

/// Fault 51: every client receives a notice of the shutdown in its own protocol, and may
/// disconnect.
#[test]
fn a_signal_ends_the_chat_in_order() {
    let chat = Chat::start(&[]);
    let mut ann = Wire::connect(chat.addresses[0]);
    ann.hear("Enter your name: ");
    ann.send(b"ann\n");
    ann.hear("*** ann joined the chat ***\r\n");
    let mut program = Wire::connect(chat.addresses[1]);
    program.send(b"{\"name\": \"ci\"}\n");
    assert!(program.line().contains("welcome"));
    assert!(program.line().contains("\"number\":2"));
    ann.hear("*** ci joined the chat ***\r\n");
    chat.program.signal("TERM");
    assert_eq!(ann.rest(), "*** The server is shutting down. Goodbye! ***\r\n");
    for line in program.rest().lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON to the end");
        assert!(value["kind"].is_string(), "{line}");
    }
    assert_eq!(chat.program.finish().code(), Some(0));
}

/// Fault 52: after a second signal the chat does not wait for an unfinished line.
#[test]
fn a_second_signal_ends_the_chat_at_once() {
    let chat = Chat::start(&["--line-timeout", "off", "--drain-timeout", "10m"]);
    let mut ann = Wire::connect(chat.addresses[0]);
    ann.hear("Enter your name: ");
    ann.send(b"ann\n");
    ann.hear("*** ann joined the chat ***\r\n");
    // The answer shows that the bytes after it have been read.
    ann.send(b"/users\na line that is nev");
    ann.hear("Online: ann\r\n");
    chat.program.signal("TERM");
    chat.program.wait_for_stderr("waiting for connections to finish");
    chat.program.signal("TERM");
    assert_eq!(chat.program.finish().code(), Some(1));
}

#[test]
fn check_describes_the_chat() {
    let ended = run(&["chat", "--check", "--lobby", "hall", "--bot", "127.0.0.1:7001"], b"");
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(ended.text().contains("first room is hall"), "{}", ended.text());
    assert!(ended.text().contains("Bots connect to 127.0.0.1:7001"), "{}", ended.text());
}

#[test]
fn errors_of_flags_are_one_sentence_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let half_hash = folder.path().join("password");
    write_secret(&half_hash, "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ\n");
    for (flags, words) in [
        (&["--lobby", "a b"][..], "a space"),
        (&["--history", "0"], "--history"),
        (&["--flood", "fast"], "--flood"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--login-timeout", "soon"], "--login-timeout"),
        (&["--burst", "0"], "--burst"),
        (&["--max-rooms", "many"], "--max-rooms"),
        (&["--operator-password-file", "/nonexistent"], "--operator-password-file"),
        (&["--operator-password-file", half_hash.to_str().unwrap()], "hash-password"),
        (&["--data", "/proc/nowhere"], "--data"),
    ] {
        let arguments = [&["chat", "--check"], flags].concat();
        let ended = run(&arguments, b"");
        assert!(matches!(ended.code(), Some(1 | 2)), "{flags:?}: {:?}", ended.code());
        assert!(ended.stderr.contains(words), "{flags:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{flags:?}: {}", ended.stderr);
    }
}

/// Fault 19: a gigabyte without a line end takes no memory, and delays only its own connection.
#[test]
fn a_line_without_an_end_takes_no_memory() {
    let chat = Chat::start(&[]);
    let mut mallory = Wire::connect(chat.addresses[0]);
    mallory.hear("Enter your name: ");
    mallory.send(b"mallory\n");
    mallory.hear("*** mallory joined the chat ***\r\n");
    let piece = vec![b'x'; 1 << 20];
    let mut send = |pieces: usize| {
        for _ in 0..pieces {
            mallory.send(&piece);
        }
        mallory.send(b"\n/users\n");
        assert!(mallory.line().contains("was too long (limit 4096 bytes)"));
        mallory.hear("Online: mallory\r\n");
    };
    // The first long lines let the allocator grow its heap once, in steps of 2 MiB.
    send(16);
    let before = resident_kib(chat.program.child.id());
    send(1024);
    let grown = resident_kib(chat.program.child.id()).saturating_sub(before);
    assert!(grown < 1024, "{grown} KiB");
}

fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Fault 62, promises P4 and P11: lines that were shown as stored are there after `kill -9`, with
/// the same numbers and times, and the numbers continue after them.
#[test]
fn shown_lines_survive_a_crash() {
    for lines in [1, 20, 300] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let flags = ["--data", data, "--history-sync", "each", "--replay", "0"];
        let mut chat = Chat::start(&flags);
        let mut reader = Wire::connect(chat.addresses[1]);
        reader.send(b"{\"name\": \"reader\"}\n");
        assert!(reader.line().contains("welcome"));
        let mut writer = Wire::connect(chat.addresses[1]);
        writer.send(b"{\"name\": \"writer\"}\n");
        for number in 0..2 * lines {
            writer.send(format!("{{\"say\": \"{number}\"}}\n").as_bytes());
        }
        let mut shown: Vec<String> = (0..lines).map(|_| seen_by_others(&reader.line())).collect();
        chat.program.child.kill().unwrap();
        // Lines that were in transit to the reader when the server was killed count as shown.
        let mut line = String::new();
        while let Ok(1..) = reader.0.read_line(&mut line) {
            shown.extend(line.ends_with('\n').then(|| seen_by_others(&line)));
            line.clear();
        }
        chat.program.finish();

        let chat = Chat::start(&flags);
        let mut after = Wire::connect(chat.addresses[1]);
        after.send(b"{\"name\": \"after\", \"after\": {\"lobby\": 0}}\n");
        assert!(after.line().contains("welcome"));
        let mut all = Vec::new();
        while all.last().is_none_or(|line: &String| !line.contains("\"name\":\"after\"")) {
            all.push(seen_by_others(&after.line()));
        }
        assert!(all.starts_with(&shown), "{shown:#?}\n{all:#?}");
        for (number, line) in (1..).zip(&all) {
            assert!(line.contains(&format!("\"number\":{number},")), "{line} is not #{number}");
        }
    }
}

fn seen_by_others(line: &str) -> String {
    line.replace("\"own\":true", "\"own\":false")
}

/// Issue 12, item 7: the file of the operators' password may contain a hash. A guess costs a
/// second, and all guesses of an address are counted in one entry.
#[test]
fn attack_the_password_file_holds_a_hash_and_guesses_are_counted() {
    let hashed = run(&["chat", "hash-password"], b"open sesame\nnot this\n");
    let hash = String::from_utf8(hashed.stdout).unwrap();
    assert!(hash.starts_with("$argon2id$") && hash.ends_with('\n'), "{hash}{}", hashed.stderr);
    assert!(hash.lines().count() == 1 && !hash.contains("sesame"), "{hash}");
    let short = run(&["chat", "hash-password"], b"sesame\n");
    assert!(short.code() == Some(1) && short.stderr.contains("too short"), "{}", short.stderr);
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    write_secret(&password, &hash);
    let data = folder.path().join("data");
    let chat = Chat::start(&[
        "--operator-password-file",
        password.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
    ]);
    let mut eve = Wire::connect(chat.addresses[0]);
    eve.send(b"eve\n");
    eve.until("eve joined");
    for guess in ["guess", hash.trim_end()] {
        eve.send(format!("/oper {guess}\n").as_bytes());
        eve.until("Wrong operator password");
    }
    eve.send(b"/oper open sesame\n");
    eve.until("You are now an operator");
    eve.send(b"/audit\n");
    eve.until("eve became an operator");
    let line = eve.line();
    assert!(line.contains("2 wrong operator passwords from 127.0.0.1/32, the first at "), "{line}");
    assert!(line.ends_with(" by eve\r\n"), "{line}");
}

/// Issue 12, item 21: users of one address occupy nearly all slots. The idle ones among them are
/// disconnected for newcomers, and the few users of another address stay.
#[test]
fn attack_idle_users_of_one_address_do_not_lock_out_others() {
    let chat =
        Chat::start(&["--max-connections", "20", "--max-per-ip", "20", "--idle-when-full", "1s"]);
    let enter = |source, name: &str| {
        let mut wire = Wire::connect_from(source, chat.addresses[0]);
        wire.send(format!("{name}\n").as_bytes());
        wire.until(" ***");
        wire
    };
    let mut honest = [enter([127, 0, 0, 3], "ann"), enter([127, 0, 0, 3], "bob")];
    let mut idlers: Vec<Wire> =
        (0..18).map(|number| enter([127, 0, 0, 2], &format!("idler{number}"))).collect();
    wait_for("a place", || {
        let mut carl = Wire::connect_from([127, 0, 0, 1], chat.addresses[0]);
        carl.0.get_mut().write_all(b"carl\n").is_ok() && carl.line().contains("carl joined")
    });
    let rest = idlers[0].rest();
    let words = "*** The server is nearly full, and you have been silent for less than a minute";
    assert!(rest.contains(words), "{rest}");
    for wire in &mut honest {
        wire.send(b"/lag\n");
        wire.until("behind");
    }
}

/// Issue 11, item 3: an operator sees addresses, also that of a user who has left, and can ban a
/// user who returns under another name.
#[test]
fn regression_operators_see_addresses_to_ban() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    write_secret(&password, "open sesame\n");
    let chat = Chat::start(&["--operator-password-file", password.to_str().unwrap()]);
    let enter = |source, name: &str| {
        let mut wire = Wire::connect_from(source, chat.addresses[0]);
        wire.send(format!("{name}\n").as_bytes());
        wire.until(" ***");
        wire
    };
    let mut olga = enter([127, 0, 0, 1], "olga");
    olga.send(b"/oper open sesame\n");
    olga.until("You are now an operator");
    let mut bob = enter([127, 0, 0, 3], "bob");
    let mut troll = enter([127, 0, 0, 2], "troll");
    let _pupil = enter([127, 0, 0, 2], "pupil");
    bob.send(b"/whois troll\n/lag\n");
    assert_eq!(bob.until("troll is"), "troll is in lobby\r\n");
    assert!(!bob.until("behind").contains("127.0.0"), "users see no addresses");
    olga.send(b"/whois troll\n");
    assert_eq!(olga.until("troll is"), "troll is in lobby\r\n");
    let line = olga.line();
    let words = ", without a resume token, from 127.0.0.2, also used by 1 other user here\r\n";
    assert!(line.starts_with("troll has been here since ") && line.ends_with(words), "{line}");
    olga.send(b"/ban troll 1h spam\n");
    olga.until("You banned troll from the chat");
    olga.until("The ban covers the name troll, and this user under any name: session and token");
    let hint = "*** They are connected from 127.0.0.2, also used by 1 other user here: \
                /ban 127.0.0.2 bans the address too";
    olga.until(hint);
    assert!(troll.rest().contains("You are banned from this chat until"));
    olga.until("troll left");
    olga.send(b"/whois troll\n");
    let line = olga.until("troll left at ");
    assert!(line.ends_with(", from 127.0.0.2, also used by 1 other user here\r\n"), "{line}");
    let mut imp = enter([127, 0, 0, 2], "imp");
    olga.send(b"/ban 127.0.0.2\n");
    olga.until("You banned 127.0.0.2 from the chat");
    assert!(imp.rest().contains("You are banned from this chat"));
    let mut again = Wire::connect_from([127, 0, 0, 2], chat.addresses[0]);
    assert!(again.line().contains("You are banned from this chat"));
    olga.send(b"/ban 2001:db8::5\n");
    olga.until("You banned 2001:db8::/64 from the chat");
    olga.until("The ban covers the whole /64 network");
    olga.send(b"/unban 2001:db8::99\n");
    olga.until("2001:db8::/64 may join the chat again");
}

/// Issue 11, item 4: if a user who is muted for writing too fast leaves, the next newcomer from the
/// same address takes over the mute. Other users of this address can write.
#[test]
fn regression_a_flood_mute_follows_an_address_to_one_newcomer() {
    let chat = Chat::start(&["--flood", "20/s", "--burst", "10"]);
    let enter = |source, name: &str| {
        let mut wire = Wire::connect_from(source, chat.addresses[0]);
        wire.send(format!("{name}\n").as_bytes());
        wire.until(&format!("*** {name} joined the chat ***"));
        wire
    };
    let mut bob = enter([127, 0, 0, 1], "bob");
    let school = [127, 0, 0, 2];
    let (mut troll, mut pupil) = (enter(school, "troll"), enter(school, "pupil"));
    let mut speak = |wire: &mut Wire, line: &str| {
        wire.send(format!("{line}\n").as_bytes());
        loop {
            let heard = bob.line();
            assert!(!heard.is_empty() && !heard.contains("not sent"), "{heard}");
            if heard.contains(line) {
                break;
            }
        }
    };
    troll.send("too much\n".repeat(90).as_bytes());
    troll.until("Not sent: you wrote too fast and are muted for 30 s");
    let mut second = enter(school, "second");
    speak(&mut second, "I came while the troll was here");
    troll.send(b"/quit\n");
    second.until("troll left");
    let mut imp = Wire::connect_from(school, chat.addresses[0]);
    imp.send(b"imp\n");
    imp.until("*** A user from your address wrote too fast and left: you are muted for");
    imp.send(b"not sent\n/users\n");
    imp.until("Online: ");
    let mut third = enter(school, "third");
    speak(&mut third, "the mute has been taken over");
    speak(&mut pupil, "I was here before");
}

/// Issue 12, item 16: a --data folder that others can write is refused, at the start and by
/// `check`. A symbolic link that replaces a file of the history is refused as well.
#[test]
fn attack_data_in_a_folder_of_others_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let text = data.to_str().unwrap();
    let precious = folder.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    fs::create_dir(&data).unwrap();
    let chat = |flags: &[&str]| run(&[&["chat", "--data", text, "--check"], flags].concat(), b"");
    let open = |mode| fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
    open(0o777);
    let refused = chat(&[]);
    assert_eq!((refused.code(), refused.stderr.lines().count()), (Some(1), 1), "{refused:?}");
    assert!(refused.stderr.contains("other users can replace the files in"), "{refused:?}");
    let checked = run(&["check", "chat", "--data", text], b"");
    assert!(checked.stderr.contains("accept this one with --allow-shared-files"), "{checked:?}");
    let flags: &[&str] = &["erase", "--data", text, "ann"];
    let erased = run(&[&["chat"], flags].concat(), b"");
    assert!(erased.stderr.contains("other users can replace"), "{erased:?}");
    assert_eq!(chat(&["--allow-shared-files"]).code(), Some(0));
    open(0o700);
    assert_eq!(chat(&[]).code(), Some(0));
    for file in ["chat.lock", "chat.sqlite3"] {
        fs::rename(data.join(file), folder.path().join(file)).unwrap();
        std::os::unix::fs::symlink(&precious, data.join(file)).unwrap();
        let refused = chat(&[]);
        assert_eq!(refused.code(), Some(1), "{file}: {refused:?}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        fs::rename(folder.path().join(file), data.join(file)).unwrap();
    }
}
