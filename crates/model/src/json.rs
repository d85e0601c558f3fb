//! Infallible JSON writing and JSON reading without copies.

use std::borrow::Cow;

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
    serde_json::to_writer(out, text).expect("a vector takes every byte");
}

/// A string that is copied only if it contains escapes.
///
/// A `Cow` field borrows under `#[serde(borrow)]`. An `Option<Cow>` field, or a `Cow` that is the
/// whole document, would always be copied.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BorrowedText<'a>(#[serde(borrow)] pub Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_copied_only_if_escaped() {
        let plain: Option<BorrowedText<'_>> = serde_json::from_str("\"plain\"").unwrap();
        let escaped: Option<BorrowedText<'_>> = serde_json::from_str("\"\\u0041\"").unwrap();

        assert!(matches!(plain, Some(BorrowedText(Cow::Borrowed("plain")))));
        assert!(matches!(escaped, Some(BorrowedText(Cow::Owned(text))) if text == "A"));
    }
}
