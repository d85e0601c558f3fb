//! Columns of times.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::profile::is_placeholder;
use super::{is_nearly_all, naming};
use crate::time::{TimeFormat, WrittenTime, read};

/// Values that a format is tried on first.
const FIRST_VALUES: usize = 20;

/// Parts of a name that a column of Unix times has, or of dates such as `20260101`.
const UNIX_NAMES: [&str; 20] = [
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
    "day",
    "datum",
    "zeit",
    "zeitpunkt",
];

/// Dates of the declared formats that are tried. Two that differ in the order of day and month only
/// stand next to each other, the day first.
const DATES: [&str; 19] = [
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
    "%d-%b-%y",
    "%d %b %y",
    "%d %B %Y",
    "%B %d, %Y",
    "%Y%m%d",
];

/// Times of day behind the date.
const CLOCKS: [&str; 11] = [
    " %H:%M:%S",
    " %H:%M",
    "",
    " %H:%M:%S%.f",
    " %I:%M:%S %p",
    " %I:%M %p",
    ", %H:%M:%S",
    ", %H:%M",
    " %H:%M Uhr",
    ", %H:%M Uhr",
    "T%H:%M:%S",
];

/// Format of dates with an hour, whose digits could be a Unix time of 2030 to 2036 too.
const DATE_WITH_HOUR: &str = "%Y%m%d%H";

/// Formats that are no date with a time of day behind it.
const OTHERS: [&str; 6] = [
    "%a, %d %b %Y %H:%M:%S %z",
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y%m%dT%H%M%SZ",
    "%Y%m%dT%H%M%S",
    "%Y%m%d%H%M%S",
    "%Y%m%d%H%M",
];

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
    /// The other formats that read as many values, if the order of day and month is not certain.
    pub ambiguous: Option<String>,
    /// Number of values that are no time.
    pub wrong: usize,
    /// Texts that stand for no time, and that no schema has by itself.
    pub missing: BTreeSet<String>,
}

impl Times {
    /// Returns `true` if the values have the day before the month for certain, `false` if they have
    /// the month first, and `None` if they do not say.
    pub(super) fn is_day_first(&self) -> Option<bool> {
        let has = |starts: &[&str]| {
            self.formats.iter().any(|format| starts.iter().any(|start| format.starts_with(start)))
        };
        match self.ambiguous {
            None if has(&["%d/%m", "%d-%m", "%d.%m"]) => Some(true),
            None if has(&["%m/%d", "%m-%d"]) => Some(false),
            _ => None,
        }
    }

    /// Settles the order of day and month, where it is not certain.
    pub(super) fn settle(&mut self, is_day_first: bool, texts: &[Option<&str>]) {
        let has_order = self.formats.iter().all(|it| it.starts_with("%d") == is_day_first);
        if self.ambiguous.take().is_none() || has_order {
            return;
        }
        if let Some((names, compiled)) = other_order(&self.formats) {
            *self = times(texts, &compiled, names);
        }
    }
}

/// Detects the times of a column, whose values are `None` where they are missing.
pub(super) fn detect(column: &str, texts: &[Option<&str>]) -> Option<Times> {
    let values = texts.iter().filter_map(|text| *text).filter(|text| !is_placeholder(text));
    let values: Vec<_> = values.collect();
    // Most columns are no times. A short look at their first values is enough.
    if !values.iter().take(FIRST_VALUES).any(|text| has_length_of_time(text)) {
        return None;
    }
    let is_number = |text: &&str| text.parse::<f64>().is_ok();
    let tokens = naming::tokens(column);
    if values.iter().all(is_number)
        && !tokens.iter().any(|token| UNIX_NAMES.contains(&token.as_str()))
    {
        return None;
    }
    let with_hour = [DATE_WITH_HOUR.to_owned()];
    let compiled = compile(&with_hour);
    if values.iter().all(|text| text.len() == 10 && instant(text, &compiled).is_some()) {
        return Some(times(texts, &compiled, with_hour.to_vec()));
    }
    if is_nearly_all(count(&values, &[]), values.len()) {
        return Some(times(texts, &[], Vec::new()));
    }
    declared(texts, &values)
}

