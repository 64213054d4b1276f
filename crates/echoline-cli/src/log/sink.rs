//! Writes log lines to their target, and counts the lines that are lost.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use anyhow::Context;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::files::links::ResolvedPath;
use crate::process::resources;
use echoline_base::poison::IgnorePoison;

/// The number of lines that may wait to be written. Further lines are dropped.
const QUEUE_LINES: usize = 8192;

/// The mode of the file. Other users may not read it, because it contains the addresses of users.
const FILE_MODE: u32 = 0o640;

/// A log output: its flag, its standard stream, and its notice of lost lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogOutput {
    /// The flag that names the file of this log.
    pub(super) flag: &'static str,
    /// The target if no file is configured.
    pub(super) standard: fn() -> LogTarget,
    /// Returns the line that reports how many lines are missing.
    pub(super) notice: fn(usize) -> String,
}

/// A target for lines.
#[derive(Debug)]
pub(super) enum LogTarget {
    Stderr,
    Stdout,
    File(File),
}

impl LogTarget {
    /// Opens or creates the file at `path`. Without a path, returns the standard stream of this
    /// log.
    pub(super) fn open(kind: LogOutput, path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok((kind.standard)()) };
        let mut options = File::options();
        // With O_NONBLOCK, opening a FIFO without a reader fails. Without it, the log would wait
        // forever.
        options.append(true).create(true).mode(FILE_MODE);
        let file =
            ResolvedPath::from(path).and_then(|path| path.open(&mut options, libc::O_NONBLOCK));
        let file =
            file.with_context(|| format!("cannot write {} {}", kind.flag, path.display()))?;
        Ok(Self::File(file))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr => io::stderr().write(bytes),
            // This bypasses the buffer of the standard library, which would delay lines.
            Self::Stdout => Ok(rustix::io::write(rustix::stdio::stdout(), bytes)?),
            Self::File(file) => file.write(bytes),
        }
    }
}

/// Replaces the target of a log. Clones share their state.
#[derive(Clone, Debug)]
pub(super) struct TargetSwitch(Arc<Mutex<SwitchState>>, LogOutput);

#[derive(Debug)]
struct SwitchState {
    /// The file of the lines; `None` is a standard stream.
    path: Option<PathBuf>,
    /// The new target, which the sink takes before it writes the next line.
    next: Option<LogTarget>,
}

impl TargetSwitch {
    pub(super) fn new(kind: LogOutput, path: Option<&Path>) -> Self {
        Self(Arc::new(Mutex::new(SwitchState { path: path.map(Path::to_owned), next: None })), kind)
    }

    /// Makes all further lines go to `target`, which was opened at `path`.
    pub(super) fn set(&self, path: Option<PathBuf>, target: LogTarget) {
        *self.place() = SwitchState { path, next: Some(target) };
    }

    /// Reopens the current file.
    pub(super) fn reopen(&self) -> anyhow::Result<()> {
        let path = self.path();
        let target = LogTarget::open(self.1, path.as_deref())?;
        self.set(path, target);
        Ok(())
    }

    pub(super) fn path(&self) -> Option<PathBuf> {
        self.place().path.clone()
    }

    fn take(&self) -> Option<LogTarget> {
        self.place().next.take()
    }

    fn place(&self) -> MutexGuard<'_, SwitchState> {
        self.0.lock().ignore_poison()
    }
}

/// Writes lines to the target; used only by the log's thread. It never fails: it counts lost lines,
/// and reports their number once it can write again.
#[derive(Debug)]
pub(super) struct Sink {
    target: LogTarget,
    successor: TargetSwitch,
    /// The number of lines for which the queue had no room.
    dropped: Arc<OnceLock<ErrorCounter>>,
    /// The number of lines that could not be written.
    refused: usize,
    /// The number of lost lines that have been reported.
    told: usize,
    /// Whether the last line was written only in part.
    torn: bool,
}

impl Sink {
    pub(super) fn new(
        target: LogTarget,
        successor: TargetSwitch,
        dropped: Arc<OnceLock<ErrorCounter>>,
    ) -> Self {
        Self { target, successor, dropped, refused: 0, told: 0, torn: false }
    }

