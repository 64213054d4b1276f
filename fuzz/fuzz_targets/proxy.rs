//! The parser of a PROXY header reads no byte after the header, and always ends.
#![no_main]

use echoline::proxy::ProxyHeader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut taken = 0;
    while taken <= bytes.len() {
        match ProxyHeader::parse(&bytes[..taken]) {
            Ok(ProxyHeader::More(more)) => {
                assert!((1..=8 * 1024).contains(&more));
                taken += more;
            }
            Ok(ProxyHeader::Source(_) | ProxyHeader::Local) => return assert!(taken >= 15),
            Err(_) => return,
        }
    }
});
