//! Wrapping loses only spaces and joiners, and indents every part after the first.
#![no_main]

use echoline_chat::wrap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &str)| {
    let (columns, line) = input;
    let letters = |text: &str| text.replace([' ', '\t', '\u{200C}', '\u{200D}'], "");
    let mut shown = String::new();
    for (number, (indent, part)) in wrap(line, columns).enumerate() {
        assert_eq!(indent, if number == 0 { "" } else { "  " });
        assert!(number == 0 || !part.is_empty());
        shown.push_str(part);
    }
    assert_eq!(letters(&shown), letters(line));
});
