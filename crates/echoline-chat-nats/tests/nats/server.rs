//! NATS servers for one test, with their own ports and stores. They are killed when the test ends.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, Context, stream};
use tempfile::TempDir;

use echoline_chat_nats::NatsOptions;

/// The first version on which a chat accepts several replicas.
const REPLICATES: (u32, u32, u32) = (2, 10, 26);

pub(crate) struct NatsServer {
    child: Child,
    port: u16,
    store: TempDir,
    flags: Vec<String>,
    name: String,
}

impl NatsServer {
    /// Starts a server with JetStream. Returns `None` if NATS is not installed, so that the test is
    /// skipped.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(|store| vec!["--jetstream".to_owned(), format!("--store_dir={store}")])
    }

    pub(crate) fn start_with(flags: impl Fn(&str) -> Vec<String>) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        let [server] = some_start(|| [Self::spawn("alone", &flags)]);
        Some(server)
    }

    /// Starts a cluster of three servers. Returns `None` if the installed version is too old for
    /// several replicas, so that the test is skipped.
    pub(crate) fn start_three() -> Option<[Self; 3]> {
        let [major, minor, patch] = installed_version()?;
        if (major, minor, patch) < REPLICATES {
            eprintln!("skipped, because nats-server {major}.{minor}.{patch} is older than 2.10.26");
            return None;
        }
        Some(Self::start_cluster())
    }

    /// Starts a cluster of three servers of any version. It may take seconds until they have a
    /// leader.
    pub(crate) fn start_cluster() -> [Self; 3] {
        some_start(|| {
            let ports = [free_port(), free_port(), free_port()];
            let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(",");
            [("n0", ports[0]), ("n1", ports[1]), ("n2", ports[2])].map(|(name, port)| {
                Self::spawn(name, &|store| {
                    vec![
                        "--jetstream".to_owned(),
                        format!("--store_dir={store}"),
                        "--cluster_name=three".to_owned(),
                        format!("--server_name={name}"),
                        format!("--cluster=nats://127.0.0.1:{port}"),
                        format!("--routes={routes}"),
                    ]
                })
            })
        })
    }

    fn spawn(name: &str, flags: &impl Fn(&str) -> Vec<String>) -> Self {
        let (store, port) = (tempfile::tempdir().unwrap(), free_port());
        let flags = flags(store.path().to_str().unwrap());
        Self { child: spawn(port, &flags), port, store, flags, name: name.to_owned() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn options(&self) -> NatsOptions {
        NatsOptions::new(self.url(), "tea")
    }

    /// Kills the server with `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again on the same port, with the same store.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.port, &self.flags);
        assert!(self.is_up());
    }

    /// Copies the store. The server must be stopped.
    pub(crate) fn keep(&self) -> TempDir {
        let kept = tempfile::tempdir().unwrap();
        replace(self.store.path(), kept.path());
        kept
    }

    /// Replaces the store by a copy. The server must be stopped.
    pub(crate) fn roll_back(&self, kept: &TempDir) {
        replace(kept.path(), self.store.path());
    }

    /// Replaces one stream of the store by that of a copy. The server must be stopped.
    pub(crate) fn roll_back_stream(&self, kept: &TempDir, stream: &str) {
        let folder = format!("jetstream/$G/streams/{stream}");
        replace(&kept.path().join(&folder), &self.store.path().join(&folder));
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Waits until the server sends its greeting. Returns false if the server has ended.
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

    /// Runs `work` with a client of its own.
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

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts servers. Tries again with other ports if another process has taken one of the ports.
fn some_start<const COUNT: usize>(spawn: impl Fn() -> [NatsServer; COUNT]) -> [NatsServer; COUNT] {
    let mut tries = (0..10).map(|_| spawn());
    let started =
        tries.find_map(|mut servers| servers.iter_mut().all(NatsServer::is_up).then_some(servers));
    started.expect("NATS servers start with these flags")
}

/// Replaces the folder `to` by a copy of `from`.
fn replace(from: &Path, to: &Path) {
    std::fs::remove_dir_all(to).unwrap();
    std::fs::create_dir(to).unwrap();
    let mut command = Command::new("cp");
    command.arg("-a").arg(from.join(".")).arg(to);
    assert!(command.status().unwrap().success());
}

fn is_installed() -> bool {
    installed_version().is_some()
}

/// Returns the version of the `nats-server` on the `PATH`.
pub(crate) fn installed_version() -> Option<[u32; 3]> {
    let Ok(output) = Command::new("nats-server").arg("--version").output() else {
        eprintln!("skipped, because there is no nats-server");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text.trim().rsplit_once('v').unwrap().1;
    let mut numbers = version.split(['.', '-']).map(|number| number.parse().unwrap());
    Some([(); 3].map(|()| numbers.next().unwrap()))
}

fn spawn(port: u16, flags: &[String]) -> Child {
    let mut command = Command::new("nats-server");
    command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]).args(flags);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
