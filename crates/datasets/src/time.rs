//! Times as feeds write them: read exactly or not at all.
//!
//! Without declared formats:
//!
//! | form | such as | read as |
//! |---|---|---|
//! | RFC 3339 | `2025-11-05T13:00:00.5+01:00`, `2025-11-05 12:00:00Z` | the instant |
//! | with another offset of ISO 8601 | `…+0100`, `…+01`, `… UTC` | the instant |
//! | without an offset | `2025-11-05T12:00:00`, `2025-11-05 12:00:00.123`, `2025-11-05 12:00` | local time of the zone, or UTC |
//! | Unix time, as number or text | `1762344000`, `1762344000.5`, `1762344000123`, `1.762344e9` | seconds, milliseconds, microseconds or nanoseconds, by its size |
//!
//! A Unix time lies in 2000 to 2099 in exactly one of the four units, or in none. The ranges are
//! far apart, and none of them holds a date that is written as a number (`20251105`,
//! `20251105120000`): nothing has to be guessed.
//!
//! Source: [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339#section-5.6), whose note lets a space
//! stand for the `T`. A 60th second is rejected: it could only be moved to another.

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::Offset;
use jiff::{Timestamp, Zoned};

use tributary_model::bad_row::Code;

use crate::value::ValueError;

/// 2000-01-01T00:00:00Z in seconds of Unix time: the first that is read as such.
const FIRST_SECOND: i64 = 946_684_800;

/// 2100-01-01T00:00:00Z: the first that is no more.
const AFTER_LAST_SECOND: i64 = 4_102_444_800;

/// Nanoseconds in a unit of Unix time, and how many decimals of it a nanosecond resolves.
const UNITS: [(i64, usize); 4] = [(1_000_000_000, 9), (1_000_000, 6), (1_000, 3), (1, 0)];

/// A time as written: an instant, or the local time of a zone that the text does not name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum WrittenTime {
    Instant(Timestamp),
    Local(DateTime),
}

/// Format of a column of times.
#[derive(Debug)]
pub(crate) enum TimeFormat {
    /// `%Y-%m-%d`, with all ten characters.
    IsoDate,
    /// A format of [`jiff::fmt::strtime`].
    Declared(String),
}

impl TimeFormat {
    /// Compiles a declared format.
    ///
    /// # Errors
    ///
    /// Returns the reason why the format cannot give a date and time.
    pub(crate) fn compile(format: &str) -> Result<Self, String> {
        if format == "%Y-%m-%d" {
            return Ok(Self::IsoDate);
        }
        // Every directive that a time can have is tried on a time that has all of them.
        let sample = Zoned::default();
        let written =
            jiff::fmt::strtime::format(format, &sample).map_err(|error| error.to_string())?;
        declared(format, &written)
            .map(|_| Self::Declared(format.to_owned()))
            .ok_or_else(|| "does not give a date, or cannot be read back".to_owned())
    }

    fn read(&self, text: &str) -> Option<WrittenTime> {
        match self {
            Self::IsoDate => {
                let date = day(text.as_bytes().try_into().ok()?)?;
                Some(WrittenTime::Local(date.to_datetime(Time::midnight())))
            }
            Self::Declared(format) => declared(format, text),
        }
    }
}

fn declared(format: &str, text: &str) -> Option<WrittenTime> {
    let parsed = BrokenDownTime::parse(format, text).ok()?;
    if parsed.iana_time_zone().is_some() {
        return parsed.to_zoned().ok().map(|zoned| WrittenTime::Instant(zoned.timestamp()));
    }
    if let Ok(instant) = parsed.to_timestamp() {
        return Some(WrittenTime::Instant(instant));
    }
    let date = parsed.to_date().ok()?;
    let time = parsed.to_time().unwrap_or(Time::midnight());
    Some(WrittenTime::Local(date.to_datetime(time)))
}

