//! A valid name is short, clean, and parses to itself. The error message about an invalid name is
//! also clean.
#![no_main]

use echoline_chat::{Name, is_clean};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for parse in [Name::parse, Name::parse_room] {
        match parse(text) {
            Ok(name) => {
                assert!(is_clean(name.as_str()) && name.as_str().chars().count() <= 32);
                let again = parse(name.as_str()).expect("a valid name parses again");
                assert!(again.same_as(&name) && again.key() == name.key());
                let [one, other] = [7, 8].map(|number| name.with_suffix(number));
                assert!(parse(one.as_str()).is_ok() && !one.looks_like(&other));
            }
            Err(error) => assert!(is_clean(&error.to_string()), "{error}"),
        }
    }
});
