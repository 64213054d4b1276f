//! Decodes WebSocket frames (RFC 6455, section 5) as their bytes arrive, without buffering them.
//! Pure.

use std::ops::Range;

use super::utf8::Utf8;

/// The maximum length of a header: two bytes, eight for the length, four for the mask.
pub(super) const HEADER_MAX: usize = 14;

/// The maximum payload of a control frame in bytes (5.5).
pub(super) const CONTROL_MAX: usize = 125;

pub(super) const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
pub(super) const MASKED: u8 = 0x80;

/// The role of one end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndpointRole {
    Server,
    Client,
}

/// The opcode of a frame (RFC 6455, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        let all =
            [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong];
        all.into_iter().find(|opcode| *opcode as u8 == bits)
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A violation of the protocol by the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// A frame that the protocol does not allow.
    Protocol,
    /// A text message that is not valid UTF-8.
    NotText,
}

/// An event that the decoder found in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FrameEvent {
    /// A piece of a message, as its unmasked range in the input.
    Piece {
        /// Text or binary for the first piece of the message, otherwise a continuation.
        opcode: Opcode,
        range: Range<usize>,
        is_last: bool,
    },
    Ping(Vec<u8>),
    Pong,
    /// The peer's last frame, with its close code, if it has one.
    Close(Option<u16>),
}

/// Decodes the frames of one direction.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The end that sends the frames.
    peer: EndpointRole,
    header: [u8; HEADER_MAX],
    header_length: usize,
    frame: Option<FrameInProgress>,
    message: Option<MessageInProgress>,
    utf8: Utf8,
    control: Vec<u8>,
}

/// A frame whose header was read.
#[derive(Clone, Copy, Debug)]
struct FrameInProgress {
    opcode: Opcode,
    is_final: bool,
    /// The mask, rotated so that its first byte applies to the next payload byte.
    mask: [u8; 4],
    left: u64,
}

/// A message whose last frame has not been decoded.
#[derive(Clone, Copy, Debug)]
struct MessageInProgress {
    opcode: Opcode,
    /// Whether a piece of the message was already returned.
    is_begun: bool,
}

impl Decoder {
    /// Creates a decoder for frames that `peer` sends.
    pub(super) fn new(peer: EndpointRole) -> Self {
        Self {
            peer,
            header: [0; HEADER_MAX],
            header_length: 0,
            frame: None,
            message: None,
            utf8: Utf8::default(),
            control: Vec::new(),
        }
    }