/// Reads a time in one of `formats`, or without formats in any of the [forms](self).
///
/// # Errors
///
/// [`Code::InvalidTime`] for anything else.
pub(crate) fn read(text: &str, formats: &[TimeFormat]) -> Result<WrittenTime, ValueError> {
    let invalid = |what: &str| ValueError::of(Code::InvalidTime, text, what);
    if !formats.is_empty() {
        let read = formats.iter().find_map(|format| format.read(text));
        let what = match formats {
            [TimeFormat::IsoDate] => "is no date that exists",
            _ => "is no time in a declared format",
        };
        return read.ok_or_else(|| invalid(what));
    }
    let is_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+');
    if text.bytes().all(is_number) {
        let time = unix(text).map(WrittenTime::Instant);
        return time.ok_or_else(|| invalid("is no Unix time of 2000 to 2099 in s, ms, us or ns"));
    }
    let Some((local, offset)) = calendar(text.as_bytes()) else {
        return Err(invalid("is no date and time that exists"));
    };
    let Some(offset) = offset else { return Ok(WrittenTime::Local(local)) };
    let instant = offset.to_timestamp(local).map(WrittenTime::Instant);
    instant.map_err(|_| invalid("is beyond what a time can name"))
}

/// Unix time in the one unit in which it lies in 2000 to 2099. Decimals beyond a nanosecond are
/// refused, because they could not be kept.
fn unix(text: &str) -> Option<Timestamp> {
    if let Some((digits, exponent)) = text.split_once(['e', 'E']) {
        return unix(&without_exponent(digits, exponent)?);
    }
    let split = text.split_once('.');
    let (whole, decimals) = split.map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let whole: i64 = whole.parse().ok()?;
    let (nanos, most_decimals) = UNITS.into_iter().find(|(nanos, _)| {
        let per_second = 1_000_000_000 / nanos;
        (FIRST_SECOND * per_second..AFTER_LAST_SECOND * per_second).contains(&whole)
    })?;
    let fraction = match decimals {
        Some(zeros) if most_decimals == 0 && !zeros.is_empty() => {
            zeros.bytes().all(|digit| digit == b'0').then_some(0)?
        }
        Some(decimals) => fraction(decimals.as_bytes(), most_decimals)?,
        None => 0,
    };
    Timestamp::from_nanosecond(i128::from(whole) * i128::from(nanos) + i128::from(fraction)).ok()
}

/// Writes a number such as `1.762344e9` without its exponent.
fn without_exponent(digits: &str, exponent: &str) -> Option<String> {
    let exponent: usize = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    if exponent > 18 || digits.contains('+') || whole.is_empty() {
        return None;
    }
    let (moved, rest) = decimals.split_at_checked(exponent).unwrap_or((decimals, ""));
    let zeros = "0".repeat(exponent - moved.len());
    let point = if rest.is_empty() { "" } else { "." };
    Some(format!("{whole}{moved}{zeros}{point}{rest}"))
}

/// Reads a date, a `T` or space, a time, and an offset or none.
fn calendar(text: &[u8]) -> Option<(DateTime, Option<Offset>)> {
    let (date, rest) = text.split_first_chunk()?;
    let date = day(date)?;
    let (&[b'T' | b't' | b' ', h1, h2, b':', m1, m2], rest) = rest.split_first_chunk()? else {
        return None;
    };
    let (second, nanos, zone) = match *rest {
        [b':', s1, s2, b'.', ref decimals @ ..] => {
            let end = decimals.iter().position(|byte| !byte.is_ascii_digit());
            let (decimals, zone) = decimals.split_at(end.unwrap_or(decimals.len()));
            (two(s1, s2)?, fraction(decimals, 9)?, zone)
        }
        [b':', s1, s2, ref zone @ ..] => (two(s1, s2)?, 0, zone),
        ref zone => (0, 0, zone),
    };
    let (year, month, day) = (date.year(), date.month(), date.day());
    let (hour, minute) = (two(h1, h2)?, two(m1, m2)?);
    let local = DateTime::new(year, month, day, hour, minute, second, nanos).ok()?;
    if zone.is_empty() {
        return Some((local, None));
    }
    Some((local, Some(Offset::from_seconds(offset_seconds(zone)?).ok()?)))
}