/// Returns `true` for texts with a digit that are as long as dates are, from `1/5/26` up. One of less
/// than eight characters has slashes: `1.2.30` is a version.
fn has_length_of_time(text: &str) -> bool {
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    let slashes = text.bytes().filter(|byte| *byte == b'/').count();
    has_digit && ((8..=40).contains(&text.len()) || text.len() >= 6 && slashes == 2)
}

/// Detects times in declared formats.
fn declared(texts: &[Option<&str>], values: &[&str]) -> Option<Times> {
    let formats = candidates();
    let read = |(_, format): &(String, TimeFormat)| count(values, std::slice::from_ref(format));
    let counts: Vec<_> = formats.iter().map(read).collect();
    let best = (0..formats.len()).max_by_key(|at| (counts[*at], std::cmp::Reverse(*at)))?;
    let (name, format) = &formats[best];
    let is_read =
        |text: &str, format: &TimeFormat| instant(text, std::slice::from_ref(format)).is_some();
    let unread: Vec<_> = values.iter().filter(|text| !is_read(text, format)).collect();
    // Some writers leave out the seconds, or the time of midnight.
    let date = &name[..name.find([' ', 'T', ':', ',']).unwrap_or(name.len())];
    let is_joined = |(other, format): &(String, TimeFormat)| {
        other == name || other.starts_with(date) && unread.iter().any(|text| is_read(text, format))
    };
    let family = formats.iter().filter(|it| is_joined(it));
    let names: Vec<_> = family.map(|(name, _)| name.clone()).collect();
    let compiled = compile(&names);
    let known = count(values, &compiled);
    if !is_nearly_all(known, values.len()) {
        return None;
    }
    match other_order(&names).filter(|(_, others)| count(values, others) >= known) {
        // Writers of AM and PM have the month first.
        Some((others, compiled)) if others.iter().all(|name| name.contains("%p")) => {
            Some(Times { ambiguous: Some(names.join(", ")), ..times(texts, &compiled, others) })
        }
        other => {
            let ambiguous = other.map(|(names, _)| names.join(", "));
            Some(Times { ambiguous, ..times(texts, &compiled, names) })
        }
    }
}

/// Returns the formats with day and month in the other order.
fn other_order(formats: &[String]) -> Option<(Vec<String>, Vec<TimeFormat>)> {
    let names = formats.iter().map(|name| swapped(name)).collect::<Option<Vec<_>>>()?;
    let compiled = compile(&names);
    Some((names, compiled))
}

fn compile(formats: &[String]) -> Vec<TimeFormat> {
    formats.iter().filter_map(|format| TimeFormat::compile(format).ok()).collect()
}

/// Returns every format that is tried.
fn candidates() -> Vec<(String, TimeFormat)> {
    let dated =
        DATES.iter().flat_map(|date| CLOCKS.iter().map(move |clock| format!("{date}{clock}")));
    let names = dated.chain(OTHERS.map(str::to_owned));
    names.filter_map(|name| TimeFormat::compile(&name).ok().map(|format| (name, format))).collect()
}

/// Returns the format with day and month in the other order.
fn swapped(format: &str) -> Option<String> {
    // Dates with dots have the day first everywhere.
    ["/", "-"].into_iter().find_map(|separator| {
        let [day, month] = [format!("%d{separator}%m"), format!("%m{separator}%d")];
        let swap = |one: &str, other: &str| Some(format!("{other}{}", format.strip_prefix(one)?));
        swap(&day, &month).or_else(|| swap(&month, &day))
    })
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
    times.is_date = !times.formats.is_empty()
        && !times.formats.iter().any(|it| it.contains("%M") || it.contains("%H"));
    for text in texts {
        let read = text.and_then(|text| instant(text, compiled));
        match text {
            Some(text) if read.is_none() && is_placeholder(text) => {
                times.missing.insert((*text).to_owned());
            }
            Some(_) if read.is_none() => times.wrong += 1,
            _ => {}
        }
        times.is_local |= read.is_some_and(|(_, is_local)| is_local);
        times.instants.push(read.map(|(instant, _)| instant));
    }
    times
}

