//! Accepted text is clean, cleaning it again changes nothing, and it contains no terminal control
//! characters.
#![no_main]

use echoline_chat::{clean, escape, is_clean};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let logged = escape(bytes).to_string();
    assert!(!logged.chars().any(char::is_control));
    if let Ok(text) = clean(bytes) {
        assert!(is_clean(&text));
        assert_eq!(clean(text.as_bytes()).as_deref(), Ok(&*text));
        assert!(!text.chars().any(steers), "{text:?}");
    }
});

/// Returns whether a character controls a terminal. This list is independent of the tables that
/// `clean` uses.
fn steers(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{200B}' | '\u{200E}'..='\u{200F}' | '\u{2028}'..='\u{202E}')
        || matches!(c, '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
        || matches!(c, '\u{61C}' | '\u{E000}'..='\u{F8FF}' | '\u{E0000}'..)
}
