//! The transcripts of clients: reads the output that each client received, and compares it with
//! that of the others.

mod reader;
mod verify;

pub use reader::{NotNumbered, Transcript};
pub use verify::{Contradiction, TranscriptReport, verify};
