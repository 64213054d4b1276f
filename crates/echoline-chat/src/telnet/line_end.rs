//! Normalises the line ends that a Telnet client may send: LF, CR LF, CR NUL and CR.

use memchr::memchr;

/// Replaces each CR without a following LF by LF, in place. The bytes continue those of the
/// previous call. Returns the number of bytes that remain at the front.
///
/// Telnet ends a line with CR LF. For a client in character mode, the Enter key is CR NUL or CR
/// alone (RFC 854, page 11; RFC 1123, section 3.3.1). A CR at the end of a packet ends its line at
/// once, and an LF at the start of the next packet is dropped. `after_cr` is whether the previous
/// call ended with a CR. [`Parser`](crate::Parser) has already removed NUL after CR.
pub(crate) fn end_lines(bytes: &mut [u8], after_cr: &mut bool) -> usize {
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return 0 };
    let mut length = bytes.len();
    if *after_cr && first == b'\n' {
        bytes.copy_within(1.., 0);
        length -= 1;
    }
    *after_cr = last == b'\r';
    let mut rest = &mut bytes[..length];
    while let Some(at) = memchr(b'\r', rest) {
        if rest.get(at + 1) != Some(&b'\n') {
            rest[at] = b'\n';
        }
        rest = &mut rest[at + 1..];
    }
    length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use echoline::Lines;

    /// Returns the lines of the bytes in these packets.
    fn lines<'a>(packets: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let (mut after_cr, mut splitter) = (false, Lines::new(1000));
        let mut found = Vec::new();
        for packet in packets {
            let mut packet = packet.to_vec();
            let length = end_lines(&mut packet, &mut after_cr);
            splitter.push(&packet[..length]);
            while let Some(line) = splitter.next_line().unwrap() {
                found.push(line.to_string());
            }
        }
        found.extend(splitter.finish().map(|line| line.to_string()));
        found
    }

    /// Issue 11, item 15: CR alone ends a line, and CR LF is a single line end even if it is split
    /// between packets.
    #[test]
    fn regression_a_lone_cr_ends_a_line() {
        for packets in [
            &[&b"one\rtwo\r"[..]][..],
            &[b"one\r\ntwo\r\n"],
            &[b"one\ntwo\n"],
            &[b"one\r", b"\ntwo\r", b"\n"],
            &[b"one", b"\r", b"\n", b"two", b"\r"],
        ] {
            assert_eq!(lines(packets.iter().copied()), ["one", "two"], "{packets:?}");
        }
        assert_eq!(lines([&b"\r\r\n\n"[..]]), ["", "", ""]);
        assert_eq!(lines([&b"one\r"[..], b"", b"\n\n"]), ["one", ""]);
    }

    proptest! {
        #[test]
        fn packet_boundaries_change_nothing(
            bytes in "[ab\r\n]{0,40}",
            size in 1_usize..6,
        ) {
            let whole = lines([bytes.as_bytes()]);
            prop_assert_eq!(lines(bytes.as_bytes().chunks(size)), whole);
        }
    }
}
