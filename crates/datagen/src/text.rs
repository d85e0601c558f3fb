//! JSON writer: appends fields, numbers and times to a reused buffer.

use std::ops::Range;

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimePrinter;

/// JSON object at the beginning of a buffer, without its closing brace.
pub(crate) struct Object<'a>(pub(crate) &'a mut Vec<u8>);

impl Object<'_> {
    /// Appends a field whose value is written by `write`. Returns the range of the value.
    pub(crate) fn field(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        let start = self.0.len();
        write(self.0);
        start..self.0.len()
    }

    /// Appends a field whose value is text without escapes. Returns the range of the text.
    pub(crate) fn quoted(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        let value = self.field(name, |out| {
            out.push(b'"');
            write(out);
            out.push(b'"');
        });
        value.start + 1..value.end - 1
    }

    /// Appends a field with a text. Returns the range of the text.
    pub(crate) fn text(&mut self, name: &str, text: &str) -> Range<usize> {
        self.quoted(name, |out| out.extend_from_slice(text.as_bytes()))
    }
}

/// Appends a whole number.
pub(crate) fn push_whole(out: &mut Vec<u8>, value: u64) {
    push_padded(out, value, 1);
}

/// Appends a whole number of at least `width` digits.
pub(crate) fn push_padded(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while value > 0 {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    at = at.min(digits.len().saturating_sub(width));
    out.extend_from_slice(&digits[at..]);
}

/// Appends a decimal fraction with exactly `places` digits after the point, at least one; never -0.
pub(crate) fn push_decimal(out: &mut Vec<u8>, value: f64, places: usize) {
    let scale = 10_u32.pow(places as u32);
    let scaled = (value * f64::from(scale)).round() as i64;
    if scaled < 0 {
        out.push(b'-');
    }
    let (scaled, scale) = (scaled.unsigned_abs(), u64::from(scale));
    push_whole(out, scaled / scale);
    out.push(b'.');
    push_padded(out, scaled % scale, places);
}

const PRINTER: DateTimePrinter = DateTimePrinter::new();

/// Appends `2026-01-31`.
pub(crate) fn push_date(out: &mut Vec<u8>, time_ms: i64) {
    check(PRINTER.print_date(&civil(time_ms).date(), out));
}

/// Appends RFC 3339 in UTC, with milliseconds unless they are 0.
pub(crate) fn push_time(out: &mut Vec<u8>, time_ms: i64) {
    let printer = PRINTER.precision(if time_ms % 1_000 == 0 { None } else { Some(3) });
    check(printer.print_datetime(&civil(time_ms), &mut *out));
    out.push(b'Z');
}

/// Appends `2026-01-31 23:59:58`.
pub(crate) fn push_local(out: &mut Vec<u8>, local_ms: i64) {
    let printer = PRINTER.separator(b' ').precision(Some(0));
    check(printer.print_datetime(&civil(local_ms), out));
}

/// Returns the date and time of day of milliseconds since 1970.
fn civil(time_ms: i64) -> DateTime {
    DateTime::constant(1970, 1, 1, 0, 0, 0, 0).saturating_add(SignedDuration::from_millis(time_ms))
}

#[expect(clippy::expect_used, reason = "a vector takes any bytes")]
fn check(printed: Result<(), jiff::Error>) {
    printed.expect("a vector takes any bytes");
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_have_their_places_and_no_negative_zero() {
        let decimal = |value, places| text(|out| push_decimal(out, value, places));

        assert_eq!(decimal(12.345, 2), "12.35");
        assert_eq!(decimal(-0.04, 1), "0.0");
        assert_eq!(decimal(-3.071, 2), "-3.07");
        assert_eq!(decimal(1013.0, 1), "1013.0");
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for millis in [0, 951_782_400_000, 1_582_934_399_500, 1_767_225_600_000, 4_107_542_400_123]
        {
            let expected = Timestamp::from_millisecond(millis).unwrap().to_string();

            assert_eq!(text(|out| push_time(out, millis)).replace(".500Z", ".5Z"), expected);
        }
    }

    #[test]
    fn a_local_time_may_be_of_another_day() {
        let local = text(|out| push_local(out, 1_767_225_600_000 - 5 * 3_600_000));

        assert_eq!(local, "2025-12-31 19:00:00");
    }
}
