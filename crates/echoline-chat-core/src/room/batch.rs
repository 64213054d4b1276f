//! The lines that a member has not seen, as a batch of bytes for one write.

use std::io::IoSlice;

use arrayvec::ArrayVec;
use bytes::Bytes;
use memchr::{memchr, memchr_iter};

/// The maximum number of pieces in one batch.
const PIECES_MAX: usize = 32;

/// Whole lines, in a few pieces of bytes.
#[derive(Debug, Default)]
pub struct Batch {
    pieces: ArrayVec<Piece, PIECES_MAX>,
    /// The number of the line after the batch.
    pub until: u64,
}

/// Whole, contiguous lines.
#[derive(Debug)]
struct Piece {
    /// The number of the first line.
    first: u64,
    bytes: Bytes,
}

/// The state of a member after the connection took only a part of a batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The next line that the member must receive from its beginning.
    pub next: u64,
    /// The rest of a line whose beginning was already sent.
    pub rest: &'a [u8],
}

impl Batch {
    /// Adds lines. `first` is the number of the first line. Returns `false` if no more pieces fit.
    pub fn push(&mut self, first: u64, bytes: Bytes) -> bool {
        self.pieces.try_push(Piece { first, bytes }).is_ok()
    }

    /// Returns whether the batch has no lines.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Returns the total number of bytes.
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes.len()).sum()
    }

    /// Runs `write` on all pieces.
    pub fn with_slices<T>(&self, write: impl FnOnce(&mut [IoSlice<'_>]) -> T) -> T {
        if let [only] = &*self.pieces {
            // The usual single piece needs no list and no vectored write.
            return write(&mut [IoSlice::new(&only.bytes)]);
        }
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(&piece.bytes);
        }
        write(&mut slices[..self.pieces.len()])
    }

    /// Returns the state of a member whose connection took the first `taken` bytes.
    pub fn progress(&self, mut taken: usize) -> Progress<'_> {
        for Piece { first, bytes } in &self.pieces {
            if taken >= bytes.len() {
                taken -= bytes.len();
                continue;
            }
            let (sent, rest) = bytes.split_at(taken);
            let ended = first + memchr_iter(b'\n', sent).count() as u64;
            if sent.last().is_none_or(|&byte| byte == b'\n') {
                return Progress { next: ended, rest: &[] };
            }
            let end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            return Progress { next: ended + 1, rest: &rest[..end] };
        }
        Progress { next: self.until, rest: &[] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Returns the bytes that a member receives if the connection takes the batch in two parts.
    fn taken(batch: &Batch, length: usize) -> Vec<u8> {
        let all: Vec<u8> = batch.pieces.iter().flat_map(|piece| piece.bytes.clone()).collect();
        let progress = batch.progress(length);
        let mut got = all[..length].to_vec();
        got.extend(progress.rest);
        for piece in &batch.pieces {
            let lines = piece.bytes.split_inclusive(|&byte| byte == b'\n');
            for (number, line) in (piece.first..).zip(lines) {
                if number >= progress.next {
                    got.extend(line);
                }
            }
        }
        got
    }

    proptest! {
        /// Fault 34: even if the stream takes only a few bytes at a time, no line is cut,
        /// duplicated or lost.
        #[test]
        fn a_batch_taken_in_part_continues_where_it_stopped(
            pieces in vec((1..4_u64, vec(0..5_usize, 1..5)), 1..5),
            share in 0.0..=1.0,
        ) {
            let mut batch = Batch::default();
            for (gap, lines) in pieces {
                let first = batch.until + gap;
                batch.until = first + lines.len() as u64;
                let text: String = lines.iter().map(|&n| "x".repeat(n) + "\r\n").collect();
                prop_assert!(batch.push(first, Bytes::from(text)));
            }
            let length = (batch.bytes() as f64 * share) as usize;
            let all = taken(&batch, batch.bytes());
            prop_assert_eq!(taken(&batch, length), all);
            prop_assert_eq!(batch.progress(batch.bytes()).next, batch.until);
        }
    }

    #[test]
    fn a_batch_has_its_bounds() {
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        for number in 0..PIECES_MAX as u64 {
            assert!(batch.push(number, Bytes::from_static(b"x\r\n")));
        }
        assert!(!batch.push(99, Bytes::from_static(b"x\r\n")));
        batch.with_slices(|slices| assert_eq!(slices.len(), PIECES_MAX));
    }
}
