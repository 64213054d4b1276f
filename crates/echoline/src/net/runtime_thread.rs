//! A thread with a runtime of its own.

use std::io;
use std::sync::mpsc;
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};

/// Starts a thread that has `work` done with a current-thread runtime of its own; returns the
/// handle of that runtime.
///
/// The thread starts first and drops the runtime. This may be called in an async context, which
/// must not drop a runtime; it would if the runtime existed and no thread could be started.
///
/// # Errors
/// One sentence if the system has no thread, descriptor or memory left.
pub fn spawn_with_runtime(
    name: &str,
    work: impl FnOnce(Runtime) + Send + 'static,
) -> io::Result<Handle> {
    let (give, take) = mpsc::channel::<Runtime>();
    // An error means that there was no runtime to be given.
    let run = move || take.recv().map_or((), work);
    let start = || {
        thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Builder::new_current_thread().enable_all().build()
    };
    let named = |error: io::Error| {
        let text = format!("cannot start the thread {name}: {error}");
        io::Error::new(error.kind(), text)
    };
    let runtime = start().map_err(named)?;
    let handle = runtime.handle().clone();
    match give.send(runtime) {
        Ok(()) => Ok(handle),
        Err(mpsc::SendError(runtime)) => {
            runtime.shutdown_background();
            Err(named(io::Error::other("it has ended")))
        }
    }
}
