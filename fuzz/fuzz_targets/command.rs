//! Every clean line is either a text to say, or a command, or gets a short clean error message.
#![no_main]

use echoline_chat::{Command, clean, is_clean};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(line) = clean(bytes) else { return };
    let line = line.trim();
    match Command::parse(line) {
        Ok(Command::Say(words)) => assert!(line.ends_with(words)),
        Ok(_) => assert!(line.starts_with('/')),
        Err(error) => {
            let sentence = error.to_string();
            assert!(is_clean(&sentence) && sentence.chars().count() < 160, "{sentence}");
        }
    }
});
