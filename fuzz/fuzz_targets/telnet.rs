//! The result of Telnet negotiation does not depend on how the bytes are cut into packets, and the
//! size of the answers is bounded.
#![no_main]

use echoline_chat::Parser;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (length, bytes) = input;
    let (mut whole, mut cut) = (Parser::negotiating(), Parser::negotiating());
    let mut expected = bytes.clone();
    let kept = whole.take(&mut expected);
    let mut left = Vec::new();
    for chunk in bytes.chunks(usize::from(length).max(1)) {
        let mut chunk = chunk.to_vec();
        let kept = cut.take(&mut chunk);
        left.extend_from_slice(&chunk[..kept]);
    }
    assert_eq!(left, expected[..kept]);
    assert_eq!((whole.width(), whole.answers()), (cut.width(), cut.answers()));
    assert!(whole.answers().len() <= 192);
});
