//! The transcripts of clients: what each was sent, read back and compared with the others.

mod reader;
mod verify;

pub use reader::{NotNumbered, Transcript};
pub use verify::{Contradiction, TranscriptReport, verify};
