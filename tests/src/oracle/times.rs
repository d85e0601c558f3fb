//! Times as feeds write them: read exactly or not at all.
//!
//! | form | such as | read as |
//! |---|---|---|
//! | RFC 3339 | `2025-11-05T13:00:00.5+01:00`, `2025-11-05 12:00:00Z` | the instant |
//! | the same without a zone | `2025-11-05T12:00:00`, `2025-11-05 12:00:00.123` | UTC |
//! | Unix time, as number or text | `1762344000`, `1762344000.5`, `1762344000123`, `1762344000123456` | seconds, milliseconds or microseconds, by its size |
//!
//! A Unix time lies in 2000 to 2099 in exactly one of the three units, or in none. The three ranges
//! are far apart, and none of them holds a date that is written as a number (`20251105`,
//! `20251105120000`): nothing has to be guessed.
//!
//! Source: [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339#section-5.6), whose note lets a space
//! stand for the `T`. A 60th second is no time here: it could only be moved to another.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

use super::field_value::{FieldValue, missing, wrong};
use tributary_model::bad_row::{Code, Rejection};

/// 2000-01-01T00:00:00Z in seconds of Unix time: the first that is read as such.
const FIRST_SECOND: i64 = 946_684_800;

/// 2100-01-01T00:00:00Z: the first that is no more.
const AFTER_LAST_SECOND: i64 = 4_102_444_800;

/// Nanoseconds in a unit of Unix time, and how many decimals of it a nanosecond resolves.
const UNITS: [(i64, usize); 3] = [(1_000_000_000, 9), (1_000_000, 6), (1_000, 3)];

/// The instant of the field `timestamp`, in any of the [forms](self).
///
/// # Errors
///
/// [`Code::MissingField`] for an empty field, [`Code::UnknownValue`] for an object or an array,
/// [`Code::InvalidTime`] for anything else.
pub(super) fn instant(value: &FieldValue<'_>) -> Result<Timestamp, Rejection> {
    let text = value.text("timestamp")?.ok_or_else(|| missing("timestamp"))?;
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let read = if is_number {
        unix(text).ok_or("is no Unix time of 2000 to 2099 in s, ms or us")
    } else {
        calendar(text.as_bytes())
            .ok_or("is no date and time that exists")
            .and_then(|time| time.map_err(|_| "is beyond what a time can name"))
    };
    read.map_err(|what| wrong(Code::InvalidTime, "timestamp", text, what))
}

/// Unix time in the one unit in which it lies in 2000 to 2099. Decimals beyond a nanosecond are
/// refused, because they could not be kept.
fn unix(text: &str) -> Option<Timestamp> {
    let split = text.split_once('.');
    let (whole, decimals) = split.map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let whole: i64 = whole.parse().ok()?;
    let (nanos, most_decimals) = UNITS.into_iter().find(|(nanos, _)| {
        let per_second = 1_000_000_000 / nanos;
        (FIRST_SECOND * per_second..AFTER_LAST_SECOND * per_second).contains(&whole)
    })?;
    let fraction = match decimals {
        Some(decimals) => fraction(decimals.as_bytes(), most_decimals)?,
        None => 0,
    };
    Timestamp::from_nanosecond(i128::from(whole) * i128::from(nanos) + i128::from(fraction)).ok()
}

/// A date, a `T` or space, a time, and a zone or none, which is UTC. The last hours of the year 9999
/// and the first of -9999 can be written, and are no [`Timestamp`].
fn calendar(text: &[u8]) -> Option<Result<Timestamp, jiff::Error>> {
    let (date, rest) = text.split_first_chunk()?;
    let date = day(date)?;
    let (&[b'T' | b't' | b' ', h1, h2, b':', m1, m2, b':', s1, s2], rest) =
        rest.split_first_chunk()?
    else {
        return None;
    };
    let (hour, minute, second) = (two(h1, h2)?, two(m1, m2)?, two(s1, s2)?);
    let (nanos, zone) = match rest {
        [b'.', rest @ ..] => {
            let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
            (fraction(&rest[..end], 9)?, &rest[end..])
        }
        _ => (0, rest),
    };
    let offset = match *zone {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
            let seconds = i32::from(hours) * 3_600 + i32::from(minutes) * 60;
            match (hours, minutes, sign) {
                (0..24, 0..60, b'+') => seconds,
                (0..24, 0..60, _) => -seconds,
                _ => return None,
            }
        }
        _ => return None,
    };
    let (year, month, day) = (date.year(), date.month(), date.day());
    let local = DateTime::new(year, month, day, hour, minute, second, nanos).ok()?;
    Some(Offset::from_seconds(offset).ok()?.to_timestamp(local))
}

/// `YYYY-MM-DD`.
fn day(text: &[u8; 10]) -> Option<Date> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = i16::from(two(y1, y2)?) * 100 + i16::from(two(y3, y4)?);
    Date::new(year, two(m1, m2)?, two(d1, d2)?).ok()
}

/// One to `most` decimals of a unit with `most` decimals, as nanoseconds.
fn fraction(decimals: &[u8], max: usize) -> Option<i32> {
    if decimals.is_empty() || decimals.len() > max {
        return None;
    }
    let zeros = std::iter::repeat(&b'0');
    decimals.iter().chain(zeros).take(max).try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i32::from(digit - b'0'))
    })
}

/// A number of two digits.
fn two(tens: u8, ones: u8) -> Option<i8> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
    i8::try_from(digit(tens)? * 10 + digit(ones)?).ok()
}
