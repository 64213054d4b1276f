//! The failure of a server: the panic of the first thread or task that panicked.

use std::any::Any;
use std::io;
use std::sync::Arc;

use tokio::sync::SetOnce;
use tokio::task::{JoinError, JoinSet};

use echoline_base::supervise::panic_message;

/// A sentence that is set once, when a part of the server panics. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerFailure(Arc<SetOnce<String>>);

impl ServerFailure {
    /// Records that `part` ended with the panic `payload`, unless another part failed before.
    pub(crate) fn note(&self, part: &str, payload: &(dyn Any + Send)) {
        let text = panic_message(payload);
        tracing::error!("{part} panicked ({text:?}); the server drains and ends");
        // An error means that an earlier failure is recorded, which explains the later ones.
        let _ = self.0.set(format!("{part} panicked ({text:?}); start the server again"));
    }

    /// Returns the sentence, if a part failed.
    pub(crate) fn sentence(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Waits until a part fails. Cancel safe.
    pub(crate) async fn wait(&self) {
        self.0.wait().await;
    }

    /// # Errors
    /// The sentence, if a part failed.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.sentence().map_or(Ok(()), |sentence| Err(io::Error::other(sentence)))
    }
}

/// Waits until one of the tasks that accept panics. Cancel safe.
pub(crate) async fn accept(tasks: &mut JoinSet<()>, failure: &ServerFailure) {
    while let Some(ended) = tasks.join_next().await {
        if note_panic(ended, failure) {
            return;
        }
    }
    std::future::pending().await
}

/// Records in `failure` the panic of an accepting task.
pub(crate) fn note_panic(ended: Result<(), JoinError>, failure: &ServerFailure) -> bool {
    let panic = ended.err().and_then(|error| error.try_into_panic().ok());
    if let Some(panic) = &panic {
        failure.note("the task that accepts connections", &**panic);
    }
    panic.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_is_kept_with_its_message() {
        let failure = ServerFailure::default();
        assert!(failure.check().is_ok());
        failure.note("worker-1", &"a text");
        failure.clone().note("worker-2", &"another".to_owned());
        failure.wait().await;
        let sentence = r#"worker-1 panicked ("a text"); start the server again"#;
        assert_eq!(failure.sentence(), Some(sentence));
        assert_eq!(failure.check().unwrap_err().to_string(), sentence);
    }

    #[test]
    fn a_payload_without_text_is_reported_as_such() {
        let failure = ServerFailure::default();
        failure.note("a task", &7_u8);
        assert!(failure.sentence().unwrap().contains("no message"));
    }
}
