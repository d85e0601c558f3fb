//! The times of a row: local in the CSV, UTC in the event, with the tags that local time decides.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::row::Row;
use crate::field_value::{FieldValue, missing};
use crate::us;
use tributary_model::bad_row::{Code, Rejection, shown};
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

        let end = match civil(&row.end_time, "End_Time")? {
            Some(local) => Some(end(&zone, local, start)?),
            None => None,
        };
        let weather_time = match civil(&row.weather_timestamp, "Weather_Timestamp")? {
            Some(local) => Some(
                zone.to_ambiguous_timestamp(local)
                    .compatible()
                    .map_err(|_| beyond("Weather_Timestamp"))?,
            ),
            None => None,
        };

        push_calendar(local, tags);
        let duration_min = end.map(|end| end.duration_since(start).as_secs_f64() / 60.0);
        Ok(Self { start, duration_min, weather_time })
    }
}

/// The end of an accident that began at `start`. Of the two instants that a doubled hour names, the
/// first that is not before the start.
fn end(zone: &TimeZone, local: DateTime, start: Timestamp) -> Result<Timestamp, Rejection> {
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
    let unknown = |name| {
        let message = format!("{} is no time zone", shown(name));
        Rejection::field(Code::UnknownValue, "Timezone", message)
    };
    if let Some(name) = timezone.text("Timezone")? {
        return us::zone(name).ok_or_else(|| unknown(name));
    }
    tags.push(Cow::Borrowed("timezone_from_state"));
    us::zone_of_state(state).and_then(us::zone).ok_or_else(|| unknown(state))
}

/// `2016-02-08 05:46:00`, with or without a fraction of a second.
fn civil(value: &FieldValue<'_>, field: &'static str) -> Result<Option<DateTime>, Rejection> {
    let Some(text) = value.text(field)? else { return Ok(None) };
    let wrong = || {
        let message = format!("{} is no date and time that exists", shown(text));
        Rejection::field(Code::InvalidTime, field, message)
    };
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
    if !shaped {
        return Err(wrong());
    }
    text.parse().map(Some).map_err(|_| wrong())
}

/// The instant lies beyond the years that a timestamp can name.
fn beyond(field: &'static str) -> Rejection {
    Rejection::field(Code::InvalidTime, field, "is beyond the years -9999 to 9999")
}

/// Tags by the local calendar: `weekend`, and `rush_hour` (07:00 to 09:59 and 16:00 to 18:59 from
/// Monday to Friday).
fn push_calendar(local: DateTime, tags: &mut Vec<Text<'_>>) {
    let weekend = matches!(local.weekday(), Weekday::Saturday | Weekday::Sunday);
    if weekend {
        tags.push(Cow::Borrowed("weekend"));
    } else if matches!(local.hour(), 7..=9 | 16..=18) {
        tags.push(Cow::Borrowed("rush_hour"));
    }
}
