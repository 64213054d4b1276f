//! A report with an arbitrary HDR histogram is parsed or gets an error message, and its HDR log can
//! be written.
#![no_main]

use std::io::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use echoline_load::LoadReport;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static REPORT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../seeds/report/open.json")).unwrap());

/// Returns an uncompressed V2 histogram: a header with this number of significant digits, and the
/// counts.
fn plain(digits: u8, highest: u64, counts: &[u8]) -> Vec<u8> {
    let mut plain = 0x1c84_9313_u32.to_be_bytes().to_vec();
    plain.extend((counts.len() as u32).to_be_bytes());
    plain.extend(0_u32.to_be_bytes());
    plain.extend(u32::from(digits).to_be_bytes());
    plain.extend(1_u64.to_be_bytes());
    plain.extend(highest.to_be_bytes());
    plain.extend(1_f64.to_be_bytes());
    plain.extend(counts);
    plain
}

fn envelope(plain: &[u8]) -> String {
    let mut bytes = 0x1c84_9314_u32.to_be_bytes().to_vec();
    bytes.extend([0; 4]);
    let mut deflate = ZlibEncoder::new(bytes, Compression::fast());
    deflate.write_all(plain).unwrap();
    STANDARD.encode(deflate.finish().unwrap())
}

fuzz_target!(|input: (u8, u64, u64, &[u8])| {
    let (form, highest, max, bytes) = input;
    let text = match form % 4 {
        // The arbitrary part is in turn the text, the uncompressed bytes, or only the counts.
        0 => String::from_utf8_lossy(bytes).into_owned(),
        1 => envelope(bytes),
        2 => envelope(&plain(2, highest, bytes)),
        _ => envelope(&plain(3, highest, bytes)),
    };
    let mut report = REPORT.clone();
    report["measured"]["series"]["slots"][0]["hdr"] = json!(text);
    let slots = LoadReport::from_json(&report.to_string());
    let mut report = REPORT.clone();
    report["measured"]["latency"]["hdr"] = json!(text);
    report["measured"]["latency"]["max_ns"] = json!(max);
    for read in [slots, LoadReport::from_json(&report.to_string())] {
        let Ok(mut report) = read else { continue };
        let twin = LoadReport::from_json(&report.to_json()).expect("parses a written report");
        let _ = report.merge(&twin);
        for shown in [report.to_hdr_log(), report.to_string(), report.to_csv(), report.to_html()] {
            assert!(shown.len() < 10 << 20, "{}", shown.len());
        }
    }
});
