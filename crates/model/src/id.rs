//! Stable identifiers: the same input has the same id over every retry, redelivery and replay.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::bad_row::first_chars;

/// A 128-bit identifier, shown as 32 lower-case hex digits.
///
/// It is the first half of a SHA-256: short enough to carry in every record, and out of reach of a
/// sender who would like two of somebody's events to collide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 16]);

/// A text of no more than `most` characters, at least 34: a longer one ends with its hash, so that two
/// long ones stay two.
#[must_use]
pub fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    if text.chars().nth(max).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}~{}", first_chars(text, max - 33), Id::of_text(&[text])))
}

impl Id {
    /// The id of a sequence of parts. Each part's length is hashed with it, so that
    /// `["ab", "c"]` and `["a", "bc"]` differ.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// [`Id::of`] for text parts.
    #[must_use]
    pub fn of_text(parts: &[&str]) -> Self {
        Self::of(parts.iter().map(|part| part.as_bytes()))
    }
}

impl fmt::Display for Id {
    #[expect(clippy::expect_used, reason = "digits are ASCII")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(str::from_utf8(&text).expect("digits are ASCII"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_32_hex_digits_and_never_changes() {
        assert_eq!(
            Id::of_text(&["accidents", "A-1"]).to_string(),
            "320a00b12c50a55aeca1d6c7f0682d0d"
        );
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(Id::of_text(&["ab", "c"]), Id::of_text(&["a", "bc"]));
    }
}
