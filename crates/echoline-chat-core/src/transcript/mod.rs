//! Transcripts of clients: parses the output that each client received, and compares the
//! transcripts with each other.

mod reader;
mod verify;

pub use reader::{NotNumbered, Transcript};
pub use verify::{Contradiction, TranscriptReport, verify};
