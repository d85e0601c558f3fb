//! Columns of times.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{is_nearly_all, naming};
use crate::time::{TimeFormat, WrittenTime, read};

/// Values that a format is tried on first.
const FIRST_VALUES: usize = 20;

/// Parts of a name that a column of Unix times has.
const UNIX_NAMES: [&str; 16] = [
    "time",
    "timestamp",
    "ts",
    "date",
    "datetime",
    "epoch",
    "unix",
    "created",
    "updated",
    "at",
    "start",
    "started",
    "end",
    "ended",
    "observed",
    "recorded",
];

/// Dates of the declared formats that are tried. Two that differ in the order of day and month only
/// stand next to each other, the day first.
const DATES: [&str; 14] = [
    "%Y-%m-%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%b %d, %Y",
];

/// Times of day behind the date.
const CLOCKS: [&str; 9] = [
    " %H:%M:%S",
    " %H:%M",
    "",
    " %H:%M:%S%.f",
    " %I:%M:%S %p",
    " %I:%M %p",
    ", %H:%M:%S",
    ", %H:%M",
    "T%H:%M:%S",
];

/// Formats that are no date with a time of day behind it.
const OTHERS: [&str; 4] =
    ["%a, %d %b %Y %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z", "%Y%m%dT%H%M%SZ", "%Y%m%dT%H%M%S"];

/// Times in a column.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// Formats to declare; empty if the values are in a form that needs none.
    pub formats: Vec<String>,
    /// Instant of each row, where it has one; local times are read as UTC.
    pub instants: Vec<Option<Timestamp>>,
    /// Values have no offset.
    pub is_local: bool,
    /// Values have no time of day.
    pub is_date: bool,
    /// The other format that reads every value, if the order of day and month is not certain.
    pub ambiguous: Option<String>,
    /// Number of values that are no time.
    pub wrong: usize,
}

/// Detects the times of a column, whose values are `None` where they are missing.
pub(super) fn detect(column: &str, texts: &[Option<&str>]) -> Option<Times> {
    let values: Vec<_> = texts.iter().filter_map(|text| *text).collect();
    let first = values.first()?;
    // Most columns are no times. A short look at their first value is enough: the shortest date has
    // eight characters, and `1.2.3` is a version.
    let digits = first.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 || !(8..=40).contains(&first.len()) {
        return None;
    }
    let is_number = |text: &&str| text.parse::<f64>().is_ok();
    let tokens = naming::tokens(column);
    if values.iter().all(is_number)
        && !tokens.iter().any(|token| UNIX_NAMES.contains(&token.as_str()))
    {
        return None;
    }
    if is_nearly_all(count(&values, &[]), values.len()) {
        return Some(times(texts, &[], Vec::new()));
    }
    declared(texts, &values)
}

/// Detects times in declared formats.
fn declared(texts: &[Option<&str>], values: &[&str]) -> Option<Times> {
    let formats = candidates();
    let counts = formats.iter().map(|format| count(values, std::slice::from_ref(&format.1)));
    let counts: Vec<_> = counts.collect();
    let best = (0..formats.len()).max_by_key(|at| (counts[*at], std::cmp::Reverse(*at)))?;
    let name = formats[best].0.as_str();
    if is_nearly_all(counts[best], values.len()) {
        let other = swapped(name).and_then(|other| {
            let at = formats.iter().position(|(name, _)| *name == other)?;
            (counts[at] >= counts[best]).then_some(other)
        });
        let chosen = &formats[best];
        let times = times(texts, std::slice::from_ref(&chosen.1), vec![chosen.0.clone()]);
        return Some(Times { ambiguous: other, ..times });
    }
    // Some writers leave out the seconds, or the time of midnight.
    let date = &name[..name.find([' ', 'T', ':', ','])?];
    let family = || formats.iter().filter(|(name, _)| name.starts_with(date));
    let names: Vec<_> =
        family().filter(|(_, format)| count(values, std::slice::from_ref(format)) > 0).collect();
    let compiled: Vec<_> =
        names.iter().filter_map(|(name, _)| TimeFormat::compile(name).ok()).collect();
    let names = names.iter().map(|(name, _)| name.clone()).collect();
    is_nearly_all(count(values, &compiled), values.len()).then(|| times(texts, &compiled, names))
}

/// Returns every format that is tried.
fn candidates() -> Vec<(String, TimeFormat)> {
    let dated =
        DATES.iter().flat_map(|date| CLOCKS.iter().map(move |clock| format!("{date}{clock}")));
    let names = dated.chain(OTHERS.map(str::to_owned));
    names.filter_map(|name| TimeFormat::compile(&name).ok().map(|format| (name, format))).collect()
}

