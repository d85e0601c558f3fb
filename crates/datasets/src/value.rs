//! Typed readings of a value of a row.
//!
//! An empty or blank value is absent, never 0. A value that is there and wrong is a [`ValueError`];
//! it is never guessed at.

use std::borrow::Cow;

use tributary_model::bad_row::{Code, Rejection, shown};

use crate::row::Value;
use crate::schema::DecimalMark;

/// Largest magnitude of a measure, 2^360: the largest that a common store of metrics accepts.
pub(crate) const MAX_NUMBER: f64 = f64::from_bits((1023 + 360) << 52);

/// Largest exponent that is written out: that of the largest double, and of the smallest.
const MAX_PLACES: i64 = 324;

/// Texts that stand for no value where a number, a time, a place or a word of a list is expected.
pub(crate) const MISSING: [&str; 7] = ["NA", "N/A", "NULL", "\\N", "NaN", "None", "-"];

/// Error of a value: its code and a message, without the field.
#[derive(Debug)]
pub(crate) struct ValueError {
    pub code: Code,
    pub message: String,
}

impl ValueError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Creates the error of a text.
    pub(crate) fn of(code: Code, text: &str, what: &str) -> Self {
        Self { code, message: format!("{} {what}", shown(text)) }
    }

    /// Returns the rejection of a row for this value of `field`.
    pub(crate) fn reject(self, field: &str) -> Rejection {
        Rejection {
            code: self.code,
            field: Some(Cow::Owned(field.to_owned())),
            message: self.message,
        }
    }
}

/// Texts and numbers that stand for no value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Missing {
    texts: Vec<String>,
    /// Length of the longest text.
    max_len: usize,
    numbers: Box<[f64]>,
}

impl Missing {
    pub(crate) fn new<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
        let numbers = texts.iter().filter_map(|text| text.parse().ok()).collect();
        let max_len = texts.iter().map(String::len).max().unwrap_or(0);
        Self { texts, max_len, numbers }
    }

    /// Removes the texts of which `is_value` is true.
    pub(crate) fn remove(&mut self, is_value: impl Fn(&str) -> bool) {
        self.texts.retain(|text| !is_value(text));
    }

    pub(crate) fn holds(&self, text: &str) -> bool {
        text.len() <= self.max_len
            && self.texts.iter().any(|missing| missing.eq_ignore_ascii_case(text))
    }

    pub(crate) fn numbers(&self) -> &[f64] {
        &self.numbers
    }

    pub(crate) fn holds_number(&self, number: f64) -> bool {
        self.numbers.contains(&number)
    }
}

impl<'a> Value<'a> {
    /// Returns the trimmed text; `None` if absent, blank or `missing`. A JSON number keeps its
    /// digits, except that a whole number loses its fraction: `7.0` is `7`.
    ///
    /// # Errors
    ///
    /// [`Code::UnknownValue`] for an object or an array.
    pub(crate) fn text(&self, missing: &Missing) -> Result<Option<Cow<'a, str>>, ValueError> {
        let text = match self {
            Value::Absent | Value::Null => return Ok(None),
            Value::Text(Cow::Borrowed(text)) => Cow::Borrowed(trimmed(text)),
            Value::Text(Cow::Owned(text)) => Cow::Owned(trimmed(text).to_owned()),
            Value::Number(raw) => number_text(raw),
            Value::Nested(_) => {
                let message = "is an object or an array and should be a single value";
                return Err(ValueError::new(Code::UnknownValue, message));
            }
        };
        Ok(Some(text).filter(|text| !text.is_empty() && !missing.holds(text)))
    }

    /// Returns the text without a copy; see [`Value::text`]. A JSON number with an exponent stays as
    /// written.
    ///
    /// # Errors
    ///
    /// [`Code::UnknownValue`] for an object or an array.
    pub(crate) fn written(&self, missing: &Missing) -> Result<Option<&str>, ValueError> {
        let text = match self {
            Value::Absent | Value::Null => return Ok(None),
            Value::Text(text) => trimmed(text),
            Value::Number(raw) => match number_text(raw) {
                Cow::Borrowed(text) => text,
                Cow::Owned(_) => raw,
            },
            Value::Nested(_) => return self.text(missing).map(|_| None),
        };
        Ok(Some(text).filter(|text| !text.is_empty() && !missing.holds(text)))
    }
}

/// Trims a text. Most need no search: they begin and end with a visible character of ASCII.
fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

/// Returns the text of a JSON number, without its exponent.
///
/// The digits are moved, not computed with: a double has 17 of them, and two ids that differ in the
/// 20th are two ids.
fn number_text(raw: &str) -> Cow<'_, str> {
    if raw.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return Cow::Borrowed(raw);
    }
    if let Some((mantissa, exponent)) = raw.split_once(['e', 'E']) {
        return without_exponent(mantissa, exponent).map_or(Cow::Borrowed(raw), Cow::Owned);
    }
    match raw.split_once('.') {
        Some((whole, rest)) if rest.bytes().all(|byte| byte == b'0') => Cow::Borrowed(whole),
        _ => Cow::Borrowed(raw),
    }
}

