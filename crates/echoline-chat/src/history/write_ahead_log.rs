//! The write-ahead log as it was found. SQLite drops whatever follows the first frame that is not
//! right, without a word; here is how one finds out that there was something.
//!
//! Format: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::io::{self, ErrorKind, Read};

/// What of a log SQLite will not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing: every frame is right, or left over from a log that was done with.
    Whole,
    /// The last transaction was begun and not ended, as when a process is killed: so many bytes.
    Unfinished(u64),
    /// Frames that were once whole are not right: from there to the end, so many bytes.
    Damaged(u64),
}

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Bytes of a frame's header up to the end of its salts, by which one knows whose frame it is.
const SALTED: usize = 16;

/// Reads a log to its end. A log of no bytes is whole.
pub(super) fn inspect(mut log: impl Read) -> io::Result<Tail> {
    let mut header = [0; HEADER];
    match read_full(&mut log, &mut header)? {
        0 => return Ok(Tail::Whole),
        HEADER => {}
        some => return Ok(Tail::Unfinished(some as u64)),
    }
    let Some(mut chain) = Chain::begin(&header) else {
        return Ok(Tail::Damaged(HEADER as u64 + io::copy(&mut log, &mut io::sink())?));
    };
    let mut frame = vec![0; FRAME_HEADER + chain.page_size];
    // Bytes of the transaction that is not committed yet; bytes from the first frame that does not
    // continue the chain, and whether one of these frames is of this log.
    let (mut open, mut dropped, mut ours) = (0, 0, false);
    loop {
        let length = read_full(&mut log, &mut frame)?;
        if length < frame.len() {
            let begun = length >= SALTED && chain.owns(&frame);
            open += if begun && dropped == 0 { length as u64 } else { 0 };
            return Ok(match open {
                _ if ours => Tail::Damaged(dropped + length as u64),
                0 => Tail::Whole,
                _ => Tail::Unfinished(open),
            });
        }
        if dropped > 0 || !chain.continues(&frame) {
            dropped += length as u64;
            ours |= chain.owns(&frame);
        } else {
            // The size of the database after a commit; 0 in all other frames.
            open = if number(&frame, 4) == 0 { open + length as u64 } else { 0 };
        }
    }
}

/// The checksum that runs through all frames of one log.
#[derive(Debug)]
struct Chain {
    big_endian: bool,
    page_size: usize,
    salts: [u8; 8],
    sum: (u32, u32),
}

impl Chain {
    /// `None` where the header is not right.
    fn begin(header: &[u8; HEADER]) -> Option<Self> {
        let big_endian = match number(header, 0) {
            0x377F_0682 => false,
            0x377F_0683 => true,
            _ => return None,
        };
        let page_size = number(header, 8) as usize;
        let sum = fold((0, 0), &header[..24], big_endian);
        let right = sum == (number(header, 24), number(header, 28))
            && page_size.is_power_of_two()
            && (512..=65_536).contains(&page_size);
        let salts = header[16..24].try_into().ok()?;
        right.then_some(Self { big_endian, page_size, salts, sum })
    }

    /// Whether the frame belongs to this log, and not to one that was there before.
    fn owns(&self, frame: &[u8]) -> bool {
        frame[8..SALTED] == self.salts
    }

    fn continues(&mut self, frame: &[u8]) -> bool {
        let sum = fold(self.sum, &frame[..8], self.big_endian);
        let sum = fold(sum, &frame[FRAME_HEADER..], self.big_endian);
        let right = self.owns(frame) && sum == (number(frame, 16), number(frame, 20));
        if right {
            self.sum = sum;
        }
        right
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn fold(sum: (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let word = |four: &[u8]| {
        let four = [four[0], four[1], four[2], four[3]];
        if big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    };
    bytes.chunks_exact(8).fold(sum, |(one, two), eight| {
        let one = one.wrapping_add(word(&eight[..4])).wrapping_add(two);
        (one, two.wrapping_add(word(&eight[4..])).wrapping_add(one))
    })
}

/// Fills the buffer as far as there is something: how far.
fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rusqlite::Connection;
    use std::sync::LazyLock;

    /// A log of some frames as SQLite itself writes it.
    static LOG: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.sqlite3");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)",
            )
            .unwrap();
        std::fs::read(folder.path().join("some.sqlite3-wal")).unwrap()
    });

    const FRAME: usize = FRAME_HEADER + 4096;

    /// Where its transactions end.
    static COMMITS: LazyLock<Vec<usize>> = LazyLock::new(|| {
        let starts = (HEADER..LOG.len()).step_by(FRAME);
        let commits = starts.filter(|start| number(&LOG[*start..], 4) != 0);
        commits.map(|start| start + FRAME).collect()
    });

    #[test]
    fn what_sqlite_wrote_is_whole() {
        assert!(LOG.len() > HEADER + 2 * FRAME);
        assert_eq!(inspect(&LOG[..]).unwrap(), Tail::Whole);
        assert_eq!(inspect(&[][..]).unwrap(), Tail::Whole);
    }

    #[test]
    fn frames_of_an_older_log_are_no_damage() {
        let mut log = LOG.clone();
        log.extend_from_slice(&[7; FRAME]);
        assert_eq!(inspect(&log[..]).unwrap(), Tail::Whole);
    }

    proptest! {
        /// Fault 62: cut anywhere, the log says how much of a transaction is left.
        #[test]
        fn a_cut_is_seen(at in any::<prop::sample::Index>()) {
            let at = at.index(LOG.len());
            let committed = *COMMITS.iter().rfind(|end| **end <= at).unwrap_or(&0);
            let rest = at - committed.max(HEADER.min(at));
            let partial = rest % FRAME;
            let seen = if partial < SALTED { rest - partial } else { rest };
            let expected = match (at, seen) {
                (1..HEADER, _) => Tail::Unfinished(at as u64),
                (_, 0) => Tail::Whole,
                _ => Tail::Unfinished(seen as u64),
            };
            prop_assert_eq!(inspect(&LOG[..at]).unwrap(), expected);
        }

        /// Fault 62: a flipped bit anywhere is seen, and what follows it is counted.
        #[test]
        fn a_flipped_bit_is_seen(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let at = at.index(LOG.len());
            let mut log = LOG.clone();
            log[at] ^= 1u8 << bit;
            let tail = inspect(&log[..]).unwrap();
            // A last frame whose salts are not its own looks like a leftover: nobody can tell.
            let last = at + FRAME >= LOG.len();
            let salts = (8..SALTED).contains(&((at.saturating_sub(HEADER)) % FRAME));
            if !(last && salts) {
                let frame = at.checked_sub(HEADER).map_or(0, |at| HEADER + at / FRAME * FRAME);
                prop_assert_eq!(tail, Tail::Damaged((LOG.len() - frame) as u64));
            }
        }

        #[test]
        fn anything_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
            inspect(&bytes[..]).unwrap();
        }
    }
}
