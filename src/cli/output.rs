//! Standard output, where whoever reads it may have had enough.

use std::io::{self, ErrorKind, Write};

/// Writes `text` to stdout. A reader that has gone (`| head`) has had enough: no error.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Tells the user something beside the output. With stderr gone there is nobody left to tell.
pub(super) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "echoline: {text}");
}

/// Writes a whole text to stderr, where stdout is taken by something else.
pub(super) fn tell_plainly(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