/// Returns the format with the month before the day.
fn swapped(format: &str) -> Option<String> {
    let separator = format.strip_prefix("%d")?.chars().next()?;
    let rest = format.strip_prefix(&format!("%d{separator}%m"))?;
    Some(format!("%m{separator}%d{rest}"))
}

/// Counts the values that are times. A format that reads none of the first values is not tried on
/// the others.
fn count(values: &[&str], formats: &[TimeFormat]) -> usize {
    let count =
        |values: &[&str]| values.iter().filter(|text| instant(text, formats).is_some()).count();
    let first = count(&values[..values.len().min(FIRST_VALUES)]);
    if first == 0 { 0 } else { count(values) }
}

/// Reads a time of 1900 to 2100, and tells if it is local.
fn instant(text: &str, formats: &[TimeFormat]) -> Option<(Timestamp, bool)> {
    let (instant, is_local) = match read(text, formats).ok()? {
        WrittenTime::Instant(instant) => (instant, false),
        WrittenTime::Local(local) => (TimeZone::UTC.to_timestamp(local).ok()?, true),
    };
    let year = TimeZone::UTC.to_datetime(instant).year();
    (1900..=2100).contains(&year).then_some((instant, is_local))
}

fn times(texts: &[Option<&str>], compiled: &[TimeFormat], formats: Vec<String>) -> Times {
    let mut times = Times { formats, ..Times::default() };
    times.is_date = !times.formats.is_empty() && !times.formats.iter().any(|it| it.contains("%M"));
    for text in texts {
        let read = text.and_then(|text| instant(text, compiled));
        times.wrong += usize::from(text.is_some() && read.is_none());
        times.is_local |= read.is_some_and(|(_, is_local)| is_local);
        times.instants.push(read.map(|(instant, _)| instant));
    }
    times
}

/// Returns `true` if every value is a time of day such as `12:30`.
pub(super) fn is_time_of_day(texts: &[Option<&str>]) -> bool {
    let is_clock = |text: &str| {
        let parts: Vec<_> = text.split(':').collect();
        let is_part = |part: &&str| {
            (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        (2..=3).contains(&parts.len()) && parts.iter().all(is_part)
    };
    let mut values = texts.iter().filter_map(|text| *text).peekable();
    values.peek().is_some() && values.all(is_clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(column: &str, values: &[&str]) -> Option<(Vec<String>, bool)> {
        let texts: Vec<_> = values.iter().map(|text| Some(*text)).collect();
        detect(column, &texts).map(|times| (times.formats, times.ambiguous.is_some()))
    }

    fn one(format: &str, is_ambiguous: bool) -> (Vec<String>, bool) {
        (vec![format.to_owned()], is_ambiguous)
    }

    #[test]
    fn known_forms_need_no_format() {
        for value in ["2025-11-05T12:00:00Z", "2025-11-05 12:00", "1762344000", "1762344000123"] {
            assert_eq!(formats("timestamp", &[value]), Some((Vec::new(), false)), "{value}");
        }
        assert_eq!(formats("serial", &["1762344000"]), None);
        assert_eq!(formats("date", &["2025-11-05"]), Some(one("%Y-%m-%d", false)));
    }

    #[test]
    fn day_above_twelve_decides_order() {
        assert_eq!(
            formats("t", &["05/11/2025 10:00", "13/11/2025 10:00"]),
            Some(one("%d/%m/%Y %H:%M", false))
        );
        assert_eq!(
            formats("t", &["11/05/2025 10:00", "11/13/2025 10:00"]),
            Some(one("%m/%d/%Y %H:%M", false))
        );
        assert_eq!(
            formats("t", &["05/11/2025 10:00", "06/11/2025 10:00"]),
            Some(one("%d/%m/%Y %H:%M", true))
        );
    }

    #[test]
    fn declared_formats_are_found() {
        for (value, format) in [
            ("31.12.2025 23:59:59", "%d.%m.%Y %H:%M:%S"),
            ("31.12.2025 23:59", "%d.%m.%Y %H:%M"),
            ("31.12.25 23:59", "%d.%m.%y %H:%M"),
            ("12/31/2025 11:59:00 PM", "%m/%d/%Y %I:%M:%S %p"),
            ("31-Dec-2025", "%d-%b-%Y"),
        ] {
            assert_eq!(formats("t", &[value]), Some(one(format, false)), "{value}");
        }
        assert_eq!(formats("t", &["12:30"]), None);
        assert_eq!(formats("version", &["1.2.3"]), None);
    }

    #[test]
    fn two_formats_of_one_order_are_joined() {
        let found = formats("t", &["13.11.2025", "13.11.2025 10:00", "14.11.2025 11:00"]);
        let both = ["%d.%m.%Y %H:%M", "%d.%m.%Y"].map(str::to_owned).to_vec();
        assert_eq!(found, Some((both, false)));
    }
}
