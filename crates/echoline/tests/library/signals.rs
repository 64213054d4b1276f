//! Tests of signals during `serve` and after it. They start this test program again as a separate
//! process.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use echoline::Server;

use super::{PATIENCE, echo};

/// The variable that makes the process install its own SIGINT handler before it serves.
const LISTENS: &str = "ECHOLINE_TEST_LISTENS";

/// This is not a test, but the separate process that the tests below start. It serves once or
/// twice, and then keeps running.
#[tokio::test]
#[ignore = "run by the tests beside it"]
async fn process() {
    let mut own = std::env::var_os(LISTENS).map(|_| {
        let kind = tokio::signal::unix::SignalKind::interrupt();
        tokio::signal::unix::signal(kind).unwrap()
    });
    for _ in 0..2 {
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let serving = server.serve(echo);
        let serving = async { (tokio::join!(serving, async { println!("\nserves") })).0 };
        serving.await.unwrap();
        println!("\nserved");
    }
    match &mut own {
        Some(own) => {
            // The signals that ended `serve` arrived here too.
            own.recv().await;
            println!("\nheard");
            own.recv().await;
            println!("\nheard");
        }
        None => std::thread::sleep(PATIENCE),
    }
    std::process::exit(7);
}

struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(listens: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "signals::process", "--ignored", "--nocapture"]);
        if listens {
            command.env(LISTENS, "yes");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits until the process prints `word`.
    fn hear(&mut self, word: &str) {
        let said = self.lines.any(|line| line.unwrap() == word);
        assert!(said, "it has ended without '{word}'");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Returns the exit code, and the time that the process took to end.
    fn end(mut self) -> (Option<i32>, Duration) {
        let start = tokio::time::Instant::now();
        (self.child.wait().unwrap().code(), start.elapsed())
    }
}

/// Issue 11, item 27: after `serve` has returned, once or twice, a signal ends the process as
/// before.
#[test]
fn regression_signals_end_the_process_again_after_serve() {
    let mut process = Process::start(false);
    for _ in 0..2 {
        process.hear("serves");
        process.signal("TERM");
        process.hear("served");
    }
    process.signal("TERM");
    let (ended, after) = process.end();
    assert_eq!(ended, Some(128 + 15));
    assert!(after < PATIENCE / 2, "it took {after:?}");
}

/// Issue 11, item 27: a signal that the program handled before `serve` is still handled by the
/// program.
#[test]
fn regression_the_program_keeps_its_own_signal_handler() {
    let mut process = Process::start(true);
    for _ in 0..2 {
        process.hear("serves");
        process.signal("INT");
        process.hear("served");
    }
    process.hear("heard");
    process.signal("INT");
    process.hear("heard");
    assert_eq!(process.end().0, Some(7));
}
