//! Removes Telnet commands from a stream of bytes, and answers them (RFC 854, RFC 855).
//!
//! The parser refuses every option, except the window size if the server asked for it. Each offer
//! is refused only once, so no negotiation loop can arise.

use memchr::memchr2;

const SE: u8 = 240;
/// "Erase character". Some clients map their keys to EC and EL ("erase line") and never send
/// Backspace.
const EC: u8 = 247;
const EL: u8 = 248;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
const IAC: u8 = 255;
const CR: u8 = b'\r';
const NUL: u8 = 0;

/// RFC 860: requests an answer as soon as all earlier input is processed. After Ctrl-C, a client
/// shows nothing until this answer arrives.
const TIMING_MARK: u8 = 6;
/// RFC 1073: the width and height of the client's window.
const NAWS: u8 = 31;

/// The maximum length of a subnegotiation in bytes, including the option's number. Later bytes
/// count as data again, so that an unterminated subnegotiation cannot swallow the user's input.
const SUBNEGOTIATION_BYTES_MAX: u16 = 512;
/// The number of subnegotiation bytes that are kept: the option and the four bytes of a window
/// size.
const KEPT_BYTES: usize = 5;
/// The maximum number of bytes of pending answers. A client that reaches it gets no more answers.
const ANSWERS_BYTES_MAX: usize = 192;

/// A parser that removes the Telnet commands from a client's input, and collects the answers to
/// them.
///
/// The result does not depend on how the input is split into chunks.
///
/// ```
/// use echoline_chat_core::telnet::Parser;
///
/// let mut parser = Parser::default();
/// let mut bytes = *b"h\xff\xfb\x1fi\r\0";
/// let kept = parser.take(&mut bytes);
/// assert_eq!(&bytes[..kept], b"hi\r");
/// assert_eq!(*parser.answers(), b"\xff\xfe\x1f"); // WILL NAWS: DONT NAWS
/// ```
#[derive(Debug, Default)]
pub struct Parser {
    state: State,
    subnegotiation: Subnegotiation,
    window: Window,
    /// The options offered with WILL that were refused.
    refused_theirs: Options,
    /// The options requested with DO that were refused.
    refused_ours: Options,
    answers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Data,
    /// The last byte of data was a CR. If a NUL follows, it is part of the line end (RFC 854, page
    /// 11).
    Cr,
    /// After IAC.
    Command,
    /// After WILL, WONT, DO or DONT.
    Option(u8),
    Subnegotiation,
    /// After IAC in a subnegotiation.
    SubnegotiationCommand,
}

#[derive(Debug, Default)]
struct Subnegotiation {
    first: [u8; KEPT_BYTES],
    length: u16,
}

/// The state of the window size negotiation with the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Window {
    #[default]
    NotAsked,
    Asked,
    /// The client agreed to report its window size. The width is 0 until it does.
    Told {
        width: u16,
    },
    Refused,
}

/// A set of options, one bit for each.
#[derive(Debug, Default)]
struct Options([u64; 4]);

impl Parser {
    /// Creates a parser that first asks for the window size. The request is already in
    /// [`Parser::answers`].
    #[must_use]
    pub fn negotiating() -> Self {
        Self { window: Window::Asked, answers: vec![IAC, DO, NAWS], ..Self::default() }
    }

    /// Creates a parser that begins in the middle of a stream. `cr` is whether the last byte was a
    /// CR.
    pub fn after(cr: bool) -> Self {
        Self { state: if cr { State::Cr } else { State::Data }, ..Self::default() }
    }

    /// Removes the commands from `bytes`. A command may continue from the previous call. Moves the
    /// data to the front, and returns its length.
    ///
    /// A doubled 255 becomes one byte of data, and CR NUL becomes CR. "Erase character" and "erase
    /// line" become Delete (0x7f) and Ctrl-U (0x15), as a terminal would send them. Input without
    /// 255 and NUL is scanned once and not changed.
    pub fn take(&mut self, bytes: &mut [u8]) -> usize {
        let (mut kept, mut next) = (0, 0);
        while next < bytes.len() {
            let run = self.plain_run(&bytes[next..]);
            if run > 0 {
                bytes.copy_within(next..next + run, kept);
                (kept, next) = (kept + run, next + run);
                self.state = if bytes[kept - 1] == CR { State::Cr } else { State::Data };
                continue;
            }
            if let Some(data) = self.step(bytes[next]) {
                bytes[kept] = data;
                kept += 1;
            }
            next += 1;
        }
        kept
    }

