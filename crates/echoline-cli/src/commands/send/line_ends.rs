//! Converts typed line ends into the line ends to send. Pure.

use memchr::memchr_iter;

use echoline::Eol;

/// Converts the line ends of a stream of bytes. The result does not depend on the pieces in which
/// the bytes arrive.
#[derive(Debug)]
pub(super) struct LineEnds {
    eol: Eol,
    /// The last byte so far; `\n` before the first byte.
    last: u8,
}

impl LineEnds {
    pub(super) fn new(eol: Eol) -> Self {
        Self { eol, last: b'\n' }
    }

    /// Appends `bytes` to `out` and returns the number of lines that they ended. With [`Eol::Lf`]
    /// no byte changes; with [`Eol::CrLf`] a `\r` is added before each `\n` that has none.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> u64 {
        let mut lines = 0;
        let mut copied = 0;
        for end in memchr_iter(b'\n', bytes) {
            lines += 1;
            let before = if end == 0 { self.last } else { bytes[end - 1] };
            if self.eol == Eol::CrLf && before != b'\r' {
                out.extend_from_slice(&bytes[copied..end]);
                out.push(b'\r');
                copied = end;
            }
        }
        out.extend_from_slice(&bytes[copied..]);
        self.last = bytes.last().copied().unwrap_or(self.last);
        lines
    }

    /// Returns 1 if the last line has no line end, else 0. Adds no line end, so that the server
    /// gets exactly the bytes of the input.
    pub(super) fn finish(&self) -> u64 {
        u64::from(self.last != b'\n')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn convert(eol: Eol, pieces: &[&[u8]]) -> (Vec<u8>, u64) {
        let (mut ends, mut out) = (LineEnds::new(eol), Vec::new());
        let lines: u64 = pieces.iter().map(|piece| ends.push(piece, &mut out)).sum();
        (out, lines + ends.finish())
    }

    /// Issue 11, item 40: no line end is added to a last line that has none.
    #[test]
    fn regression_line_ends_are_converted_and_none_is_added() {
        for (input, lf, crlf, lines) in [
            (&b""[..], &b""[..], &b""[..], 0),
            (b"a", b"a", b"a", 1),
            (b"a\n\nb\r\n", b"a\n\nb\r\n", b"a\r\n\r\nb\r\n", 3),
            (b"\xff\r", b"\xff\r", b"\xff\r", 1),
        ] {
            assert_eq!(convert(Eol::Lf, &[input]), (lf.to_vec(), lines));
            assert_eq!(convert(Eol::CrLf, &[input]), (crlf.to_vec(), lines));
        }
    }

    proptest! {
        #[test]
        fn cutting_the_input_anywhere_changes_nothing(
            input in "[a\r\n]{0,30}", at in 0usize..30, crlf: bool,
        ) {
            let eol = if crlf { Eol::CrLf } else { Eol::Lf };
            let (left, right) = input.as_bytes().split_at(at.min(input.len()));
            prop_assert_eq!(convert(eol, &[left, right]), convert(eol, &[input.as_bytes()]));
        }
    }
}
