//! A NATS server of the test's own: its own port, its own store, ended with the test.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, Context, stream};
use tempfile::TempDir;

use echoline::chat::nats::NatsOptions;

pub(crate) struct Server {
    child: Child,
    port: u16,
    store: TempDir,
    jetstream: bool,
}

impl Server {
    /// `None`, said once, where there is no NATS server: the test skips.
    pub(crate) fn start() -> Option<Self> {
        Self::start_as(true)
    }

    pub(crate) fn start_as(jetstream: bool) -> Option<Self> {
        if Command::new("nats-server").arg("--version").output().is_err() {
            eprintln!("skipped, for there is no nats-server");
            return None;
        }
        let store = tempfile::tempdir().unwrap();
        // Whoever takes the port in between makes the server fail to start: another one, then.
        loop {
            let port = free_port();
            let child = spawn(port, &store, jetstream);
            let mut server = Self { child, port, store: tempfile::tempdir().unwrap(), jetstream };
            if server.is_up() {
                server.store = store;
                return Some(server);
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn options(&self) -> NatsOptions {
        NatsOptions::new(self.url(), "tea")
    }

    /// `kill -9`
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// On the same port, with the same store.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.port, &self.store, self.jetstream);
        assert!(self.is_up());
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Whether it greets, or else has ended.
    fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the NATS server does not start");
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let mut greeting = String::new();
                let read = BufReader::new(stream).read_line(&mut greeting);
                if read.is_ok() && greeting.starts_with("INFO ") {
                    return true;
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Does something with the server by its own client.
    pub(crate) fn with<T>(&self, work: impl AsyncFnOnce(Context) -> T) -> T {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let client = async_nats::connect(self.url()).await.unwrap();
            work(jetstream::new(client)).await
        })
    }

    pub(crate) fn info(&self, stream: &str) -> stream::Info {
        self.with(async |context| context.get_stream(stream).await.unwrap().cached_info().clone())
    }

    pub(crate) fn make(&self, config: stream::Config) {
        self.with(async |context| context.create_stream(config).await.map(|_| ()).unwrap());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, store: &TempDir, jetstream: bool) -> Child {
    let mut command = Command::new("nats-server");
    command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
    if jetstream {
        command.arg("--jetstream").arg("--store_dir").arg(store.path());
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
