//! Second implementations of `accidents` and `telemetry`, which share no code with the schema
//! engine.
//!
//! They are stricter: an invalid value rejects the row. A row that they accept must become the same
//! event.

pub mod accidents;
mod climate;
mod clock;
mod field_value;
mod place;
mod row;
pub mod telemetry;
mod times;
mod us;
mod weather;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use tributary_model::bad_row::{Code, Rejection};
use tributary_model::event::{Attributes, Event, Kind, Measures, Text};
use tributary_model::id::Id;
use tributary_model::json::is_object;

/// Parses the row of a payload. Only objects are rows: serde would also read the fields from an
/// array.
fn row<'a, R: Deserialize<'a>>(payload: &'a str) -> Result<R, Rejection> {
    if is_object(payload.as_bytes()) {
        serde_json::from_str(payload).map_err(|error| unreadable(&error))
    } else {
        Err(Rejection::row(Code::InvalidJson, "the payload is not an object"))
    }
}

/// Returns the event of a row, without location and tags.
fn reading<'a>(
    dataset: &'static str,
    event_id: Id,
    entity: Text<'a>,
    event_time: Timestamp,
    received_at: Option<Timestamp>,
    measures: Measures<'a>,
    attributes: Attributes<'a>,
) -> Event<'a> {
    Event {
        kind: Kind::Reading,
        dataset: Cow::Borrowed(dataset),
        event_id: Cow::Owned(event_id.to_string()),
        entity,
        event_time,
        received_at: received_at.unwrap_or(event_time),
        location: None,
        measures,
        attributes,
        tags: Vec::new(),
        faults: Vec::new(),
        window: None,
    }
}

/// Rejects times before 1900, which are those of clocks that were never set.
fn since_1900(field: &'static str, time: Timestamp) -> Result<Timestamp, Rejection> {
    const FIRST: Timestamp = Timestamp::constant(-2_208_988_800, 0);
    if time < FIRST {
        return Err(Rejection::field(Code::OutOfRange, field, "is before 1900"));
    }
    Ok(time)
}

/// Returns the id of a sensor's reading. It depends on the instant, not on its spelling.
fn reading_id(dataset: &str, sensor: &str, event_time: Timestamp) -> Id {
    let nanosecond = event_time.as_nanosecond().to_be_bytes();
    Id::of([dataset.as_bytes(), sensor.as_bytes(), nanosecond.as_slice()])
}

/// Rounds to a millionth: finer than any source resolves, and without digits that unit conversion
/// adds. A number too large for that is returned unchanged.
fn rounded(value: f64) -> f64 {
    let rounded = (value * 1e6).round() / 1e6;
    if rounded.is_finite() { rounded } else { value }
}

/// Returns the rejection of a payload that serde could not read as a row.
///
/// The payload is already known to be JSON, so only its shape can be wrong.
fn unreadable(error: &serde_json::Error) -> Rejection {
    let text = error.to_string();
    match text.strip_prefix("duplicate field `").and_then(|rest| rest.split_once('`')) {
        Some((field, _)) => Rejection {
            code: Code::DuplicateField,
            field: Some(field.to_owned().into()),
            message: "is there more than once".into(),
        },
        None => Rejection::row(
            Code::InvalidJson,
            format!("the payload cannot be read at column {}", error.column()),
        ),
    }
}