    /// Writes the line, preceded by a notice if lines were lost since the last notice.
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.put_whole(b"\n")?;
            self.torn = false;
        }
        let lost = self.refused + self.dropped.get().map_or(0, ErrorCounter::dropped_lines);
        if lost > self.told {
            let notice = (self.successor.1.notice)(lost - self.told);
            self.put_whole(notice.as_bytes())?;
            self.told = lost;
        }
        self.put_whole(line)
    }

    fn put_whole(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.target.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.torn = !bytes.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(target) = self.successor.take() {
            self.target = target;
            self.torn = false;
        }
        if self.put(line).is_err() {
            self.refused += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes lines to their target on a separate thread.
pub(super) struct LogWriter {
    /// A writer that never blocks. Lines for which the queue has no room are dropped and counted.
    pub(super) writer: NonBlocking,
    pub(super) successor: TargetSwitch,
    /// Writes the queued lines when it is dropped.
    pub(super) guard: WorkerGuard,
}

/// Starts a thread that writes a log of this kind to `path`, or to its standard stream.
pub(super) fn write(kind: LogOutput, path: Option<&Path>) -> anyhow::Result<LogWriter> {
    let target = LogTarget::open(kind, path)?;
    // The writer panics if its thread cannot be started, so this tries to start one first.
    resources::try_thread().context("cannot start the thread of the log")?;
    let (dropped, successor) = (Arc::default(), TargetSwitch::new(kind, path));
    let sink = Sink::new(target, successor.clone(), Arc::clone(&dropped));
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE_LINES);
    let (writer, guard) = builder.finish(sink);
    let _ = dropped.set(writer.error_counter());
    Ok(LogWriter { writer, successor, guard })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: LogOutput = LogOutput {
        flag: "--log-file",
        standard: || LogTarget::Stderr,
        notice: |lost| format!("WARN {lost} log lines lost\n"),
    };

    fn sink(target: LogTarget) -> Sink {
        Sink::new(target, TargetSwitch::new(KIND, None), Arc::default())
    }

    fn open(path: &str) -> LogTarget {
        LogTarget::open(KIND, Some(Path::new(path))).unwrap()
    }

    /// Fault 56: lines that do not fit a full disk are counted, and the log reports the count.
    #[test]
    fn lost_lines_are_counted_and_reported_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut sink = sink(open("/dev/full"));
        sink.write_all(b"one\n").unwrap();
        sink.write_all(b"two\n").unwrap();
        sink.successor.set(None, open(path.to_str().unwrap()));
        sink.write_all(b"three\n").unwrap();
        sink.write_all(b"four\n").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("WARN 2 log lines lost"), "{text}");
        assert_eq!(lines[1..], ["three", "four"]);
    }

    /// Fault 56: after a line that a pipe took only in part, the next line starts on a new line.
    #[test]
    fn a_torn_line_ends_before_the_next_begins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert!(LogTarget::open(KIND, Some(&path)).is_err(), "the FIFO has no reader");
        let reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let mut sink = sink(LogTarget::open(KIND, Some(&path)).unwrap());
        // This line is longer than the 64 KiB of a pipe, and is written with one call.
        let long = [&[b'x'; 100_000][..], b"\n"].concat();
        sink.write_all(&long).unwrap();
        assert!(sink.torn && sink.refused == 1);
        let mut read = vec![0; 65_536];
        io::Read::read_exact(&mut &reader, &mut read).unwrap();
        sink.write_all(b"whole\n").unwrap();
        drop(sink);
        let mut rest = String::new();
        io::Read::read_to_string(&mut &reader, &mut rest).unwrap();
        assert!(rest.starts_with('\n'), "{rest:?}");
        assert!(rest.ends_with("1 log lines lost\nwhole\n"), "{rest:?}");
    }

    #[test]
    fn a_new_file_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        drop(LogTarget::open(KIND, Some(&path)).unwrap());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        // The umask may remove more permissions.
        assert_eq!(mode & 0o777 & !FILE_MODE, 0, "{mode:o}");
    }
}
