//! Arbitrary transcripts are compared, always with the same result. In the input, a byte 0xFF
//! separates two transcripts.
#![no_main]

use echoline_chat::{Name, Transcript, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let lobby = Name::parse_room("lobby").unwrap();
    let read = |(index, text): (usize, &[u8])| {
        Transcript::read(&format!("talk-{index}"), &lobby, text).ok()
    };
    let parts = || bytes.split(|&byte| byte == 0xff).enumerate().filter_map(read);
    let transcripts: Vec<Transcript> = parts().collect();
    let report = verify(&transcripts);
    assert!(report.contradictions.len() <= report.found.min(100));
    assert!(report.lines <= report.seen && report.seen <= bytes.len());
    report.contradictions.iter().for_each(|found| drop(found.to_string()));
    assert_eq!(verify(&parts().collect::<Vec<_>>()).found, report.found);
});
