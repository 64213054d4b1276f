//! Writes to standard output and standard error. It is no error if the reader of standard output
//! closes it early. Control sequences in text for people are escaped, so that quoted text cannot
//! control the terminal.

use std::borrow::Cow;
use std::io::{self, ErrorKind, IsTerminal as _, Write};

use echoline_base::printable::printable_lines;

/// Writes a text for people to stdout. It is no error if the reader has closed the pipe (`| head`).
pub(crate) fn print(text: &str) -> io::Result<()> {
    write(&printable_lines(text))
}

/// Writes the text of a file to stdout. It is escaped only if stdout is a terminal.
pub(crate) fn print_file(text: &str) -> io::Result<()> {
    write(&stdout_filter()(text))
}

/// Returns the function that prepares the text of a file for stdout. It escapes the text if stdout
/// is a terminal, else it returns it unchanged.
pub(crate) fn stdout_filter() -> fn(&str) -> Cow<'_, str> {
    if io::stdout().is_terminal() { printable_lines } else { |text| Cow::Borrowed(text) }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes a message for the user to stderr. If stderr is closed, the message is lost.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "echoline: {}", printable_lines(text));
}

/// Writes a text for people to stderr, for commands that use stdout for other output.
pub(crate) fn tell_plainly(text: &str) {
    let _ = io::stderr().write_all(printable_lines(text).as_bytes());
}

/// Returns whether text on stderr may be coloured (<https://no-color.org>).
pub(crate) fn has_colours() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_refused
}