    /// Returns the bytes to send to the client, at most 192. The caller removes the bytes that it
    /// has sent.
    pub fn answers(&mut self) -> &mut Vec<u8> {
        &mut self.answers
    }

    /// Returns the width of the client's window in columns, if the client reported it.
    #[must_use]
    pub fn width(&self) -> Option<u16> {
        match self.window {
            Window::Told { width: width @ 1.. } => Some(width),
            _ => None,
        }
    }

    /// Returns the number of bytes at the front that are plain data.
    fn plain_run(&self, bytes: &[u8]) -> usize {
        match self.state {
            State::Data | State::Cr => memchr2(IAC, NUL, bytes).unwrap_or(bytes.len()),
            _ => 0,
        }
    }

    /// Processes one byte that may belong to a command. Returns the byte if it is data.
    fn step(&mut self, byte: u8) -> Option<u8> {
        match (self.state, byte) {
            (State::Data | State::Cr, IAC) => self.becomes(State::Command),
            (State::Cr, NUL) => self.becomes(State::Data),
            (State::Data | State::Cr, _) => self.data(byte),
            (State::Command, _) => self.command(byte),
            (State::Option(verb), _) => {
                self.negotiate(verb, byte);
                self.becomes(State::Data)
            }
            (State::Subnegotiation, IAC) => self.becomes(State::SubnegotiationCommand),
            (State::SubnegotiationCommand, SE) => {
                self.read_window();
                self.becomes(State::Data)
            }
            (State::Subnegotiation, _) | (State::SubnegotiationCommand, IAC) => self.keep(byte),
            // A command other than SE aborts the subnegotiation.
            (State::SubnegotiationCommand, _) => self.command(byte),
        }
    }

    fn becomes(&mut self, state: State) -> Option<u8> {
        self.state = state;
        None
    }

    fn data(&mut self, byte: u8) -> Option<u8> {
        self.state = State::Data;
        Some(byte)
    }

    /// Processes the byte after IAC. Returns a byte of data if the command means one.
    fn command(&mut self, byte: u8) -> Option<u8> {
        match byte {
            IAC => self.data(IAC),
            EC => self.data(0x7f),
            EL => self.data(0x15),
            WILL | WONT | DO | DONT => self.becomes(State::Option(byte)),
            SB => {
                self.subnegotiation = Subnegotiation::default();
                self.becomes(State::Subnegotiation)
            }
            // The other commands have no effect in a chat: "no operation", "break", "go ahead",
            // "are you there" and so on.
            _ => self.becomes(State::Data),
        }
    }

    fn keep(&mut self, byte: u8) -> Option<u8> {
        let Subnegotiation { first, length } = &mut self.subnegotiation;
        if *length == SUBNEGOTIATION_BYTES_MAX {
            return self.data(byte);
        }
        if let Some(slot) = first.get_mut(usize::from(*length)) {
            *slot = byte;
        }
        *length += 1;
        self.becomes(State::Subnegotiation)
    }

    fn negotiate(&mut self, verb: u8, option: u8) {
        match (verb, option, self.window) {
            (WILL, NAWS, Window::Asked) => self.window = Window::Told { width: 0 },
            (WILL, NAWS, Window::Told { .. }) => {}
            (WONT, NAWS, Window::Asked) => self.window = Window::Refused,
            (WONT, NAWS, Window::Told { .. }) => {
                self.window = Window::Refused;
                self.refuse(DONT, NAWS);
            }
            (WILL, ..) => self.refuse(DONT, option),
            // A timing mark is a request and not an offer, and RFC 860 requires an answer each
            // time. The answer never causes another request, so no loop can arise.
            (DO, TIMING_MARK, _) => self.answer(WONT, TIMING_MARK),
            (DO, ..) => self.refuse(WONT, option),
            // An option that is off stays off, without an answer (RFC 1143).
            _ => {}
        }
    }