/// Returns `true` for a date or a time that no name is.
pub(super) fn is_time(text: &str) -> bool {
    detect("time", &[Some(text)]).is_some() && text.parse::<f64>().is_err()
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
            ("31.12.2025 23:59 Uhr", "%d.%m.%Y %H:%M Uhr"),
            ("31-Dec-25", "%d-%b-%y"),
            ("31 December 2025", "%d %B %Y"),
            ("1/31/26", "%m/%d/%y"),
            ("1/31/26 9:05", "%m/%d/%y %H:%M"),
        ] {
            assert_eq!(formats("t", &[value]), Some(one(format, false)), "{value}");
        }
        assert_eq!(formats("t", &["12:30"]), None);
        for version in ["1.2.3", "1.2.30", "10.2.30"] {
            assert_eq!(formats("version", &[version]), None);
        }
    }

    #[test]
    fn date_of_digits_needs_name() {
        for (value, format) in [
            ("20260131", "%Y%m%d"),
            ("20260131235959", "%Y%m%d%H%M%S"),
            ("202601312359", "%Y%m%d%H%M"),
            ("2026013123", "%Y%m%d%H"),
        ] {
            assert_eq!(formats("Datum", &[value]), Some(one(format, false)), "{value}");
            assert_eq!(formats("serial", &[value]), None);
        }
        assert_eq!(formats("time", &["2026013123", "2026013124"]), Some((Vec::new(), false)));
    }

    #[test]
    fn hour_of_digits_is_read() {
        let times = detect("time", &[Some("2026013123")]).unwrap();
        let instant = "2026-01-31T23:00:00Z".parse::<Timestamp>().unwrap();
        assert_eq!((times.instants, times.is_date), (vec![Some(instant)], false));
    }

    #[test]
    fn twelve_hour_clock_has_month_first() {
        let found = formats("t", &["01/05/2026 03:00 PM"]);
        assert_eq!(found, Some(one("%m/%d/%Y %I:%M %p", true)));
        assert_eq!(formats("t", &["05.01.2026"]), Some(one("%d.%m.%Y", false)));
    }

    #[test]
    fn short_date_has_ambiguous_order() {
        assert_eq!(formats("t", &["1/5/26", "2/5/26"]), Some(one("%d/%m/%y", true)));
        let texts = [Some("1/5/26"), Some("1/5/26 10:00")];
        let times = detect("t", &texts).unwrap();
        assert_eq!(times.ambiguous.as_deref(), Some("%m/%d/%y %H:%M, %m/%d/%y"));
    }

    #[test]
    fn missing_word_hides_no_time() {
        let known = "2025-11-05T12:00:00Z";
        for words in [["unknown", "--"], ["?", "n.a."], ["missing", "#N/A"]] {
            let texts = [Some(words[0]), Some(words[1]), Some(known), None];
            let times = detect("t", &texts).unwrap();
            assert_eq!((times.wrong, times.instants.iter().flatten().count()), (0, 1));
            assert_eq!(times.missing, words.map(str::to_owned).into());
        }
        assert!(detect("t", &[Some("unknown")]).is_none());
    }

    #[test]
    fn two_formats_of_one_order_are_joined() {
        let found = formats("t", &["13.11.2025", "13.11.2025 10:00", "14.11.2025 11:00"]);
        let both = ["%d.%m.%Y %H:%M", "%d.%m.%Y"].map(str::to_owned).to_vec();
        assert_eq!(found, Some((both, false)));
    }
}