/// Returns `mantissa` with its point moved by `exponent`, without zeros at either end; `None` if
/// that has more than [`MAX_PLACES`] zeros to fill in.
fn without_exponent(mantissa: &str, exponent: &str) -> Option<String> {
    let exponent: i64 = exponent.parse().ok().filter(|it: &i64| it.abs() <= MAX_PLACES)?;
    let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let point = i64::try_from(whole.len()).ok()? + exponent;
    let before = "0".repeat(usize::try_from(-point).unwrap_or(0));
    let point = usize::try_from(point).unwrap_or(0);
    let after = "0".repeat(point.saturating_sub(whole.len() + fraction.len()));
    let digits = format!("{before}{whole}{fraction}{after}");
    let (whole, fraction) = digits.split_at(point);
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

impl DecimalMark {
    /// Returns the mark of a value: a number in JSON has a point.
    pub(crate) fn of(self, value: &Value<'_>) -> Self {
        if matches!(value, Value::Number(_)) { Self::Point } else { self }
    }
}

/// Reads a finite number.
///
/// # Errors
///
/// [`Code::InvalidNumber`] for other texts.
pub(crate) fn number(text: &str, decimal: DecimalMark) -> Result<f64, ValueError> {
    let parsed = match decimal {
        DecimalMark::Point => text.parse::<f64>(),
        DecimalMark::Comma if text.contains('.') => "".parse(),
        DecimalMark::Comma => text.replacen(',', ".", 1).parse(),
    };
    // Rust reads "inf" and "nan" as numbers, and 1e999 as infinity: none of them is finite.
    parsed
        .ok()
        .filter(|number| number.is_finite())
        .ok_or_else(|| ValueError::of(Code::InvalidNumber, text, "is not a finite number"))
}

/// Returns the fault of a number outside a range, without the number; `None` if it is inside.
pub(crate) fn outside(number: f64, [low, high]: [f64; 2]) -> Option<String> {
    if (low..=high).contains(&number) {
        return None;
    }
    Some(match (low.is_finite(), high.is_finite()) {
        (true, true) => format!("is outside {low} to {high}"),
        (true, false) => format!("is below {low}"),
        _ => format!("is above {high}"),
    })
}

/// Reads `true` or `false`, in any case.
///
/// # Errors
///
/// [`Code::UnknownValue`] for other texts.
pub(crate) fn flag(text: &str) -> Result<bool, ValueError> {
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(ValueError::of(Code::UnknownValue, text, "is none of true, false"))
    }
}

/// Rounds to a millionth: finer than any source resolves, and without digits that unit conversion
/// adds. A number too large for that is returned unchanged.
pub(crate) fn rounded(value: f64) -> f64 {
    let rounded = (value * 1e6).round() / 1e6;
    if rounded.is_finite() { rounded } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_and_missing_values_are_absent() {
        let missing = Missing::new(MISSING);
        for text in ["", "  ", "\t", "NA", "nan", " N/A ", "\\N", "-"] {
            assert_eq!(Value::Text(text.into()).text(&missing).ok().flatten(), None, "{text}");
        }
        assert!(Value::Nested("[1]").text(&missing).is_err());
        assert!(Missing::new(["-999"]).holds_number(-999.0));
    }

    #[test]
    fn json_number_keeps_digits() {
        for (raw, text) in [
            ("7", "7"),
            ("7.0", "7"),
            ("0.10", "0.10"),
            ("1000", "1000"),
            ("1e3", "1000"),
            ("89310410106543789301", "89310410106543789301"),
            ("18446744073709551617.0", "18446744073709551617"),
            ("18446744073709551617e0", "18446744073709551617"),
            ("1.8446744073709551617E+19", "18446744073709551617"),
            ("-184467440737095516170e-1", "-18446744073709551617"),
            ("1.50e-7", "0.00000015"),
            ("-0.0e3", "-0"),
            ("1e-999", "1e-999"),
        ] {
            assert_eq!(number_text(raw), text);
        }
        for raw in ["1e21", "1.5e300", "2.5e-10", "123.456e1", "5e-324", "1.7976931348623157e308"] {
            assert_eq!(number_text(raw), raw.parse::<f64>().unwrap().to_string(), "{raw}");
        }
    }

    #[test]
    fn text_that_is_no_finite_number_is_rejected() {
        for wrong in ["NaN", "inf", "-Infinity", "1e999", "1,5", "1_000", "0x1", "12 34", "٣", ""]
        {
            assert!(number(wrong, DecimalMark::Point).is_err(), "{wrong}");
        }
        assert_eq!(number("12,5", DecimalMark::Comma).ok(), Some(12.5));
        for wrong in ["1.000,5", "1,000,5", "12.5"] {
            assert!(number(wrong, DecimalMark::Comma).is_err(), "{wrong}");
        }
    }

    #[test]
    fn largest_number_is_two_to_the_360() {
        assert_eq!(MAX_NUMBER.to_bits(), 2_f64.powi(360).to_bits());
    }
}
