//! The text encodings of report files. Histograms use the compressed V2 encoding of HdrHistogram in
//! base64, which every HdrHistogram tool reads and writes. Wall-clock times use RFC 3339. Pure.
//!
//! The input is untrusted: it is decompressed up to a limit and validated before the library
//! decodes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::ZlibDecoder;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use hdrhistogram::{Counter, Histogram};
use jiff::Timestamp;
use std::io::Read;
use std::time::Duration;

/// The magic numbers of a deflated histogram, and of the plain one inside.
const DEFLATED_COOKIE: u32 = 0x1c84_9314;
const PLAIN_COOKIE: u32 = 0x1c84_9313;

/// The number of bytes before the counts of a plain histogram.
const HEADER: usize = 40;

/// The maximum size of a plain histogram in bytes. With three digits, a range of 64 bits needs
/// 55,000 counts of up to nine bytes each.
const PLAIN_MAX: usize = HEADER + 9 * 56 * 1024;

/// The maximum number of samples of a histogram. It is the largest number that JSON readers
/// represent exactly, and is enough for two years at a hundred million samples per second.
const SAMPLES_MAX: u64 = 1 << 53;

/// Encodes a histogram in format V2, compresses it, and encodes the result in base64.
pub(super) fn encode<C: Counter>(histogram: &Histogram<C>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("counts come from a u64 below 2^63, and a vector takes all that is written");
    BASE64.encode(bytes)
}

/// Decodes a histogram whose lowest value is 1, with `digits` significant digits. The result
/// resizes itself, so that other histograms can be added to it.
pub(super) fn decode<C: Counter>(text: &str, digits: u8) -> Result<Histogram<C>, &'static str> {
    let plain = unpack(text)?;
    check_header(&plain, digits)?;
    check_counts(&plain[HEADER..])?;
    let mut histogram: Histogram<C> = Deserializer::new()
        .deserialize(&mut plain.as_slice())
        .map_err(|_| "its counts do not fit its range")?;
    histogram.auto(true);
    Ok(histogram)
}

/// Decodes base64 and decompresses.
fn unpack(text: &str) -> Result<Vec<u8>, &'static str> {
    let bytes = BASE64.decode(text.trim()).map_err(|_| "it is not base64")?;
    if number(&bytes, 0) != Some(DEFLATED_COOKIE) {
        return Err("it is not a compressed V2 histogram");
    }
    let packed = bytes.get(8..).unwrap_or_default();
    let mut plain = Vec::new();
    ZlibDecoder::new(packed)
        .take(PLAIN_MAX as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|_| "it is cut off or damaged")?;
    if plain.len() > PLAIN_MAX {
        return Err("it is larger than any histogram of echoline load");
    }
    Ok(plain)
}

fn check_header(plain: &[u8], digits: u8) -> Result<(), &'static str> {
    if number(plain, 0) != Some(PLAIN_COOKIE) || plain.len() < HEADER {
        return Err("it contains no V2 histogram");
    }
    // The library allocates this size before it reads.
    if number(plain, 4).and_then(|size| usize::try_from(size).ok()) != Some(plain.len() - HEADER) {
        return Err("its size differs from the size in its header");
    }
    if number(plain, 12) != Some(digits.into()) || plain[16..24] != 1u64.to_be_bytes() {
        return Err(
            "its precision or lowest value differs from those of echoline load, so it cannot be \
             merged",
        );
    }
    Ok(())
}

/// Checks the counts. They are zigzag varints. A negative number encodes a run of zeros.
fn check_counts(mut bytes: &[u8]) -> Result<(), &'static str> {
    let mut samples = 0u64;
    while !bytes.is_empty() {
        let (number, rest) = varint(bytes).ok_or("it ends in the middle of a count")?;
        bytes = rest;
        let count = (number >> 1) as i64 ^ -((number & 1) as i64);
        samples = samples.saturating_add(count.unsigned_abs());
        if samples > SAMPLES_MAX {
            return Err("its counts are too large");
        }
    }
    Ok(())
}

