//! Encodes WebSocket frames (RFC 6455, section 5). Pure.

use super::frame::{FINAL, HEADER_MAX, MASKED, Opcode, mask};

/// Writes the header of a frame with `length` bytes of payload into `header`, and returns the
/// header's length. A client's header contains the mask, with which the payload must be masked too.
pub(super) fn write_header(
    header: &mut [u8; HEADER_MAX],
    opcode: Opcode,
    is_last: bool,
    length: usize,
    mask: Option<[u8; 4]>,
) -> usize {
    header[0] = opcode as u8 | if is_last { FINAL } else { 0 };
    let mut at = match length {
        0..=125 => {
            header[1] = length as u8;
            2
        }
        126..=0xFFFF => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        }
    };
    if let Some(mask) = mask {
        header[1] |= MASKED;
        header[at..at + 4].copy_from_slice(&mask);
        at += 4;
    }
    at
}

/// Appends a frame with `payload`.
pub(super) fn push_frame(
    out: &mut Vec<u8>,
    opcode: Opcode,
    is_last: bool,
    payload: &[u8],
    key: Option<[u8; 4]>,
) {
    let mut header = [0; HEADER_MAX];
    let length = write_header(&mut header, opcode, is_last, payload.len(), key);
    out.extend_from_slice(&header[..length]);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = key {
        mask(&mut out[start..], key);
    }
}
