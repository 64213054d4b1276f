//! A thread with a runtime of its own.

use std::io;
use std::sync::mpsc;
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};

/// Starts a thread that has `work` done with a current-thread runtime of its own; returns the
/// handle of that runtime.
///
/// The thread builds and drops the runtime itself: an async context, where this may be called,
/// must not drop one, which it would if no thread could be had.
///
/// # Errors
/// One sentence if the system has no thread, descriptor or memory left.
pub(crate) fn spawn_with_runtime(
    name: &str,
    work: impl FnOnce(Runtime) + Send + 'static,
) -> io::Result<Handle> {
    let (ready, started) = mpsc::sync_channel(1);
    let run = move || {
        // In both cases an error means that the caller has panicked.
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(error))),
        };
        let _ = ready.send(Ok(runtime.handle().clone()));
        work(runtime);
    };
    let named = |error: io::Error| {
        let text = format!("cannot start the thread {name}: {error}");
        io::Error::new(error.kind(), text)
    };
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(named)?;
    let started = started.recv().unwrap_or_else(|_| Err(io::Error::other("it panicked")));
    started.map_err(named)
}