    /// Returns whether the stream can end here without truncating a message.
    pub(super) fn is_between_messages(&self) -> bool {
        self.header_length == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Consumes bytes from the front of `input` up to the next event. Returns the number of bytes
    /// and the event; without an event, all bytes were consumed.
    ///
    /// The caller must not pass bytes that follow a Close or a violation.
    pub(super) fn next(
        &mut self,
        input: &mut [u8],
    ) -> Result<(usize, Option<FrameEvent>), Violation> {
        let mut taken = 0;
        loop {
            let rest = &mut input[taken..];
            let Some(frame) = self.frame else {
                let length = self.take_header(rest);
                taken += length;
                if !self.begin_frame()? {
                    return Ok((taken, None));
                }
                continue;
            };
            if rest.is_empty() && frame.left > 0 {
                return Ok((taken, None));
            }
            let length = rest.len().min(usize::try_from(frame.left).unwrap_or(usize::MAX));
            let range = taken..taken + length;
            let event = self.take_payload(frame, &mut input[range.clone()], range.start)?;
            taken = range.end;
            if event.is_some() {
                return Ok((taken, event));
            }
        }
    }

    /// Consumes bytes of the header, and no byte after it. Returns their number.
    fn take_header(&mut self, input: &[u8]) -> usize {
        let mut taken = 0;
        while taken < input.len() && self.header_length < self.header_needed() {
            self.header[self.header_length] = input[taken];
            self.header_length += 1;
            taken += 1;
        }
        taken
    }

    /// Returns the length of the header, as far as the bytes received so far determine it.
    fn header_needed(&self) -> usize {
        if self.header_length < 2 {
            return 2;
        }
        let mask = if self.header[1] & MASKED == 0 { 0 } else { 4 };
        let extended = match self.header[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + mask
    }

    /// Parses the header once it is complete. Returns whether it is.
    fn begin_frame(&mut self) -> Result<bool, Violation> {
        if self.header_length >= 2 {
            // An invalid header is refused before the rest of it arrives.
            self.check_start()?;
        }
        if self.header_length < self.header_needed() {
            return Ok(false);
        }
        let opcode = Opcode::from_bits(self.header[0] & 0x0F).ok_or(Violation::Protocol)?;
        let (left, mask_at) = self.length()?;
        let mut mask = [0; 4];
        if self.peer == EndpointRole::Client {
            mask.copy_from_slice(&self.header[mask_at..mask_at + 4]);
        }
        let is_final = self.header[0] & FINAL != 0;
        match (opcode, self.message) {
            (Opcode::Continuation, None) => return Err(Violation::Protocol),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::Protocol),
            (Opcode::Text | Opcode::Binary, None) => {
                self.message = Some(MessageInProgress { opcode, is_begun: false });
            }
            _ => {}
        }
        self.header_length = 0;
        self.frame = Some(FrameInProgress { opcode, is_final, mask, left });
        Ok(true)
    }

    fn check_start(&self) -> Result<(), Violation> {
        let [first, second, ..] = self.header;
        let opcode = Opcode::from_bits(first & 0x0F).ok_or(Violation::Protocol)?;
        let is_long = usize::from(second & !MASKED) > CONTROL_MAX;
        let is_masked = second & MASKED != 0;
        // Clients must mask their frames, and servers must not (5.1). No extension was negotiated,
        // so the reserved bits must be 0.
        let wrong = first & RESERVED != 0
            || is_masked != (self.peer == EndpointRole::Client)
            || (opcode.is_control() && (is_long || first & FINAL == 0));
        if wrong { Err(Violation::Protocol) } else { Ok(()) }
    }

    /// Returns the payload's length, which must be in its shortest encoding (5.2), and the offset
    /// of the mask.
    fn length(&self) -> Result<(u64, usize), Violation> {
        let bytes = |count: usize| {
            let digits = &self.header[2..2 + count];
            digits.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        match self.header[1] & !MASKED {
            126 if bytes(2) > 125 => Ok((bytes(2), 4)),
            127 if bytes(8) > 0xFFFF && bytes(8) >> 63 == 0 => Ok((bytes(8), 10)),
            126 | 127 => Err(Violation::Protocol),
            short => Ok((short.into(), 2)),
        }
    }

    /// Unmasks `bytes`, the next payload bytes of `frame`. They begin at offset `start` of the
    /// input.
    fn take_payload(
        &mut self,
        mut frame: FrameInProgress,
        bytes: &mut [u8],
        start: usize,
    ) -> Result<Option<FrameEvent>, Violation> {
        mask(bytes, frame.mask);
        frame.mask.rotate_left(bytes.len() % 4);
        frame.left -= bytes.len() as u64;
        self.frame = (frame.left > 0).then_some(frame);
        if frame.opcode.is_control() {
            self.control.extend_from_slice(bytes);
            return if frame.left > 0 {
                Ok(None)
            } else {
                self.end_control(frame.opcode).map(Some)
            };
        }
        let message = self.message.as_mut().ok_or(Violation::Protocol)?;
        let is_last = frame.left == 0 && frame.is_final;
        if message.opcode == Opcode::Text {
            self.utf8.push(bytes, is_last).map_err(|_| Violation::NotText)?;
        }
        let opcode = if message.is_begun { Opcode::Continuation } else { message.opcode };
        message.is_begun = true;
        if is_last {
            self.message = None;
        }
        Ok(Some(FrameEvent::Piece { opcode, range: start..start + bytes.len(), is_last }))
    }

    fn end_control(&mut self, opcode: Opcode) -> Result<FrameEvent, Violation> {
        let payload = std::mem::take(&mut self.control);
        match (opcode, payload.as_slice()) {
            (Opcode::Ping, _) => Ok(FrameEvent::Ping(payload)),
            (Opcode::Close, []) => Ok(FrameEvent::Close(None)),
            (Opcode::Close, [high, low, reason @ ..]) => {
                let code = u16::from_be_bytes([*high, *low]);
                if !is_close_code(code) {
                    return Err(Violation::Protocol);
                }
                std::str::from_utf8(reason).map_err(|_| Violation::NotText)?;
                Ok(FrameEvent::Close(Some(code)))
            }
            (Opcode::Close, _) => Err(Violation::Protocol),
            _ => Ok(FrameEvent::Pong),
        }
    }
}

/// Returns whether a close code may be sent (RFC 6455, section 7.4, and IANA's later entries).
fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Finds the frame boundaries in bytes that are passed on unchanged.
#[derive(Debug)]
pub(super) struct Boundaries {
    decoder: Decoder,
    left: u64,
}

impl Boundaries {
    /// Creates a decoder for the frames that a server sends.
    pub(super) fn new() -> Self {
        Self { decoder: Decoder::new(EndpointRole::Server), left: 0 }
    }

    /// Follows `bytes`. Invalid frames, which a planned fault may cause, have an arbitrary but
    /// bounded result.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let payload = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= payload as u64;
            bytes = &bytes[payload..];
            let taken = self.decoder.take_header(bytes);
            bytes = &bytes[taken..];
            if self.decoder.header_length == self.decoder.header_needed() {
                self.left = self.decoder.length().map_or(0, |(length, _)| length);
                self.decoder.header_length = 0;
            }
        }
    }

