//! The times of a row: local in the CSV, UTC in the event, with the tags that local time decides.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::field_value::{FieldValue, missing, wrong};
use super::row::Row;
use super::us;
use tributary_model::bad_row::{Code, Rejection};
use tributary_model::event::Text;

/// Parsed time columns of a row.
pub(super) struct LocalClock {
    /// `Start_Time` in UTC.
    pub start: Timestamp,
    /// From `Start_Time` to `End_Time`, in minutes.
    pub duration_min: Option<f64>,
    /// `Weather_Timestamp` in UTC.
    pub weather_time: Option<Timestamp>,
}

impl LocalClock {
    /// Reads the time columns of `row` in its `Timezone`, or in the zone of `state` where that is
    /// empty, and adds what they say to `tags`.
    pub(super) fn of(
        row: &Row<'_>,
        state: &str,
        tags: &mut Vec<Text<'_>>,
    ) -> Result<Self, Rejection> {
        let zone = zone(&row.timezone, state, tags)?;

        let local = civil(&row.start_time, "Start_Time")?.ok_or_else(|| missing("Start_Time"))?;
        let ambiguous = zone.to_ambiguous_timestamp(local);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => {}
            AmbiguousOffset::Gap { .. } => tags.push(Cow::Borrowed("dst_gap")),
            AmbiguousOffset::Fold { .. } => tags.push(Cow::Borrowed("dst_fold")),
        }
        let start = ambiguous.compatible().map_err(|_| beyond("Start_Time"))?;

        let end = civil(&row.end_time, "End_Time")?;
        let end = end.map(|local| end_after(start, &zone, local)).transpose()?;
        let weather_time = civil(&row.weather_timestamp, "Weather_Timestamp")?
            .map(|local| zone.to_timestamp(local).map_err(|_| beyond("Weather_Timestamp")))
            .transpose()?;

        // Rush hours are 07:00 to 09:59 and 16:00 to 18:59 from Monday to Friday.
        if matches!(local.weekday(), Weekday::Saturday | Weekday::Sunday) {
            tags.push(Cow::Borrowed("weekend"));
        } else if matches!(local.hour(), 7..=9 | 16..=18) {
            tags.push(Cow::Borrowed("rush_hour"));
        }
        let duration_min = end.map(|end| end.duration_since(start).as_secs_f64() / 60.0);
        Ok(Self { start, duration_min, weather_time })
    }
}

/// The end of an accident that began at `start`. Of the two instants that a doubled hour names, the
/// first that is not before the start.
fn end_after(start: Timestamp, zone: &TimeZone, local: DateTime) -> Result<Timestamp, Rejection> {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    let first = ambiguous.compatible().map_err(|_| beyond("End_Time"))?;
    if first >= start {
        return Ok(first);
    }
    match ambiguous.later() {
        Ok(second) if second >= start => Ok(second),
        _ => Err(Rejection::field(Code::OutOfRange, "End_Time", "is before Start_Time")),
    }
}

fn zone(
    timezone: &FieldValue<'_>,
    state: &str,
    tags: &mut Vec<Text<'_>>,
) -> Result<TimeZone, Rejection> {
    let unknown = |name| wrong(Code::UnknownValue, "Timezone", name, "is no time zone");
    if let Some(name) = timezone.text("Timezone")? {
        return us::zone(name).ok_or_else(|| unknown(name));
    }
    tags.push(Cow::Borrowed("timezone_from_state"));
    us::zone_of_state(state).and_then(us::zone).ok_or_else(|| unknown(state))
}

/// `2016-02-08 05:46:00`, with or without a fraction of a second.
fn civil(value: &FieldValue<'_>, field: &'static str) -> Result<Option<DateTime>, Rejection> {
    let Some(text) = value.text(field)? else { return Ok(None) };
    let what = "is no date and time that exists";
    // The parser would take a date alone as its midnight, a 60th second as the 59th, and drop an
    // offset: each would be a guess.
    let bytes = text.as_bytes();
    let shaped = bytes.len() >= 19
        && bytes[10] == b' '
        && bytes[13] == b':'
        && bytes[16] == b':'
        && &bytes[17..19] != b"60"
        && bytes[19..].first().is_none_or(|&byte| byte == b'.')
        && bytes[19..].iter().skip(1).all(u8::is_ascii_digit)
        && bytes.len() != 20;
    let time = if shaped { text.parse().ok() } else { None };
    time.map(Some).ok_or_else(|| wrong(Code::InvalidTime, field, text, what))
}

/// The instant lies beyond the years that a timestamp can name.
fn beyond(field: &'static str) -> Rejection {
    Rejection::field(Code::InvalidTime, field, "is beyond the years -9999 to 9999")
}
