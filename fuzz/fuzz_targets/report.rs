//! Every text is a report of a load run or gets an error message. A parsed report is written
//! unchanged, and can be shown in every format and merged with itself.
#![no_main]

use echoline_load::LoadReport;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut report = match LoadReport::from_json(text) {
        Ok(report) => report,
        Err(error) => return assert!(error.to_string().len() < 1000 + text.len()),
    };
    let json = report.to_json();
    let again = LoadReport::from_json(&json).expect("a written report is parsed again");
    assert_eq!(again.to_json(), json);
    let twin = again;
    let _ = report.merge_sequential(&twin);
    let _ = report.merge(&twin);
    for shown in [report.to_string(), report.to_html(), report.to_csv(), report.to_hdr_log()] {
        // A report of a few kilobytes must not become megabytes of text.
        assert!(shown.len() < 64 * (text.len() + 65_536), "{}", shown.len());
    }
    let _ = report.to_json();
});
