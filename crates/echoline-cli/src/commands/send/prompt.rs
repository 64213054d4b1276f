//! The prompt: line editing and history, on a separate thread.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::thread;

use anyhow::Context;
use nix::unistd::Uid;
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// The number of typed lines that may wait to be sent. When this number is reached, the prompt
/// blocks.
const LINES_WAITING: usize = 16;

/// The number of lines that are kept for the next session.
const HISTORY_LINES: usize = 1000;

/// Shows a text above the prompt.
pub(super) type Printer = Box<dyn ExternalPrinter + Send>;

/// An action of the user at the prompt.
#[derive(Debug)]
pub(super) enum PromptEvent {
    Line(String),
    /// Ctrl-D.
    End,
    /// Ctrl-C.
    Interrupted,
}

/// The lines that a user types.
#[derive(Debug)]
pub(super) struct Prompt {
    typed: Receiver<PromptEvent>,
}

impl Prompt {
    /// Shows the prompt and starts to read.
    pub(super) fn start(prompt: &str) -> anyhow::Result<(Self, Option<Printer>)> {
        let config = rustyline::Config::builder().max_history_size(HISTORY_LINES);
        let config = config.context("cannot set the size of the history")?.build();
        let mut editor = DefaultEditor::with_config(config).context("cannot use the terminal")?;
        // A terminal without cursor control has no printer. Replies are then written directly.
        let printer = editor.create_external_printer().ok();
        let printer = printer.map(|printer| Box::new(printer) as Printer);
        // This printer is never dropped: without any printer the editor would return, and would
        // restore the terminal at the same time as `Terminal` does.
        let _ = editor.create_external_printer().ok().map(|last| Box::leak(Box::new(last)));
        let (sender, typed) = mpsc::channel(LINES_WAITING);
        let prompt = prompt.to_owned();
        thread::Builder::new()
            .name("prompt".to_owned())
            .spawn(move || read(editor, &prompt, &sender))
            .context("cannot start the thread of the prompt")?;
        Ok((Self { typed }, printer))
    }

    pub(super) async fn next(&mut self) -> PromptEvent {
        self.typed.recv().await.unwrap_or(PromptEvent::End)
    }
}

/// Reads lines until the end of the input or an error.
fn read(mut editor: DefaultEditor, prompt: &str, sender: &Sender<PromptEvent>) {
    let history = history_file();
    if let Some(path) = &history {
        // Errors are ignored: the file does not exist at the first start, and a damaged one is no
        // reason to fail.
        let _ = editor.load_history(path);
    }
    let last = loop {
        match editor.readline(prompt) {
            Ok(line) => {
                let _ = editor.add_history_entry(line.as_str());
                if let Some(path) = &history {
                    // Each line is saved at once, because the program may end while this thread
                    // waits for the next line.
                    let _ = editor.append_history(path);
                }
                if sender.blocking_send(PromptEvent::Line(line)).is_err() {
                    return;
                }
            }
            Err(ReadlineError::Interrupted) => break PromptEvent::Interrupted,
            Err(_) => break PromptEvent::End,
        }
    };
    // Drops the editor before sending, so that the terminal is free when the receiver prints.
    drop(editor);
    let _ = sender.blocking_send(last);
}

/// Returns `$XDG_STATE_HOME/echoline/history`, by default under `~/.local/state`, and creates its
/// folder. Returns `None` if that is impossible; the prompt then works without a history.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    // The XDG specification says to ignore a relative path.
    let state = state.filter(|path| path.is_absolute());
    let folder = state
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))?
        .join("echoline");
    fs::create_dir_all(&folder).ok()?;
    // Under sudo, HOME may be a folder of another user. A link of that user in place of the file
    // could lead anywhere.
    let is_own = fs::metadata(&folder).ok()?.uid() == Uid::effective().as_raw();
    is_own.then(|| folder.join("history"))
}