/// Reads a LEB128 number, in which a ninth byte has eight bits.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().enumerate().take(9) {
        let is_last = index == 8 || byte < 0x80;
        let bits = if index == 8 { byte } else { byte & 0x7f };
        value |= u64::from(bits) << (7 * index);
        if is_last {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Formats a time since the Unix epoch as `2026-11-30T09:00:00.250Z`; empty if it is beyond the
/// year 9999.
pub(super) fn rfc_3339(since_epoch: Duration) -> String {
    let millis = i64::try_from(since_epoch.as_millis()).ok();
    let timestamp = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    timestamp.map_or_else(String::new, |timestamp| format!("{timestamp:.3}"))
}

/// Parses a time as the time since the Unix epoch, in whole milliseconds. Returns `None` if `text`
/// is not a time with an offset, or is before the epoch.
pub(super) fn since_epoch(text: &str) -> Option<Duration> {
    let timestamp: Timestamp = text.parse().ok()?;
    u64::try_from(timestamp.as_millisecond()).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope(plain: &[u8]) -> String {
        use std::io::Write;
        let mut bytes = DEFLATED_COOKIE.to_be_bytes().to_vec();
        bytes.extend([0; 4]);
        let mut deflate = flate2::write::ZlibEncoder::new(bytes, flate2::Compression::fast());
        deflate.write_all(plain).unwrap();
        BASE64.encode(deflate.finish().unwrap())
    }

    fn plain(counts: &[u8]) -> Vec<u8> {
        let mut plain = PLAIN_COOKIE.to_be_bytes().to_vec();
        plain.extend(u32::try_from(counts.len()).unwrap().to_be_bytes());
        plain.extend(0u32.to_be_bytes());
        plain.extend(3u32.to_be_bytes());
        plain.extend(1u64.to_be_bytes());
        plain.extend(u64::MAX.to_be_bytes());
        plain.extend(1f64.to_be_bytes());
        plain.extend(counts);
        plain
    }

    fn error(text: &str) -> &'static str {
        decode::<u64>(text, 3).unwrap_err()
    }

    #[test]
    fn rejects_foreign_and_truncated_histograms() {
        assert_eq!(error("%%%"), "it is not base64");
        assert_eq!(error(""), "it is not a compressed V2 histogram");
        let good = encode(&Histogram::<u64>::new(3).unwrap());
        assert_eq!(error(&good[..16]), "it is cut off or damaged");
        let two = encode(&Histogram::<u64>::new(2).unwrap());
        assert!(error(&two).contains("cannot be merged"));
        assert_eq!(error(&envelope(b"nonsense")), "it contains no V2 histogram");
        assert_eq!(
            error(&envelope(&vec![0; 20 << 20])),
            "it is larger than any histogram of echoline load"
        );
    }

    #[test]
    fn rejects_counts_that_would_panic_or_overflow() {
        // The smallest negative number, too many samples, and an incomplete count.
        let most_negative = [0xff; 9];
        let billions = [[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]; 9].concat();
        assert_eq!(error(&envelope(&plain(&most_negative))), "its counts are too large");
        assert_eq!(error(&envelope(&plain(&billions))), "its counts are too large");
        assert_eq!(error(&envelope(&plain(&[0x80]))), "it ends in the middle of a count");
        let mut beyond_the_range = plain(&[0xff, 0xff, 0x0f, 2]);
        assert_eq!(error(&envelope(&beyond_the_range)), "its counts do not fit its range");
        beyond_the_range[4] = 0x7f;
        assert_eq!(
            error(&envelope(&beyond_the_range)),
            "its size differs from the size in its header"
        );
    }

    #[test]
    fn formats_and_parses_a_time() {
        let millis = Duration::from_millis(1_796_000_400_250);
        assert_eq!(rfc_3339(millis), "2026-11-30T01:00:00.250Z");
        assert_eq!(since_epoch(&rfc_3339(millis)), Some(millis));
        assert_eq!(since_epoch("2026-11-30T02:00:00.25+01:00"), Some(millis));
        assert_eq!(rfc_3339(Duration::ZERO), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc_3339(Duration::MAX), "");
        for wrong in ["", "noon", "2026-11-30T02:00:00", "1969-12-31T23:59:59Z"] {
            assert_eq!(since_epoch(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn decodes_an_encoded_histogram_as_the_same(
            samples in prop::collection::vec(1u64..u64::MAX / 2, 0..200),
        ) {
            let mut histogram = Histogram::<u64>::new(3).unwrap();
            samples.iter().for_each(|&sample| histogram.record(sample).unwrap());
            prop_assert_eq!(decode::<u64>(&encode(&histogram), 3).unwrap(), histogram);
        }

        #[test]
        fn never_panics_on_any_input(
            counts in prop::collection::vec(any::<u8>(), 0..60), text in "\\PC{0,40}",
            at in 0usize..100, byte in any::<u8>(),
        ) {
            let mut bytes = plain(&counts);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let _ = decode::<u64>(&envelope(&bytes), 3);
            let _ = decode::<u32>(&envelope(&bytes), 3);
            let _ = decode::<u64>(&text, 3);
        }
    }
}
