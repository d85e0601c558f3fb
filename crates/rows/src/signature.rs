//! Signatures of formats that are not text.

use super::ErrorKind;
use super::fault::Problem;

/// Format that is not text: its first bytes, its name, and the way to read it.
struct Signature {
    /// A `#` stands for any digit.
    start: &'static [u8],
    /// A control character follows, which distinguishes a format whose first bytes are letters.
    control_follows: bool,
    name: &'static str,
    advice: &'static str,
}

const fn signature(start: &'static [u8], name: &'static str, advice: &'static str) -> Signature {
    Signature { start, control_follows: false, name, advice }
}

const SIGNATURES: [Signature; 12] = [
    signature(
        b"PK\x03\x04",
        "a zip archive or an Excel workbook (.xlsx)",
        "extract the rows with unzip -p, or save the sheet as CSV",
    ),
    signature(b"PK\x05\x06", "an empty zip archive", "send the file that it should hold"),
    Signature {
        control_follows: true,
        ..signature(
            b"PAR1",
            "a Parquet file",
            "convert it with duckdb -c \"COPY 'in.parquet' TO 'out.csv'\"",
        )
    },
    signature(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an Excel workbook (.xls)",
        "convert it with soffice --convert-to csv",
    ),
    signature(b"Obj\x01", "an Avro file", "convert it with avro-tools tojson"),
    signature(b"\x28\xb5\x2f\xfd", "a zstd stream", "decompress it with zstd -d"),
    signature(b"BZh#1AY&SY", "a bzip2 stream", "decompress it with bzip2 -d"),
    signature(b"\xfd7zXZ\0", "an xz stream", "decompress it with xz -d"),
    signature(b"7z\xbc\xaf\x27\x1c", "a 7z archive", "extract the rows with 7z x"),
    signature(b"\x04\x22\x4d\x18", "an lz4 stream", "decompress it with lz4 -d"),
    signature(b"\xff\x06\0\0sNaPpY", "a snappy stream", "decompress it with snzip -d"),
    // Compression is detected once: this is what a gzip stream expands to.
    signature(b"\x1f\x8b\x08", "a gzip stream inside another", "decompress it once with gzip -d"),
];

impl Signature {
    /// Returns `true` if the object has the signature, or `None` if that needs more input.
    fn matches(&self, seen: &[u8], at_end: bool) -> Option<bool> {
        let mut pairs = self.start.iter().zip(seen);
        let same = |(&expected, &byte): (&u8, &u8)| match expected {
            b'#' => byte.is_ascii_digit(),
            _ => byte == expected,
        };
        if !pairs.all(same) {
            return Some(false);
        }
        match seen.get(self.start.len()) {
            None if !at_end && (self.control_follows || seen.len() < self.start.len()) => None,
            None => Some(seen.len() == self.start.len() && !self.control_follows),
            Some(&next) if self.control_follows => {
                Some(next.is_ascii_control() && !matches!(next, b'\t' | b'\r' | b'\n'))
            }
            Some(_) => Some(true),
        }
    }
}

/// Rejects an object that starts with `seen` if it is not text. Returns `false` if that needs more
/// input.
pub(super) fn check(seen: &[u8], at_end: bool) -> Result<bool, Problem> {
    let mut is_known = true;
    for signature in &SIGNATURES {
        match signature.matches(seen, at_end) {
            Some(false) => {}
            None => is_known = false,
            Some(true) => {
                let message = format!("the object is {}: {}", signature.name, signature.advice);
                return Err((ErrorKind::UnsupportedFormat, message));
            }
        }
    }
    Ok(is_known)
}
