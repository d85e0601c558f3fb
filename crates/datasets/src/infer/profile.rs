//! Kinds of columns.

use std::collections::{BTreeMap, BTreeSet};

use super::is_nearly_all;
use super::sample::{Cell, Column};
use super::times::{self, Times};
use crate::schema::DecimalMark;
use crate::value::{MISSING, flag, number};

/// Texts that stand for no number or time, beside those that every schema has.
const MORE_MISSING: [&str; 12] =
    ["--", "---", "?", "#N/A", "#NA", "n.a.", "nil", "missing", "unknown", "nd", "n/d", "."];

/// Numbers that stand for no value where they are far from the others.
const SENTINELS: [f64; 9] =
    [-99.0, -99.9, -999.0, -999.9, -9999.0, -99999.0, 9999.0, 99999.0, 999_999.0];

/// Column and the kind of its values.
#[derive(Debug)]
pub(super) struct Profile<'s> {
    pub column: &'s Column,
    pub kind: Kind,
    /// Texts and how often they occur. Missing values do not count.
    pub counts: BTreeMap<&'s str, usize>,
    /// Number of rows with a value.
    pub filled: usize,
    /// Every row has the column.
    pub is_in_every_row: bool,
}

/// Kind of the values of a column.
#[derive(Debug)]
pub(super) enum Kind {
    /// No row has a value.
    Empty,
    /// Objects.
    Nested,
    /// `true` and `false`.
    Flag,
    Number(Numbers),
    Time(Times),
    /// Times of day without a date.
    TimeOfDay,
    Text,
}

/// Numbers in a column.
#[derive(Debug)]
pub(super) struct Numbers {
    /// Number of each row, where it has one.
    pub values: Vec<Option<f64>>,
    pub is_integer: bool,
    pub decimal: DecimalMark,
    /// Texts that stand for no value, and that no schema has by itself.
    pub missing: BTreeSet<String>,
    /// A value that is no number, and how many there are.
    pub wrong: Option<(String, usize)>,
}

impl<'s> Profile<'s> {
    pub(super) fn of(column: &'s Column, decimal: DecimalMark) -> Self {
        let all: Vec<_> = column.cells.iter().map(Cell::text).collect();
        let texts: Vec<_> = all.iter().map(|text| text.filter(|it| !is_missing(it))).collect();
        let is_object = |cell: &&Cell| matches!(cell, Cell::Object(_));
        let objects = column.cells.iter().filter(is_object).count();
        let kind = if objects > 0 { Kind::Nested } else { kind(column, &texts, decimal) };
        // Only a text keeps words such as `None`.
        let texts = match &kind {
            Kind::Text => all,
            Kind::Time(times) => {
                let is_time = |text: &&str| !times.missing.contains(*text);
                texts.into_iter().map(|text| text.filter(is_time)).collect()
            }
            _ => texts,
        };
        let mut counts = BTreeMap::new();
        for text in texts.iter().filter_map(|text| *text) {
            *counts.entry(text).or_default() += 1;
        }
        Self {
            column,
            kind,
            filled: texts.iter().filter(|text| text.is_some()).count().max(objects),
            counts,
            is_in_every_row: !column.cells.contains(&Cell::Absent),
        }
    }

