//! JSON writer: appends numbers and times to a reused buffer.

use crate::DAY_MS;

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
    let (mut scale, mut factor) = (1_u64, 1.0);
    for _ in 0..places {
        scale *= 10;
        factor *= 10.0;
    }
    let scaled = (value * factor).round() as i64;
    if scaled < 0 {
        out.push(b'-');
    }
    let scaled = scaled.unsigned_abs();
    push_whole(out, scaled / scale);
    out.push(b'.');
    push_padded(out, scaled % scale, places);
}

/// Date and time of day, from milliseconds since 1970.
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    /// Milliseconds since midnight.
    pub(crate) of_day: i64,
}

impl Civil {
    /// Computes the proleptic Gregorian date. Years are counted from March, so that the leap day is
    /// the last.
    pub(crate) fn of(time_ms: i64) -> Self {
        let (days, of_day) = (time_ms.div_euclid(DAY_MS), time_ms.rem_euclid(DAY_MS));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month, day, of_day }
    }

    /// Appends `2026-01-31`.
    pub(crate) fn push_date(&self, out: &mut Vec<u8>) {
        push_padded(out, self.year.unsigned_abs(), 4);
        out.push(b'-');
        push_padded(out, self.month.unsigned_abs(), 2);
        out.push(b'-');
        push_padded(out, self.day.unsigned_abs(), 2);
    }

    /// Appends `23:59:58`.
    pub(crate) fn push_clock(&self, out: &mut Vec<u8>) {
        let seconds = self.of_day.unsigned_abs() / 1_000;
        push_padded(out, seconds / 3_600, 2);
        out.push(b':');
        push_padded(out, seconds / 60 % 60, 2);
        out.push(b':');
        push_padded(out, seconds % 60, 2);
    }
}

/// Appends RFC 3339 in UTC, with milliseconds unless they are 0.
pub(crate) fn push_time(out: &mut Vec<u8>, time_ms: i64) {
    let civil = Civil::of(time_ms);
    civil.push_date(out);
    out.push(b'T');
    civil.push_clock(out);
    let millis = civil.of_day.unsigned_abs() % 1_000;
    if millis > 0 {
        out.push(b'.');
        push_padded(out, millis, 3);
    }
    out.push(b'Z');
}

/// Appends `2026-01-31 23:59:58`, the local time at `offset_ms` east of UTC.
pub(crate) fn push_local(out: &mut Vec<u8>, time_ms: i64, offset_ms: i64) {
    let civil = Civil::of(time_ms + offset_ms);
    civil.push_date(out);
    out.push(b' ');
    civil.push_clock(out);
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
        let local = text(|out| push_local(out, 1_767_225_600_000, -5 * 3_600_000));

        assert_eq!(local, "2025-12-31 19:00:00");
    }
}
