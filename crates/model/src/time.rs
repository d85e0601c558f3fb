//! Times: RFC 3339 in UTC on the wire, [`Timestamp`] in memory.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// A duration as written in configuration: `15m`, `1h 30m`, `0s`; never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct DurationSpec(pub SignedDuration);

impl TryFrom<String> for DurationSpec {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.parse::<SignedDuration>() {
            Ok(length) if !length.is_negative() => Ok(Self(length)),
            _ => Err(format!("{text:?} is no length of time such as 15m or 1h")),
        }
    }
}

/// Returns the number of the tumbling period of `seconds` that holds `time`. Periods are contiguous
/// and period 0 starts in 1970; earlier times have negative numbers.
#[must_use]
pub fn period(time: Timestamp, seconds: i64) -> i64 {
    floor_second(time).div_euclid(seconds)
}

/// Returns whole seconds since 1970, rounded down. [`Timestamp::as_second`] rounds times before
/// 1970 up.
#[must_use]
pub fn floor_second(time: Timestamp) -> i64 {
    time.as_second() - i64::from(time.subsec_nanosecond() < 0)
}

/// Formats a time for records: `2026-11-20T10:00:00.123Z`, always with milliseconds, so that
/// arrival times sort as text.
#[must_use]
pub fn millis(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Serde form of an arrival time: RFC 3339 with milliseconds.
pub mod as_millis {
    use jiff::Timestamp;
    use serde::Serializer;

    /// Reads any RFC 3339 time with an offset.
    pub use super::as_rfc3339::deserialize;

    /// Writes `time` with exactly three fractional digits of a second.
    ///
    /// # Errors
    ///
    /// Errors of `serializer`.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{time:.3}"))
    }
}

/// Serde form of an arrival time that may be absent: as [`as_millis`], or null.
pub mod as_optional_millis {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Millis(#[serde(with = "super::as_millis")] Timestamp);

    /// Writes `time` as [`as_millis`](super::as_millis) does.
    ///
    /// # Errors
    ///
    /// Errors of `serializer`.
    pub fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(Millis).serialize(serializer)
    }

    /// Reads any RFC 3339 time with an offset, or null.
    ///
    /// # Errors
    ///
    /// If the value is neither.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<Millis>::deserialize(deserializer)?.map(|Millis(time)| time))
    }
}

/// Serde form of an event time: RFC 3339 in UTC, with no more fractional digits than the source.
pub mod as_rfc3339 {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::json::BorrowedText;

    /// Writes `time` as `2016-02-08T10:46:00Z`.
    ///
    /// # Errors
    ///
    /// Errors of `serializer`.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    /// Reads any RFC 3339 time with an offset.
    ///
    /// # Errors
    ///
    /// If the value is not an RFC 3339 time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let BorrowedText(text) = BorrowedText::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::custom("not an RFC 3339 time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_before_1970_start_at_whole_seconds() {
        for (time, second, minute) in [
            ("1970-01-01T00:00:59.9Z", 59, 0),
            ("1970-01-01T00:01:00Z", 60, 1),
            ("1969-12-31T23:59:59.5Z", -1, -1),
            ("1969-12-31T23:59:00Z", -60, -1),
            ("1969-12-31T23:58:59.999Z", -61, -2),
        ] {
            let time = time.parse().unwrap();

            assert_eq!((floor_second(time), period(time, 60)), (second, minute), "{time}");
        }
    }
}