    /// Returns the path of the column.
    pub(super) fn path(&self) -> &'s str {
        &self.column.path
    }

    /// Returns the numbers, if the column holds numbers.
    pub(super) fn numbers(&self) -> Option<&Numbers> {
        match &self.kind {
            Kind::Number(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// Returns the times, if the column holds times.
    pub(super) fn times(&self) -> Option<&Times> {
        match &self.kind {
            Kind::Time(times) => Some(times),
            _ => None,
        }
    }

    /// Settles the order of day and month of times, where it is not certain.
    pub(super) fn settle_order(&mut self, is_day_first: bool) {
        if let Kind::Time(times) = &mut self.kind {
            let texts = self.column.cells.iter().map(Cell::text);
            let texts: Vec<_> = texts.map(|text| text.filter(|it| !is_missing(it))).collect();
            times.settle(is_day_first, &texts);
        }
    }

    /// Returns `true` for texts and whole numbers, which can be a key.
    pub(super) fn is_discrete(&self) -> bool {
        match &self.kind {
            Kind::Text => !self.looks_like_number(),
            Kind::Number(numbers) => numbers.is_integer && numbers.missing.is_empty(),
            _ => false,
        }
    }

    /// Returns the values of a closed list: few, each of them often.
    pub(super) fn closed_list(&self) -> Option<Vec<&'s str>> {
        const MAX_VALUES: usize = 12;
        const MAX_CHARS: usize = 40;
        const MIN_ROWS: usize = 30;
        const MIN_TIMES: usize = 3;
        let is_list = matches!(self.kind, Kind::Text)
            && self.filled >= MIN_ROWS
            && (2..=MAX_VALUES).contains(&self.counts.len())
            && self.counts.values().all(|count| *count >= MIN_TIMES)
            && self.counts.keys().all(|text| text.chars().count() <= MAX_CHARS)
            && !self.counts.keys().any(|text| text.contains(char::is_control))
            && !self.looks_like_number();
        is_list.then(|| self.counts.keys().copied().collect())
    }

    /// Returns `true` for texts of digits with signs between them that no schema reads, such as
    /// `1.234,5`, `5 €` and `<0.5`. An address such as `10.0.0.1` is none.
    pub(super) fn looks_like_number(&self) -> bool {
        let is_number = |text: &&str| {
            text.bytes().any(|byte| byte.is_ascii_digit())
                && text.chars().all(|it| it.is_ascii_digit() || ".,+- '%$€£<>≤≥~".contains(it))
        };
        let has_sign =
            |text: &&str| text.contains([',', '\'', '%', '$', '€', '£', '<', '>', '≤', '≥', '~']);
        matches!(self.kind, Kind::Text)
            && self.counts.keys().all(is_number)
            && self.counts.keys().any(has_sign)
    }
}

/// Returns `true` for the texts that stand for no value in every schema.
pub(super) fn is_missing(text: &str) -> bool {
    MISSING.iter().any(|missing| missing.eq_ignore_ascii_case(text))
}

/// Returns `true` for the texts that stand for no value between numbers or times.
pub(super) fn is_placeholder(text: &str) -> bool {
    MORE_MISSING.iter().any(|it| it.eq_ignore_ascii_case(text))
}

fn kind(column: &Column, texts: &[Option<&str>], decimal: DecimalMark) -> Kind {
    let values: Vec<_> = texts.iter().filter_map(|text| *text).collect();
    if values.is_empty() {
        return Kind::Empty;
    }
    if values.iter().all(|text| flag(text).is_ok()) {
        return Kind::Flag;
    }
    if let Some(times) = times::detect(&column.path, texts) {
        return Kind::Time(times);
    }
    if times::is_time_of_day(texts) {
        return Kind::TimeOfDay;
    }
    let other = match decimal {
        // Three digits behind each comma are thousands.
        DecimalMark::Point if !values.iter().any(|text| has_decimal_comma(text)) => None,
        DecimalMark::Point => numbers(texts, &values, DecimalMark::Comma),
        DecimalMark::Comma => numbers(texts, &values, DecimalMark::Point),
    };
    numbers(texts, &values, decimal).or(other).map_or(Kind::Text, Kind::Number)
}

/// Returns `true` for a text with one comma and not three digits behind it.
fn has_decimal_comma(text: &str) -> bool {
    text.split_once(',').is_some_and(|(_, rest)| rest.len() != 3 && !rest.contains(','))
}

/// Reads numbers, unless they are codes with zeros in front.
fn numbers(texts: &[Option<&str>], values: &[&str], decimal: DecimalMark) -> Option<Numbers> {
    let is_code = |text: &&str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|it| it.is_ascii_digit())
            || digits.len() > 15 && digits.bytes().all(|it| it.is_ascii_digit())
    };
    if values.iter().any(is_code) {
        return None;
    }
    let mut missing = BTreeSet::new();
    let mut wrong: Option<(String, usize)> = None;
    let mut count = 0;
    let mut read: Vec<Option<f64>> = Vec::with_capacity(texts.len());
    for text in texts {
        let value = text.and_then(|text| number(text, decimal).ok());
        read.push(value);
        match text {
            Some(_) if value.is_some() => count += 1,
            Some(text) if is_placeholder(text) => {
                missing.insert((*text).to_owned());
            }
            Some(text) => wrong.get_or_insert_with(|| ((*text).to_owned(), 0)).1 += 1,
            None => {}
        }
    }
    let wrong_count = wrong.as_ref().map_or(0, |(_, count)| *count);
    if count == 0 || !is_nearly_all(count, count + wrong_count) {
        return None;
    }
    for sentinel in sentinels(&read) {
        let is = |value: &Option<f64>| *value == Some(sentinel);
        let text = texts.iter().zip(&read).find(|(_, value)| is(value)).and_then(|(text, _)| *text);
        // A declared text is compared as a number too, with a decimal point.
        missing.extend(text.map(|text| text.replace(',', ".")));
        read.iter_mut().filter(|value| is(value)).for_each(|value| *value = None);
    }
    let is_integer = read.iter().flatten().all(|value| value.fract() == 0.0 && value.abs() < 1e15);
    Some(Numbers { values: read, is_integer, decimal, missing, wrong })
}

