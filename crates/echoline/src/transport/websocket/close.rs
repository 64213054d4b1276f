//! The WebSocket close code for each close reason (RFC 6455, 7.4.1). Pure.

use super::frame::{CONTROL_MAX, Violation};
use crate::connection::limits::Closed;

/// "Policy violation", the code for all reasons that have no specific code.
pub(super) const POLICY: u16 = 1008;

/// The close code "Internal error".
pub(super) const ERROR: u16 = 1011;

pub(super) fn violation(violation: Violation) -> u16 {
    match violation {
        Violation::Protocol => 1002,
        Violation::NotText => 1007,
    }
}

/// Returns the close code for `closed`, and a text if the code alone is not specific.
pub(super) fn reason(closed: Closed) -> (u16, String) {
    let code = match closed {
        Closed::Finished | Closed::EndOfStream => return (1000, String::new()),
        Closed::Drained | Closed::Aborted => 1001,
        Closed::LineTooLong => 1009,
        Closed::IdleTimeout | Closed::LineTimeout | Closed::StallTimeout => POLICY,
        Closed::Busy | Closed::BusyAddress | Closed::SourceRate(_) => 1013,
        _ => ERROR,
    };
    (code, closed.to_string())
}

/// Returns the payload of a Close frame.
pub(super) fn payload(code: u16, words: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&words.as_bytes()[..words.len().min(CONTROL_MAX - 2)]);
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fault 66: the close code tells the peer why the connection is closed.
    #[test]
    fn each_end_has_its_code() {
        for (closed, code) in [
            (Closed::Finished, 1000),
            (Closed::Drained, 1001),
            (Closed::LineTooLong, 1009),
            (Closed::IdleTimeout, 1008),
            (Closed::Busy, 1013),
            (Closed::SourceRate(8), 1013),
            (Closed::Panicked, 1011),
            (Closed::Application, 1011),
        ] {
            assert_eq!(reason(closed).0, code, "{closed}");
        }
        assert_eq!(payload(1000, &"x".repeat(200)).len(), CONTROL_MAX);
    }
}
