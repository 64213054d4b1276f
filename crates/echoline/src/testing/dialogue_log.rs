//! The course of a dialogue, as the failure of a test prints it.

use std::fmt;

/// The number of rows, counted from the last one, that are printed.
const ROWS_MAX: usize = 24;

/// The number of bytes of a row that are printed.
const ROW_BYTES: usize = 160;

/// An event of a dialogue, from the view of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DialogueEvent {
    Sent,
    Received,
    /// The client has ended its stream.
    WriteEnded,
    /// The server has ended its stream.
    Ended,
    /// The server has reset the connection.
    WasReset,
    /// The client has reset the connection.
    Reset,
    /// The server had closed the connection, so the bytes were lost.
    Lost,
}

/// All events of a dialogue, in their order, with their bytes.
#[derive(Debug, Default)]
pub(super) struct DialogueLog {
    events: Vec<(DialogueEvent, Vec<u8>)>,
}

impl DialogueLog {
    /// Adds an event. Bytes in the same direction as the bytes before continue them.
    pub(super) fn push(&mut self, event: DialogueEvent, bytes: &[u8]) {
        match self.events.last_mut() {
            Some((last, before)) if *last == event => before.extend_from_slice(bytes),
            _ => self.events.push((event, bytes.to_vec())),
        }
    }

    fn rows(&self) -> Vec<String> {
        let rows = self.events.iter().flat_map(|(event, bytes)| {
            let label = match event {
                DialogueEvent::Sent => "client sent",
                DialogueEvent::Received => "server sent",
                DialogueEvent::WriteEnded => return vec!["client ended its stream".to_owned()],
                DialogueEvent::Ended => return vec!["server ended the stream".to_owned()],
                DialogueEvent::WasReset => return vec!["server reset the connection".to_owned()],
                DialogueEvent::Reset => return vec!["client reset the connection".to_owned()],
                DialogueEvent::Lost => "client sent, after the server had closed",
            };
            let lines = bytes.split_inclusive(|&byte| byte == b'\n');
            lines.map(|line| format!("{label}  {}", Shown(line))).collect()
        });
        rows.collect()
    }
}

impl fmt::Display for DialogueLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let left_out = rows.len().saturating_sub(ROWS_MAX);
        if left_out > 0 {
            writeln!(f, "  ({left_out} earlier lines)")?;
        }
        if rows.is_empty() {
            writeln!(f, "  (nothing was sent)")?;
        }
        rows[left_out..].iter().try_for_each(|row| writeln!(f, "  {row}"))
    }
}

/// Bytes as a string literal: as text if they are UTF-8, otherwise with the escapes of a byte
/// string.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(ROW_BYTES)];
        match std::str::from_utf8(shown) {
            Ok(text) => write!(f, "{text:?}")?,
            // The limit may have cut a character.
            Err(error) if error.error_len().is_none() && shown.len() < self.0.len() => {
                let text = String::from_utf8_lossy(&shown[..error.valid_up_to()]);
                write!(f, "{text:?}")?;
            }
            Err(_) => write!(f, "b\"{}\"", shown.escape_ascii())?,
        }
        if shown.len() < self.0.len() {
            write!(f, "… ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

/// Returns the place at which `received` differs from `expected`, in words; `None` if it is the
/// beginning of `expected`.
pub(super) fn difference(expected: &[u8], received: &[u8]) -> Option<String> {
    let same = expected.iter().zip(received).take_while(|(one, other)| one == other).count();
    if same == received.len() {
        return None;
    }
    let line = 1 + expected[..same].iter().filter(|&&byte| byte == b'\n').count();
    let context = same.saturating_sub(20);
    let [wanted, came] = [expected, received].map(|bytes| {
        let end = bytes.len().min(same + 40);
        Shown(&bytes[context..end]).to_string()
    });
    Some(format!("differs at byte {same}, in line {line}: expected {wanted}, received {came}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_has_a_row_for_each_line() {
        let mut log = DialogueLog::default();
        assert_eq!(log.to_string(), "  (nothing was sent)\n");
        for (event, bytes) in [
            (DialogueEvent::Sent, &b"one\ntw"[..]),
            (DialogueEvent::Sent, b"o\r\n"),
            (DialogueEvent::Received, "ä\n".as_bytes()),
            (DialogueEvent::Received, b"\xff\n"),
            (DialogueEvent::WriteEnded, b""),
            (DialogueEvent::Ended, b""),
            (DialogueEvent::Lost, b"more"),
        ] {
            log.push(event, bytes);
        }
        let rows = [
            r#"client sent  "one\n""#,
            r#"client sent  "two\r\n""#,
            r#"server sent  "ä\n""#,
            r#"server sent  b"\xff\n""#,
            "client ended its stream",
            "server ended the stream",
            r#"client sent, after the server had closed  "more""#,
        ];
        assert_eq!(log.rows(), rows);
    }

    #[test]
    fn a_long_transcript_shows_its_end() {
        let mut log = DialogueLog::default();
        (0..100).for_each(|number| log.push(DialogueEvent::Sent, format!("{number}\n").as_bytes()));
        let text = log.to_string();
        assert!(text.starts_with("  (76 earlier lines)\n  client sent  \"76\\n\"\n"), "{text}");
        let long = Shown("é".repeat(1000).as_bytes()).to_string();
        assert!(long.ends_with("é\"… (2000 bytes)") && long.len() < 200, "{long}");
    }

    #[test]
    fn a_difference_names_its_place() {
        assert_eq!(difference(b"one\ntwo\n", b"one\nt"), None);
        assert_eq!(
            difference(b"one\ntwo\n", b"one\nten\n").unwrap(),
            r#"differs at byte 5, in line 2: expected "one\ntwo\n", received "one\nten\n""#
        );
        assert!(difference(b"", b"more").unwrap().contains(r#"expected "", received "more""#));
    }
}
