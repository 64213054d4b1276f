//! The terminal as it was.

use std::io::{self, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Turns off bracketed paste, which a line editor turns on in addition to the terminal's modes.
const BRACKETED_PASTE_OFF: &[u8] = b"\x1b[?2004l";

/// The terminal's modes; dropping this puts them back.
///
/// The line editor does so too when it returns, but while it waits for a key nothing makes it
/// return, and the program ends without it when the server closes.
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
            // If this fails, the terminal is gone.
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, modes);
            let _ = io::stdout().write_all(BRACKETED_PASTE_OFF);
            let _ = io::stdout().write_all(b"\r\n");
            let _ = io::stdout().flush();
        }
    }
}