    fn refuse(&mut self, verb: u8, option: u8) {
        let refused = if verb == DONT { &mut self.refused_theirs } else { &mut self.refused_ours };
        if refused.insert(option) {
            self.answer(verb, option);
        }
    }

    fn answer(&mut self, verb: u8, option: u8) {
        if self.answers.len() + 3 <= ANSWERS_BYTES_MAX {
            self.answers.extend([IAC, verb, option]);
        }
    }

    fn read_window(&mut self) {
        let Subnegotiation { first, length } = self.subnegotiation;
        if let (KEPT_BYTES, [NAWS, high, low, ..], Window::Told { .. }) =
            (usize::from(length), first, self.window)
        {
            self.window = Window::Told { width: u16::from_be_bytes([high, low]) };
        }
    }
}

impl Options {
    /// Adds an option. Returns `true` if it was not in the set.
    fn insert(&mut self, option: u8) -> bool {
        let (word, bit) = (&mut self.0[usize::from(option / 64)], 1 << (option % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the data in `bytes`.
    fn take(parser: &mut Parser, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let kept = parser.take(&mut bytes);
        bytes.truncate(kept);
        bytes
    }

    fn answers(parser: &mut Parser) -> Vec<u8> {
        std::mem::take(parser.answers())
    }

    #[test]
    fn commands_are_removed_from_the_data() {
        for (sent, left) in [
            (&b"plain\r\n"[..], &b"plain\r\n"[..]),
            (b"a\xff\xffb", b"a\xffb"),
            (b"a\xff\xf1b\xff\xf6c", b"abc"),
            (b"ab\xff\xf7c\xff\xf8d", b"ab\x7fc\x15d"),
            (b"a\xff\xfb\x01b\xff\xfe\xffc", b"abc"),
            (b"a\xff\xfa\x18\x00xterm\xff\xff\xff\xf0b", b"ab"),
            (b"a\r\0b\0c\r\r\0\0", b"a\rb\0c\r\r\0"),
            (b"a\xff\xfa\x18\xff\xfb\x01b", b"ab"), // an unfinished subnegotiation
            (b"\xff\xff\xff\xff\xff", b"\xff\xff"),
        ] {
            assert_eq!(take(&mut Parser::default(), sent), left, "{sent:x?}");
        }
    }

    /// Fault 24: every option is refused once, no matter how often it is offered.
    #[test]
    fn every_offer_is_refused_once() {
        let mut parser = Parser::default();
        for option in (0..=u8::MAX).filter(|&option| option != TIMING_MARK) {
            for (offer, refusal) in [(WILL, DONT), (DO, WONT)] {
                assert!(take(&mut parser, &[IAC, offer, option].repeat(3)).is_empty());
                assert_eq!(answers(&mut parser), [IAC, refusal, option]);
                take(&mut parser, &[IAC, offer, option, IAC, WONT, option, IAC, DONT, option]);
                assert!(answers(&mut parser).is_empty());
            }
        }
    }

    /// If a user presses Ctrl-C in a Telnet client twice, the client gets an answer each time.
    #[test]
    fn every_timing_mark_is_answered() {
        let mut parser = Parser::default();
        for _ in 0..2 {
            take(&mut parser, &[IAC, 244, IAC, DO, TIMING_MARK]);
            assert_eq!(answers(&mut parser), [IAC, WONT, TIMING_MARK]);
        }
    }

    #[test]
    fn answers_have_a_bound() {
        let mut parser = Parser::default();
        for option in 0..=u8::MAX {
            take(&mut parser, &[IAC, WILL, option, IAC, DO, TIMING_MARK]);
        }
        assert_eq!(parser.answers().len(), ANSWERS_BYTES_MAX);
    }

    /// Fault 24: an unterminated subnegotiation consumes at most 512 bytes.
    #[test]
    fn an_unfinished_subnegotiation_ends() {
        let mut parser = Parser::default();
        let left = take(&mut parser, &[&[IAC, SB][..], &[b'x'; 600]].concat());
        assert_eq!(left.len(), 600 - 512);
        let mut parser = Parser::default();
        let exact = [&[IAC, SB][..], &[b'x'; 512], &[IAC, SE, b'y']].concat();
        assert_eq!(take(&mut parser, &exact), b"y");
    }

    #[test]
    fn asks_for_the_window_size_and_parses_it() {
        let mut parser = Parser::negotiating();
        assert_eq!(answers(&mut parser), [IAC, DO, NAWS]);
        let size = |width: u16| {
            let [high, low] = width.to_be_bytes();
            // A byte 255 is doubled in a subnegotiation too.
            let bytes = [high, low, 0, 24].map(|b| if b == IAC { vec![b, b] } else { vec![b] });
            [&[IAC, SB, NAWS][..], &bytes.concat(), &[IAC, SE]].concat()
        };
        take(&mut parser, &size(80));
        assert_eq!(parser.width(), None, "the client has not agreed to report it yet");
        take(&mut parser, &[IAC, WILL, NAWS]);
        for width in [80, 255, 132, 65535] {
            take(&mut parser, &size(width));
            assert_eq!(parser.width(), Some(width));
        }
        take(&mut parser, &[IAC, SB, NAWS, 0, 9, IAC, SE]);
        assert_eq!(parser.width(), Some(65535), "a size that is too short is ignored");
        take(&mut parser, &size(0));
        assert_eq!(parser.width(), None, "0 is unknown");
        assert!(answers(&mut parser).is_empty());
        take(&mut parser, &[IAC, WONT, NAWS, IAC, WILL, NAWS]);
        assert_eq!(answers(&mut parser), [IAC, DONT, NAWS], "an option that is off stays off");
    }

    /// Fault 24: two connected servers do not answer each other for ever.
    #[test]
    fn two_parsers_do_not_loop() {
        let offers: Vec<u8> = (0..=u8::MAX).flat_map(|o| [IAC, WILL, o, IAC, DO, o]).collect();
        for (mut one, mut other) in [
            (Parser::default(), Parser::default()),
            (Parser::negotiating(), Parser::default()),
            (Parser::negotiating(), Parser::negotiating()),
        ] {
            let mut to_other = [answers(&mut one), offers.clone()].concat();
            let mut to_one = [answers(&mut other), offers.clone()].concat();
            for _ in 0..3 {
                assert!(take(&mut other, &to_other).is_empty());
                assert!(take(&mut one, &to_one).is_empty());
                (to_other, to_one) = (answers(&mut one), answers(&mut other));
            }
            assert!(to_one.is_empty() && to_other.is_empty());
        }
    }

    /// Bytes with and without a meaning in Telnet.
    fn telnet_bytes() -> impl Strategy<Value = Vec<u8>> {
        let special = vec![IAC, SE, SB, WILL, WONT, DO, DONT, CR, NUL, NAWS, TIMING_MARK, b'a'];
        let byte = prop_oneof![4 => prop::sample::select(special), 1 => any::<u8>()];
        prop::collection::vec(byte, 0..80)
    }

    proptest! {
        /// Fault 24: splitting the input at other positions does not change the result.
        #[test]
        fn any_chunking_gives_the_same_result(
            bytes in telnet_bytes(),
            cuts in prop::collection::vec(1_usize..8, 1..80),
            asks in any::<bool>(),
        ) {
            let parser = || if asks { Parser::negotiating() } else { Parser::default() };
            let (mut whole, mut cut) = (parser(), parser());
            let expected = take(&mut whole, &bytes);
            let (mut rest, mut left) = (&bytes[..], Vec::new());
            for length in cuts.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, later) = rest.split_at(length.min(rest.len()));
                left.extend(take(&mut cut, chunk));
                rest = later;
            }
            prop_assert_eq!(left, expected);
            prop_assert_eq!(whole.width(), cut.width());
            prop_assert_eq!(answers(&mut whole), answers(&mut cut));
        }

        #[test]
        fn escaped_data_is_unescaped(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut escaped = Vec::new();
            for &byte in &bytes {
                escaped.push(byte);
                escaped.extend(match byte { IAC => Some(IAC), CR => Some(NUL), _ => None });
            }
            prop_assert_eq!(take(&mut Parser::default(), &escaped), bytes);
        }
    }
}
