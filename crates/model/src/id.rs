//! Stable identifiers: the same input has the same id across retries, redeliveries and replays.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::bad_row::first_chars;

/// A 128-bit identifier, shown as 32 lower-case hex digits.
///
/// It is the first half of a SHA-256 hash: short enough for every record, and long enough that a
/// sender cannot construct two events with the same id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 16]);

/// Shortens a text to at most `max` characters, which must be at least 34. A shortened text ends
/// with the hash of the whole, so that distinct texts stay distinct.
#[must_use]
pub fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    if text.chars().nth(max).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}~{}", first_chars(text, max - 33), Id::of_text(&[text])))
}

impl Id {
    /// Returns the id of a sequence of parts. The length of each part is hashed too, so that
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

    /// Returns the [`Id::of`] text parts.
    #[must_use]
    pub fn of_text(parts: &[&str]) -> Self {
        Self::of(parts.iter().map(|part| part.as_bytes()))
    }

    /// Returns the first eight bytes, for sets in which a rare collision costs little.
    #[must_use]
    pub fn prefix(self) -> u64 {
        self.0.iter().take(8).fold(0, |prefix, byte| prefix << 8 | u64::from(*byte))
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
    fn id_of_same_parts_never_changes() {
        assert_eq!(
            Id::of_text(&["accidents", "A-1"]).to_string(),
            "320a00b12c50a55aeca1d6c7f0682d0d"
        );
    }

    #[test]
    fn ids_depend_on_part_boundaries() {
        assert_ne!(Id::of_text(&["ab", "c"]), Id::of_text(&["a", "bc"]));
    }
}