    /// Returns whether another frame may be sent now.
    pub(super) fn is_at_boundary(&self) -> bool {
        self.left == 0 && self.decoder.header_length == 0
    }
}

/// Masks or unmasks `bytes`, which is the same operation.
pub(super) fn mask(bytes: &mut [u8], mask: [u8; 4]) {
    let mut words = bytes.chunks_exact_mut(4);
    for word in &mut words {
        word.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
    words.into_remainder().iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::encode::push_frame;
    use super::*;

    /// Returns all events of `bytes`, read in pieces of the lengths in `cuts`, with the pieces of
    /// messages joined: (text or binary, bytes).
    fn read(
        peer: EndpointRole,
        bytes: &[u8],
        cuts: &[usize],
    ) -> Result<Vec<(Opcode, Vec<u8>)>, Violation> {
        let mut decoder = Decoder::new(peer);
        let (mut found, mut open) = (Vec::new(), None);
        let (mut rest, mut cuts) = (bytes.to_vec(), cuts.iter().cycle());
        while !rest.is_empty() {
            let length = cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len()));
            let mut input: Vec<u8> = rest.drain(..length).collect();
            let mut at = 0;
            loop {
                let (taken, event) = decoder.next(&mut input[at..])?;
                let Some(event) = event else { break };
                match event {
                    FrameEvent::Piece { opcode, range, is_last } => {
                        let (_, text) = open.get_or_insert((opcode, Vec::new()));
                        text.extend_from_slice(&input[at..][range]);
                        if is_last {
                            found.extend(open.take());
                        }
                    }
                    FrameEvent::Ping(payload) => found.push((Opcode::Ping, payload)),
                    FrameEvent::Pong => found.push((Opcode::Pong, Vec::new())),
                    FrameEvent::Close(code) => {
                        found.push((Opcode::Close, code.unwrap_or(0).to_be_bytes().to_vec()));
                        return Ok(found);
                    }
                }
                at += taken;
            }
        }
        Ok(found)
    }

    #[test]
    fn decodes_the_examples_of_the_rfc() {
        // These examples are from RFC 6455, section 5.7.
        let hello = |bytes: &[u8], peer| read(peer, bytes, &[]).unwrap();
        let text = vec![(Opcode::Text, b"Hello".to_vec())];
        assert_eq!(hello(b"\x81\x05Hello", EndpointRole::Server), text);
        let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(hello(masked, EndpointRole::Client), text);
        assert_eq!(hello(b"\x01\x03Hel\x80\x02lo", EndpointRole::Server), text);
        assert_eq!(
            hello(b"\x89\x05Hello", EndpointRole::Server),
            [(Opcode::Ping, b"Hello".to_vec())]
        );
        assert_eq!(hello(b"\x01\x03Hel\x89\0\x80\x02lo", EndpointRole::Server)[1], text[0]);
    }

    /// Fault 66: a violation of the RFC ends the connection.
    #[test]
    fn refuses_violations_of_the_rfc() {
        let long = [b"\x89\x7e\x00\x7e".as_slice(), &[0; 126]].concat();
        for (what, bytes) in [
            ("a reserved bit", b"\xc1\x00".as_slice()),
            ("a reserved opcode", b"\x83\x00"),
            ("a reserved control opcode", b"\x8b\x00"),
            ("a mask from a server", b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
            ("a control frame of 126 bytes", &long),
            ("a control frame in fragments", b"\x09\x00"),
            ("a continuation of nothing", b"\x80\x00"),
            ("a message inside a message", b"\x01\x01a\x81\x01b"),
            ("a length in more bytes than it needs", b"\x81\x7e\x00\x05Hello"),
            ("a length beyond 63 bits", b"\x82\x7f\x80\0\0\0\0\0\0\0"),
            ("a close code of one byte", b"\x88\x01\x03"),
            ("a close code that may not be sent", b"\x88\x02\x03\xed"),
        ] {
            assert_eq!(read(EndpointRole::Server, bytes, &[]), Err(Violation::Protocol), "{what}");
        }
        assert_eq!(read(EndpointRole::Client, b"\x81\x05Hello", &[]), Err(Violation::Protocol));
        for bytes in [b"\x81\x01\xff".as_slice(), b"\x81\x01\xc3", b"\x88\x03\x03\xe8\xff"] {
            assert_eq!(
                read(EndpointRole::Server, bytes, &[]),
                Err(Violation::NotText),
                "{bytes:x?}"
            );
        }
        assert_eq!(read(EndpointRole::Server, b"\x82\x01\xff", &[]).unwrap().len(), 1);
    }

    fn message() -> impl Strategy<Value = (bool, Vec<String>)> {
        (any::<bool>(), prop::collection::vec("\\PC{0,200}", 1..4))
    }

    proptest! {
        /// Fault 27: fragments and packet boundaries do not change the messages.
        #[test]
        fn decodes_encoded_messages(
            messages in prop::collection::vec(message(), 0..6),
            key in any::<Option<[u8; 4]>>(),
            cuts in prop::collection::vec(1_usize..200, 1..5),
        ) {
            let (mut bytes, mut sent) = (Vec::new(), Vec::new());
            let mut boundaries = Boundaries::new();
            for (is_text, parts) in messages {
                let kind = if is_text { Opcode::Text } else { Opcode::Binary };
                for (index, part) in parts.iter().enumerate() {
                    let opcode = if index == 0 { kind } else { Opcode::Continuation };
                    let is_last = index + 1 == parts.len();
                    let before = bytes.len();
                    push_frame(&mut bytes, opcode, is_last, part.as_bytes(), key);
                    push_frame(&mut bytes, Opcode::Ping, true, b"!", key);
                    if key.is_none() {
                        boundaries.pass(&bytes[before..bytes.len() - 1]);
                        prop_assert!(!boundaries.is_at_boundary());
                        boundaries.pass(b"!");
                        prop_assert!(boundaries.is_at_boundary());
                    }
                }
                sent.push((kind, parts.concat().into_bytes()));
            }
            let peer = if key.is_some() { EndpointRole::Client } else { EndpointRole::Server };
            let mut found = read(peer, &bytes, &cuts).unwrap();
            found.retain(|(opcode, _)| *opcode != Opcode::Ping);
            prop_assert_eq!(found, sent);
        }

        #[test]
        fn no_input_causes_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cut in 1_usize..20,
        ) {
            let _ = read(EndpointRole::Client, &bytes, &[cut]);
            let _ = read(EndpointRole::Server, &bytes, &[cut]);
            Boundaries::new().pass(&bytes);
        }
    }
}
