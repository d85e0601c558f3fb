//! Times in and out: RFC 3339 in UTC on the wire, [`Timestamp`] inside.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// A length of time as people write it: `15m`, `1h 30m`, `0s`; never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Length(SignedDuration);

impl Length {
    /// This long; nothing where it is negative.
    #[must_use]
    pub fn new(length: SignedDuration) -> Self {
        Self(length.max(SignedDuration::ZERO))
    }

    /// How long.
    #[must_use]
    pub fn get(self) -> SignedDuration {
        self.0
    }
}

impl TryFrom<String> for Length {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.parse::<SignedDuration>() {
            Ok(length) if !length.is_negative() => Ok(Self(length)),
            _ => Err(format!("{text:?} is no length of time such as 15m or 1h")),
        }
    }
}

/// A time as records show it: `2026-11-20T10:00:00.123Z`, milliseconds always there, so that
/// arrival times sort as text.
#[must_use]
pub fn millis(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Serde form of an arrival time: RFC 3339 with milliseconds.
pub mod as_millis {
    use jiff::Timestamp;
    use serde::{Deserializer, Serializer};

    /// Writes `time` with exactly three digits of a second.
    ///
    /// # Errors
    ///
    /// Those of `serializer`.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{time:.3}"))
    }

    /// Reads any RFC 3339 time with an offset.
    ///
    /// # Errors
    ///
    /// Where the value is no such time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        super::as_rfc3339::deserialize(deserializer)
    }
}

/// Serde form of an event time: RFC 3339 in UTC, no more digits than the source had.
pub mod as_rfc3339 {
    use std::borrow::Cow;

    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// A string that is copied only where it has escapes.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    /// Writes `time` as `2016-02-08T10:46:00Z`.
    ///
    /// # Errors
    ///
    /// Those of `serializer`.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    /// Reads any RFC 3339 time with an offset.
    ///
    /// # Errors
    ///
    /// Where the value is no such time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::custom("not an RFC 3339 time"))
    }
}
