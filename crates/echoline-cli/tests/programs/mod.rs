//! Whole programs, started and ended safely: bounded in time, killed by id when a test ends.

// Each test program uses only a part of this module. A failure here fails the test.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// The time limit of every wait. It is longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

const POLL_EVERY: Duration = Duration::from_millis(10);

/// Checks `condition` repeatedly until it holds. Counts its sleeps instead of reading a clock.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / POLL_EVERY.as_millis() {
        if condition() {
            return;
        }
        thread::sleep(POLL_EVERY);
    }
    panic!("waited {PATIENCE:?} in vain for {what}");
}

/// Writes a file that only its owner can read, as the program requires for a file with a secret.
pub(crate) fn write_secret(path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Returns the command that runs the program with these arguments, without settings from the
/// environment of the test run.
pub(crate) fn echoline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_echoline"));
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ECHOLINE_") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_LOG");
    command
}

/// The output and exit status of a program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// A running program. Dropping this value kills it.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) child: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().unwrap(), Arc::clone(&stdout)),
            collect(child.stderr.take().unwrap(), Arc::clone(&stderr)),
        ];
        Self { child, stdout, stderr, readers }
    }

    /// Writes to the program's stdin. It is no error if the program no longer reads.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
    }

    /// Returns everything that the program has written to stdout so far.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().unwrap()).into_owned()
    }

    /// Returns everything that the program and its child processes have written to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    pub(crate) fn wait_for_stdout(&self, text: &str) {
        wait_for(&format!("{text:?} on stdout"), || self.stdout().contains(text));
    }

    pub(crate) fn wait_for_stderr(&self, text: &str) {
        wait_for(&format!("{text:?} on stderr"), || self.stderr().contains(text));
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Works like `signal`, for a program that may have ended by itself.
    pub(crate) fn signal_if_running(&mut self, name: &str) {
        if !self.has_ended() {
            self.signal(name);
        }
    }

    /// Closes the program's stdin and waits until it ends.
    pub(crate) fn finish(mut self) -> Ended {
        drop(self.child.stdin.take());
        let mut status = None;
        wait_for("the end of a program", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Ended {
            status: status.unwrap(),
            stdout: std::mem::take(&mut self.stdout.lock().unwrap()),
            stderr: String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // If the program has ended and was waited for, there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut from: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut chunk = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            into.lock().unwrap().extend_from_slice(&chunk[..count]);
        }
    })
}

/// Runs the program with these arguments and this stdin to its end.
pub(crate) fn run(arguments: &[&str], stdin: &[u8]) -> Ended {
    let mut program = Program::start(&mut echoline(arguments));
    program.write(stdin);
    program.finish()
}

/// An `echoline echo` on a free port.
#[derive(Debug)]
pub(crate) struct EchoServer {
    pub(crate) address: String,
    pub(crate) program: Program,
    _folder: TempDir,
}

impl EchoServer {
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", flags)
    }

    /// Starts a server at this address, or at several addresses that are separated by commas.
    pub(crate) fn start_at(listen: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready");
        let mut command = echoline(&["echo", "--listen", listen, "--log-level", "error"]);
        command.arg("--ready-file").arg(&ready).args(flags);
        let program = Program::start(&mut command);
        wait_for("the ready file", || ready.exists());
        let address = std::fs::read_to_string(ready).unwrap().trim().to_owned();
        Self { address, program, _folder: folder }
    }
}

/// Starts a small server that runs `dialogue` for each client on a thread. Returns its address.
pub(crate) fn serve<D>(dialogue: D) -> String
where
    D: Fn(TcpStream) + Clone + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let dialogue = dialogue.clone();
            thread::spawn(move || dialogue(stream));
        }
    });
    address
}

/// Returns an address at which no socket listens. While the test runs, a bound socket holds the
/// address, so the system gives it to no other socket. A server of the test may still listen there,
/// because both sockets have SO_REUSEADDR.
pub(crate) fn nobody() -> SocketAddr {
    static HELD: Mutex<Vec<Socket>> = Mutex::new(Vec::new());
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    HELD.lock().unwrap().push(socket);
    address
}

/// Reads until the peer closes or resets the connection.
pub(crate) fn read_to_end(stream: &mut TcpStream) {
    let _ = std::io::copy(stream, &mut std::io::sink());
}