/// Returns the known sentinels that are farther from all other values than those from each other.
fn sentinels(values: &[Option<f64>]) -> Vec<f64> {
    let is_sentinel = |value: &f64| SENTINELS.contains(value);
    let others = || values.iter().flatten().filter(|value| !is_sentinel(value));
    let low = others().copied().fold(f64::INFINITY, f64::min);
    let high = others().copied().fold(f64::NEG_INFINITY, f64::max);
    let has_range = low < high;
    let is_far = |value: &f64| (low - value).max(value - high) > (high - low).max(10.0);
    let seen = |value: &f64| values.contains(&Some(*value));
    SENTINELS.into_iter().filter(|it| has_range && seen(it) && is_far(it)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers_of(values: &[&str], decimal: DecimalMark) -> Option<Numbers> {
        let cell = |text: &&str| Cell::Text((*text).to_owned());
        let column = Column { path: "value".to_owned(), cells: values.iter().map(cell).collect() };
        match Profile::of(&column, decimal).kind {
            Kind::Number(numbers) => Some(numbers),
            _ => None,
        }
    }

    #[test]
    fn far_sentinel_is_missing() {
        let found = numbers_of(&["12.5", "-999", "13", "NA"], DecimalMark::Point).unwrap();
        assert_eq!(found.missing, BTreeSet::from(["-999".to_owned()]));
        assert_eq!(found.values.iter().flatten().copied().collect::<Vec<_>>(), [12.5, 13.0]);

        let near = numbers_of(&["-1200", "-999", "800"], DecimalMark::Point).unwrap();
        assert!(near.missing.is_empty());
    }

    #[test]
    fn decimal_comma_is_read_where_declared() {
        let found = numbers_of(&["12,5", "7"], DecimalMark::Comma).unwrap();
        assert_eq!((found.decimal, found.is_integer), (DecimalMark::Comma, false));
        let point = numbers_of(&["12.5", "7"], DecimalMark::Comma).unwrap();
        assert_eq!(point.decimal, DecimalMark::Point);
        let comma = numbers_of(&["12,5", "7", "1,125"], DecimalMark::Point).unwrap();
        assert_eq!(comma.decimal, DecimalMark::Comma);
        assert!(numbers_of(&["1,125", "2,500"], DecimalMark::Point).is_none());
    }

    #[test]
    fn code_with_leading_zero_is_text() {
        assert!(numbers_of(&["01001", "72001"], DecimalMark::Point).is_none());
        assert!(numbers_of(&["0", "0.5"], DecimalMark::Point).is_some());
    }
}
