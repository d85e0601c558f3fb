//! Infallible JSON writing and JSON reading without copies.

use std::borrow::Cow;

use memchr::memchr2;
use serde::{Deserialize, Serialize};

/// Returns `true` if JSON text is an object, judging by its first byte.
#[must_use]
pub fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

/// Returns `value` as JSON text.
///
/// # Panics
///
/// If `value` holds a map whose keys are not text. No record does.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "records are text, numbers and maps with text keys; an empty one must not reach a stream"
)]
pub fn to_json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("records are text, numbers and maps with text keys")
}

/// Appends `text` to `out` as a JSON string.
///
/// # Panics
///
/// Never: a vector accepts every byte.
#[expect(clippy::expect_used, reason = "a vector takes every byte")]
pub fn push_json(out: &mut Vec<u8>, text: &str) {
    if !is_plain(text.as_bytes()) {
        return serde_json::to_writer(out, text).expect("a vector takes every byte");
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Appends `number` to `out` as JSON, with the fewest digits that give it back.
///
/// # Panics
///
/// Never: a vector accepts every byte.
#[expect(clippy::expect_used, reason = "a vector takes every byte")]
pub fn push_number(out: &mut Vec<u8>, number: f64) {
    serde_json::to_writer(out, &number).expect("a vector takes every byte");
}

/// A one in each byte of a word.
const ONES: u64 = u64::MAX / 255;

/// Returns a word that is not zero if a byte of `word` is `byte`; its lowest bit marks the first.
///
/// <https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord>
fn matches(word: u64, byte: u8) -> u64 {
    let rest = word ^ (ONES * u64::from(byte));
    rest.wrapping_sub(ONES) & !rest & (ONES << 7)
}

/// Returns `true` if a JSON string holds these bytes as they are.
fn is_plain(bytes: &[u8]) -> bool {
    let is_plain = |word: [u8; 8]| {
        let word = u64::from_le_bytes(word);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & (ONES << 7);
        (controls | matches(word, b'"') | matches(word, b'\\')) == 0
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().all(|word| is_plain(*word)) && is_plain(last)
}

/// Returns the index of the first quote or backslash.
///
/// Most strings of a record are short and not worth the call of a search: their bytes are looked at
/// eight at a time.
#[must_use]
pub fn find_quote_or_escape(bytes: &[u8]) -> Option<usize> {
    let (words, _) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().take(2).enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = matches(word, b'"') | matches(word, b'\\');
        if found != 0 {
            return Some(index * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    let at = words.len().min(2) * 8;
    Some(at + memchr2(b'"', b'\\', &bytes[at..])?)
}

/// A string that is copied only if it contains escapes.
///
/// A `Cow` field borrows under `#[serde(borrow)]`. An `Option<Cow>` field, or a `Cow` that is the
/// whole document, would always be copied.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BorrowedText<'a>(#[serde(borrow)] pub Cow<'a, str>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quote_or_escape_is_found_at_any_length() {
        for length in 0..40 {
            for ends in ["\"\\", "\\\""] {
                let text =
                    ["\u{7f}é#!]".repeat(8).as_bytes(), ends.as_bytes(), b"123456789"].concat();
                let start = text.len() - 11 - length;
                assert_eq!(find_quote_or_escape(&text[start..]), Some(length), "{ends}");
            }
        }
        assert_eq!(find_quote_or_escape(b"0123456789abcdef0"), None);
    }

    proptest! {
        #[test]
        fn text_is_written_as_serde_does(text in "[\\x00-\\x7fä€😀]{0,24}") {
            let mut out = Vec::new();
            push_json(&mut out, &text);
            prop_assert_eq!(String::from_utf8(out).unwrap(), to_json(&text));
        }
    }

    #[test]
    fn text_is_copied_only_if_escaped() {
        let plain: Option<BorrowedText<'_>> = serde_json::from_str("\"plain\"").unwrap();
        let escaped: Option<BorrowedText<'_>> = serde_json::from_str("\"\\u0041\"").unwrap();

        assert!(matches!(plain, Some(BorrowedText(Cow::Borrowed("plain")))));
        assert!(matches!(escaped, Some(BorrowedText(Cow::Owned(text))) if text == "A"));
    }
}
