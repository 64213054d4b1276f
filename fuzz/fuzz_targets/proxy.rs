//! The parser of a PROXY header reads no byte after the header, and always ends. A complete header
//! has the same client in its contents, and all its TLVs can be read.
#![no_main]

use echoline::proxy::{ProxyFacts, ProxyHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut taken = 0;
    while taken <= bytes.len() {
        match ProxyHeader::parse(&bytes[..taken]) {
            Ok(ProxyHeader::More(more)) => {
                assert!((1..=8 * 1024).contains(&more));
                taken += more;
            }
            Ok(whole) => {
                assert!(taken >= 15);
                let facts = ProxyFacts::parse(&bytes[..taken]).unwrap().unwrap();
                let length: usize = facts.tlvs().map(|tlv| 3 + tlv.value.len()).sum();
                assert!(length <= 8 * 1024);
                let _ = facts.tls().map(|tls| (tls.tlvs().count(), tls.is_verified()));
                let named = ProxyHeader::Source(facts.source());
                return assert_eq!(whole, if facts.is_local() { ProxyHeader::Local } else { named });
            }
            Err(_) => return,
        }
    }
});