/// Reads `Z`, ` UTC`, or an offset of hours, or hours and minutes with or without a colon.
fn offset_seconds(zone: &[u8]) -> Option<i32> {
    let (sign, hours, minutes) = match *zone {
        [b'Z' | b'z'] | [b' ', b'U', b'T', b'C'] => return Some(0),
        [sign, h1, h2] => (sign, two(h1, h2)?, 0),
        [sign, h1, h2, m1, m2] | [sign, h1, h2, b':', m1, m2] => (sign, two(h1, h2)?, two(m1, m2)?),
        _ => return None,
    };
    let seconds = i32::from(hours) * 3_600 + i32::from(minutes) * 60;
    match (hours, minutes, sign) {
        (0..24, 0..60, b'+') => Some(seconds),
        (0..24, 0..60, b'-') => Some(-seconds),
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instant(text: &str) -> Result<Timestamp, ValueError> {
        read(text, &[]).map(|time| match time {
            WrittenTime::Instant(time) => time,
            WrittenTime::Local(local) => Offset::UTC.to_timestamp(local).unwrap(),
        })
    }

    fn shown(text: &str) -> Result<String, Code> {
        instant(text).map(|time| time.to_string()).map_err(|error| error.code)
    }

    #[test]
    fn each_form_is_read_as_what_it_says() {
        for (text, expected) in [
            ("2025-11-05T12:00:00Z", "2025-11-05T12:00:00Z"),
            ("2025-11-05t12:00:00z", "2025-11-05T12:00:00Z"),
            ("2025-11-05T12:00:00", "2025-11-05T12:00:00Z"),
            ("2025-11-05T13:00:00+01:00", "2025-11-05T12:00:00Z"),
            ("2025-11-05T06:30:00-05:30", "2025-11-05T12:00:00Z"),
            ("2025-11-05 12:00:00+00:00", "2025-11-05T12:00:00Z"),
            ("2025-11-05 12:00:00-00:00", "2025-11-05T12:00:00Z"),
            ("2025-11-05 12:00:00.123", "2025-11-05T12:00:00.123Z"),
            ("2025-11-05T12:00:00.123456789Z", "2025-11-05T12:00:00.123456789Z"),
            ("2024-02-29T23:59:59.9Z", "2024-02-29T23:59:59.9Z"),
            ("2025-11-05T13:00:00+01", "2025-11-05T12:00:00Z"),
            ("2025-11-05T13:00:00+0100", "2025-11-05T12:00:00Z"),
            ("2025-11-05 12:00:00 UTC", "2025-11-05T12:00:00Z"),
            ("2025-11-05T12:00", "2025-11-05T12:00:00Z"),
            ("2025-11-05T12:00Z", "2025-11-05T12:00:00Z"),
            ("1762344000", "2025-11-05T12:00:00Z"),
            ("1762344000.0", "2025-11-05T12:00:00Z"),
            ("1762344000.123456789", "2025-11-05T12:00:00.123456789Z"),
            ("1762344000123", "2025-11-05T12:00:00.123Z"),
            ("1762344000123.25", "2025-11-05T12:00:00.12325Z"),
            ("1762344000123456", "2025-11-05T12:00:00.123456Z"),
            ("1762344000123456.789", "2025-11-05T12:00:00.123456789Z"),
            ("1762344000123456789", "2025-11-05T12:00:00.123456789Z"),
            ("1762344000123456789.0", "2025-11-05T12:00:00.123456789Z"),
            ("1.762344e9", "2025-11-05T12:00:00Z"),
            ("1.7623440005E+9", "2025-11-05T12:00:00.5Z"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn unix_time_units_cover_the_same_years() {
        for zeros in ["", "000", "000000", "000000000"] {
            let number = |seconds: i64| format!("{seconds}{zeros}");
            assert_eq!(shown(&number(FIRST_SECOND)).as_deref(), Ok("2000-01-01T00:00:00Z"));
            assert_eq!(shown(&number(AFTER_LAST_SECOND)), Err(Code::InvalidTime));
        }
        assert_eq!(shown("946684799"), Err(Code::InvalidTime));
        assert_eq!(shown("946684799999"), Err(Code::InvalidTime));
        assert_eq!(shown("4102444799999999").as_deref(), Ok("2099-12-31T23:59:59.999999Z"));
    }

    #[test]
    fn ambiguous_time_is_rejected() {
        for text in [
            "2025-11-05",
            "2025-11-05T12:00:60Z",
            "2025-11-05T24:00:00Z",
            "2025-02-29T12:00:00Z",
            "2025-11-05T12:00:00.Z",
            "2025-11-05T12:00:00.1234567890Z",
            "2025-11-05T12:00:00,5Z",
            "2025-11-05T12:00:00+1",
            "2025-11-05T12:00:00 CET",
            "2025-11-05T12:00:00+24:00",
            "2025-11-05T12:00:00Z[UTC]",
            "2025-11-05  12:00:00",
            "25-11-05 12:00:00",
            "05/11/2025 12:00:00",
            "yesterday",
            "0",
            "-1762344000",
            "17623440",
            "20251105",
            "202511051200",
            "20251105120000",
            "99999999999999999999",
            "1762344000.",
            ".5",
            "1762344000.1234567890",
            "1.5.2",
            "1.762344e-9",
            "1e400",
            "1762344000123456789.5",
            "２０２５-11-05",
        ] {
            assert_eq!(shown(text), Err(Code::InvalidTime), "{text}");
        }
    }

    #[test]
    fn unrepresentable_time_has_its_own_message() {
        let text = "9999-12-30T23:59:59-12:00";
        let message = format!("\"{text}\" is beyond what a time can name");
        assert_eq!(instant(text).unwrap_err().message, message);
        let text = "9999-12-32T00:00:00Z";
        let message = format!("\"{text}\" is no date and time that exists");
        assert_eq!(instant(text).unwrap_err().message, message);
    }

    #[test]
    fn iso_date_has_ten_characters() {
        let date = [TimeFormat::compile("%Y-%m-%d").unwrap()];

        let midnight = "2021-02-05T00:00:00".parse().unwrap();
        assert_eq!(read("2021-02-05", &date).ok(), Some(WrittenTime::Local(midnight)));
        for text in ["2021-02-30", "2021-2-5", "20210205", "2021-02-05T00:00:00", "02/05/2021"] {
            assert_eq!(read(text, &date).unwrap_err().code, Code::InvalidTime, "{text}");
        }
    }

    #[test]
    fn declared_formats_are_tried_in_order() {
        let formats = ["%d.%m.%Y %H:%M", "%d.%m.%Y", "%s"];
        let formats = formats.map(|format| TimeFormat::compile(format).unwrap());

        for (text, expected) in
            [("5.11.2025 12:30", "2025-11-05T12:30:00"), ("05.11.2025", "2025-11-05T00:00:00")]
        {
            let expected = WrittenTime::Local(expected.parse().unwrap());
            assert_eq!(read(text, &formats).ok(), Some(expected), "{text}");
        }
        let instant = WrittenTime::Instant(Timestamp::from_second(17).unwrap());
        assert_eq!(read("17", &formats).ok(), Some(instant));
        assert!(read("2025-11-05", &formats).is_err());
        for format in ["%H:%M", "%Q", "%d.%m.", "x"] {
            assert!(TimeFormat::compile(format).is_err(), "{format}");
        }
    }

    proptest! {
        #[test]
        fn any_instant_reads_the_same_in_each_spelling(
            micros in FIRST_SECOND * 1_000_000..AFTER_LAST_SECOND * 1_000_000,
            offset_minutes in -1_439..1_440_i32,
        ) {
            let time = Timestamp::from_microsecond(micros).unwrap();
            let offset = Offset::from_seconds(offset_minutes * 60).unwrap();
            let utc = Offset::UTC.to_datetime(time);
            let spellings = [
                time.to_string(),
                utc.to_string(),
                utc.to_string().replace('T', " "),
                time.display_with_offset(offset).to_string(),
                micros.to_string(),
                format!("{}.{:03}", micros / 1_000, micros % 1_000),
                format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000),
                format!("{micros}000"),
            ];
            for spelling in spellings {
                prop_assert_eq!(instant(&spelling).ok(), Some(time), "{}", spelling);
            }
        }

        #[test]
        fn any_text_is_a_time_or_an_error(text in "[0-9T:. Z+-]{0,32}|.{0,32}") {
            let _ = read(&text, &[]);
            let _ = read(&text, &[TimeFormat::compile("%Y-%m-%d").unwrap()]);
        }
    }
}
