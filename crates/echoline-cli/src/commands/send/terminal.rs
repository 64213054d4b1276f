//! Restores the terminal.

use std::io::{self, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Turns off bracketed paste, which a line editor turns on in addition to the terminal's modes.
const BRACKETED_PASTE_OFF: &[u8] = b"\x1b[?2004l";

/// The saved modes of the terminal. Dropping this restores them.
///
/// The line editor restores them when it returns. But nothing can interrupt it while it waits for a
/// key, and when the server closes, the program ends without waiting for it.
#[derive(Debug)]
pub(super) struct Terminal {
    modes: Option<Termios>,
}

impl Terminal {
    pub(super) fn save() -> Self {
        Self { modes: tcgetattr(io::stdin()).ok() }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let Some(modes) = &self.modes else { return };
        let changed = tcgetattr(io::stdin()).is_ok_and(|now| now.local_modes != modes.local_modes);
        if changed {
            // The call fails only if the terminal was closed.
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, modes);
            let _ = io::stdout().write_all(BRACKETED_PASTE_OFF);
            let _ = io::stdout().write_all(b"\r\n");
            let _ = io::stdout().flush();
        }
    }
}
